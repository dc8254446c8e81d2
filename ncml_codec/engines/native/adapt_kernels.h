// The gradient of a wave and the step of what learns from it, FORMAT.md, sections 4.4 and 4.5. Part
// of kernels.h.

#pragma once

#include <cmath>
#include <cstring>

#include "state.h"

namespace ncml {
namespace {

// The logistic function of z + 2^17, of 2^16.
inline int32_t logistic_of(const Network& net, int32_t z) {
  const int32_t entry = net.logistic[z >> 8];
  return (entry & ((1 << 17) - 1)) + (((entry >> 17) * (z & 255) + 128) >> 8);
}

// 2^(-20 - shift), made of its bits.
inline double scale_power(int32_t shift) {
  const uint64_t bits = uint64_t(1023 - 20 - shift) << 52;
  double power;
  std::memcpy(&power, &bits, sizeof power);
  return power;
}

// G by the outputs of one sub-pixel of value x. Each double operation rounds on its own. Loops go by
// whole vectors of components: beyond k a mixture is 0, and what they write there is written over.
inline void output_gradient(const Network& net, const Mixture& mixture, const int16_t* log_scales,
                            const int16_t* residual, int plane, int x, int16_t* to) {
  constexpr int together = 4, most = kComponentsMax;
  static_assert(most % together == 0, "a mixture holds whole vectors");
  constexpr int32_t end = 16 << 13;
  const int k = net.k, padded = round_up(k, together);
  double at[2][most], level[2][most], slope[2][most], share[most], mass[most];
  double total = 0;
  for (int a = 0; a < padded; ++a) {
    int32_t height[2];
    for (int side = 0; side < 2; ++side) {
      const int32_t position = 64 * (x + side) - 8224;
      const int32_t z = std::clamp<int32_t>(
          ((position - mixture.mean[a]) * mixture.mantissa[a]) >> mixture.shift[a], -end, end - 1);
      height[side] = logistic_of(net, z + end);
      at[side][a] = double(z);
    }
    if (x == 0) height[0] = 0;
    if (x == 255) height[1] = 1 << 16;
    level[0][a] = double(height[0]);
    level[1][a] = double(height[1]);
    mass[a] = double(mixture.weight[a]) * double(height[1] - height[0]);
    total += mass[a];
  }
  const double inverse = 1.0 / (total + 64.0);
  double gradient[3 * most + kPlanes];
  double *logit = gradient, *mean = gradient + k, *scale = gradient + 2 * k;
  for (int from = 0; from < padded; from += together) {
    for (int a = from; a < from + together; ++a) {
      const double weight = mixture.weight[a];
      share[a] = weight * inverse;
      logit[a] = weight * 0x1p-14 - mass[a] * inverse;
      for (int side = 0; side < 2; ++side)
        slope[side][a] = level[side][a] * (65536.0 - level[side][a]);
    }
  }
  for (int from = 0; from < padded; from += together) {
    for (int a = from; a < from + together; ++a)
      mean[a] = share[a] * (slope[1][a] - slope[0][a]) * double(mixture.mantissa[a]) *
                scale_power(mixture.shift[a]);
  }
  double centre = mean[0];
  for (int a = 1; a < k; ++a) centre = centre + mean[a];
  for (int from = 0; from < padded; from += together) {
    for (int a = from; a < from + together; ++a)
      scale[a] = share[a] * (at[1][a] * slope[1][a] - at[0][a] * slope[0][a]) * 0x1p-29;
  }
  for (int a = 0; a < k; ++a)
    if ((log_scales[a] <= -256 && scale[a] > 0) || (log_scales[a] >= 320 && scale[a] < 0))
      scale[a] = 0;
  for (int other = 0; other < plane; ++other)
    gradient[3 * k + other] = centre * double(residual[other]) * 0x1p-5;
  for (int output = 0; output < 3 * k + plane; ++output) {
    const double limited = std::min(std::max(gradient[output] * 512.0, -32767.0), 32767.0);
    to[output] = int16_t(std::floor(limited + 0.5));
  }
}

// sums[row][padded] = rows times columns over the wave's pixels, which lie in pairs: those of a row
// at a distance of `next_pair`, columns[pair][padded][2]. 32 bits hold the sum of so many pairs:
constexpr int kPairsAtOnce = 16;

template <class Simd, int M, int N>
void outer_tile(const int16_t* const* rows, ptrdiff_t next_pair, const int16_t* columns, int pairs,
                int padded, double* sums) {
  using V = typename Simd::V;
  constexpr int width = N * Simd::lanes;
  double total[M][width] = {};
  for (int begin = 0; begin < pairs; begin += kPairsAtOnce) {
    const int end = std::min(begin + kPairsAtOnce, pairs);
    V sum[M][N];
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) sum[m][n] = Simd::set(0);
    for (int pair = begin; pair < end; ++pair) {
      V w[N];
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n)
        w[n] = Simd::load_pairs(columns + (ptrdiff_t(pair) * padded + n * Simd::lanes) * 2);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const V a = Simd::broadcast_pair(rows[m] + next_pair * pair);
#pragma GCC unroll 8
        for (int n = 0; n < N; ++n) sum[m][n] = Simd::dot(sum[m][n], a, w[n]);
      }
    }
    for (int m = 0; m < M; ++m) {
      int32_t kept[width];
      for (int n = 0; n < N; ++n) Simd::store(kept + n * Simd::lanes, sum[m][n]);
      for (int lane = 0; lane < width; ++lane) total[m][lane] += double(kept[lane]);
    }
  }
  for (int m = 0; m < M; ++m) std::copy_n(total[m], width, sums + ptrdiff_t(m) * padded);
}

template <class Simd, int N>
void outer_rows(const int16_t* const* rows, ptrdiff_t next_pair, int count, const int16_t* columns,
                int pairs, int padded, double* sums) {
  constexpr int M = Simd::rows;
  int row = 0;
  for (; row + M <= count; row += M)
    outer_tile<Simd, M, N>(rows + row, next_pair, columns, pairs, padded, sums + ptrdiff_t(row) * padded);
  for (; row < count; ++row)
    outer_tile<Simd, 1, N>(rows + row, next_pair, columns, pairs, padded, sums + ptrdiff_t(row) * padded);
}

template <class Simd>
void outer(const int16_t* const* rows, ptrdiff_t next_pair, int count, const int16_t* columns,
           int pairs, int padded, double* sums) {
  const int groups = padded / Simd::lanes;
  for (int group = 0; group < groups;) {
    const int left = groups - group, turns = (left + Simd::columns - 1) / Simd::columns;
    const int taken = (left + turns - 1) / turns;
    const int16_t* from = columns + group * Simd::lanes * 2;
    double* to = sums + group * Simd::lanes;
    if (taken == 3)
      outer_rows<Simd, 3>(rows, next_pair, count, from, pairs, padded, to);
    else if (taken == 2)
      outer_rows<Simd, 2>(rows, next_pair, count, from, pairs, padded, to);
    else
      outer_rows<Simd, 1>(rows, next_pair, count, from, pairs, padded, to);
    group += taken;
  }
}

// Back through the leaky function of what had the sign of `before`.
inline void leak_back(int16_t* gradient, const int16_t* before, int count) {
  for (int at = 0; at < count; ++at)
    gradient[at] = before[at] < 0 ? int16_t(gradient[at] >> 3) : gradient[at];
}

// From the gradient by x to that by a and g of a block.
inline void gate_back_row(const Network& net, const Adaptation& adaptation, const int16_t* seen,
                          const int16_t* gradient, int16_t* to, int width) {
  for (int at = 0; at < width; ++at) {
    const int place = seen[width + at] + kActivationMax;
    const int rise = std::clamp((seen[at] * adaptation.slope[size_t(place)]) >> 4, -kGradientMax,
                                kGradientMax);
    to[at] = int16_t((gradient[at] * net.sigmoid[size_t(place)] + 1024) >> 11);
    to[width + at] = int16_t(
        std::clamp((gradient[at] * rise + 1024) >> 11, -kGradientMax, kGradientMax));
  }
}

// From the heads' hidden layers back through the blocks.
template <class Simd>
void body_gradient(State& state, Scratch& scratch, int planes, int begin, int end) {
  const Network& net = state.network;
  Adaptation& adaptation = *state.adaptation;
  const int count = end - begin, width = net.width_padded, row = state.first + begin;
  const int16_t* from[kPlanes];
  for (int plane = 0; plane < kPlanes; ++plane) {
    int16_t* inner = &scratch.inner[size_t(plane) * kChunk * net.trunk_padded];
    if (plane >= planes) std::fill_n(inner, ptrdiff_t(count) * net.trunk_padded, int16_t(0));
    from[plane] = inner;
  }
  int16_t *g = scratch.stream.data(), *gates = scratch.gates.data();
  int16_t *inner = scratch.hidden.data(), *own = scratch.own.data();
  apply<Simd>(adaptation.trunk_back, from, net.trunk_padded, count, g, width, scratch);
  leak_back(g, &state.features[size_t(begin) * width], count * width);
  for (size_t index = adaptation.blocks.size(); index-- > 0;) {
    AdaptiveBlock& block = adaptation.blocks[index];
    const int hidden = block.taps.padded();
    const int16_t* seen = &state.gates[index][size_t(begin) * 2 * width];
    for (int pixel = 0; pixel < count; ++pixel)
      gate_back_row(net, adaptation, seen + ptrdiff_t(pixel) * 2 * width, g + pixel * width,
                    gates + ptrdiff_t(pixel) * 2 * width, width);
    const int16_t* inputs[1] = {gates};
    apply<Simd>(block.gate_back, inputs, 2 * width, count, inner, hidden, scratch);
    leak_back(inner, &state.inner[index][size_t(begin) * hidden], count * hidden);
    interleave(gates, 2 * width, 2 * width, count,
               &block.gate.columns[size_t(begin) * 2 * width]);
    interleave(inner, hidden, hidden, count, &block.taps.columns[size_t(begin) * hidden]);
    if (adaptation.own < 0) continue;
    inputs[0] = inner;
    apply<Simd>(block.taps_back, inputs, hidden, count, own, width, scratch);
    leak_back(own, state.hidden[index].at(state.wave, 0, row), count * width);
    for (int at = 0; at < count * width; ++at)
      g[at] = int16_t(std::clamp(int(g[at]) + int(own[at]), -kGradientMax, kGradientMax));
  }
  interleave(g, width, width, count, &adaptation.first.columns[size_t(begin) * width]);
}

// The gradient of the pixels [begin, end), at most kChunk, by the outputs of all that learns.
template <class Simd>
void gradient(State& state, Scratch& scratch, int planes, int begin, int end) {
  const Network& net = state.network;
  Adaptation& adaptation = *state.adaptation;
  const int count = end - begin, hidden = net.trunk_padded;
  const int seen = adaptation.heads[0].trunk.inputs;
  interleave(&state.features[size_t(begin) * net.width_padded], net.width_padded, seen, count,
             &adaptation.features[size_t(begin) * seen]);
  int16_t* g = scratch.gradient.data();
  for (int plane = 0; plane < planes; ++plane) {
    AdaptiveHead& head = adaptation.heads[plane];
    const int outputs = head.out.padded(), own_hidden = head.trunk.padded();
    std::fill_n(g, ptrdiff_t(count) * outputs, int16_t(0));
    for (int pixel = begin; pixel < end; ++pixel) {
      const int x = state.samples.at(state.wave, 0, state.first + pixel)[plane] / 4 + 128;
      output_gradient(net, state.mixture(plane, pixel),
                      &state.log_scales[plane][size_t(pixel) * net.k],
                      &state.residual[size_t(pixel) * kQuad], plane, x,
                      g + ptrdiff_t(pixel - begin) * outputs);
    }
    const int16_t* inputs[1] = {g};
    int16_t* inner = &scratch.inner[size_t(plane) * kChunk * hidden];
    apply<Simd>(head.back, inputs, outputs, count, inner, hidden, scratch);
    const int16_t* z = &state.hidden_sums[plane][size_t(begin) * own_hidden];
    for (int pixel = 0; pixel < count; ++pixel)
      leak_back(inner + pixel * hidden, z + pixel * own_hidden, own_hidden);
    int16_t* active = scratch.trunk.data();
    leaky_row<Simd>(z, active, count * own_hidden);
    show(head.out, active, own_hidden, begin, count);
    interleave(g, outputs, outputs, count, &head.out.columns[size_t(begin) * outputs]);
    interleave(inner, hidden, own_hidden, count, &head.trunk.columns[size_t(begin) * own_hidden]);
    if (plane == 0) continue;
    const int features = head.earlier.inputs;
    residual_features(state, plane, begin, end, features, scratch.earlier.data());
    show(head.earlier, scratch.earlier.data(), features, begin, count);
    std::copy_n(&head.trunk.columns[size_t(begin) * own_hidden],
                size_t(round_up(count, 2)) * own_hidden,
                &head.earlier.columns[size_t(begin) * own_hidden]);
  }
  if (adaptation.body) body_gradient<Simd>(state, scratch, planes, begin, end);
}

// One step of Adam on a row of parameters.
struct Step {
  double count, first_scale, second_scale;
};

// used: the whole numbers in use from now on. GCC 12 does not make vectors of such a loop by itself.
template <class Simd>
void adam_row(Parameters& parameters, int input, const double* sums, const Step& step,
              int32_t* used) {
  using D = typename Simd::D;
  const size_t from = size_t(input) * parameters.padded;
  double *value = &parameters.value[from], *first = &parameters.first[from];
  double* second = &parameters.second[from];
  const double *low = &parameters.low[from], *high = &parameters.high[from];
  const D count = Simd::all(step.count), half = Simd::all(0.5);
  const D first_scale = Simd::all(step.first_scale), second_scale = Simd::all(step.second_scale);
  for (int at = 0; at < parameters.padded; at += Simd::doubles) {
    const D g = Simd::divide(Simd::load(sums + at), count);
    const D p = Simd::add(Simd::multiply(Simd::load(first + at), Simd::all(0.75)),
                          Simd::multiply(g, Simd::all(0.25)));
    const D q = Simd::add(Simd::multiply(Simd::load(second + at), Simd::all(0.984375)),
                          Simd::multiply(Simd::multiply(g, g), Simd::all(0.015625)));
    const D rate = Simd::multiply(Simd::load(&parameters.rate[size_t(at)]), first_scale);
    const D size = Simd::add(Simd::root(Simd::multiply(q, second_scale)), Simd::all(64.0));
    const D moved =
        Simd::subtract(Simd::load(value + at), Simd::divide(Simd::multiply(rate, p), size));
    const D kept = Simd::min(Simd::max(moved, Simd::load(low + at)), Simd::load(high + at));
    Simd::store(first + at, p);
    Simd::store(second + at, q);
    Simd::store(value + at, kept);
    Simd::store_floor(used + at, Simd::add(kept, half));
  }
}

template <class Simd>
void learn_biases(const State& state, Learner& learner, int pairs, const Step& step, double* sums) {
  const Adaptation& adaptation = *state.adaptation;
  const int padded = learner.padded();
  if (learner.biases.empty()) {
    const int16_t* ones = adaptation.ones.data();
    outer<Simd>(&ones, 2, 1, learner.columns.data(), pairs, padded, sums);
    adam_row<Simd>(learner.bias, 0, sums, step, learner.layer.bias.data());
    return;
  }
  for (int parity = 0; parity < 2; ++parity) {
    const int phase = 2 * parity + (state.wave & 1);
    const int16_t* these = adaptation.odd.data() + ((state.first + parity + 1) & 1);
    outer<Simd>(&these, 2, 1, learner.columns.data(), pairs, padded, sums);
    adam_row<Simd>(learner.bias, phase, sums, step, learner.biases[size_t(phase)].data());
  }
}

template <class Simd>
void learn_weights(Learner& learner, int input, int pairs, const Step& step, double* sums,
                   int32_t* used) {
  const int padded = learner.padded(), count = std::min(kUnitInputs, learner.inputs - input);
  const int16_t* rows[kUnitInputs];
  for (int row = 0; row < count; ++row) rows[row] = learner.row(input + row);
  outer<Simd>(rows, learner.next_pair, count, learner.columns.data(), pairs, padded, sums);
  for (int row = 0; row < count; ++row) {
    int32_t* now = used + ptrdiff_t(row) * padded;
    adam_row<Simd>(learner.weight, input + row, sums + ptrdiff_t(row) * padded, step, now);
    learner.look_back(input + row, now);
  }
  Layer& layer = learner.layer;
  for (int group = 0; group < layer.groups; ++group) {
    const size_t pair = size_t(group) * layer.segments * layer.pairs + input / 2;
    int16_t* __restrict to = &layer.weight[pair * Simd::lanes * 2];
    for (int row = 0; row < count; row += 2, to += Simd::lanes * 2) {
      const int32_t* __restrict even = used + ptrdiff_t(row) * padded + group * Simd::lanes;
      const int32_t* __restrict next = even + padded;
      for (int lane = 0; lane < Simd::lanes; ++lane) {
        to[2 * lane] = int16_t(even[lane]);
        to[2 * lane + 1] = int16_t(next[lane]);
      }
    }
  }
}

// Units [begin, end) of the step after a wave.
template <class Simd>
void learn(State& state, Scratch& scratch, int begin, int end) {
  const int pairs = (state.count + 1) / 2;
  for (int index = begin; index < end; ++index) {
    const Unit& unit = state.adaptation->units[size_t(index)];
    const Schedule& schedule = *unit.learner->schedule;
    const Step step = {double(state.count), schedule.first_scale, schedule.second_scale};
    if (unit.input < 0)
      learn_biases<Simd>(state, *unit.learner, pairs, step, scratch.sums.data());
    else
      learn_weights<Simd>(*unit.learner, unit.input, pairs, step, scratch.sums.data(),
                          scratch.in_use.data());
  }
}

}  // namespace
}  // namespace ncml
