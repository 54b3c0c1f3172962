/* Holds the model's answers against the golden vectors, whatever runs it. */
#ifndef EDGE_SELF_TEST_H
#define EDGE_SELF_TEST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Runs the model: from the bytes of the input tensor to those of all outputs, one after the other; 0 where it ran. */
typedef int (*edge_invoke_t)(const uint8_t *input, uint8_t *outputs);

typedef struct {
  int ran;          /* golden vectors that the model answered */
  int equal;        /* of these, answered bit for bit */
  uint32_t largest; /* largest difference of a value, in levels; of a float output it is 0 or UINT32_MAX */
  uint32_t other;   /* values that differ */
  uint32_t values;  /* of all answers */
  int held;         /* 1: the data are whole, all ran, and differences are within the tolerance of contract.h */
} edge_verdict_t;

edge_verdict_t edge_self_test(edge_invoke_t invoke, uint8_t *outputs);

#ifdef __cplusplus
}
#endif

#endif
