/* int8 kernels in plain C with the arithmetic of TensorFlow Lite for Microcontrollers' own reference kernels, bit for
 * bit, and what each needs to know.
 *
 * Tensors are [height, width, channels], the batch is 1. real = scale * (q - zero_point). An accumulator becomes an
 * output by a fixed-point multiplier (Q31) and a shift to the left (negative: to the right), both with rounding.
 * Offsets are what is added: -zero_point of an input, zero_point of an output. `least` and `most` clamp the output.
 */
#ifndef EDGEFM_KERNELS_H
#define EDGEFM_KERNELS_H

#include <stdint.h>

struct window {
  int32_t input_height, input_width, input_channels;
  int32_t output_height, output_width, output_channels;
  int32_t height, width;
  int32_t stride_y, stride_x, dilation_y, dilation_x;
  int32_t pad_top, pad_left;
};

/* filter: [output_channels, height, width, filter_channels]; multiplier and shift by output channel. */
struct conv_2d {
  struct window window;
  const int8_t *input, *filter;
  int8_t *output;
  const int32_t *bias; /* NULL: none */
  const int32_t *multiplier, *shift;
  int32_t filter_channels; /* fewer than the input's: grouped */
  int32_t input_offset, output_offset, least, most;
};
void conv_2d(const struct conv_2d *op);

/* filter: [height, width, output_channels]. */
void depthwise_conv_2d(const struct conv_2d *op);

/* filter: [units, depth]; multiplier and shift by unit. */
struct fully_connected {
  const int8_t *input, *filter;
  int8_t *output;
  const int32_t *bias; /* NULL: none */
  const int32_t *multiplier, *shift;
  int32_t rows, depth, units;
  int32_t input_offset, filter_offset, output_offset, least, most;
};
void fully_connected(const struct fully_connected *op);

struct pool_2d {
  struct window window;
  const int8_t *input;
  int8_t *output;
  int32_t least, most;
};
void max_pool_2d(const struct pool_2d *op);
void average_pool_2d(const struct pool_2d *op);

/* Mean over height and width; the multiplier holds 1 / count. */
struct mean {
  const int8_t *input;
  int8_t *output;
  int32_t count, channels;
  int32_t multiplier, shift, input_zero_point, output_zero_point;
};
void mean(const struct mean *op);

/* Strides are 0 along a dimension that an input is repeated over. */
struct elementwise {
  const int8_t *input_1, *input_2;
  int8_t *output;
  int32_t shape[4], stride_1[4], stride_2[4];
  int32_t offset_1, offset_2, output_offset, least, most;
  int32_t multiplier_1, shift_1, multiplier_2, shift_2; /* add and subtract */
  int32_t output_multiplier, output_shift;
};
void add(const struct elementwise *op);
void subtract(const struct elementwise *op);
void multiply(const struct elementwise *op);

/* Another scale and zero point, int8 or uint8 on either side; also ReLU and ReLU6. */
struct requantize {
  const void *input;
  void *output;
  int32_t count, input_unsigned, output_unsigned;
  int32_t input_zero_point, output_zero_point, multiplier, shift, least, most;
};
void requantize(const struct requantize *op);

struct quantize_float {
  const float *input;
  void *output;
  int32_t count, output_unsigned, zero_point;
  float scale;
};
void quantize_float(const struct quantize_float *op);

struct dequantize {
  const void *input;
  float *output;
  int32_t count, input_unsigned, zero_point;
  float scale;
};
void dequantize(const struct dequantize *op);

struct pad {
  const int8_t *input;
  int8_t *output;
  int32_t shape[4], output_shape[4], before[4];
  int32_t value;
};
void pad(const struct pad *op);

/* Rows of one tensor into the longer rows of another: concatenation. */
struct copy_rows {
  const int8_t *input;
  int8_t *output;
  int32_t rows, row_bytes, output_row_bytes;
};
void copy_rows(const struct copy_rows *op);

struct softmax {
  const int8_t *input;
  void *output;
  int32_t rows, depth;
  int32_t multiplier, left_shift, least_difference;
};
void softmax(const struct softmax *op);

#endif
