// The loops of kernels.h for one instruction set; everything here is in an unnamed namespace. S has
// the operations: on sixteen sums, and on eight lanes of 32 bits.

#include "kernels.h"

// Sums stay in registers only if loops over them are gone early.
#if defined(UNROLL)
#elif defined(__GNUC__)
#define UNROLL _Pragma("GCC unroll 16")
#else
#define UNROLL
#endif

namespace ncml::coefficients {
namespace {

constexpr int32_t LOW = -4 * 64, HIGH = 6 * 64;

template <class I>
inline I clamped(I value, int32_t low, int32_t high) {
  return min(max(value, I::all(low)), I::all(high));
}

// GROUPS groups of outputs of ROWS rows at a time. PARTS sums of each, so that few rows do not wait
// for the products before.
template <class S, int GROUPS, int ROWS, int PARTS>
inline void product_tile(int32_t* sums, const Layer& layer, int group,
                         const int16_t* const* inputs) {
  const int pairs = layer.pairs;
  const int16_t* weight = layer.weight.data() + size_t(group) * size_t(pairs) * 2 * GROUP;
  typename S::Sums all[PARTS][GROUPS][ROWS];
  UNROLL for (int g = 0; g < GROUPS; ++g) UNROLL for (int r = 0; r < ROWS; ++r) {
    all[0][g][r] = S::load(layer.bias.data() + (group + g) * GROUP);
    UNROLL for (int part = 1; part < PARTS; ++part) all[part][g][r] = S::zero();
  }
  for (int pair = 0; pair < pairs; pair += PARTS)
    UNROLL for (int part = 0; part < PARTS; ++part) UNROLL for (int g = 0; g < GROUPS; ++g) {
      const auto w = S::weights(weight + (g * pairs + pair + part) * 2 * GROUP);
      UNROLL for (int r = 0; r < ROWS; ++r)
        S::dot(all[part][g][r], w, inputs[r] + 2 * (pair + part));
    }
  UNROLL for (int g = 0; g < GROUPS; ++g) UNROLL for (int r = 0; r < ROWS; ++r) {
    UNROLL for (int part = 1; part < PARTS; ++part) S::add(all[0][g][r], all[part][g][r]);
    S::store(sums + r * layer.width + (group + g) * GROUP, all[0][g][r]);
  }
}

template <class S, int GROUPS>
inline void product_rows(int32_t* sums, const Layer& layer, int group,
                         const int16_t* const* inputs, size_t n) {
  for (; n >= 4; n -= 4, inputs += 4, sums += 4 * layer.width)
    product_tile<S, GROUPS, 4, 1>(sums, layer, group, inputs);
  if (n == 3) product_tile<S, GROUPS, 3, 1>(sums, layer, group, inputs);
  if (n == 2) product_tile<S, GROUPS, 2, GROUPS == 1 ? 2 : 1>(sums, layer, group, inputs);
  if (n == 1) product_tile<S, GROUPS, 1, GROUPS == 1 ? S::PARTS : 2>(sums, layer, group, inputs);
}

template <class S>
void products(int32_t* sums, const Layer& layer, const int16_t* const* inputs, size_t n) {
  const int groups = layer.width / GROUP;
  int group = 0;
  for (; group + S::GROUPS <= groups; group += S::GROUPS)
    product_rows<S, S::GROUPS>(sums, layer, group, inputs, n);
  for (; group < groups; ++group) product_rows<S, 1>(sums, layer, group, inputs, n);
}

template <class S, int GROUPS>
inline void column_tile(int32_t* sums, const Columns& columns, int group, const Term* terms,
                        int count) {
  const int16_t* weight = columns.weight.data() + group * GROUP;
  typename S::Mixed all[GROUPS];
  UNROLL for (int g = 0; g < GROUPS; ++g) all[g] = S::mixed_zero();
  for (int t = 0; t < count; t += 2) {
    const int16_t* first = weight + ptrdiff_t(terms[t].column) * columns.width;
    const int16_t* second = weight + ptrdiff_t(terms[t + 1].column) * columns.width;
    const auto factors = S::pair(terms[t].factor, terms[t + 1].factor);
    UNROLL for (int g = 0; g < GROUPS; ++g)
      S::mixed_dot(all[g], first + g * GROUP, second + g * GROUP, factors);
  }
  UNROLL for (int g = 0; g < GROUPS; ++g) S::mixed_add(sums + (group + g) * GROUP, all[g]);
}

template <class S>
void columns(int32_t* sums, const Columns& columns, const Term* terms, int count) {
  const int groups = columns.width / GROUP;
  int group = 0;
  for (; group + S::COLUMN_GROUPS <= groups; group += S::COLUMN_GROUPS)
    column_tile<S, S::COLUMN_GROUPS>(sums, columns, group, terms, count);
  for (; group + 4 <= groups; group += 4) column_tile<S, 4>(sums, columns, group, terms, count);
  for (; group < groups; ++group) column_tile<S, 1>(sums, columns, group, terms, count);
}

template <class S>
inline typename S::Lanes shifted(const int32_t* sums, const Layer& layer, int at) {
  using I = typename S::Lanes;
  const I found = I::load(sums + at) >> I::load(layer.shift.data() + at);
  return clamped(found, -layer.limit, layer.limit);
}

template <class S>
void activate(int16_t* to, const int32_t* sums, const Layer& layer, size_t n) {
  using I = typename S::Lanes;
  for (size_t row = 0; row < n; ++row, to += layer.width, sums += layer.width)
    for (int at = 0; at < layer.width; at += LANES) {
      const I x = shifted<S>(sums, layer, at);
      max(x, x >> 3).store_short(to + at);
    }
}

template <class S>
void shift(int32_t* sums, const Layer& layer, size_t n) {
  for (size_t row = 0; row < n; ++row, sums += layer.width)
    for (int at = 0; at < layer.width; at += LANES) shifted<S>(sums, layer, at).store(sums + at);
}

template <class S>
inline typename S::Lanes below_position(const Mixtures& of, typename S::Lanes position,
                                        int components, const Tables& tables) {
  using I = typename S::Lanes;
  const int32_t* logistic = tables.logistic.data();
  I total = I::all(0);
  for (int c = 0; c < components; ++c) {
    const I distance = clamped(position - I::load(of.mean[c]), -REACH, REACH);
    const I z = distance * I::load(of.mantissa[c]) >> I::load(of.shift[c]);
    const I at = clamped(z, -Z_LIMIT, Z_LIMIT - 1) + I::all(Z_LIMIT);
    const I low = look_up(logistic, at >> 8), high = look_up(logistic + 1, at >> 8);
    const I between = ((high - low) * (at & I::all(255)) + I::all(128)) >> 8;
    total = total + (low + between) * I::load(of.weight[c]);
  }
  return total;
}

template <class S>
void mixtures(Mixtures* to, const int32_t* outputs, int stride, const int32_t* means, size_t n,
              int components, const Tables& tables) {
  using I = typename S::Lanes;
  for (size_t row = 0; row < n; row += LANES, ++to, outputs += LANES * stride, means += LANES) {
    for (int j = 0; j < components; ++j)
      for (int i = 0; i < LANES; ++i) {
        const int32_t* output = outputs + i * stride + j;
        to->weight[j][i] = output[0];
        to->mean[j][i] = output[components];
        to->shift[j][i] = output[2 * components];
      }
    I largest = I::load(to->weight[0]), sum = I::all(0), left = I::all(1 << 14);
    for (int j = 1; j < components; ++j) largest = max(largest, I::load(to->weight[j]));
    for (int j = 0; j < components; ++j) {
      const I at = min(largest - I::load(to->weight[j]), I::all(1023));
      const I weight = look_up(tables.exponential.data(), at);
      weight.store(to->weight[j]);
      sum = sum + weight;
    }
    const I mean = I::load(means);
    for (int j = 0; j < components; ++j) {
      const I weight = quotient(I::load(to->weight[j]) << 14, sum);
      left = left - weight;
      weight.store(to->weight[j]);
      clamped(I::load(to->mean[j]) + mean, -MEAN_MAX, MEAN_MAX).store(to->mean[j]);
      const I at = clamped(I::load(to->shift[j]), LOW, HIGH) - I::all(LOW);
      const I scale = look_up(tables.scale.data(), at);
      (scale & I::all(0xffff)).store(to->mantissa[j]);
      (scale >> 16).store(to->shift[j]);
    }
    (I::load(to->weight[0]) + left).store(to->weight[0]);
    below_position<S>(*to, I::all(-32), components, tables).store(to->below_zero);
    below_position<S>(*to, I::all(32), components, tables).store(to->up_to_zero);
  }
}

template <class S>
void below(Mixtures* of, size_t n, int components, const Tables& tables) {
  using I = typename S::Lanes;
  for (size_t row = 0; row < n; row += LANES, ++of)
    below_position<S>(*of, I::load(of->position), components, tables).store(of->below);
}

template <class S>
void probabilities(Round& round, const Tables& tables) {
  using I = typename S::Lanes;
  for (size_t at = 0; at < round.count; at += LANES) {
    const I share = share_of(I::load(round.mass.data() + at), I::load(round.total.data() + at));
    const I before = look_up(tables.stretch.data(), clamped(share, LEAST, 65536 - LEAST) >> 4);
    before.store(round.before.data() + at);
    const I logit = before + (before * I::load(round.gain.data() + at) >> 16) +
                    (I::load(round.bias.data() + at) >> 8);
    const I corrected = clamped(logit, -LOGIT_MAX, LOGIT_MAX) + I::all(LOGIT_MAX);
    const I found = look_up(tables.squash.data(), corrected);
    clamped(found, LEAST, 65536 - LEAST).store(round.probability.data() + at);
  }
}

template <class S>
void means(int32_t* to, const int16_t* const* blocks, int count, const int32_t* steps) {
  using I = typename S::Lanes;
  int bits = 0;
  while (1 << bits < count) ++bits;
  for (int k = 0; k < BLOCK; k += LANES) {
    const I step = I::load(steps + k), zero = I::all(0);
    I sum = zero, size = zero;
    for (int b = 0; b < count; ++b) {
      // Beyond this a product is clipped anyway, and steps are below 2**16.
      const I inside = clamped(I::load_short(blocks[b] + k), -DEQUANTISED_MAX, DEQUANTISED_MAX);
      const I value = clamped(inside * step, -DEQUANTISED_MAX, DEQUANTISED_MAX);
      sum = sum + value;
      size = size + max(value, zero - value);
    }
    if (1 << bits == count) {
      sum = sum >> bits;
      size = size >> bits;
    }
    sum.store(to + k);
    size.store(to + BLOCK + k);
  }
  if (1 << bits == count) return;
  for (int i = 0; i < 2 * BLOCK; ++i) to[i] = (to[i] - (to[i] < 0 ? count - 1 : 0)) / count;
}

template <class S>
Kernels kernels_of(const char* name) {
  return {name,        products<S>, columns<S>,       activate<S>, shift<S>,
          mixtures<S>, below<S>,    probabilities<S>, means<S>,    S::nonzero};
}

}  // namespace
}  // namespace ncml::coefficients
