/* What goes into the model and what comes out, in C99: no allocation, no library (math.h where the output holds logits). All that depends on the
 * model is in contract.h. */
#ifndef EDGE_MODEL_H
#define EDGE_MODEL_H

#include <stddef.h>
#include <stdint.h>

#include "contract.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A real input as the model's input value: q = clamp(round(real / scale) + zero_point), halves to even. */
edge_input_t edge_quantise(float real);

#if EDGE_TAKES_PIXELS
/* Pixels, 0 to 255, row by row from the top left, channels in turn, as the input tensor; EDGE_INPUT_SIZE of them. */
void edge_encode(const uint8_t *pixels, edge_input_t *input);
#endif

/* A value of the first output as a real number. */
float edge_dequantise(edge_output_t value);

/* The place of the greatest value of the first output; the first of equal ones. */
size_t edge_argmax(const edge_output_t *output);

/* The first output as probabilities (or, where it holds no labels, as real numbers): EDGE_OUTPUT_SIZE of them. */
void edge_probabilities(const edge_output_t *output, float *probabilities);

/* CRC-32 (ISO 3309, as zlib's crc32) of bytes: that of the model's data must be EDGE_MODEL_CRC32. */
uint32_t edge_crc32(const uint8_t *bytes, size_t count);

#ifdef __cplusplus
}
#endif

#endif
