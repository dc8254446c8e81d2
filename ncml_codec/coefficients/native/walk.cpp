#include "walk.h"

#include <algorithm>
#include <cstdlib>

namespace ncml::coefficients {
namespace {

constexpr int DOWN[NEIGHBOURS] = {0, -1, -1, -1, 0, -2};
constexpr int ACROSS[NEIGHBOURS] = {-1, 0, -1, 1, -2, 0};

}  // namespace

Walk::Walk(const PlaneNetwork& network, const Tables& tables, const Plane& plane, bool learns)
    : network_(network),
      tables_(tables),
      plane_(plane),
      ends_(1, BLOCK, learns),
      numbers_(BLOCK, NODES, learns),
      first_bias_(network.first.bias) {
  const int width = network.first.outputs;
  int at = 2 * (NEAR * BLOCK + (NEIGHBOURS - NEAR) * network.far);
  const int16_t* columns = network.first.weight.data();
  for (int k = 0; k < BLOCK; ++k, ++at)
    add_scaled(first_bias_.data(), columns + size_t(at) * width,
               int16_t(logarithm(plane.steps[k] - 1)), width);
  if (network.chroma && plane.third)
    add_scaled(first_bias_.data(), columns + size_t(network.first.inputs - 1) * width, FLAG, width);
  for (int k = 0; k < BLOCK; ++k)
    reciprocals_[k] = ((int64_t{1} << 25) / plane.steps[k] + 1) >> 1;
}

void Walk::run(Coder& coder) {
  const int waves = plane_.columns + 2 * (plane_.rows - 1);
  for (int number = 0; number < waves; ++number) {
    size_t count = 0;
    const int first = std::max(0, (number - plane_.columns + 2) / 2);
    for (int row = first; row < plane_.rows && 2 * row <= number; ++row) {
      if (number - 2 * row >= plane_.columns) continue;
      if (blocks_.size() == count) blocks_.emplace_back();
      blocks_[count].row = row;
      blocks_[count].column = number - 2 * row;
      ++count;
    }
    if (count) wave(coder, count);
  }
}

void Walk::wave(Coder& coder, size_t count) {
  for (size_t i = 0; i < count; ++i) look_around(blocks_[i]);
  code_ends(coder, count);
  int last = 0;
  for (size_t i = 0; i < count; ++i) {
    start_heads(blocks_[i]);
    last = std::max(last, blocks_[i].end);
  }
  for (int place = 1; place <= last; ++place) code_place(coder, place, count);
  code_place(coder, 0, count);
  if (coder.encodes()) return;
  for (size_t i = 0; i < count; ++i) {
    const Block& block = blocks_[i];
    int16_t* to = plane_.blocks + (size_t(block.row) * plane_.columns + block.column) * BLOCK;
    for (int k = 0; k < BLOCK; ++k) {
      if (block.values[k] < -32768 || block.values[k] > 32767) throw Damaged();
      to[k] = int16_t(block.values[k]);
    }
  }
}

void Walk::look_around(Block& block) {
  const PlaneNetwork& network = network_;
  const int width = network.first.outputs;
  const int16_t* around[NEIGHBOURS];
  for (int role = 0; role < NEIGHBOURS; ++role) {
    const int row = block.row + DOWN[role], column = block.column + ACROSS[role];
    const bool inside = row >= 0 && column >= 0 && column < plane_.columns;
    around[role] =
        inside ? plane_.blocks + (size_t(row) * plane_.columns + column) * BLOCK : nullptr;
  }
  const int32_t west = around[0] ? around[0][0] : 0, north = around[1] ? around[1][0] : 0;
  block.level = around[0] && around[1] ? (west + north) >> 1 : west + north;
  sums_.assign(first_bias_.begin(), first_bias_.end());
  std::fill(block.linear, block.linear + BLOCK, 0);
  const int16_t* columns = network.first.weight.data();
  int at = 0;
  for (int role = 0; role < NEIGHBOURS; ++role) {
    const int values = role < NEAR ? BLOCK : network.far;
    if (const int16_t* block_there = around[role]) {
      for (int k = 0; k < BLOCK; ++k) {
        const int32_t value = k ? block_there[k] : block_there[0] - block.level;
        if (!value) continue;
        if (k < values) {
          const int column = at + (value > 0 ? 0 : values) + k;
          add_scaled(sums_.data(), columns + size_t(column) * width,
                     int16_t(logarithm(std::abs(value))), width);
        }
        add_linear(block.linear, role, k, dequantised(value, k));
      }
    }
    at += 2 * values;
  }
  at += BLOCK;
  for (int role = 0; role < NEIGHBOURS; ++role, ++at)
    if (around[role]) add_scaled(sums_.data(), columns + size_t(at) * width, FLAG, width);
  if (network.chroma) {
    const size_t place = size_t(block.row) * plane_.columns + block.column;
    if (plane_.cross) {
      const int32_t* cross = plane_.cross + place * 2 * BLOCK;
      for (int k = 0; k < BLOCK; ++k) {
        const int32_t mean = cross[k], size = cross[BLOCK + k];
        if (mean) {
          add_scaled(sums_.data(), columns + size_t(at + k) * width, int16_t(mean), width);
          add_linear(block.linear, NEIGHBOURS, k, mean);
        }
        if (size)
          add_scaled(sums_.data(), columns + size_t(at + BLOCK + k) * width,
                     int16_t(logarithm(size)), width);
      }
    }
    at += 2 * BLOCK;
    if (plane_.other) {
      const int16_t* other = plane_.other + place * BLOCK;
      for (int k = 0; k < BLOCK; ++k) {
        const int32_t value = other[k];
        if (!value) continue;
        const int column = at + (value > 0 ? 0 : BLOCK) + k;
        add_scaled(sums_.data(), columns + size_t(column) * width,
                   int16_t(logarithm(std::abs(value))), width);
        add_linear(block.linear, NEIGHBOURS + 1, k, dequantised(value, k));
      }
    }
  }
  block.features.resize(size_t(width));
  for (int i = 0; i < width; ++i)
    block.features[size_t(i)] = int16_t(leaky(network.first.shifted(sums_[size_t(i)], i)));
  // The masses of the block's end.
  sums_.assign(network.end.bias.begin(), network.end.bias.end());
  add_products(sums_.data(), network.end.weight.data(), block.features.data(), BLOCK, width);
  int32_t largest = network.end.shifted(sums_[0], 0);
  for (int i = 0; i < BLOCK; ++i) {
    sums_[size_t(i)] = network.end.shifted(sums_[size_t(i)], i);
    largest = std::max(largest, sums_[size_t(i)]);
  }
  block.masses.resize(BLOCK + 1);
  for (int i = 0; i < BLOCK; ++i)
    block.masses[size_t(i) + 1] =
        block.masses[size_t(i)] +
        tables_.exponential[size_t(std::min(largest - sums_[size_t(i)], 1023))];
}

void Walk::code_ends(Coder& coder, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    Block& block = blocks_[i];
    block.end = 0;
    std::fill(block.values, block.values + BLOCK, 0);
    if (!coder.encodes()) continue;
    const int16_t* from =
        plane_.blocks + (size_t(block.row) * plane_.columns + block.column) * BLOCK;
    for (int k = 0; k < BLOCK; ++k) block.values[k] = from[k];
  }
  std::vector<int> known(count, 0);
  if (coder.encodes())
    for (size_t i = 0; i < count; ++i)
      for (int k = LAST; k > 0; --k)
        if (blocks_[i].values[k]) {
          known[i] = k;
          break;
        }
  for (int level = 5; level >= 0; --level) {
    for (size_t i = 0; i < count; ++i) {
      Block& block = blocks_[i];
      const size_t middle = size_t(block.end) + (size_t{1} << level);
      const size_t end = size_t(block.end) + (size_t{2} << level);
      const int node = (block.end >> (level + 1)) + (1 << (5 - level));
      const bool higher = ends_.decide(coder, tables_, 0, node,
                                       block.masses[end] - block.masses[middle],
                                       block.masses[end] - block.masses[size_t(block.end)],
                                       known[i] >> level & 1);
      if (higher) block.end += 1 << level;
    }
    ends_.learn();
  }
}

void Walk::start_heads(Block& block) {
  const PlaneNetwork& network = network_;
  const Layer& second = network.second;
  sums_.assign(second.bias.begin(), second.bias.end());
  const int32_t* more = network.end_bias.data() + size_t(block.end) * second.outputs;
  for (int i = 0; i < second.outputs; ++i) sums_[size_t(i)] += more[i];
  add_products(sums_.data(), second.weight.data(), block.features.data(), second.outputs,
               second.inputs);
  block.features.resize(size_t(std::max(second.inputs, second.outputs)));
  for (int i = 0; i < second.outputs; ++i)
    block.features[size_t(i)] = int16_t(leaky(second.shifted(sums_[size_t(i)], i)));
  block.hidden.resize(size_t(network.hidden()));
  for (int k = 0; k < block.end; ++k) {
    const Layer& head = network.heads[size_t(k)];
    int32_t* sums = block.hidden.data() + network.at[size_t(k)];
    std::copy(head.bias.begin(), head.bias.end(), sums);
    add_products(sums, head.weight.data(), block.features.data(), head.outputs, second.outputs);
  }
  block.dc = network.dc_head.bias;
  add_products(block.dc.data(), network.dc_head.weight.data(), block.features.data(),
               network.dc_head.outputs, second.outputs);
}

void Walk::code_place(Coder& coder, int place, size_t count) {
  const Layer& head = place ? network_.heads[size_t(place - 1)] : network_.dc_head;
  const Layer& out = place ? network_.outs[size_t(place - 1)] : network_.dc_out;
  if (room_.size() < count) room_.resize(count);
  coded_.clear();
  active_.resize(size_t(head.outputs));
  for (size_t i = 0; i < count; ++i) {
    Block& block = blocks_[i];
    if (place && block.end < place) continue;
    const int32_t* sums =
        place ? block.hidden.data() + network_.at[size_t(place - 1)] : block.dc.data();
    for (int h = 0; h < head.outputs; ++h)
      active_[size_t(h)] = int16_t(leaky(head.shifted(sums[h], h)));
    sums_.assign(out.bias.begin(), out.bias.end());
    add_products(sums_.data(), out.weight.data(), active_.data(), out.outputs, out.inputs);
    for (int o = 0; o < out.outputs; ++o) sums_[size_t(o)] = out.shifted(sums_[size_t(o)], o);
    Number& number = room_[coded_.size()];
    const int64_t mean = block.linear[place] * reciprocals_[place] >> 31;
    number.mixture.set(sums_.data(), out.outputs / 3, mean, tables_);
    number.may_be_zero = !place || block.end > place;
    number.known = 0;
    if (coder.encodes()) number.known = block.values[place] - (place ? 0 : block.level);
    coded_.push_back(&number);
  }
  code_numbers(coded_, coder, numbers_, place, tables_);
  size_t next = 0;
  for (size_t i = 0; i < count; ++i) {
    Block& block = blocks_[i];
    if (place && block.end < place) {
      block.values[place] = 0;
      continue;
    }
    const int64_t value = room_[next++].value;
    block.values[place] = place ? value : value + block.level;
    if (place && value) add(block, place, value);
  }
}

void Walk::add(Block& block, int place, int64_t value) const {
  const PlaneNetwork& network = network_;
  const int16_t size = int16_t(logarithm(std::abs(value)));
  const size_t row = size_t((value > 0 ? 0 : LAST) + place - 1);
  const int from = network.at[size_t(place)];
  const int stop = network.at[size_t(block.end)];
  if (stop > from)
    add_scaled(block.hidden.data() + from, network.earlier.data() + row * network.hidden() + from,
               size, stop - from);
  const int dc = network.dc_head.outputs;
  add_scaled(block.dc.data(), network.dc_earlier.data() + row * dc, size, dc);
  add_linear(block.linear, network.roles(), place, dequantised(value, place));
}

int32_t Walk::logarithm(int64_t size) const {
  return tables_.logarithm[size_t(std::min<int64_t>(size, LOGARITHMS - 1))];
}

int32_t Walk::dequantised(int64_t value, int place) const {
  const int64_t whole = value * plane_.steps[place];
  return int32_t(std::clamp<int64_t>(whole, -DEQUANTISED_MAX, DEQUANTISED_MAX));
}

void Walk::add_linear(int32_t* sums, int role, int place, int32_t value) const {
  for (const auto& [output, weight] : network_.linear[size_t(role * BLOCK + place)])
    sums[output] += weight * value;
}

}  // namespace ncml::coefficients
