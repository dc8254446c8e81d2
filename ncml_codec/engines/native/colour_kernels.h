// Counts of levels weighed by colours, FORMAT.md, section 6.1. Part of kernels.h.

#pragma once

#include <cmath>

#include "state.h"

namespace ncml {
namespace {

constexpr double kWhole = 0x1p24;  // of masses, and of counts

// The first of a plane's stages, and the one after the last.
inline std::pair<Stage*, Stage*> stages_of(State& state, int plane) {
  if (!state.colours) return {nullptr, nullptr};
  std::vector<Stage>& all = state.colours->stages;
  Stage *first = all.data(), *end = first + all.size();
  while (first < end && first->plane < plane) ++first;
  Stage* last = first;
  while (last < end && last->plane == plane) ++last;
  return {first, last};
}

inline size_t place_of(const Stage& stage, State& state, int pixel) {
  return stage.place(state.level(0, pixel), stage.plane > 1 ? state.level(1, pixel) : 0);
}

// The masses of 16 levels after the factors of their cells; returns the sum.
template <class Simd>
double weigh(const Stage& stage, size_t cell, const int32_t* levels, double* to) {
  using D = typename Simd::D;
  const D whole = Simd::all(kWhole), prior = Simd::all(stage.prior);
  const D most = Simd::all(0x1p12), least = Simd::all(0x1p-12);
  for (int at = 0; at < kSymbols; at += Simd::doubles) {
    const D seen = Simd::multiply(Simd::load_whole(stage.seen.data() + cell + at), whole);
    const D expected = Simd::load(stage.expected.data() + cell + at);
    const D ratio = Simd::divide(Simd::add(seen, prior), Simd::add(expected, prior));
    const D factor = Simd::min(Simd::max(ratio, least), most);
    Simd::store(to + at, Simd::floor(Simd::multiply(Simd::load_whole(levels + at), factor)));
  }
  double sum = 0;
  for (int n = 0; n < kSymbols; ++n) sum += to[n];
  return sum;
}

// Weights in proportion to 16 masses.
inline void mass_weights(const double* masses, double sum, float* to) {
  if (sum == 0) {
    std::fill_n(to, kSymbols, float((1 << 20) - 1));
    return;
  }
  const double scale = (kWhole - kSymbols) / sum;
  double before = 0, start = 0;
  for (int n = 0; n < kSymbols; ++n) {
    before += masses[n];
    const double end = n == kSymbols - 1 ? kWhole - kSymbols : std::floor(before * scale);
    to[n] = float(end - start);
    start = end;
  }
}

// The masses of a mixture's groups, a bit for each that is open.
inline uint32_t open_groups(const Mixture& mixture, double* groups) {
  uint32_t open = 0;
  for (int n = 0; n < kSymbols; ++n) {
    const int32_t mass = (mixture.at[n + 1] >> 6) - (mixture.at[n] >> 6);
    groups[n] = double(mass);
    if (mass >= kOpenMass) open |= 1u << n;
  }
  return open;
}

// Those of the levels of a group.
template <class Simd>
void level_masses(const Network& net, const Mixture& mixture, int group, int32_t* to) {
  int32_t at[kSymbols + 1];
  cumulative16<Simd>(net, mixture, 16 * group, 1, at);
  at[0] = mixture.at[group];
  at[kSymbols] = mixture.at[group + 1];
  for (int n = 0; n < kSymbols; ++n) to[n] = (at[n + 1] >> 6) - (at[n] >> 6);
}

// Scaled so that the sum is 2^24, less what rounding down takes; levels become the masses of open
// groups.
template <class Simd>
void scale_masses(uint32_t open, double sum, const double* masses, double* groups,
                  int32_t* levels) {
  using D = typename Simd::D;
  const double scale = kWhole / sum;
  for (int n = 0; n < kSymbols; ++n) {
    if (!(open >> n & 1)) {
      groups[n] = std::floor(groups[n] * scale);
      continue;
    }
    for (int at = n * kSymbols; at < (n + 1) * kSymbols; at += Simd::doubles) {
      const D scaled = Simd::multiply(Simd::load(masses + at), Simd::all(scale));
      Simd::store_floor(levels + at, scaled);
    }
  }
}

// Weights of a pixel's high nibbles, by all stages of its plane.
template <class Simd>
void coloured_high(State& state, const std::pair<Stage*, Stage*>& stages, const Mixture& mixture,
                   int pixel, float* weights) {
  double groups[kSymbols], masses[kLevels], sum = 0;
  const uint32_t open = open_groups(mixture, groups);
  for (Stage* stage = stages.first; stage < stages.second; ++stage) {
    Weighed& weighed = stage->weighed[size_t(pixel)];
    const size_t cell = place_of(*stage, state, pixel);
    if (stage > stages.first)
      scale_masses<Simd>(open, sum, masses, groups, weighed.levels);
    sum = 0;
    for (int n = 0; n < kSymbols; ++n) {
      if (open >> n & 1) {
        const int at = n * kSymbols;
        if (stage == stages.first)
          level_masses<Simd>(state.network, mixture, n, weighed.levels + at);
        groups[n] = weigh<Simd>(*stage, cell + at, weighed.levels + at, masses + at);
      }
      weighed.groups[n] = groups[n];
      sum += groups[n];
    }
    weighed.open = open;
    weighed.sum = sum;
  }
  mass_weights(groups, sum, weights);
}

// Weights of a pixel's low nibbles, if the group of the high one is open.
template <class Simd>
bool coloured_low(State& state, const std::pair<Stage*, Stage*>& stages, int pixel, int high,
                  float* weights) {
  if (stages.first == stages.second) return false;
  const Stage& last = stages.second[-1];
  const Weighed& weighed = last.weighed[size_t(pixel)];
  if (!(weighed.open >> high & 1)) return false;
  const int at = high * kSymbols;
  double masses[kSymbols];
  const size_t cell = place_of(last, state, pixel) + size_t(at);
  const double sum = weigh<Simd>(last, cell, weighed.levels + at, masses);
  mass_weights(masses, sum, weights);
  return true;
}

// Sums of -log2 of shares of at least 2^-48 each, many of which one double holds.
class Bits {
 public:
  void add(double share) {
    product_ *= share;
    if (++factors_ == 16) flush();
  }
  double sum() {
    flush();
    return bits_;
  }

 private:
  void flush() {
    bits_ -= std::log2(product_);
    product_ = 1;
    factors_ = 0;
  }
  double bits_ = 0, product_ = 1;
  int factors_ = 0;
};

// A share of 2^-24 at least, as counts give it, but for their rounding.
inline double share_of(double mass, double sum) {
  return sum == 0 ? 0x1p-4 : (mass / sum * (kWhole - kSymbols) + 1) / kWhole;
}

// The share of a level x after a stage. low: of its low nibble, if the group is closed.
inline double share_after(const Stage& stage, State& state, int pixel, int x, double low) {
  const Weighed& weighed = stage.weighed[size_t(pixel)];
  const int high = x / kSymbols;
  const double above = share_of(weighed.groups[high], weighed.sum);
  if (!(weighed.open >> high & 1)) return above * low;
  const size_t cell = place_of(stage, state, pixel) + size_t(x);
  const double ratio = (double(stage.seen.data()[cell]) * kWhole + stage.prior) /
                       (stage.expected.data()[cell] + stage.prior);
  const double mass =
      std::floor(double(weighed.levels[x]) * std::min(std::max(ratio, 0x1p-12), 0x1p12));
  return above * share_of(mass, weighed.groups[high]);
}

// And before the first one.
inline double share_before(const Stage& stage, const Mixture& mixture, int pixel, int x,
                           double low) {
  const Weighed& weighed = stage.weighed[size_t(pixel)];
  const int high = x / kSymbols;
  const double group = (mixture.at[high + 1] >> 6) - (mixture.at[high] >> 6);
  const double above = share_of(group, kWhole);
  return above * (weighed.open >> high & 1 ? share_of(weighed.levels[x], group) : low);
}

// Adds the code lengths of a plane's samples, now known, without colours, after its first stage and
// so on; the last one from the weights of their nibbles, [pixel][16].
inline void stage_bits(State& state, int plane, const float* high, const float* low, int begin,
                       int end, double* to) {
  const auto [first, last] = stages_of(state, plane);
  const int count = int(last - first);
  Bits bits[1 + kStagesMax];
  for (int pixel = begin; pixel < end; ++pixel) {
    const int x = state.level(plane, pixel);
    const size_t row = size_t(pixel) * kSymbols;
    const double below = (double(low[row + x % kSymbols]) + 1) / kWhole;
    bits[count].add((double(high[row + x / kSymbols]) + 1) / kWhole * below);
    for (int stage = 1; stage < count; ++stage)
      bits[stage].add(share_after(first[stage - 1], state, pixel, x, below));
    if (count > 0)
      bits[0].add(share_before(*first, state.mixture(plane, pixel), pixel, x, below));
  }
  for (int stage = 0; stage <= count; ++stage) to[stage] += bits[stage].sum();
}

}  // namespace
}  // namespace ncml
