/* See edgefm_kernels.h. Fixed-point arithmetic: Jacob et al. 2018, arXiv:1712.05877, appendix B, with the rounding
 * of TensorFlow Lite; the exponential and the reciprocal of softmax are those of its fixed-point library. */
#include "edgefm_kernels.h"

#include <stddef.h>

static inline int32_t clamp(int32_t value, int32_t least, int32_t most) {
  return value < least ? least : value > most ? most : value;
}

/* round(a * b / 2^31), saturated. */
static inline int32_t multiply_high(int32_t a, int32_t b) {
  if (a == b && a == INT32_MIN) {
    return INT32_MAX;
  }
  const int64_t product = (int64_t)a * b;
  const int32_t nudge = product >= 0 ? 1 << 30 : 1 - (1 << 30);
  return (int32_t)((product + nudge) / ((int64_t)1 << 31));
}

/* round(value / 2^exponent), halves away from zero. */
static inline int32_t divide_by_power(int32_t value, int32_t exponent) {
  const int32_t mask = (int32_t)((1u << exponent) - 1u);
  const int32_t remainder = value & mask;
  const int32_t threshold = (mask >> 1) + (value < 0);
  return (value >> exponent) + (remainder > threshold);
}

static inline int32_t shift_left(int32_t value, int32_t bits) { return (int32_t)((uint32_t)value << bits); }

static inline int32_t rescale(int32_t value, int32_t multiplier, int32_t shift) {
  const int32_t left = shift > 0 ? shift : 0;
  const int32_t right = shift > 0 ? 0 : -shift;
  return divide_by_power(multiply_high(shift_left(value, left), multiplier), right);
}

void conv_2d(const struct conv_2d *op) {
  const struct window *w = &op->window;
  const int32_t group = w->output_channels / (w->input_channels / op->filter_channels);
  int8_t *output = op->output;
  for (int32_t y = 0; y < w->output_height; y++) {
    const int32_t top = y * w->stride_y - w->pad_top;
    for (int32_t x = 0; x < w->output_width; x++) {
      const int32_t left = x * w->stride_x - w->pad_left;
      const int8_t *filter = op->filter;
      for (int32_t channel = 0; channel < w->output_channels; channel++) {
        const int32_t first = channel / group * op->filter_channels;
        int32_t sum = op->bias != NULL ? op->bias[channel] : 0;
        for (int32_t fy = 0; fy < w->height; fy++) {
          const int32_t iy = top + fy * w->dilation_y;
          for (int32_t fx = 0; fx < w->width; fx++, filter += op->filter_channels) {
            const int32_t ix = left + fx * w->dilation_x;
            if (iy < 0 || iy >= w->input_height || ix < 0 || ix >= w->input_width) {
              continue; /* padding is the zero point: it adds nothing */
            }
            const int8_t *input = op->input + (iy * w->input_width + ix) * w->input_channels + first;
            for (int32_t i = 0; i < op->filter_channels; i++) {
              sum += filter[i] * (input[i] + op->input_offset);
            }
          }
        }
        sum = rescale(sum, op->multiplier[channel], op->shift[channel]) + op->output_offset;
        *output++ = (int8_t)clamp(sum, op->least, op->most);
      }
    }
  }
}

void depthwise_conv_2d(const struct conv_2d *op) {
  const struct window *w = &op->window;
  const int32_t each = w->output_channels / w->input_channels;
  int8_t *output = op->output;
  for (int32_t y = 0; y < w->output_height; y++) {
    const int32_t top = y * w->stride_y - w->pad_top;
    for (int32_t x = 0; x < w->output_width; x++) {
      const int32_t left = x * w->stride_x - w->pad_left;
      for (int32_t channel = 0; channel < w->output_channels; channel++) {
        const int8_t *input = op->input + channel / each;
        int32_t sum = op->bias != NULL ? op->bias[channel] : 0;
        for (int32_t fy = 0; fy < w->height; fy++) {
          const int32_t iy = top + fy * w->dilation_y;
          if (iy < 0 || iy >= w->input_height) {
            continue;
          }
          for (int32_t fx = 0; fx < w->width; fx++) {
            const int32_t ix = left + fx * w->dilation_x;
            if (ix < 0 || ix >= w->input_width) {
              continue;
            }
            sum += op->filter[(fy * w->width + fx) * w->output_channels + channel] *
                   (input[(iy * w->input_width + ix) * w->input_channels] + op->input_offset);
          }
        }
        sum = rescale(sum, op->multiplier[channel], op->shift[channel]) + op->output_offset;
        *output++ = (int8_t)clamp(sum, op->least, op->most);
      }
    }
  }
}

void fully_connected(const struct fully_connected *op) {
  const int8_t *input = op->input;
  int8_t *output = op->output;
  for (int32_t row = 0; row < op->rows; row++, input += op->depth) {
    const int8_t *filter = op->filter;
    for (int32_t unit = 0; unit < op->units; unit++, filter += op->depth) {
      int32_t sum = op->bias != NULL ? op->bias[unit] : 0;
      for (int32_t i = 0; i < op->depth; i++) {
        sum += (filter[i] + op->filter_offset) * (input[i] + op->input_offset);
      }
      sum = rescale(sum, op->multiplier[unit], op->shift[unit]) + op->output_offset;
      *output++ = (int8_t)clamp(sum, op->least, op->most);
    }
  }
}

/* The part of a pooling window that lies on the input. */
struct part {
  int32_t top, bottom, left, right;
};

static struct part part_of(const struct window *w, int32_t y, int32_t x) {
  const int32_t top = y * w->stride_y - w->pad_top;
  const int32_t left = x * w->stride_x - w->pad_left;
  const struct part part = {
      top < 0 ? 0 : top,
      top + w->height > w->input_height ? w->input_height : top + w->height,
      left < 0 ? 0 : left,
      left + w->width > w->input_width ? w->input_width : left + w->width,
  };
  return part;
}

void max_pool_2d(const struct pool_2d *op) {
  const struct window *w = &op->window;
  int8_t *output = op->output;
  for (int32_t y = 0; y < w->output_height; y++) {
    for (int32_t x = 0; x < w->output_width; x++) {
      const struct part part = part_of(w, y, x);
      for (int32_t channel = 0; channel < w->input_channels; channel++) {
        int32_t greatest = INT8_MIN;
        for (int32_t iy = part.top; iy < part.bottom; iy++) {
          for (int32_t ix = part.left; ix < part.right; ix++) {
            const int32_t value = op->input[(iy * w->input_width + ix) * w->input_channels + channel];
            greatest = value > greatest ? value : greatest;
          }
        }
        *output++ = (int8_t)clamp(greatest, op->least, op->most);
      }
    }
  }
}

/* round(sum / count), halves away from zero. */
static inline int32_t rounded_mean(int32_t sum, int32_t count) {
  return sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
}

void average_pool_2d(const struct pool_2d *op) {
  const struct window *w = &op->window;
  int8_t *output = op->output;
  for (int32_t y = 0; y < w->output_height; y++) {
    for (int32_t x = 0; x < w->output_width; x++) {
      const struct part part = part_of(w, y, x);
      const int32_t count = (part.bottom - part.top) * (part.right - part.left);
      for (int32_t channel = 0; channel < w->input_channels; channel++) {
        int32_t sum = 0;
        for (int32_t iy = part.top; iy < part.bottom; iy++) {
          for (int32_t ix = part.left; ix < part.right; ix++) {
            sum += op->input[(iy * w->input_width + ix) * w->input_channels + channel];
          }
        }
        *output++ = (int8_t)clamp(rounded_mean(sum, count), op->least, op->most);
      }
    }
  }
}

void mean(const struct mean *op) {
  for (int32_t channel = 0; channel < op->channels; channel++) {
    const int8_t *input = op->input + channel;
    int32_t sum = 0;
    for (int32_t i = 0; i < op->count; i++, input += op->channels) {
      sum += *input - op->input_zero_point;
    }
    sum = rescale(sum, op->multiplier, op->shift) + op->output_zero_point;
    op->output[channel] = (int8_t)clamp(sum, INT8_MIN, INT8_MAX);
  }
}

enum { HEADROOM_BITS = 20 }; /* both inputs of a sum are brought to one scale with so many bits more */

static inline int32_t sum_of(const struct elementwise *op, int32_t a, int32_t b, int32_t sign) {
  const int32_t first = rescale(shift_left(a + op->offset_1, HEADROOM_BITS), op->multiplier_1, op->shift_1);
  const int32_t second = rescale(shift_left(b + op->offset_2, HEADROOM_BITS), op->multiplier_2, op->shift_2);
  return first + sign * second;
}

enum operation { ADD, SUBTRACT, MULTIPLY };

static inline void elementwise(const struct elementwise *op, enum operation operation) {
  int8_t *output = op->output;
  for (int32_t i = 0; i < op->shape[0]; i++) {
    for (int32_t j = 0; j < op->shape[1]; j++) {
      for (int32_t k = 0; k < op->shape[2]; k++) {
        const int8_t *first = op->input_1 + i * op->stride_1[0] + j * op->stride_1[1] + k * op->stride_1[2];
        const int8_t *second = op->input_2 + i * op->stride_2[0] + j * op->stride_2[1] + k * op->stride_2[2];
        for (int32_t l = 0; l < op->shape[3]; l++) {
          int32_t value;
          if (operation == MULTIPLY) {
            value = (*first + op->offset_1) * (*second + op->offset_2);
          } else {
            value = sum_of(op, *first, *second, operation == ADD ? 1 : -1);
          }
          value = rescale(value, op->output_multiplier, op->output_shift) + op->output_offset;
          *output++ = (int8_t)clamp(value, op->least, op->most);
          first += op->stride_1[3];
          second += op->stride_2[3];
        }
      }
    }
  }
}

void add(const struct elementwise *op) { elementwise(op, ADD); }

void subtract(const struct elementwise *op) { elementwise(op, SUBTRACT); }

void multiply(const struct elementwise *op) { elementwise(op, MULTIPLY); }

void requantize(const struct requantize *op) {
  for (int32_t i = 0; i < op->count; i++) {
    const int32_t value = op->input_unsigned ? ((const uint8_t *)op->input)[i] : ((const int8_t *)op->input)[i];
    const int32_t scaled = rescale(value - op->input_zero_point, op->multiplier, op->shift) + op->output_zero_point;
    ((uint8_t *)op->output)[i] = (uint8_t)clamp(scaled, op->least, op->most);
  }
}

/* Halves away from zero; the value must lie within int32. */
static inline int32_t rounded(float value) {
  int32_t whole = (int32_t)value;
  const float rest = value - (float)whole;
  if (rest >= 0.5f) {
    whole++;
  } else if (rest <= -0.5f) {
    whole--;
  }
  return whole;
}

void quantize_float(const struct quantize_float *op) {
  const int32_t least = op->output_unsigned ? 0 : INT8_MIN;
  const int32_t most = op->output_unsigned ? UINT8_MAX : INT8_MAX;
  for (int32_t i = 0; i < op->count; i++) {
    const float scaled = op->input[i] / op->scale;
    /* Beyond these every zero point clamps; NaN counts as 0. */
    const float bounded = scaled > 1024.0f ? 1024.0f : scaled < -1024.0f ? -1024.0f : scaled == scaled ? scaled : 0.0f;
    ((uint8_t *)op->output)[i] = (uint8_t)clamp(rounded(bounded) + op->zero_point, least, most);
  }
}

void dequantize(const struct dequantize *op) {
  for (int32_t i = 0; i < op->count; i++) {
    const int32_t value = op->input_unsigned ? ((const uint8_t *)op->input)[i] : ((const int8_t *)op->input)[i];
    op->output[i] = op->scale * (float)(value - op->zero_point);
  }
}

void pad(const struct pad *op) {
  const int8_t *input = op->input;
  int8_t *output = op->output;
  for (int32_t i = 0; i < op->output_shape[0]; i++) {
    const int inside_0 = i >= op->before[0] && i < op->before[0] + op->shape[0];
    for (int32_t j = 0; j < op->output_shape[1]; j++) {
      const int inside_1 = inside_0 && j >= op->before[1] && j < op->before[1] + op->shape[1];
      for (int32_t k = 0; k < op->output_shape[2]; k++) {
        const int inside_2 = inside_1 && k >= op->before[2] && k < op->before[2] + op->shape[2];
        for (int32_t l = 0; l < op->output_shape[3]; l++) {
          const int inside = inside_2 && l >= op->before[3] && l < op->before[3] + op->shape[3];
          *output++ = inside ? *input++ : (int8_t)op->value;
        }
      }
    }
  }
}

void copy_rows(const struct copy_rows *op) {
  for (int32_t row = 0; row < op->rows; row++) {
    for (int32_t i = 0; i < op->row_bytes; i++) {
      op->output[row * op->output_row_bytes + i] = op->input[row * op->row_bytes + i];
    }
  }
}

/* exp(value) in Q0.31 for value <= 0 in Q5.26. */
static int32_t exponential(int32_t value) {
  enum { FRACTION = 26, INTEGER = 5, STEPS = 7 };
  static const int32_t factors[STEPS] = {
      /* exp(-2^k) for k = -2 to 4 */
      1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242,
  };
  const int32_t quarter = 1 << (FRACTION - 2);
  const int32_t rest = (value & (quarter - 1)) - quarter; /* in [-1/4, 0) */
  /* Taylor's series about -1/8, in Q0.31. */
  const int32_t x = shift_left(rest, INTEGER) + (1 << 28);
  const int32_t x2 = multiply_high(x, x);
  const int32_t x3 = multiply_high(x2, x);
  const int32_t x4 = multiply_high(x2, x2);
  const int32_t high = multiply_high(divide_by_power(x4, 2) + x3, 715827883) + x2; /* 1/3 */
  const int32_t at_centre = 1895147668;                                            /* exp(-1/8) */
  int32_t result = at_centre + multiply_high(at_centre, x + divide_by_power(high, 1));
  const int32_t remainder = rest - value;
  for (int32_t step = 0; step < STEPS; step++) {
    if (remainder & (1 << (FRACTION - 2 + step))) {
      result = multiply_high(result, factors[step]);
    }
  }
  return value == 0 ? INT32_MAX : result;
}

/* Saturated value * 2^bits. */
static inline int32_t shift_left_saturated(int32_t value, int32_t bits) {
  const int32_t limit = (int32_t)((1u << (31 - bits)) - 1u);
  return value > limit ? INT32_MAX : value < -limit ? INT32_MIN : shift_left(value, bits);
}

/* 1 / (1 + value) in Q0.31 for value in [0, 1) in Q0.31: three steps of Newton and Raphson on half the denominator. */
static int32_t reciprocal(int32_t value) {
  const int64_t total = (int64_t)value + INT32_MAX;
  const int32_t half = (int32_t)((total + (total >= 0 ? 1 : -1)) / 2);
  int32_t x = 1515870810 + multiply_high(half, -1010580540); /* 48/17 and -32/17 in Q2.29 */
  for (int step = 0; step < 3; step++) {
    const int32_t error = (1 << 29) - multiply_high(half, x);
    x += shift_left_saturated(multiply_high(x, error), 2);
  }
  return shift_left_saturated(x, 1);
}

void softmax(const struct softmax *op) {
  enum { SUM_INTEGER = 12 };
  const int8_t *input = op->input;
  int8_t *output = op->output;
  for (int32_t row = 0; row < op->rows; row++, input += op->depth, output += op->depth) {
    int32_t greatest = INT8_MIN;
    for (int32_t i = 0; i < op->depth; i++) {
      greatest = input[i] > greatest ? input[i] : greatest;
    }
    int32_t sum = 0; /* Q12.19 */
    for (int32_t i = 0; i < op->depth; i++) {
      const int32_t difference = input[i] - greatest;
      if (difference >= op->least_difference) {
        const int32_t scaled = multiply_high(shift_left(difference, op->left_shift), op->multiplier);
        sum += divide_by_power(exponential(scaled), SUM_INTEGER);
      }
    }
    const int32_t headroom = __builtin_clz((uint32_t)sum);
    const int32_t bits_over_one = SUM_INTEGER - headroom;
    const int32_t scale = reciprocal((int32_t)(((uint32_t)sum << headroom) - (1u << 31)));
    for (int32_t i = 0; i < op->depth; i++) {
      const int32_t difference = input[i] - greatest;
      int32_t value = INT8_MIN;
      if (difference >= op->least_difference) {
        const int32_t scaled = multiply_high(shift_left(difference, op->left_shift), op->multiplier);
        const int32_t product = multiply_high(scale, exponential(scaled));
        value = clamp(divide_by_power(product, bits_over_one + 31 - 8) + INT8_MIN, INT8_MIN, INT8_MAX);
      }
      output[i] = (int8_t)value;
    }
  }
}
