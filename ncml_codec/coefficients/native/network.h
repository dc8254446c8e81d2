// The network of integers of ncml_codec/coefficients/network.py, laid out for speed; equal to the bit.
//
// Who makes one has proved its sums (network.check), so 32 bits hold all of them.

#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace ncml::coefficients {

constexpr int BLOCK = 64, LAST = 63, NEIGHBOURS = 6, NEAR = 2;
constexpr int ACTIVATION_MAX = 2047, DEQUANTISED_MAX = 2047, LOGARITHMS = 2048, FLAG = 64;

// clip((weight a + bias) >> shift); weights row by row.
struct Layer {
  int inputs = 0, outputs = 0;
  int32_t limit = ACTIVATION_MAX;
  std::vector<int16_t> weight;
  std::vector<int32_t> bias, shift;

  int32_t shifted(int32_t sum, int output) const {
    const int32_t value = sum >> shift[size_t(output)];
    return value < -limit ? -limit : value > limit ? limit : value;
  }
};

struct Tables {
  std::vector<int32_t> logarithm, exponential, scale_mantissa, scale_shift, logistic;
  std::vector<int32_t> stretch, squash;  // of ncml_codec/context_mixing/logits.py
};

struct PlaneNetwork {
  bool chroma = false;
  int far = 0;
  // Of `first` the weights are column by column, since most inputs are 0. Of heads, and of DC's,
  // weights are of the trunk's features; those of earlier coefficients are columns.
  Layer first, end, second, dc_head, dc_out;
  std::vector<int32_t> end_bias;  // [64][second's outputs]
  std::vector<Layer> heads, outs;
  std::vector<int> at;  // [64], where each head's hidden units begin among all
  std::vector<int16_t> earlier, dc_earlier;  // [2][63][hidden units of all], [2][63][DC's]
  // Of every role and input coefficient, with those of the block itself at last.
  std::vector<std::vector<std::pair<int, int32_t>>> linear;  // [roles * 64]: output, weight

  int hidden() const { return at[LAST]; }
  int roles() const { return NEIGHBOURS + (chroma ? 2 : 0); }
};

// sums[o] += weight[o] . inputs, for `outputs` rows of `count` weights.
void add_products(int32_t* sums, const int16_t* weight, const int16_t* inputs, int outputs,
                  int count);
// sums[i] += factor * weight[i]
void add_scaled(int32_t* sums, const int16_t* weight, int16_t factor, int count);

inline int32_t leaky(int32_t x) { return x < 0 ? x >> 3 : x; }

}  // namespace ncml::coefficients
