// The loops that take most of the time, each made for several instruction sets.
//
// Whole numbers only: every set computes the same.

#pragma once

#include "network.h"

namespace ncml::coefficients {

constexpr int LANES = 8;  // numbers at a time
constexpr int MOST = 8;   // components of a mixture
constexpr int LEAST = 8, LOGIT_MAX = 2815;
constexpr int32_t MEAN_MAX = 1 << 22, REACH = 1 << 17, Z_LIMIT = 16 << 13;
constexpr int32_t MASS = 1 << 30;

// An input that is not 0.
struct Term {
  int32_t column;
  int16_t factor;
};

// The mixtures of eight numbers, and what their first decisions need.
struct alignas(64) Mixtures {
  int32_t weight[MOST][LANES], mean[MOST][LANES], mantissa[MOST][LANES], shift[MOST][LANES];
  int32_t below_zero[LANES], up_to_zero[LANES];
  int32_t position[LANES], below[LANES];
};

// The decisions of a round, one behind the other, with space up to whole lanes.
struct Round {
  size_t count = 0;
  Aligned<int32_t> mass, total, gain, bias;
  Aligned<int32_t> before, probability;  // log-odds of the masses; what is coded, in 65536ths
  Aligned<uint8_t> found;

  void reserve(size_t numbers) {
    const size_t size = numbers + LANES;
    if (mass.size() >= size) return;
    for (Aligned<int32_t>* array : {&mass, &total, &gain, &bias, &before, &probability})
      array->resize(size);
    found.resize(size);
  }
};

// Sums over a round.
struct Lesson {
  int32_t surprise = 0, seen = 0;
  int64_t gain_surprise = 0, gain_seen = 0;
};

static inline void add_lesson(Lesson& to, const Round& round, size_t i) {
  const int32_t probability = round.probability[i], before = round.before[i];
  const int32_t surprise = (int32_t(round.found[i]) << 16) - probability;
  const uint32_t seen = uint32_t(probability) * uint32_t(65536 - probability) >> 16;
  to.surprise += surprise;
  to.seen += int32_t(seen);
  to.gain_surprise += surprise * before;
  to.gain_seen += int64_t(uint64_t{seen} * uint32_t(before * before) >> 16);
}

struct Kernels {
  const char* name;
  // sums[i] = bias + weights . inputs[i], for n rows of `layer.width` sums.
  void (*products)(int32_t* sums, const Layer& layer, const int16_t* const* inputs, size_t n);
  // sums += weights . terms. terms: `count` of them, and one more of factor 0.
  void (*columns)(int32_t* sums, const Columns& columns, const Term* terms, int count);
  // leaky(clip(sums >> shift)), n rows of `layer.width`.
  void (*activate)(int16_t* to, const int32_t* sums, const Layer& layer, size_t n);
  // clip(sums >> shift), in place.
  void (*shift)(int32_t* sums, const Layer& layer, size_t n);
  // From outputs of heads, n rows of `stride`, and the means of the linear path; zeros stand behind
  // them, up to whole lanes.
  void (*mixtures)(Mixtures* to, const int32_t* outputs, int stride, const int32_t* means, size_t n,
                   int components, const Tables& tables);
  // The masses below positions.
  void (*below)(Mixtures* of, size_t n, int components, const Tables& tables);
  // From masses, totals, gains and biases.
  void (*probabilities)(Round& round, const Tables& tables);
  // Means of what blocks hold when dequantised, rounded down, and of their magnitudes: [2][64].
  void (*means)(int32_t* to, const int16_t* const* blocks, int count, const int32_t* steps);
  // Which of a block's coefficients are not 0.
  uint64_t (*nonzero)(const int16_t* block);
};

// Fastest first.
const std::vector<const Kernels*>& available_kernels();

}  // namespace ncml::coefficients
