// The network and its distributions in terms of a `Simd` type, which one file for each instruction
// set defines. Include it there, after the target of the code that follows has been set.
//
// Simd has `lanes`, `rows`, `columns`, a vector `V` of 32-bit integers and a `Q` of four 16-bit
// ones, a vector `D` of `doubles` doubles, no more than `lanes`, and the operations used below.
// `dot(sum, a, w)` adds to every lane of `sum` the product of two pairs of 16-bit integers.

#pragma once

#include <cmath>
#include <utility>

#include "state.h"

namespace ncml {
namespace {

// Sums of M pixels and N vectors of outputs, all kept in registers.
template <class Simd, int M, int N>
void tile(const Layer& layer, const int32_t* biases, int group, const int16_t* const* inputs,
          ptrdiff_t input_stride, int16_t* out, ptrdiff_t out_stride) {
  using V = typename Simd::V;
  constexpr int lanes = Simd::lanes;
  V sum[M][N];
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n) {
    const V bias = Simd::load(biases + (group + n) * lanes);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) sum[m][n] = bias;
  }
  const ptrdiff_t next_group = ptrdiff_t(layer.segments) * layer.pairs * lanes * 2;
  const int16_t* weight = layer.weight.data() + group * next_group;
  for (int segment = 0; segment < layer.segments; ++segment) {
    const int16_t* input = inputs[segment];
    for (int pair = 0; pair < layer.pairs; ++pair) {
      V w[N];
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) w[n] = Simd::load_pairs(weight + n * next_group);
#pragma GCC unroll 8
      for (int m = 0; m < M; ++m) {
        const V a = Simd::broadcast_pair(input + m * input_stride);
#pragma GCC unroll 8
        for (int n = 0; n < N; ++n) sum[m][n] = Simd::dot(sum[m][n], a, w[n]);
      }
      input += 2;
      weight += lanes * 2;
    }
  }
  const V limit = Simd::set(layer.limit), least = Simd::set(-layer.limit);
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n) {
    const V shift = Simd::load(layer.shift.data() + (group + n) * lanes);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const V value = Simd::max(Simd::min(Simd::shift_right(sum[m][n], shift), limit), least);
      Simd::store_narrow(out + m * out_stride + (group + n) * lanes, value);
    }
  }
}

template <class Simd, int M, int N>
void tile_of(int rows, const Layer& layer, const int32_t* biases, int group,
             const int16_t* const* inputs, ptrdiff_t input_stride, int16_t* out,
             ptrdiff_t out_stride) {
  if constexpr (M > 1) {
    if (rows < M) {
      tile_of<Simd, M - 1, N>(rows, layer, biases, group, inputs, input_stride, out, out_stride);
      return;
    }
  }
  tile<Simd, M, N>(layer, biases, group, inputs, input_stride, out, out_stride);
}

template <class Simd, int N>
void column(const Layer& layer, const int32_t* biases, int group, const int16_t* const* inputs,
            ptrdiff_t input_stride, int count, int16_t* out, ptrdiff_t out_stride,
            const int16_t** moved) {
  for (int segment = 0; segment < layer.segments; ++segment) moved[segment] = inputs[segment];
  for (int pixel = 0; pixel < count; pixel += Simd::rows) {
    tile_of<Simd, Simd::rows, N>(std::min(Simd::rows, count - pixel), layer, biases, group, moved,
                                 input_stride, out + pixel * out_stride, out_stride);
    for (int segment = 0; segment < layer.segments; ++segment)
      moved[segment] += Simd::rows * input_stride;
  }
}

// The layer applied to `count` pixels. Weights of a few outputs stay in the first cache while all
// pixels pass by. biases: the layer's own or others instead.
template <class Simd>
void apply(const Layer& layer, const int32_t* biases, const int16_t* const* inputs,
           ptrdiff_t input_stride, int count, int16_t* out, ptrdiff_t out_stride,
           Scratch& scratch) {
  const int16_t** moved = scratch.moved.data();
  for (int group = 0; group < layer.groups;) {
    const int left = layer.groups - group;
    const int turns = (left + Simd::columns - 1) / Simd::columns;
    const int columns = (left + turns - 1) / turns;
    if (columns == 3)
      column<Simd, 3>(layer, biases, group, inputs, input_stride, count, out, out_stride,
                      moved);
    else if (columns == 2)
      column<Simd, 2>(layer, biases, group, inputs, input_stride, count, out, out_stride,
                      moved);
    else
      column<Simd, 1>(layer, biases, group, inputs, input_stride, count, out, out_stride,
                      moved);
    group += columns;
  }
}

template <class Simd>
void apply(const Layer& layer, const int16_t* const* inputs, ptrdiff_t input_stride, int count,
           int16_t* out, ptrdiff_t out_stride, Scratch& scratch) {
  apply<Simd>(layer, layer.bias.data(), inputs, input_stride, count, out, out_stride, scratch);
}

template <class Simd>
typename Simd::V leaky(typename Simd::V value) {
  return Simd::max(value, Simd::template shift_right<3>(value));
}

template <class Simd>
void leaky_row(const int16_t* from, int16_t* to, int count) {
  for (int at = 0; at < count; at += Simd::lanes)
    Simd::store_narrow(to + at, leaky<Simd>(Simd::widen(from + at)));
}

// x + (a sigmoid(g) + 1/2), clipped; gates: a then g, `count` each.
template <class Simd>
void gate_row(const Network& net, const int16_t* gates, int16_t* x, int count) {
  using V = typename Simd::V;
  const V limit = Simd::set(kActivationMax), least = Simd::set(-kActivationMax);
  const V half = Simd::set(1 << 10);
  for (int at = 0; at < count; at += Simd::lanes) {
    const V index = Simd::add(Simd::widen(gates + count + at), limit);
    const V share = Simd::multiply(Simd::widen(gates + at),
                                   Simd::gather_narrow(net.sigmoid.data(), index));
    const V value = Simd::add(Simd::widen(x + at),
                              Simd::template shift_right<11>(Simd::add(share, half)));
    Simd::store_narrow(x + at, Simd::max(Simd::min(value, limit), least));
  }
}

// 2 W + N + NE of levels minus 128, by planes; at the borders what is inside stands in.
inline void refer(State& state, int pixel) {
  const int row = state.first + pixel, column = state.wave - 2 * row;
  const int16_t* west = state.samples.at(state.wave, 1, row);
  const int16_t* north = state.samples.at(state.wave, 2, row - 1);
  const int16_t* north_east = state.samples.at(state.wave, 1, row - 1);
  if (row == 0) north = north_east = west;
  if (column == 0) west = north;
  if (column == state.width - 1) north_east = north;
  int16_t* to = state.reference.data() + size_t(pixel) * kQuad;
  for (int plane = 0; plane < kPlanes; ++plane)
    to[plane] = int16_t((2 * west[plane] + north[plane] + north_east[plane]) >> 2);
  to[kPlanes] = 0;
}

// Inputs of the first layer for the pixels [begin, end). Each store of four values reaches one past
// its three, which the next one then overwrites.
template <class Simd>
void first_inputs(State& state, Scratch& scratch, int begin, int end) {
  using Q = typename Simd::Q;
  const Network& net = state.network;
  const int row = state.first + begin;
  const int16_t** window = scratch.window.data();
  for (const Tap& tap : net.window)
    *window++ = state.samples.at(state.wave, tap.lag(), row + tap.rows);
  const int16_t** near = scratch.near.data();
  for (const Tap& tap : net.near)
    *near++ = state.samples.at(state.wave, tap.lag(), row + tap.rows);
  const int16_t* west = state.samples.at(state.wave, 1, row) + kQuad;
  const int16_t* north = state.samples.at(state.wave, 2, row - 1) + kQuad;
  const int16_t* north_east = state.samples.at(state.wave, 1, row - 1) + kQuad;
  const ptrdiff_t finer = ptrdiff_t(net.near.size()) * kPlanes;
  for (int pixel = 0; pixel < end - begin; ++pixel) {
    int16_t* to = &scratch.inputs[size_t(pixel) * net.inputs_padded];
    const ptrdiff_t at = ptrdiff_t(pixel) * kSampleStride;
    const Q reference = Simd::load4(&state.reference[size_t(begin + pixel) * kQuad]);
    auto residual = [&](const int16_t* sample) {
      return Simd::and4(Simd::subtract4(Simd::load4(sample + at), reference),
                        Simd::load4(sample + at + kQuad));
    };
    for (const int16_t* sample : scratch.window) {
      Simd::store4(to, residual(sample));
      to += kPlanes;
    }
    // The finer gain's first value lies where the coarser one's last store reaches, so it comes
    // after it.
    int16_t* coarse = to;
    for (const int16_t* sample : scratch.near) {
      Simd::store4(coarse, Simd::template scaled_feature<2>(residual(sample)));
      coarse += kPlanes;
    }
    to += finer;
    for (const int16_t* sample : scratch.near) {
      Simd::store4(to, Simd::template scaled_feature<4>(residual(sample)));
      to += kPlanes;
    }
    Simd::store4(to, reference);
    to += kPlanes;
    to[0] = int16_t(128 & west[at]);
    to[1] = int16_t(128 & north[at]);
    to[2] = int16_t(128 & north_east[at]);
  }
}

// from[pixel][stride] to to[column][to_stride]; an odd last pixel is followed by 0.
inline void transpose(const int16_t* from, ptrdiff_t stride, int columns, int count, int16_t* to,
                      ptrdiff_t to_stride) {
  for (int column = 0; column < columns; ++column) {
    int16_t* __restrict row = to + column * to_stride;
    const int16_t* __restrict at = from + column;
    for (int pixel = 0; pixel < count; ++pixel) row[pixel] = at[pixel * stride];
    if (count & 1) row[count] = 0;
  }
}

// from[pixel][stride] to to[pair][columns][2]; an odd last pixel is paired with 0.
inline void interleave(const int16_t* from, ptrdiff_t stride, int columns, int count,
                       int16_t* to) {
  for (int pixel = 0; pixel < count; pixel += 2) {
    const int16_t* __restrict even = from + pixel * stride;
    const int16_t* __restrict next = even + stride;
    int16_t* __restrict pair = to + ptrdiff_t(pixel) * columns;
    if (pixel + 1 < count) {
      for (int column = 0; column < columns; ++column) {
        pair[2 * column] = even[column];
        pair[2 * column + 1] = next[column];
      }
    } else {
      for (int column = 0; column < columns; ++column) {
        pair[2 * column] = even[column];
        pair[2 * column + 1] = 0;
      }
    }
  }
}

// Keeps the inputs of a learner, [pixel][stride], for the sums over the wave.
inline void show(Learner& learner, const int16_t* inputs, ptrdiff_t stride, int begin, int count) {
  interleave(inputs, stride, learner.inputs, count, &learner.rows[size_t(begin) * learner.inputs]);
}

template <class Simd>
void body(State& state, Scratch& scratch, int begin, int end) {
  const Network& net = state.network;
  Adaptation* learns =
      state.adaptation && state.adaptation->body ? state.adaptation.get() : nullptr;
  const int count = end - begin, row = state.first + begin, width = net.width_padded;
  for (int pixel = begin; pixel < end; ++pixel) refer(state, pixel);
  first_inputs<Simd>(state, scratch, begin, end);
  std::vector<const int16_t*>& inputs = scratch.neighbours;
  inputs[0] = scratch.inputs.data();
  int16_t* x = scratch.x.data();
  apply<Simd>(learns ? learns->first.layer : net.first, inputs.data(), net.inputs_padded, count, x,
              width, scratch);
  if (learns)
    show(learns->first, scratch.inputs.data(), net.inputs_padded, begin, count);
  for (size_t index = 0; index < net.blocks.size(); ++index) {
    const Layer& taps = learns ? learns->blocks[index].taps.layer : net.blocks[index].taps;
    const Layer& gate = learns ? learns->blocks[index].gate.layer : net.blocks[index].gate;
    Ring& ring = state.hidden[index];
    leaky_row<Simd>(x, ring.at(state.wave, 0, row), count * width);
    for (size_t tap = 0; tap < net.neighbours.size(); ++tap) {
      const Tap& offset = net.neighbours[tap];
      inputs[tap] = ring.at(state.wave, offset.lag(), row + offset.rows);
    }
    const int hidden = taps.groups * Simd::lanes;
    int16_t* u = learns ? &state.inner[index][size_t(begin) * hidden] : scratch.hidden.data();
    int16_t* gates =
        learns ? &state.gates[index][size_t(begin) * 2 * width] : scratch.gates.data();
    apply<Simd>(taps, inputs.data(), width, count, u, hidden, scratch);
    leaky_row<Simd>(u, u, count * hidden);
    inputs[0] = u;
    apply<Simd>(gate, inputs.data(), hidden, count, gates, 2 * width, scratch);
    for (int pixel = 0; pixel < count; ++pixel)
      gate_row<Simd>(net, gates + ptrdiff_t(pixel) * 2 * width, x + pixel * width, width);
    if (learns) {
      TurnedRing& turned = state.turned[index];
      Learner& inner = learns->blocks[index].gate;
      transpose(ring.at(state.wave, 0, row), width, net.width, count,
                turned.at(state.wave, 0, row), turned.stride);
      show(inner, u, hidden, begin, count);
    }
  }
  leaky_row<Simd>(x, &state.features[size_t(begin) * width], count * width);
}

// The distribution function at `position` (64 v - 8224), of 2**30.
template <class Simd>
typename Simd::V cumulative(const Network& net, const Mixture& mixture,
                            typename Simd::V position) {
  using V = typename Simd::V;
  const V top = Simd::set((16 << 13) - 1), least = Simd::set(-(16 << 13));
  const V half = Simd::set(128), byte = Simd::set(255), value = Simd::set((1 << 17) - 1);
  V result = Simd::set(0);
  for (int a = 0; a < net.k; ++a) {
    V z = Simd::multiply(Simd::subtract(position, Simd::set(mixture.mean[a])),
                         Simd::set(mixture.mantissa[a]));
    z = Simd::max(Simd::min(Simd::shift_right_all(z, mixture.shift[a]), top), least);
    z = Simd::subtract(z, least);
    const V entry = Simd::gather(net.logistic.data(), Simd::template shift_right<8>(z));
    const V rise = Simd::multiply(Simd::template shift_right<17>(entry), Simd::both(z, byte));
    const V height = Simd::add(Simd::both(entry, value),
                               Simd::template shift_right<8>(Simd::add(rise, half)));
    result = Simd::add(result, Simd::multiply(height, Simd::set(mixture.weight[a])));
  }
  return result;
}

// F at the boundaries start, start + step, ..., 16 of them.
template <class Simd>
void cumulative16(const Network& net, const Mixture& mixture, int start, int step, int32_t* to) {
  static constexpr int32_t kRanks[kSymbols] = {0, 1, 2,  3,  4,  5,  6,  7,
                                               8, 9, 10, 11, 12, 13, 14, 15};
  for (int at = 0; at < kSymbols; at += Simd::lanes) {
    const auto rank = Simd::load(kRanks + at);
    const auto position = Simd::add(Simd::set(64 * start - 8224),
                                    Simd::multiply(rank, Simd::set(64 * step)));
    Simd::store(to + at, cumulative<Simd>(net, mixture, position));
  }
}

inline void mix(const Network& net, const int16_t* outputs, int plane, const int16_t* reference,
                const int16_t* residual, Mixture& mixture) {
  const int k = net.k;
  const int16_t *logits = outputs, *means = outputs + k, *scales = outputs + 2 * k;
  const int32_t largest = *std::max_element(logits, logits + k);
  uint32_t sum = 0;
  for (int a = 0; a < k; ++a) {
    mixture.weight[a] = net.exponential[std::min(largest - logits[a], 1023)];
    sum += uint32_t(mixture.weight[a]);
  }
  int32_t left = 1 << 14;
  for (int a = 0; a < k; ++a) {
    mixture.weight[a] = int32_t((uint32_t(mixture.weight[a]) << 14) / sum);
    left -= mixture.weight[a];
  }
  mixture.weight[0] += left;
  int32_t centre = 16 * reference[plane];
  for (int other = 0; other < plane; ++other) {
    const int32_t coefficient =
        std::clamp<int32_t>(outputs[3 * k + other], -kActivationMax, kActivationMax);
    centre += (coefficient * residual[other] + 8) >> 4;
  }
  for (int a = 0; a < k; ++a) {
    mixture.mean[a] = std::clamp<int32_t>(means[a] + centre, -16320, 16320);
    const int at = std::clamp<int32_t>(scales[a], -256, 320) + 256;
    mixture.mantissa[a] = net.scale_mantissa[at];
    mixture.shift[a] = net.scale_shift[at];
  }
}

constexpr int32_t kOne = 1 << 30;

}  // namespace
}  // namespace ncml

#include "colour_kernels.h"

namespace ncml {
namespace {

inline void differences(const int32_t* cumulative, float* to) {
  for (int n = 0; n < kSymbols; ++n) to[n] = float(cumulative[n + 1] - cumulative[n]);
}

// What heads see of the planes before this one, [pixel][stride].
inline void residual_features(const State& state, int plane, int begin, int end, int stride,
                              int16_t* to) {
  for (int pixel = begin; pixel < end; ++pixel, to += stride) {
    const int16_t* residual = &state.residual[size_t(pixel) * kQuad];
    int16_t* next = to;
    for (int other = 0; other < plane; ++other)
      for (const int gain : {4, 16, 1})
        *next++ = int16_t(std::clamp(residual[other] * gain, -kFeatureMax, kFeatureMax));
    if (next < to + stride) *next = 0;
  }
}

// The hidden layer of an adaptive head: every second row has the other phase's biases.
template <class Simd>
void adaptive_trunk(const State& state, const AdaptiveHead& head, int begin, int end, int16_t* z,
                    int hidden, Scratch& scratch) {
  const int width = state.network.width_padded;
  for (int turn = 0; turn < std::min(2, end - begin); ++turn) {
    const int pixel = begin + turn, row = state.first + pixel;
    const int16_t* inputs[1] = {&state.features[size_t(pixel) * width]};
    const int32_t* biases = head.trunk.biases[size_t(2 * (row & 1) + (state.wave & 1))].data();
    apply<Simd>(head.trunk.layer, biases, inputs, 2 * width, (end - pixel + 1) / 2, z + turn * hidden,
                2 * hidden, scratch);
  }
}

// A head's outputs, in scratch.outputs. z: what the hidden layer sees of the features, [pixel][hidden],
// to which the planes before this one are added. Returns the outputs' stride.
template <class Simd>
int head_outputs(const State& state, Scratch& scratch, int plane, const Layer& earlier,
                 const Layer& out, int16_t* z, int hidden, int begin, int end) {
  const int count = end - begin;
  const int16_t* inputs[1];
  int16_t *active = scratch.trunk.data(), *more = scratch.more.data();
  if (plane > 0) {
    const int stride = earlier.pairs * 2;
    residual_features(state, plane, begin, end, stride, scratch.earlier.data());
    inputs[0] = scratch.earlier.data();
    apply<Simd>(earlier, inputs, stride, count, more, hidden, scratch);
    const auto limit = Simd::set(kActivationMax), least = Simd::set(-kActivationMax);
    for (int at = 0; at < count * hidden; at += Simd::lanes) {
      const auto sum = Simd::add(Simd::widen(z + at), Simd::widen(more + at));
      Simd::store_narrow(z + at, Simd::max(Simd::min(sum, limit), least));
    }
  }
  leaky_row<Simd>(z, active, count * hidden);
  inputs[0] = active;
  const int stride = out.groups * Simd::lanes;
  apply<Simd>(out, inputs, hidden, count, scratch.outputs.data(), stride, scratch);
  return stride;
}

// The same by the model's own head.
template <class Simd>
int still_outputs(const State& state, Scratch& scratch, int plane, int begin, int end) {
  const Network& net = state.network;
  const Head& head = net.heads[plane];
  const int hidden = head.trunk.groups * Simd::lanes;
  const int16_t* inputs[1] = {&state.features[size_t(begin) * net.width_padded]};
  int16_t* z = scratch.trunk.data();
  apply<Simd>(head.trunk, inputs, net.width_padded, end - begin, z, hidden, scratch);
  return head_outputs<Simd>(state, scratch, plane, head.earlier, head.out, z, hidden, begin, end);
}

// And by a head that has learned, which keeps z.
template <class Simd>
int learned_outputs(State& state, Scratch& scratch, int plane, int begin, int end) {
  const AdaptiveHead& head = state.adaptation->heads[plane];
  const int hidden = head.trunk.layer.groups * Simd::lanes;
  int16_t* z = &state.hidden_sums[plane][size_t(begin) * hidden];
  adaptive_trunk<Simd>(state, head, begin, end, z, hidden, scratch);
  return head_outputs<Simd>(state, scratch, plane, head.earlier.layer, head.out.layer, z, hidden,
                            begin, end);
}

template <class Simd>
void high(State& state, Scratch& scratch, int plane, float* weights, int begin, int end) {
  const Network& net = state.network;
  const bool learned = state.adaptation != nullptr;
  const auto stages = stages_of(state, plane);
  const int stride = learned ? learned_outputs<Simd>(state, scratch, plane, begin, end)
                             : still_outputs<Simd>(state, scratch, plane, begin, end);
  for (int pixel = begin; pixel < end; ++pixel) {
    Mixture& mixture = state.mixture(plane, pixel);
    const int16_t* outputs = &scratch.outputs[size_t(pixel - begin) * stride];
    if (learned)
      std::copy_n(outputs + 2 * net.k, net.k, &state.log_scales[plane][size_t(pixel) * net.k]);
    mix(net, outputs, plane, &state.reference[size_t(pixel) * kQuad],
        &state.residual[size_t(pixel) * kQuad], mixture);
    cumulative16<Simd>(net, mixture, 16, 16, mixture.at + 1);
    mixture.at[0] = 0;
    mixture.at[kSymbols] = kOne;
    float* to = weights + size_t(pixel) * kSymbols;
    if (stages.first < stages.second) {
      coloured_high<Simd>(state, stages, mixture, pixel, to);
      continue;
    }
    int32_t counts[kSymbols + 1];
    for (int n = 0; n <= kSymbols; ++n) counts[n] = (mixture.at[n] >> 6) - (mixture.at[n] >> 26);
    differences(counts, to);
  }
}

template <class Simd>
void low(State& state, int plane, const int32_t* high, float* weights, int begin, int end) {
  const auto stages = stages_of(state, plane);
  for (int pixel = begin; pixel < end; ++pixel) {
    float* to = weights + size_t(pixel) * kSymbols;
    if (coloured_low<Simd>(state, stages, pixel, high[pixel], to)) continue;
    const Mixture& mixture = state.mixture(plane, pixel);
    int32_t at[kSymbols];
    cumulative16<Simd>(state.network, mixture, 16 * high[pixel], 1, at);
    at[0] = mixture.at[high[pixel]];
    const int64_t mass = mixture.at[high[pixel] + 1] - at[0];
    if (mass == 0) {
      std::fill_n(to, kSymbols, float((1 << 20) - 1));
      continue;
    }
    const int64_t reciprocal = (((int64_t(1) << 24) - kSymbols) << 36) / mass;
    int32_t counts[kSymbols + 1];
    for (int n = 0; n < kSymbols; ++n) counts[n] = int32_t((at[n] - at[0]) * reciprocal >> 36);
    counts[kSymbols] = (1 << 24) - kSymbols;
    differences(counts, to);
  }
}

// The counts of a sample's nibbles, multiplied, of 2^48: of x alone what `high` and `low` give of
// all, without colours.
template <class Simd>
int64_t sample_count(const Network& net, const Mixture& mixture, int x) {
  const int high = x >> 4, n = x & 15;
  const int boundaries[4] = {16 * high, 16 * high + 16, x, x + 1};
  int32_t position[Simd::lanes] = {}, at[Simd::lanes];
  for (int side = 0; side < 4; ++side) position[side] = 64 * boundaries[side] - 8224;
  Simd::store(at, cumulative<Simd>(net, mixture, Simd::load(position)));
  for (int side = 0; side < 4; ++side)
    at[side] = boundaries[side] == 0 ? 0 : boundaries[side] == 256 ? kOne : at[side];
  const int64_t above = (at[1] >> 6) - (at[1] >> 26) - ((at[0] >> 6) - (at[0] >> 26)) + 1;
  const int64_t mass = at[1] - at[0];
  if (mass == 0) return above << 20;
  const int64_t whole = (int64_t(1) << 24) - kSymbols, reciprocal = (whole << 36) / mass;
  const int64_t begin = int64_t(at[2] - at[0]) * reciprocal >> 36;
  const int64_t end = n == 15 ? whole : int64_t(at[3] - at[0]) * reciprocal >> 36;
  return above * (end - begin + 1);
}

// The code length of a plane's samples, now known, by the model's own head, in bits.
template <class Simd>
double still_bits(State& state, Scratch& scratch, int plane, int begin, int end) {
  const Network& net = state.network;
  const int stride = still_outputs<Simd>(state, scratch, plane, begin, end);
  Bits bits;
  for (int pixel = begin; pixel < end; ++pixel) {
    Mixture mixture;
    mix(net, &scratch.outputs[size_t(pixel - begin) * stride], plane,
        &state.reference[size_t(pixel) * kQuad], &state.residual[size_t(pixel) * kQuad], mixture);
    bits.add(double(sample_count<Simd>(net, mixture, state.level(plane, pixel))) * 0x1p-48);
  }
  return bits.sum();
}

}  // namespace
}  // namespace ncml

#include "adapt_kernels.h"

namespace ncml {
namespace {

template <class Simd>
int64_t peak(int64_t rounds) {
  using V = typename Simd::V;
  constexpr int M = Simd::rows, N = Simd::columns;
  alignas(64) static const int16_t values[64] = {1, 2, 3, 4, 5, 6, 7};
  V sum[M][N], w[N];
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n) {
    // Hidden, or the compiler would find all sums to be the same; by way of a variable, or it would
    // keep the whole array in memory.
    V weight = Simd::load_pairs(values);
    Simd::hide(weight);
    w[n] = weight;
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      V start = Simd::set(m + n);
      Simd::hide(start);
      sum[m][n] = start;
    }
  }
  const V a = Simd::broadcast_pair(values);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      V input = a;
      Simd::hide(input);  // or the products would be shared
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) sum[m][n] = Simd::dot(sum[m][n], input, w[n]);
    }
  }
  V all = Simd::set(0);
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) all = Simd::add(all, sum[m][n]);
  int32_t kept[Simd::lanes];
  Simd::store(kept, all);
  [[maybe_unused]] static volatile int32_t sink;  // so that the sums are needed
  sink = kept[0];
  return rounds * M * N * Simd::lanes * 2;
}

template <class Simd>
constexpr Kernels kernels_of(const char* name) {
  return {name,        Simd::lanes, Simd::rows, body<Simd>,
          high<Simd>, low<Simd>,   still_bits<Simd>, stage_bits, gradient<Simd>, learn<Simd>, peak<Simd>};
}

}  // namespace
}  // namespace ncml
