#include "edge_model.h"

#if EDGE_OUTPUT_SOFTMAX || EDGE_OUTPUT_SIGMOID
#include <math.h>
#endif

#if EDGE_INPUT_QUANTISED
/* The nearest whole number, halves to even: adding 1.5 * 2^23 leaves a float no bits behind the point. */
static float nearest(float value) {
  const float shift = 12582912.0f;
  if (value >= 4194304.0f || value <= -4194304.0f) {
    return value;
  }
  volatile float shifted = value + shift;
  return shifted - shift;
}
#endif

edge_input_t edge_quantise(float real) {
#if EDGE_INPUT_QUANTISED
  float level = nearest(real / EDGE_INPUT_SCALE) + (float)EDGE_INPUT_ZERO_POINT;
  if (level < (float)EDGE_INPUT_MIN) {
    level = (float)EDGE_INPUT_MIN;
  }
  if (level > (float)EDGE_INPUT_MAX) {
    level = (float)EDGE_INPUT_MAX;
  }
  return (edge_input_t)level;
#else
  return (edge_input_t)real;
#endif
}

#if EDGE_TAKES_PIXELS
void edge_encode(const uint8_t *pixels, edge_input_t *input) {
  for (size_t i = 0; i < EDGE_INPUT_SIZE; i++) {
    input[i] = edge_quantise(((float)pixels[i] - EDGE_PIXEL_MEAN) / EDGE_PIXEL_STD);
  }
}
#endif

float edge_dequantise(edge_output_t value) {
#if EDGE_OUTPUT_QUANTISED
  return ((float)value - (float)EDGE_OUTPUT_ZERO_POINT) * EDGE_OUTPUT_SCALE;
#else
  return (float)value;
#endif
}

size_t edge_argmax(const edge_output_t *output) {
  size_t best = 0;
  for (size_t i = 1; i < EDGE_OUTPUT_SIZE; i++) {
    if (output[i] > output[best]) {
      best = i;
    }
  }
  return best;
}

void edge_probabilities(const edge_output_t *output, float *probabilities) {
  for (size_t i = 0; i < EDGE_OUTPUT_SIZE; i++) {
    probabilities[i] = edge_dequantise(output[i]);
  }
#if EDGE_OUTPUT_SOFTMAX
  float greatest = probabilities[0], sum = 0.0f;
  for (size_t i = 1; i < EDGE_OUTPUT_SIZE; i++) {
    greatest = probabilities[i] > greatest ? probabilities[i] : greatest;
  }
  for (size_t i = 0; i < EDGE_OUTPUT_SIZE; i++) {
    probabilities[i] = expf(probabilities[i] - greatest);
    sum += probabilities[i];
  }
  for (size_t i = 0; i < EDGE_OUTPUT_SIZE; i++) {
    probabilities[i] /= sum;
  }
#endif
#if EDGE_OUTPUT_SIGMOID
  for (size_t i = 0; i < EDGE_OUTPUT_SIZE; i++) {
    probabilities[i] = 1.0f / (1.0f + expf(-probabilities[i]));
  }
#endif
}

uint32_t edge_crc32(const uint8_t *bytes, size_t count) {
  uint32_t crc = 0xFFFFFFFFu;
  for (size_t i = 0; i < count; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) {
      crc = (crc >> 1) ^ (0xEDB88320u & (0u - (crc & 1u)));
    }
  }
  return ~crc;
}
