#include "walk.h"

#include <algorithm>
#include <cstdlib>

namespace ncml::coefficients {
namespace {

constexpr int DOWN[NEIGHBOURS] = {0, -1, -1, -1, 0, -2};
constexpr int ACROSS[NEIGHBOURS] = {-1, 0, -1, 1, -2, 0};
constexpr int LEVELS = 6;  // of decisions about an end

// The place of the highest bit, or 0.
int last_of(uint64_t which) {
  int place = 0;
  for (int half = 32; half; half >>= 1)
    if (which >> half) {
      which >>= half;
      place += half;
    }
  return place;
}

int first_of(uint64_t which) {
#if defined(__GNUC__)
  return __builtin_ctzll(which);
#else
  return last_of(which & (~which + 1));
#endif
}

// Of the first plane's blocks on a side, those at the place of a block of this one.
int blocks_across(int first, int own) { return std::max(1, (2 * first + own) / (2 * own)); }

}  // namespace

Walk::Walk(const Kernels& kernels, const PlaneNetwork& network, const Tables& tables,
           const Plane& plane, bool learns)
    : kernels_(kernels),
      network_(network),
      tables_(tables),
      plane_(plane),
      ends_(1, BLOCK, learns),
      numbers_(BLOCK, NODES, learns),
      first_bias_(network.first.bias),
      nonzero_(size_t(plane.rows) * size_t(plane.columns)) {
  int at = 2 * (NEAR * BLOCK + (NEIGHBOURS - NEAR) * network.far);
  for (int k = 0; k < BLOCK; ++k)
    terms_.add(at + k, logarithm(plane.steps[k] - 1));
  if (network.chroma && plane.third) terms_.add(network.first.inputs - 1, FLAG);
  add_terms(first_bias_.data(), network.first_columns, terms_);
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
      Block& block = blocks_[count];
      block.row = row;
      block.column = number - 2 * row;
      block.place = size_t(row) * size_t(plane_.columns) + size_t(block.column);
      ++count;
    }
    if (count) wave(coder, count);
  }
}

void Walk::reserve(size_t count) {
  if (nodes_.size() >= count) return;
  const size_t size = size_t(padded(int(count), LANES));
  int widest = std::max({network_.first.width, network_.end.width, network_.second.width});
  for (const Head& head : network_.heads)
    widest = std::max({widest, head.hidden.width, head.out.width});
  first_.resize(size * size_t(network_.first.width));
  second_.resize(size * size_t(network_.second.width));
  sums_.resize(size * size_t(widest));
  active_.resize(size * size_t(widest));
  means_.resize(size);
  inputs_.resize(size);
  nodes_.resize(size);
  round_.reserve(size);
  room_.reserve(size);
}

void Walk::wave(Coder& coder, size_t count) {
  reserve(count);
  start_ends(count);
  code_ends(coder, count);
  start_heads(count);
  rows_.clear();
  for (size_t i = 0; i < count; ++i) rows_.push_back(i);
  for (int place = 1; place <= LAST; ++place) {
    const auto is_over = [&](size_t row) { return blocks_[row].end < place; };
    rows_.erase(std::remove_if(rows_.begin(), rows_.end(), is_over), rows_.end());
    if (rows_.empty()) break;
    code_place(coder, place);
  }
  rows_.clear();
  for (size_t i = 0; i < count; ++i) rows_.push_back(i);
  code_place(coder, 0);
  for (size_t i = 0; i < count; ++i) {
    const Block& block = blocks_[i];
    int16_t* to = plane_.blocks + block.place * BLOCK;
    if (!coder.encodes())
      for (int k = 0; k < BLOCK; ++k) {
        if (block.values[k] < -32768 || block.values[k] > 32767) throw Damaged();
        to[k] = int16_t(block.values[k]);
      }
    nonzero_[block.place] = kernels_.nonzero(to);
  }
}

// The sums of a list of terms, which is then empty.
void Walk::add_terms(int32_t* sums, const Columns& columns, Terms& terms) const {
  terms.list[terms.count] = {0, 0};
  kernels_.columns(sums, columns, terms.list, terms.count);
  terms.count = 0;
}

// Terms of a block's coefficients, of which `which` are not 0; of DC the difference from `level`.
// In the first layer `values` of positive ones, from `column` on, come before negative ones.
void Walk::gather(const int16_t* block, uint64_t which, int32_t level, int role, int column,
                  int values) {
  Term* term = terms_.list + terms_.count;
  Term* linear = linear_terms_.list + linear_terms_.count;
  const int32_t* logarithms = tables_.logarithm.data();
  const auto take = [&](int place, int32_t value) {
    const int32_t size = std::min(std::abs(value), LOGARITHMS - 1);
    *term = {column + (values & -int32_t{value < 0}) + place, int16_t(logarithms[size])};
    term += place < values;
    *linear++ = {role * BLOCK + place, int16_t(dequantised(value, place))};
  };
  if (const int32_t dc = block[0] - level) take(0, dc);
  for (which &= ~uint64_t{1}; which; which &= which - 1) {
    const int place = first_of(which);
    take(place, block[place]);
  }
  terms_.count = int(term - terms_.list);
  linear_terms_.count = int(linear - linear_terms_.list);
}

void Walk::look_around(Block& block, int32_t* sums) {
  bool inside[NEIGHBOURS];
  size_t places[NEIGHBOURS];
  for (int role = 0; role < NEIGHBOURS; ++role) {
    const int row = block.row + DOWN[role], column = block.column + ACROSS[role];
    inside[role] = row >= 0 && column >= 0 && column < plane_.columns;
    places[role] = size_t(row) * size_t(plane_.columns) + size_t(column);
  }
  const int32_t west = inside[0] ? plane_.blocks[places[0] * BLOCK] : 0;
  const int32_t north = inside[1] ? plane_.blocks[places[1] * BLOCK] : 0;
  block.level = inside[0] && inside[1] ? (west + north) >> 1 : west + north;
  int at = 0;
  for (int role = 0; role < NEIGHBOURS; ++role) {
    const int values = role < NEAR ? BLOCK : network_.far;
    if (inside[role])
      gather(plane_.blocks + places[role] * BLOCK, nonzero_[places[role]], block.level, role, at,
             values);
    at += 2 * values;
  }
  at += BLOCK;
  for (int role = 0; role < NEIGHBOURS; ++role, ++at)
    if (inside[role]) terms_.add(at, FLAG);
  if (network_.chroma) look_across(block, at);
  add_terms(sums, network_.first_columns, terms_);
  std::fill(block.linear, block.linear + BLOCK, 0);
  add_terms(block.linear, network_.linear, linear_terms_);
}

// The same from the planes before.
void Walk::look_across(const Block& block, int column) {
  if (plane_.first) {
    const int down = blocks_across(plane_.first_rows, plane_.rows);
    const int across = blocks_across(plane_.first_columns, plane_.columns);
    here_.clear();
    for (int u = 0; u < down; ++u)
      for (int v = 0; v < across; ++v) {
        const int i = std::min(block.row * down + u, plane_.first_rows - 1);
        const int j = std::min(block.column * across + v, plane_.first_columns - 1);
        here_.push_back(plane_.first + (size_t(i) * size_t(plane_.first_columns) + j) * BLOCK);
      }
    int32_t means[2 * BLOCK];
    kernels_.means(means, here_.data(), int(here_.size()), plane_.first_steps);
    for (int k = 0; k < BLOCK; ++k) {
      const int32_t mean = means[k], size = means[BLOCK + k];
      if (mean) {
        terms_.add(column + k, mean);
        linear_terms_.add(NEIGHBOURS * BLOCK + k, mean);
      }
      if (size) terms_.add(column + BLOCK + k, logarithm(size));
    }
  }
  if (!plane_.other) return;
  const int16_t* other = plane_.other + block.place * BLOCK;
  gather(other, kernels_.nonzero(other), 0, NEIGHBOURS + 1, column + 2 * BLOCK, BLOCK);
}

// The first layer, and the masses of the ends.
void Walk::start_ends(size_t count) {
  const Layer &first = network_.first, &end = network_.end;
  for (size_t i = 0; i < count; ++i) {
    int32_t* sums = sums_.data() + i * size_t(first.width);
    std::copy(first_bias_.begin(), first_bias_.end(), sums);
    look_around(blocks_[i], sums);
    inputs_[i] = first_.data() + i * size_t(first.width);
  }
  kernels_.activate(first_.data(), sums_.data(), first, count);
  kernels_.products(sums_.data(), end, inputs_.data(), count);
  kernels_.shift(sums_.data(), end, count);
  const int32_t* outputs = sums_.data();
  for (size_t i = 0; i < count; ++i, outputs += end.width) {
    const int32_t largest = *std::max_element(outputs, outputs + BLOCK);
    int32_t* masses = blocks_[i].masses;
    masses[0] = 0;
    for (int k = 0; k < BLOCK; ++k)
      masses[k + 1] =
          masses[k] + tables_.exponential[size_t(std::min(largest - outputs[k], 1023))];
  }
}

void Walk::code_ends(Coder& coder, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    Block& block = blocks_[i];
    block.end = 0;
    block.count = 0;
    std::fill(block.values, block.values + BLOCK, 0);
    if (!coder.encodes()) continue;
    const int16_t* from = plane_.blocks + block.place * BLOCK;
    std::copy(from, from + BLOCK, block.values);
    room_.known[i] = last_of(kernels_.nonzero(from));
  }
  for (int level = LEVELS - 1; level >= 0; --level) {
    const int half = 1 << level;
    round_.count = count;
    for (size_t i = 0; i < count; ++i) {
      const Block& block = blocks_[i];
      const int32_t* masses = block.masses + block.end;
      nodes_[i] = (block.end >> (level + 1)) + (1 << (LEVELS - 1 - level));
      round_.mass[i] = masses[2 * half] - masses[half];
      round_.total[i] = masses[2 * half] - masses[0];
      round_.found[i] = room_.known[i] >> level & 1;
    }
    ends_.decide(coder, kernels_, tables_, 0, nodes_.data(), round_);
    for (size_t i = 0; i < count; ++i) blocks_[i].end += round_.found[i] ? half : 0;
  }
}

// The second layer.
void Walk::start_heads(size_t count) {
  const Layer& second = network_.second;
  kernels_.products(sums_.data(), second, inputs_.data(), count);
  for (size_t i = 0; i < count; ++i) {
    int32_t* sums = sums_.data() + i * size_t(second.width);
    const int32_t* more = network_.end_bias.data() + blocks_[i].end * second.width;
    for (int o = 0; o < second.width; ++o) sums[o] += more[o];
  }
  kernels_.activate(second_.data(), sums_.data(), second, count);
}

// A coefficient of the blocks `rows_`.
void Walk::code_place(Coder& coder, int place) {
  const Head& head = network_.heads[size_t(place)];
  const size_t count = rows_.size();
  for (size_t i = 0; i < count; ++i) {
    const Block& block = blocks_[rows_[i]];
    inputs_[i] = second_.data() + rows_[i] * size_t(network_.second.width);
    means_[i] = int32_t(block.linear[place] * reciprocals_[place] >> 31);
    room_.may_be_zero[i] = !place || block.end > place;
    room_.known[i] = block.values[place] - (place ? 0 : block.level);
  }
  kernels_.products(sums_.data(), head.hidden, inputs_.data(), count);
  for (size_t i = 0; i < count; ++i) {
    const Block& block = blocks_[rows_[i]];
    if (block.count)
      kernels_.columns(sums_.data() + i * size_t(head.hidden.width), head.earlier, block.terms,
                       block.count);
  }
  kernels_.activate(active_.data(), sums_.data(), head.hidden, count);
  for (size_t i = 0; i < count; ++i) inputs_[i] = active_.data() + i * size_t(head.hidden.width);
  kernels_.products(sums_.data(), head.out, inputs_.data(), count);
  kernels_.shift(sums_.data(), head.out, count);
  // Whole lanes look tables up: what stands behind the last block must not lead out of them.
  const size_t lanes = size_t(padded(int(count), LANES)), width = size_t(head.out.width);
  std::fill(sums_.data() + count * width, sums_.data() + lanes * width, 0);
  std::fill(means_.data() + count, means_.data() + lanes, 0);
  const int components = network_.components();
  kernels_.mixtures(room_.mixtures.data(), sums_.data(), head.out.width, means_.data(), count,
                    components, tables_);
  room_.code(count, components, coder, kernels_, numbers_, place, tables_);
  for (size_t i = 0; i < count; ++i) {
    Block& block = blocks_[rows_[i]];
    const int32_t value = room_.value[i];
    block.values[place] = place ? value : value + block.level;
    if (place && value) add(block, place, value);
  }
}

void Walk::add(Block& block, int place, int32_t value) const {
  block.terms[block.count++] = {(value > 0 ? 0 : LAST) + place - 1,
                                int16_t(logarithm(std::abs(value)))};
  block.terms[block.count] = {0, 0};
  const Term own[2] = {{network_.roles() * BLOCK + place, int16_t(dequantised(value, place))},
                       {0, 0}};
  kernels_.columns(block.linear, network_.linear, own, 1);
}

int32_t Walk::logarithm(int64_t size) const {
  return tables_.logarithm[size_t(std::min<int64_t>(size, LOGARITHMS - 1))];
}

int32_t Walk::dequantised(int64_t value, int place) const {
  const int64_t whole = value * plane_.steps[place];
  return int32_t(std::clamp<int64_t>(whole, -DEQUANTISED_MAX, DEQUANTISED_MAX));
}

}  // namespace ncml::coefficients
