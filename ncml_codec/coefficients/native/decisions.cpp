#include "decisions.h"

#include <algorithm>
#include <cstdlib>

namespace ncml::coefficients {
namespace {

constexpr int ZERO = 0, NEGATIVE = 1, BELOW = 2, BITS = BELOW + DOUBLINGS;
constexpr int PRIOR = 4, MEMORY = 255, FRACTION = 8;
constexpr int GAIN_PRIOR = 20, GAIN_MEMORY = 1000;
constexpr int64_t LEAST_GAIN = -45875, MOST_GAIN = 65536;
constexpr int64_t BIAS_MAX = int64_t{4 * 256} << FRACTION;

int64_t floor_divided(int64_t a, int64_t b) {
  const int64_t quotient = a / b;
  return quotient - (a % b != 0 && a < 0);
}

int node_of_bits(int32_t middle) {
  if (middle >= 16) return NODES;
  return BITS + (middle < 4 ? 0 : middle < 8 ? middle - 4 : middle - 5);
}

// The mass below a position, of one of eight numbers.
int32_t below_one(const Mixtures& of, size_t lane, int32_t position, int components,
                  const Tables& tables) {
  int32_t total = 0;
  for (int c = 0; c < components; ++c) {
    const int32_t distance = std::clamp(position - of.mean[c][lane], -REACH, REACH);
    const int32_t z = distance * of.mantissa[c][lane] >> of.shift[c][lane];
    const int32_t at = std::clamp(z, -Z_LIMIT, Z_LIMIT - 1) + Z_LIMIT;
    const int32_t low = tables.logistic[size_t(at >> 8)];
    const int32_t high = tables.logistic[size_t((at >> 8) + 1)];
    total += (low + (((high - low) * (at & 255) + 128) >> 8)) * of.weight[c][lane];
  }
  return total;
}

}  // namespace

Corrections::Corrections(int places, int nodes, bool learns) : nodes_(nodes), learns_(learns) {
  cells_.resize(size_t(1 + places * nodes));
  for (Cell& cell : cells_) {
    cell.variance = PRIOR << 16;
    cell.spread = GAIN_PRIOR << 16;
  }
}

void Corrections::code(Coder& coder, const Kernels& kernels, const Tables& tables, Round& round) {
  for (size_t i = round.count; i % LANES; ++i) {
    round.mass[i] = 0;
    round.total[i] = 1;
    round.gain[i] = round.bias[i] = 0;
  }
  kernels.probabilities(round, tables);
  coder.code(round);
}

void Corrections::decide(Coder& coder, const Kernels& kernels, const Tables& tables, int place,
                         int node, Round& round) {
  if (!round.count) return;
  Cell& cell = cells_[cell_of(place, node)];
  std::fill_n(round.gain.begin(), round.count, cell.gain);
  std::fill_n(round.bias.begin(), round.count, cell.bias);
  code(coder, kernels, tables, round);
  if (!learns_ || node >= nodes_) return;
  Lesson lesson;
  for (size_t i = 0; i < round.count; ++i) add_lesson(lesson, round, i);
  learn(cell, lesson);
}

void Corrections::decide(Coder& coder, const Kernels& kernels, const Tables& tables, int place,
                         const int32_t* nodes, Round& round) {
  for (size_t i = 0; i < round.count; ++i) {
    const Cell& cell = cells_[cell_of(place, nodes[i])];
    round.gain[i] = cell.gain;
    round.bias[i] = cell.bias;
  }
  code(coder, kernels, tables, round);
  if (!learns_) return;
  for (size_t i = 0; i < round.count; ++i) {
    if (nodes[i] >= nodes_) continue;
    Cell& cell = cells_[cell_of(place, nodes[i])];
    if (!cell.lesson.seen) touched_.push_back(&cell);
    add_lesson(cell.lesson, round, i);
  }
  for (Cell* cell : touched_) {
    learn(*cell, cell->lesson);
    cell->lesson = Lesson();
  }
  touched_.clear();
}

void Corrections::learn(Cell& cell, const Lesson& lesson) {
  const int32_t variance = cell.variance + lesson.seen;
  const int64_t surprise = int64_t{lesson.surprise} * (1 << (FRACTION + 8));
  const int64_t bias = cell.bias + floor_divided(surprise, variance);
  const int64_t spread = cell.spread + lesson.gain_seen;
  const int64_t gain = cell.gain + floor_divided(lesson.gain_surprise * 256, spread);
  cell.bias = int32_t(std::clamp(bias, -BIAS_MAX, BIAS_MAX));
  cell.variance = std::min(variance, MEMORY << 16);
  cell.gain = int32_t(std::clamp(gain, LEAST_GAIN, MOST_GAIN));
  cell.spread = int32_t(std::min<int64_t>(spread, GAIN_MEMORY << 16));
}

void Numbers::reserve(size_t count) {
  const size_t size = size_t(padded(int(count), LANES));
  if (value.size() >= size) return;
  mixtures.resize(size / LANES);
  may_be_zero.resize(size);
  known.resize(size);
  value.resize(size);
  ranges_.resize(size);
  nonzero_.resize(size);
  left_.resize(size);
  next_.resize(size);
  nodes_.resize(size);
  round_.reserve(size);
}

// The mass of the numbers of this sign whose size less one is `bound` at least.
int32_t Numbers::outside(int32_t row, int32_t bound, int components, const Tables& tables) const {
  const bool negative = ranges_[size_t(row)].negative;
  const int32_t position = (negative ? -bound : bound + 1) * 64 - 32;
  const Mixtures& of = mixtures[size_t(row) / LANES];
  const int32_t below = below_one(of, size_t(row) % LANES, position, components, tables);
  return negative ? below : MASS - below;
}

void Numbers::code(size_t count, int components, Coder& coder, const Kernels& kernels,
                   Corrections& corrections, int place, const Tables& tables) {
  const bool encodes = coder.encodes();
  // Is it 0?
  size_t asked = 0;
  for (size_t i = 0; i < count; ++i) {
    const Mixtures& of = mixtures[i / LANES];
    round_.mass[asked] = of.up_to_zero[i % LANES] - of.below_zero[i % LANES];
    round_.total[asked] = MASS;
    round_.found[asked] = known[i] == 0;
    asked += may_be_zero[i];
  }
  round_.count = asked;
  corrections.decide(coder, kernels, tables, place, ZERO, round_);
  size_t rows = 0;
  asked = 0;
  for (size_t i = 0; i < count; ++i) {
    nonzero_[rows] = int32_t(i);
    rows += !(may_be_zero[i] & round_.found[asked]);
    asked += may_be_zero[i];
    value[i] = 0;
  }
  if (!rows) return;
  // Is it below 0?
  round_.count = rows;
  for (size_t i = 0; i < rows; ++i) {
    const size_t row = size_t(nonzero_[i]);
    const Mixtures& of = mixtures[row / LANES];
    round_.mass[i] = of.below_zero[row % LANES];
    round_.total[i] = round_.mass[i] + (MASS - of.up_to_zero[row % LANES]);
    round_.found[i] = known[row] < 0;
  }
  corrections.decide(coder, kernels, tables, place, NEGATIVE, round_);
  // Is its size 1?
  for (size_t i = 0; i < rows; ++i) {
    const size_t row = size_t(nonzero_[i]);
    Mixtures& of = mixtures[row / LANES];
    Range& range = ranges_[row];
    range.negative = round_.found[i];
    range.lower = range.negative ? round_.mass[i] : round_.total[i] - round_.mass[i];
    range.upper = range.least = 0;
    range.width = 1;
    of.position[row % LANES] = range.negative ? -96 : 96;
  }
  kernels.below(mixtures.data(), count, components, tables);
  const auto ask = [&](size_t i, Range& range, int32_t beyond, int32_t total, bool found) {
    round_.mass[i] = range.lower - beyond;
    round_.total[i] = total;
    round_.found[i] = found;
    range.upper = beyond;  // or `lower`, if the answer is no
  };
  const auto size = [&](size_t row) { return std::abs(known[row]) - 1; };
  for (size_t i = 0; i < rows; ++i) {
    const size_t row = size_t(nonzero_[i]);
    const int32_t below = mixtures[row / LANES].below[row % LANES];
    Range& range = ranges_[row];
    ask(i, range, range.negative ? below : MASS - below, range.lower, encodes && size(row) < 1);
  }
  corrections.decide(coder, kernels, tables, place, BELOW, round_);
  size_t larger = 0, left = 0;
  for (size_t i = 0; i < rows; ++i) {
    const int32_t row = nonzero_[i];
    Range& range = ranges_[size_t(row)];
    if (round_.found[i]) {
      value[size_t(row)] = range.negative ? -1 : 1;
      continue;
    }
    range.lower = range.upper;
    range.least = range.width = 1;
    nonzero_[larger++] = left_[left++] = row;
  }
  // Is it below 2, 4, 8, ...?
  for (int doubling = 1; left; ++doubling) {
    if (doubling == DOUBLINGS) throw Damaged();
    const int32_t bound = 1 << doubling;
    round_.count = left;
    for (size_t i = 0; i < left; ++i) {
      const size_t row = size_t(left_[i]);
      Range& range = ranges_[row];
      const int32_t beyond = outside(left_[i], bound, components, tables);
      range.width = range.least = bound >> 1;
      ask(i, range, beyond, range.lower, encodes && size(row) < bound);
    }
    corrections.decide(coder, kernels, tables, place, BELOW + doubling, round_);
    size_t next = 0;
    for (size_t i = 0; i < left; ++i) {
      Range& range = ranges_[size_t(left_[i])];
      if (round_.found[i]) continue;
      range.lower = range.upper;
      left_[next++] = left_[i];
    }
    left = next;
  }
  // The bits of the size below its highest one.
  for (size_t i = 0; i < larger; ++i)
    if (ranges_[size_t(nonzero_[i])].width > 1) left_[left++] = nonzero_[i];
  while (left) {
    round_.count = left;
    for (size_t i = 0; i < left; ++i) {
      const size_t row = size_t(left_[i]);
      Range& range = ranges_[row];
      range.width >>= 1;
      const int32_t middle = range.least + range.width;
      const int32_t total = range.lower - range.upper;
      nodes_[i] = node_of_bits(middle);
      next_[i] = outside(left_[i], middle, components, tables);
      round_.mass[i] = range.lower - next_[i];
      round_.total[i] = total;
      round_.found[i] = encodes && size(row) < middle;
    }
    corrections.decide(coder, kernels, tables, place, nodes_.data(), round_);
    size_t next = 0;
    for (size_t i = 0; i < left; ++i) {
      Range& range = ranges_[size_t(left_[i])];
      if (round_.found[i]) {
        range.upper = next_[i];
      } else {
        range.lower = next_[i];
        range.least += range.width;
      }
      if (range.width > 1) left_[next++] = left_[i];
    }
    left = next;
  }
  for (size_t i = 0; i < larger; ++i) {
    const Range& range = ranges_[size_t(nonzero_[i])];
    value[size_t(nonzero_[i])] = range.negative ? -range.least - 1 : range.least + 1;
  }
}

}  // namespace ncml::coefficients
