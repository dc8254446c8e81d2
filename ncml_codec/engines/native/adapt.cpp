#include "adapt.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdlib>

// Every operation rounds to double on its own; the build forbids fused ones.
static_assert(FLT_EVAL_METHOD == 0, "doubles must be calculated as doubles");

namespace ncml {

namespace {

constexpr int64_t kSumLimit = int64_t(1) << 24;
constexpr int64_t kBackLimit = int64_t(1) << 30;
constexpr double kBiasAsInput = 256, kOutBiasAsInput = 128;
constexpr double kFirstDecay = 0.75, kSecondDecay = 0.984375;
constexpr int kHeadBits = 20, kBodyBits = 24, kSlopeReach = 8;

int bit_length(int64_t value) {
  int bits = 0;
  for (; value > 0; value >>= 1) ++bits;
  return bits;
}

int32_t rounded(double value) { return int32_t(std::floor(value + 0.5)); }

int64_t rounded_shift(int64_t value, int shift) {
  return (value + (int64_t(1) << (shift - 1))) >> shift;
}

// Forms the empty layer of a way back.
Layer nothing(int outputs, int inputs, int segments, int lanes) {
  PlainLayer plain;
  plain.outputs = outputs;
  plain.inputs = inputs;
  plain.weight.assign(size_t(outputs) * inputs, 0);
  plain.bias.assign(outputs, 0);
  plain.shift.assign(outputs, 0);
  return Layer(plain, segments, lanes, kGradientMax);
}

void set_shift(Layer& layer, int shift) {
  std::fill(layer.shift.begin(), layer.shift.end(), shift);
  std::fill(layer.bias.begin(), layer.bias.end(), shift ? 1 << (shift - 1) : 0);
}

// A learner's part in a way back. bits: log2 of what each output's sums are to the gradient.
struct Way {
  Learner* learner;
  std::vector<int> bits;

  Way(Learner& learner_, int unit) : learner(&learner_) {
    for (int output = 0; output < learner->outputs; ++output)
      bits.push_back(learner->layer.shift[learner->layer.output_at(output)] + unit);
  }
  int least() const { return *std::min_element(bits.begin(), bits.end()); }
  int shift(int output, int least_bits, int extra) const {
    return std::min(bits[output] - least_bits + 1 + extra, 30);
  }
  // The largest sum over the outputs for an input; with all room that weights have, or at the start.
  int64_t sum(int input, int least_bits, int extra, bool room) const {
    int64_t all = 0;
    for (int output = 0; output < learner->outputs; ++output) {
      const size_t at = size_t(input) * learner->padded() + learner->layer.output_at(output);
      const double reach = (learner->weight.high[at] - learner->weight.low[at]) / 2;
      const double start = learner->weight.low[at] + reach;
      const int by = shift(output, least_bits, extra);
      all += room ? rounded_shift(int64_t(std::abs(start) + reach), by)
                  : std::abs(rounded_shift(int64_t(start), by));
    }
    return all * kGradientMax;
  }
};

int64_t largest(const std::vector<Way>& ways, int from, int count, int least, int extra,
                bool room) {
  int64_t most = 0;
  for (int input = from; input < from + count; ++input) {
    int64_t sum = 0;
    for (const Way& way : ways) sum += way.sum(input, least, extra, room);
    most = std::max(most, sum);
  }
  return most;
}

int fewest_extra(const std::vector<Way>& ways, int from, int count, int least) {
  int extra = 0;
  while (extra < 30 && largest(ways, from, count, least, extra, true) >= kBackLimit) ++extra;
  return extra;
}

void connect(const Way& way, Layer& back, int segment, int from, int count, int least, int extra) {
  Back& to = way.learner->back;
  to.layer = &back;
  to.segment = segment;
  to.from = from;
  to.count = count;
  const int padded = way.learner->padded();
  to.shift.assign(size_t(padded), 1);
  to.half.assign(size_t(padded), 1);
  for (int output = 0; output < way.learner->outputs; ++output) {
    const int at = way.learner->layer.output_at(output);
    to.shift[size_t(at)] = way.shift(output, least, extra);
    to.half[size_t(at)] = 1 << (to.shift[size_t(at)] - 1);
  }
  std::vector<int32_t> used(static_cast<size_t>(padded));
  for (int input = from; input < from + count; ++input) {
    const double* value = &way.learner->weight.value[size_t(input) * padded];
    std::transform(value, value + padded, used.begin(), rounded);
    way.learner->look_back(input, used.data());
  }
}

}  // namespace

Parameters::Parameters(int inputs_, int padded_)
    : inputs(inputs_), padded(padded_), value(size_t(inputs_) * padded_, 0.0) {
  low = high = first = second = value;
  rate.assign(padded, 0.0);
}

void Parameters::start(int input, int output, double at, double room) {
  const size_t index = size_t(input) * padded + output;
  value[index] = at;
  low[index] = at - room;
  high[index] = at + room;
}

void Schedule::advance() {
  first_power *= kFirstDecay;
  second_power *= kSecondDecay;
  first_scale = 1.0 / (1.0 - first_power);
  second_scale = 1.0 / (1.0 - second_power);
}

Learner::Learner(const Layer& layer_, int lanes_, int outputs_, const std::vector<int>& bounds,
                 double rate, double bias_as_input, int phases, Schedule& schedule_)
    : lanes(lanes_),
      outputs(outputs_),
      inputs(layer_.segments * layer_.pairs * 2),
      layer(layer_),
      weight(inputs, layer_.padded_outputs(lanes_)),
      bias(phases, layer_.padded_outputs(lanes_)),
      schedule(&schedule_) {
  int64_t all_bounds = 0;
  for (const int bound : bounds) all_bounds += bound;
  for (int output = 0; output < outputs; ++output) {
    const int to = layer.output_at(output);
    int64_t size = 0, biggest = 0, sum = std::abs(int64_t(layer.bias[to]));
    for (size_t input = 0; input < bounds.size(); ++input) {
      const int64_t one = std::abs(int(layer.weight[layer.weight_at(lanes, to, int(input))]));
      size += one;
      sum += one * bounds[input];
      biggest = std::max(biggest, one);
    }
    const int64_t room = std::max<int64_t>(0, kSumLimit - 1 - sum);
    const int64_t reach = std::min(room / (2 * all_bounds), 2047 - biggest);
    weight.rate[to] = rate * double(size) / double(bounds.size());
    bias.rate[to] = weight.rate[to] * bias_as_input;
    for (size_t input = 0; input < bounds.size(); ++input)
      weight.start(layer.input_at(int(input)), to,
                   layer.weight[layer.weight_at(lanes, to, int(input))], double(reach));
    for (int phase = 0; phase < phases; ++phase)
      bias.start(phase, to, layer.bias[to], double(room / 2));
  }
  if (phases > 1) biases.assign(size_t(phases), layer.bias);
}

void Learner::look_back(int input, const int32_t* used) {
  if (back.layer == nullptr || input < back.from || input >= back.from + back.count) return;
  Layer& layer_back = *back.layer;
  int16_t* to = &layer_back.weight[layer_back.place(lanes, input - back.from, back.segment, 0)];
  // Two outputs lie side by side; those that only fill up vectors have weight 0 and give 0.
  const int some = std::min(padded(), 2 * layer_back.pairs);
  for (int at = 0; at < some; at += 2, to += 2 * lanes) {
    to[0] = int16_t((used[at] + back.half[at]) >> back.shift[at]);
    to[1] = int16_t((used[at + 1] + back.half[at + 1]) >> back.shift[at + 1]);
  }
}

void Learner::open(int most, bool own_rows) {
  const int even = round_up(most, 2);
  columns.assign(size_t(even) * padded(), 0);
  segments.assign(size_t(layer.segments), nullptr);
  if (!own_rows) return;
  next_pair = 2 * inputs;
  rows.assign(size_t(even) * inputs, 0);
  segments[0] = rows.data();
}

Adaptation::Adaptation(const Network& network, bool body_, int strength, int most) : body(body_) {
  const int lanes = network.lanes, k = network.k, width = network.width;
  const double rate = std::ldexp(1.0, strength - 10);
  const auto even = size_t(round_up(most, 2));
  features.assign(even * round_up(width, 2), 0);
  ones.assign(even, 1);
  odd.assign(even + 2, 0);
  for (size_t at = 1; at < odd.size(); at += 2) odd[at] = 1;

  for (int plane = 0; plane < kPlanes; ++plane) {
    const Head& from = network.heads[plane];
    AdaptiveHead& head = heads[plane];
    const int outputs = 3 * k + plane;
    const std::vector<int> above(size_t(width), kActivationMax);
    const std::vector<int> inside(size_t(from.hidden), kActivationMax);
    head.trunk = Learner(from.trunk, lanes, from.hidden, above, rate, kBiasAsInput, kPhases,
                         head.schedule);
    head.trunk.open(most, false);
    head.trunk.segments[0] = features.data();
    head.trunk.next_pair = 2 * head.trunk.inputs;
    head.out = Learner(from.out, lanes, outputs, inside, rate, kOutBiasAsInput, 1, head.schedule);
    head.out.open(most, true);
    if (plane > 0) {
      const std::vector<int> seen(size_t(plane * kFeatures), kFeatureMax);
      head.earlier =
          Learner(from.earlier, lanes, from.hidden, seen, rate, kBiasAsInput, 1, head.schedule);
      head.earlier.bias.rate.assign(size_t(head.earlier.padded()), 0.0);
      head.earlier.open(most, true);
    }
    Way way(head.out, 0);
    for (int output = 0; output < outputs; ++output)
      way.bits[output] += output < k ? 6 : output < 2 * k ? 9 : output < 3 * k ? 6 : 8;
    const int least = way.least();
    head.back = nothing(from.hidden, round_up(outputs, 2), 1, lanes);
    connect(way, head.back, 0, 0, from.hidden, least, 0);
    const int64_t most_back = largest({way}, 0, from.hidden, least, 0, false);
    const int shift = std::max(0, bit_length(most_back) - kHeadBits);
    set_shift(head.back, shift);
    head.gradient_bits = least - 1 - shift;
  }
  if (!body) return;

  const double body_rate = std::ldexp(1.0, strength - 12);
  std::vector<int> bounds;
  auto some = [&](size_t count, int bound) { bounds.insert(bounds.end(), count, bound); };
  some(kPlanes * network.window.size(), 1020);
  some(2 * kPlanes * network.near.size(), kFeatureMax);
  some(kPlanes, 512);
  some(3, 128);
  first = Learner(network.first, lanes, width, bounds, body_rate, kBiasAsInput, 1, body_schedule);
  first.open(most, true);
  std::vector<Way> trunks;
  for (AdaptiveHead& head : heads) trunks.emplace_back(head.trunk, head.gradient_bits);
  int least = trunks[0].least();
  for (const Way& way : trunks) least = std::min(least, way.least());
  const int extra = fewest_extra(trunks, 0, width, least);
  trunk_back = nothing(width, kPlanes * network.trunk_padded, kPlanes, lanes);
  for (int plane = 0; plane < kPlanes; ++plane)
    connect(trunks[plane], trunk_back, plane, 0, width, least, extra);
  set_shift(trunk_back, std::max(0, bit_length(largest(trunks, 0, width, least, extra, false)) -
                                        kBodyBits));

  for (size_t tap = 0; tap < network.neighbours.size(); ++tap)
    if (network.neighbours[tap].rows == 0 && network.neighbours[tap].columns == 0 && own < 0)
      own = int(tap);
  blocks.resize(network.blocks.size());
  for (size_t index = 0; index < blocks.size(); ++index) {
    const Block& from = network.blocks[index];
    AdaptiveBlock& block = blocks[index];
    const std::vector<int> around(network.neighbours.size() * width, kActivationMax);
    const std::vector<int> inside(size_t(from.hidden), kActivationMax);
    block.taps = Learner(from.taps, lanes, from.hidden, around, body_rate, kBiasAsInput, 1,
                         body_schedule);
    block.gate = Learner(from.gate, lanes, 2 * width, inside, body_rate, kBiasAsInput, 1,
                         body_schedule);
    block.taps.open(most, false);
    block.gate.open(most, true);
    const std::vector<Way> gate(1, Way(block.gate, 0)), taps(1, Way(block.taps, 0));
    const int gate_least = gate[0].least(), taps_least = taps[0].least();
    const int gate_extra = fewest_extra(gate, 0, from.hidden, gate_least);
    const int gate_shift = std::max(
        0, bit_length(largest(gate, 0, from.hidden, gate_least, gate_extra, false)) - kBodyBits);
    block.gate_back = nothing(from.hidden, 2 * network.width_padded, 1, lanes);
    connect(gate[0], block.gate_back, 0, 0, from.hidden, gate_least, gate_extra);
    set_shift(block.gate_back, gate_shift);
    if (own < 0) continue;
    const int at = own * block.taps.layer.pairs * 2;
    const int taps_extra = fewest_extra(taps, at, width, taps_least);
    block.taps_back = nothing(width, block.taps.padded(), 1, lanes);
    connect(taps[0], block.taps_back, 0, at, width, taps_least, taps_extra);
    const int down = gate_least - 1 - gate_extra - gate_shift + taps_least - 1 - taps_extra;
    set_shift(block.taps_back, std::min(std::max(down, 0), 30));
  }
  const int last = 2 * kActivationMax;
  for (int at = 0; at <= last; ++at)
    slope.push_back(network.sigmoid[size_t(std::min(at + kSlopeReach, last))] -
                    network.sigmoid[size_t(std::max(at - kSlopeReach, 0))]);
}

void Adaptation::advance(int planes_) {
  for (int plane = 0; plane < planes_; ++plane) heads[plane].schedule.advance();
  if (body) body_schedule.advance();
  if (planes == planes_) return;
  planes = planes_;
  units.clear();
  auto add = [&](Learner& learner) {
    for (int input = 0; input < learner.inputs; input += kUnitInputs)
      units.push_back({&learner, input});
    units.push_back({&learner, -1});
  };
  for (int plane = 0; plane < planes; ++plane) {
    add(heads[plane].trunk);
    add(heads[plane].out);
    if (plane > 0) add(heads[plane].earlier);
  }
  if (!body) return;
  add(first);
  for (AdaptiveBlock& block : blocks) {
    add(block.taps);
    add(block.gate);
  }
}

}  // namespace ncml
