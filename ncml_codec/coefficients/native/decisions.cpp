#include "decisions.h"

namespace ncml::coefficients {
namespace {

constexpr int ZERO = 0, NEGATIVE = 1, BELOW = 2, BITS = BELOW + DOUBLINGS;
constexpr int PRIOR = 4, MEMORY = 255, FRACTION = 8;
constexpr int GAIN_PRIOR = 20, GAIN_MEMORY = 1000, GAIN_BITS = 16;
constexpr int64_t LEAST_GAIN = -45875, MOST_GAIN = 65536;
constexpr int64_t BIAS_MAX = int64_t{4 * 256} << FRACTION;
constexpr int64_t MEAN_MAX = 1 << 22;
constexpr int32_t REACH = 1 << 17, Z_LIMIT = 16 << 13;
constexpr int LOW = -4 * 64, HIGH = 6 * 64;

int64_t floor_divided(int64_t a, int64_t b) {
  const int64_t quotient = a / b;
  return quotient - (a % b != 0 && a < 0);
}

int node_of_bits(int64_t middle) {
  if (middle >= 16) return NODES;
  return BITS + int(middle < 4 ? 0 : middle < 8 ? middle - 4 : middle - 5);
}

}  // namespace

Corrections::Corrections(int places, int nodes, bool learns) : nodes_(nodes), learns_(learns) {
  cells_.resize(size_t(1 + places * nodes));
  for (Cell& cell : cells_) {
    cell.variance = PRIOR << 16;
    cell.spread = GAIN_PRIOR << 16;
  }
}

bool Corrections::decide(Coder& coder, const Tables& tables, int place, int node, int64_t mass,
                         int64_t total, bool known) {
  // A double's quotient of numbers below 2**46 and 2**31 rounds down to the whole number's.
  int64_t probability = total > 0 ? int64_t(double(mass << 16) / double(total)) : 32768;
  probability = std::clamp<int64_t>(probability, LEAST, 65536 - LEAST);
  Cell& cell = cells_[node < nodes_ ? size_t(1 + place * nodes_ + node) : 0];
  const int64_t before = tables.stretch[size_t(probability >> 4)];
  int64_t logit = before + (before * cell.gain >> GAIN_BITS) + (cell.bias >> FRACTION);
  logit = std::clamp<int64_t>(logit, -LOGIT_MAX, LOGIT_MAX);
  probability = std::clamp<int64_t>(tables.squash[size_t(logit + LOGIT_MAX)], LEAST, 65536 - LEAST);
  const bool found = coder.code(int32_t(probability), known);
  if (learns_ && node < nodes_) {
    const int64_t surprise = (found ? 65536 : 0) - probability;
    const int64_t seen = probability * (65536 - probability) >> 16;
    if (!cell.seen) touched_.push_back(&cell);
    cell.surprise += int32_t(surprise);
    cell.seen += int32_t(seen);
    cell.gain_surprise += surprise * before;
    cell.gain_seen += seen * before * before >> 16;
  }
  return found;
}

void Corrections::learn() {
  for (Cell* cell : touched_) {
    const int32_t variance = cell->variance + cell->seen;
    const int64_t surprise = int64_t{cell->surprise} * (1 << (FRACTION + 8));
    const int64_t bias = cell->bias + floor_divided(surprise, variance);
    const int64_t spread = cell->spread + cell->gain_seen;
    const int64_t gain = cell->gain + floor_divided(cell->gain_surprise * 256, spread);
    cell->bias = int32_t(std::clamp(bias, -BIAS_MAX, BIAS_MAX));
    cell->variance = std::min(variance, MEMORY << 16);
    cell->gain = int32_t(std::clamp(gain, LEAST_GAIN, MOST_GAIN));
    cell->spread = int32_t(std::min<int64_t>(spread, GAIN_MEMORY << 16));
    cell->surprise = cell->seen = 0;
    cell->gain_surprise = cell->gain_seen = 0;
  }
  touched_.clear();
}

void Mixture::set(const int32_t* outputs, int components, int64_t linear, const Tables& tables) {
  count = components;
  int32_t largest = outputs[0];
  for (int i = 1; i < count; ++i) largest = std::max(largest, outputs[i]);
  int32_t sum = 0;
  for (int i = 0; i < count; ++i) {
    weight[i] = tables.exponential[size_t(std::min(largest - outputs[i], 1023))];
    sum += weight[i];
  }
  int32_t left = 1 << 14;
  for (int i = 0; i < count; ++i) {
    weight[i] = (weight[i] << 14) / sum;
    left -= weight[i];
    mean[i] = int32_t(std::clamp(outputs[count + i] + linear, -MEAN_MAX, MEAN_MAX));
    const size_t scale = size_t(std::clamp(outputs[2 * count + i], LOW, HIGH) - LOW);
    mantissa[i] = tables.scale_mantissa[scale];
    shift[i] = tables.scale_shift[scale];
  }
  weight[0] += left;
}

int64_t Mixture::below(int64_t bound, const Tables& tables) const {
  const auto position = int32_t(bound * 64 - 32);  // bounds have 18 bits
  int32_t total = 0;
  for (int i = 0; i < count; ++i) {
    const int32_t distance = std::clamp(position - mean[i], -REACH, REACH);
    const int32_t z = distance * mantissa[i] >> shift[i];
    const int32_t at = std::clamp(z, -Z_LIMIT, Z_LIMIT - 1) + Z_LIMIT;
    const int32_t low = tables.logistic[size_t(at >> 8)];
    const int32_t high = tables.logistic[size_t((at >> 8) + 1)];
    total += (low + (((high - low) * (at & 255) + 128) >> 8)) * weight[i];
  }
  return total;
}

void code_numbers(std::vector<Number*>& numbers, Coder& coder, Corrections& corrections, int place,
                  const Tables& tables) {
  const auto decide = [&](int node, int64_t mass, int64_t total, bool known) {
    return corrections.decide(coder, tables, place, node, mass, total, known);
  };
  std::vector<Number*> rows;
  for (Number* number : numbers) {
    number->below_zero = number->mixture.below(0, tables);
    number->up_to_zero = number->mixture.below(1, tables);
    const int64_t zero = number->up_to_zero - number->below_zero;
    number->value = 0;
    if (number->may_be_zero && decide(ZERO, zero, MASS, number->known == 0)) continue;
    rows.push_back(number);
  }
  corrections.learn();
  for (Number* number : rows) {
    const int64_t low = number->below_zero, above = MASS - number->up_to_zero;
    number->negative = decide(NEGATIVE, low, low + above, number->known < 0);
    number->lower = number->negative ? low : above;
    number->upper = 0;
    number->least = 0;
    number->width = 1;
    number->size = (number->known < 0 ? -number->known : number->known) - 1;
  }
  corrections.learn();
  std::vector<Number*> nonzero = rows, left;
  for (int doubling = 0; !rows.empty(); ++doubling) {
    if (doubling == DOUBLINGS) throw Damaged();
    const int64_t bound = int64_t{1} << doubling;
    left.clear();
    for (Number* number : rows) {
      const int64_t beyond = number->outside(bound, tables);
      if (decide(BELOW + doubling, number->lower - beyond, number->lower,
                 number->size < bound)) {
        number->upper = beyond;
        continue;
      }
      number->lower = beyond;
      number->least = number->width = bound;
      left.push_back(number);
    }
    corrections.learn();
    rows.swap(left);
  }
  for (Number* number : nonzero)
    if (number->width > 1) rows.push_back(number);
  while (!rows.empty()) {
    left.clear();
    for (Number* number : rows) {
      number->width >>= 1;
      const int64_t middle = number->least + number->width;
      const int64_t beyond = number->outside(middle, tables);
      if (decide(node_of_bits(middle), number->lower - beyond,
                 number->lower - number->upper, number->size < middle)) {
        number->upper = beyond;
      } else {
        number->lower = beyond;
        number->least = middle;
      }
      if (number->width > 1) left.push_back(number);
    }
    corrections.learn();
    rows.swap(left);
  }
  for (Number* number : nonzero)
    number->value = number->negative ? -number->least - 1 : number->least + 1;
}

}  // namespace ncml::coefficients
