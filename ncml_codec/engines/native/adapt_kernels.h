// The gradient of a wave and the step of the heads' parameters, FORMAT.md, section 4.4. Part of
// kernels.h.

#pragma once

#include <cmath>

#include "state.h"

namespace ncml {
namespace {

// The logistic function of z + 2^17, of 2^16.
inline int32_t logistic_of(const Network& net, int32_t z) {
  const int32_t entry = net.logistic[z >> 8];
  return (entry & ((1 << 17) - 1)) + (((entry >> 17) * (z & 255) + 128) >> 8);
}

inline int16_t rounded_gradient(double gradient) {
  const double limited = std::min(std::max(gradient * 512.0, -32767.0), 32767.0);
  return int16_t(std::floor(limited + 0.5));
}

// G by the outputs of one sub-pixel of value x. Each double operation rounds on its own.
inline void output_gradient(const Network& net, const Mixture& mixture, const int16_t* log_scales,
                            const int16_t* residual, int plane, int x, int16_t* to) {
  const int k = net.k;
  constexpr int32_t end = 16 << 13;
  int32_t at[2][kComponentsMax];
  double slope[2][kComponentsMax], mass[kComponentsMax];
  double total = 0;
  for (int a = 0; a < k; ++a) {
    int32_t level[2];
    for (int side = 0; side < 2; ++side) {
      const int32_t position = 64 * (x + side) - 8224;
      at[side][a] = std::clamp<int32_t>(
          ((position - mixture.mean[a]) * mixture.mantissa[a]) >> mixture.shift[a], -end, end - 1);
      level[side] = logistic_of(net, at[side][a] + end);
    }
    if (x == 0) level[0] = 0;
    if (x == 255) level[1] = 1 << 16;
    for (int side = 0; side < 2; ++side)
      slope[side][a] = double(level[side]) * double(65536 - level[side]);
    mass[a] = double(mixture.weight[a]) * double(level[1] - level[0]);
    total += mass[a];
  }
  const double inverse = 1.0 / (total + 64.0);
  double centre = 0;
  for (int a = 0; a < k; ++a) {
    const double weight = mixture.weight[a];
    const double share = weight * inverse;
    const double logit = weight * 0x1p-14 - mass[a] * inverse;
    const double mean = share * (slope[1][a] - slope[0][a]) * double(mixture.mantissa[a]) *
                        std::ldexp(0x1p-20, -mixture.shift[a]);
    double scale =
        share * (double(at[1][a]) * slope[1][a] - double(at[0][a]) * slope[0][a]) * 0x1p-29;
    if ((log_scales[a] <= -256 && scale > 0) || (log_scales[a] >= 320 && scale < 0)) scale = 0;
    centre = a == 0 ? mean : centre + mean;
    to[a] = rounded_gradient(logit);
    to[k + a] = rounded_gradient(mean);
    to[2 * k + a] = rounded_gradient(scale);
  }
  for (int other = 0; other < plane; ++other)
    to[3 * k + other] = rounded_gradient(centre * double(residual[other]) * 0x1p-5);
}

// sums[row][padded] += rows^T columns over the chunk's pixels, which lie in pairs: rows[row][pixel],
// columns[pair][padded][2]. At most kChunk pixels, so that 32 bits hold their sum.
template <class Simd, int M, int N>
void outer_tile(const int16_t* rows, const int16_t* columns, int pairs, int padded, double* sums) {
  using V = typename Simd::V;
  V sum[M][N];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) sum[m][n] = Simd::set(0);
  for (int pair = 0; pair < pairs; ++pair) {
    V w[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n)
      w[n] = Simd::load_pairs(columns + (ptrdiff_t(pair) * padded + n * Simd::lanes) * 2);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const V a = Simd::broadcast_pair(rows + m * kChunk + 2 * pair);
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) sum[m][n] = Simd::dot(sum[m][n], a, w[n]);
    }
  }
  for (int m = 0; m < M; ++m)
    for (int n = 0; n < N; ++n) {
      int32_t kept[Simd::lanes];
      Simd::store(kept, sum[m][n]);
      double* to = sums + ptrdiff_t(m) * padded + n * Simd::lanes;
      for (int lane = 0; lane < Simd::lanes; ++lane) to[lane] += double(kept[lane]);
    }
}

template <class Simd, int N>
void outer_rows(const int16_t* rows, int count, const int16_t* columns, int pairs, int padded,
                double* sums) {
  constexpr int M = Simd::rows;
  int row = 0;
  for (; row + M <= count; row += M)
    outer_tile<Simd, M, N>(rows + row * kChunk, columns, pairs, padded,
                           sums + ptrdiff_t(row) * padded);
  for (; row < count; ++row)
    outer_tile<Simd, 1, N>(rows + row * kChunk, columns, pairs, padded,
                           sums + ptrdiff_t(row) * padded);
}

template <class Simd>
void outer(const int16_t* rows, int count, const int16_t* columns, int pairs, int padded,
           double* sums) {
  const int groups = padded / Simd::lanes;
  for (int group = 0; group < groups;) {
    const int left = groups - group;
    const int16_t* from = columns + group * Simd::lanes * 2;
    double* to = sums + group * Simd::lanes;
    if (left >= 3) {
      outer_rows<Simd, 3>(rows, count, from, pairs, padded, to);
      group += 3;
    } else if (left == 2) {
      outer_rows<Simd, 2>(rows, count, from, pairs, padded, to);
      group += 2;
    } else {
      outer_rows<Simd, 1>(rows, count, from, pairs, padded, to);
      group += 1;
    }
  }
}

// from[pixel][stride], `columns` of them, to to[column][kChunk]; pixels beyond `count` are 0.
inline void transpose(const int16_t* from, ptrdiff_t stride, int columns, int count, int16_t* to) {
  const int even = round_up(count, 2);
  for (int column = 0; column < columns; ++column) {
    int16_t* row = to + column * kChunk;
    for (int pixel = 0; pixel < count; ++pixel) row[pixel] = from[pixel * stride + column];
    if (count < even) row[count] = 0;
  }
}

// from[pixel][stride] to to[pair][columns][2]; pixels beyond `count` are 0.
inline void interleave(const int16_t* from, ptrdiff_t stride, int columns, int count,
                       int16_t* to) {
  for (int pixel = 0; pixel < count; pixel += 2) {
    const int16_t *even = from + pixel * stride, *odd = even + stride;
    int16_t* pair = to + ptrdiff_t(pixel) * columns;
    if (pixel + 1 < count) {
      for (int column = 0; column < columns; ++column) {
        pair[2 * column] = even[column];
        pair[2 * column + 1] = odd[column];
      }
    } else {
      for (int column = 0; column < columns; ++column) {
        pair[2 * column] = even[column];
        pair[2 * column + 1] = 0;
      }
    }
  }
}

// Add the gradient of the wave's pixels [begin, end), at most kChunk, to the thread's sums.
template <class Simd>
void gradient(State& state, Scratch& scratch, int thread, int planes, int begin, int end) {
  const Network& net = state.network;
  Adaptation& adaptation = *state.adaptation;
  const int count = end - begin, pairs = (count + 1) / 2;
  transpose(&state.features[size_t(begin) * net.width_padded], net.width_padded, net.width, count,
            scratch.rows.data());
  for (int plane = 0; plane < planes; ++plane) {
    const AdaptiveHead& head = adaptation.heads[plane];
    HeadSums& sums = adaptation.sums[thread][plane];
    const int hidden = head.trunk_weight.padded, outputs = head.out_weight.padded;
    const int stride = std::max(head.back.pairs * 2, outputs);
    int16_t* g = scratch.gradient.data();
    std::fill_n(g, ptrdiff_t(count) * stride, int16_t(0));
    for (int pixel = 0; pixel < count; ++pixel) {
      const size_t here = size_t(begin + pixel);
      const int x = state.samples.at(state.wave, 0, state.first + begin + pixel)[plane] / 4 + 128;
      output_gradient(net, state.mixture(plane, begin + pixel),
                      &state.log_scales[plane][here * net.k], &state.residual[here * kQuad], plane,
                      x, g + pixel * stride);
    }
    const int16_t* inputs[1] = {g};
    int16_t* inner = scratch.inner.data();
    apply<Simd>(head.back, head.back.bias.data(), inputs, stride, count, inner, hidden, scratch);
    const int16_t* z = &state.hidden_sums[plane][size_t(begin) * hidden];
    int16_t* active = scratch.trunk.data();
    for (int at = 0; at < count * hidden; ++at)
      inner[at] = z[at] < 0 ? int16_t(inner[at] >> 3) : inner[at];
    leaky_row<Simd>(z, active, count * hidden);

    int16_t *columns = scratch.columns.data(), *turned = scratch.turned.data();
    interleave(g, stride, outputs, count, columns);
    transpose(active, hidden, head.hidden, count, turned);
    outer<Simd>(turned, head.hidden, columns, pairs, outputs, sums.out.data());
    for (int pixel = 0; pixel < count; ++pixel)
      for (int output = 0; output < outputs; ++output)
        sums.out_bias[output] += double(g[pixel * stride + output]);

    interleave(inner, hidden, hidden, count, columns);
    outer<Simd>(scratch.rows.data(), net.width, columns, pairs, hidden, sums.trunk.data());
    if (plane > 0) {
      const int features = plane * kFeatures;
      int16_t* earlier = scratch.earlier.data();
      residual_features(state, plane, begin, end, features, earlier);
      transpose(earlier, features, features, count, turned);
      outer<Simd>(turned, features, columns, pairs, hidden, sums.earlier.data());
    }
    for (int pixel = 0; pixel < count; ++pixel) {
      double* to = &sums.trunk_bias[size_t((state.first + begin + pixel) & 1) * hidden];
      for (int at = 0; at < hidden; ++at) to[at] += double(inner[pixel * hidden + at]);
    }
  }
}

// One step of Adam on a row of parameters; `sums` are taken from all threads and cleared.
struct Step {
  double count, first_scale, second_scale;
};

inline void adam_row(Parameters& parameters, int input, double* sum, const Step& step) {
  const size_t from = size_t(input) * parameters.padded;
  double* __restrict value = &parameters.value[from];
  double* __restrict first = &parameters.first[from];
  double* __restrict second = &parameters.second[from];
  const double* __restrict low = &parameters.low[from];
  const double* __restrict high = &parameters.high[from];
  const double* __restrict rate = parameters.rate.data();
  const double* __restrict sums = sum;
  for (int at = 0; at < parameters.padded; ++at) {
    const double g = sums[at] / step.count;
    const double p = first[at] * 0.75 + g * 0.25;
    const double q = second[at] * 0.984375 + (g * g) * 0.015625;
    const double moved =
        value[at] - ((rate[at] * step.first_scale) * p) / (std::sqrt(q * step.second_scale) + 16.0);
    first[at] = p;
    second[at] = q;
    const double bounded = moved < low[at] ? low[at] : moved;
    value[at] = bounded > high[at] ? high[at] : bounded;
  }
}

// The sum over threads of a row; theirs are cleared.
template <class Member>
double* gather(Adaptation& adaptation, int plane, size_t from, int count, Member member,
               double* to) {
  std::fill_n(to, count, 0.0);
  for (std::vector<HeadSums>& thread : adaptation.sums) {
    double* part = (thread[plane].*member).data() + from;
    for (int at = 0; at < count; ++at) to[at] += part[at];
    std::fill_n(part, count, 0.0);
  }
  return to;
}

inline void in_use(const Parameters& parameters, int input, int32_t* to) {
  const double* value = &parameters.value[size_t(input) * parameters.padded];
  for (int at = 0; at < parameters.padded; ++at) to[at] = int32_t(std::floor(value[at] + 0.5));
}

// Two inputs of a matrix: their step, and their weights in use.
template <class Member>
void step_pair(Adaptation& adaptation, Parameters& parameters, Layer& layer, int lanes,
               const Unit& unit, Member member, const Step& step, Scratch& scratch) {
  const int padded = parameters.padded, even = 2 * unit.pair;
  double* sum = scratch.row_sums.data();
  int32_t* used = scratch.in_use.data();
  std::fill_n(used, 2 * padded, 0);
  for (int input = even; input < std::min(even + 2, parameters.inputs); ++input) {
    gather(adaptation, unit.plane, size_t(input) * padded, padded, member, sum);
    adam_row(parameters, input, sum, step);
    in_use(parameters, input, used + (input - even) * padded);
  }
  for (int group = 0; group < layer.groups; ++group) {
    int16_t* to = &layer.weight[(size_t(group) * layer.pairs + unit.pair) * lanes * 2];
    const int32_t* from = used + group * lanes;
    for (int lane = 0; lane < lanes; ++lane) {
      to[2 * lane] = int16_t(from[lane]);
      to[2 * lane + 1] = int16_t(from[padded + lane]);
    }
  }
}

// Units [begin, end) of the step after a wave.
template <class Simd>
void update(State& state, Scratch& scratch, int begin, int end) {
  Adaptation& adaptation = *state.adaptation;
  for (int index = begin; index < end; ++index) {
    const Unit& unit = adaptation.units[index];
    AdaptiveHead& head = adaptation.heads[unit.plane];
    const Step step = {double(state.count), head.first_scale, head.second_scale};
    double* sum = scratch.row_sums.data();
    switch (unit.of) {
      case Unit::Of::kTrunk:
        step_pair(adaptation, head.trunk_weight, head.trunk, Simd::lanes, unit, &HeadSums::trunk,
                  step, scratch);
        break;
      case Unit::Of::kEarlier:
        step_pair(adaptation, head.earlier_weight, head.earlier, Simd::lanes, unit,
                  &HeadSums::earlier, step, scratch);
        break;
      case Unit::Of::kOut:
        step_pair(adaptation, head.out_weight, head.out, Simd::lanes, unit, &HeadSums::out, step,
                  scratch);
        for (int input = 2 * unit.pair; input < std::min(2 * unit.pair + 2, head.hidden); ++input)
          head.look_back(input);
        break;
      case Unit::Of::kBias:
        for (int row = 0; row < 2; ++row) {
          const int phase = 2 * row + (state.wave & 1), padded = head.trunk_biases.padded;
          gather(adaptation, unit.plane, size_t(row) * padded, padded, &HeadSums::trunk_bias, sum);
          adam_row(head.trunk_biases, phase, sum, step);
          in_use(head.trunk_biases, phase, head.trunk_bias[phase].data());
        }
        gather(adaptation, unit.plane, 0, head.out_bias.padded, &HeadSums::out_bias, sum);
        adam_row(head.out_bias, 0, sum, step);
        in_use(head.out_bias, 0, head.out.bias.data());
        break;
    }
  }
}

}  // namespace
}  // namespace ncml
