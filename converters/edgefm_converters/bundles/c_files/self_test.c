#include "self_test.h"

#include "contract.h"
#include "edge_model.h"
#include "golden_vectors.h"
#include "model_data.h"

static void copy(void *to, const uint8_t *from, size_t count) {
  for (size_t i = 0; i < count; i++) {
    ((uint8_t *)to)[i] = from[i];
  }
}

static int equal(const uint8_t *one, const uint8_t *other, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (one[i] != other[i]) {
      return 0;
    }
  }
  return 1;
}

static float magnitude(float value) { return value < 0.0f ? -value : value; }

static uint32_t level_difference(const uint8_t *one, const uint8_t *other, size_t bytes, int is_signed) {
  int32_t left, right;
  if (bytes == 1) {
    left = is_signed ? (int8_t)one[0] : one[0];
    right = is_signed ? (int8_t)other[0] : other[0];
  } else {
    int16_t a, b;
    copy(&a, one, 2);
    copy(&b, other, 2);
    left = a;
    right = b;
  }
  return (uint32_t)(left > right ? left - right : right - left);
}

/* A float value is right within a share of the greatest magnitude of its output, `allowed`. */
static uint32_t float_difference(const uint8_t *one, const uint8_t *other, float greatest, float allowed) {
  float left, right;
  copy(&left, one, 4);
  copy(&right, other, 4);
  float apart = magnitude(left - right);
  return apart <= allowed * greatest ? 0u : UINT32_MAX;
}

static float greatest_of(const uint8_t *values, size_t count) {
  float greatest = 0.0f;
  for (size_t i = 0; i < count; i++) {
    float value;
    copy(&value, values + 4 * i, 4);
    greatest = magnitude(value) > greatest ? magnitude(value) : greatest;
  }
  return greatest;
}

edge_verdict_t edge_self_test(edge_invoke_t invoke, uint8_t *outputs) {
  edge_verdict_t verdict = {0, 0, 0, 0, 0, 0};
  int near = 1;
  for (size_t sample = 0; sample < EDGE_GOLDEN_VECTORS; sample++) {
    const uint8_t *wanted = edge_golden_outputs + sample * EDGE_OUTPUTS_BYTES;
    if (invoke(edge_golden_inputs + sample * EDGE_INPUT_BYTES, outputs) != 0) {
      continue;
    }
    verdict.ran++;
    verdict.equal += equal(outputs, wanted, EDGE_OUTPUTS_BYTES);
    size_t start = 0;
    for (size_t end = 0; end < EDGE_OUTPUTS; end++) {
      const size_t bytes = edge_output_ends[end].bytes, count = edge_output_ends[end].values;
      const int is_float = edge_output_ends[end].is_float;
      const float allowed = edge_output_ends[end].allowed;
      const float greatest = is_float ? greatest_of(wanted + start, count) : 0.0f;
      for (size_t i = 0; i < count; i++, start += bytes) {
        uint32_t apart = is_float ? float_difference(outputs + start, wanted + start, greatest, allowed)
                                  : level_difference(outputs + start, wanted + start, bytes,
                                                     edge_output_ends[end].is_signed);
        near = near && (is_float ? apart == 0u : (float)apart <= allowed);
        verdict.largest = apart > verdict.largest ? apart : verdict.largest;
        verdict.other += apart != 0;
        verdict.values++;
      }
    }
  }
  const int whole = edge_crc32(edge_model_data, edge_model_size) == EDGE_MODEL_CRC32;
  near = near && (float)verdict.other <= EDGE_SHARE_ALLOWED * (float)verdict.values;
  verdict.held = whole && verdict.ran == EDGE_GOLDEN_VECTORS && near;
  return verdict;
}
