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
constexpr double kTrunkBias = 256, kOutBias = 128;  // the input that a bias counts as
constexpr double kFirstDecay = 0.75, kSecondDecay = 0.984375;

int bit_length(int64_t value) {
  int bits = 0;
  for (; value > 0; value >>= 1) ++bits;
  return bits;
}

size_t place(const Layer& layer, int lanes, int output, int input) {
  return ((size_t(output / lanes) * layer.pairs + input / 2) * lanes + output % lanes) * 2 +
         input % 2;
}

// The weights of one output of the model's layer.
struct Row {
  int64_t size = 0, largest = 0;
  int64_t room;  // what its sum may still grow by

  Row(const Layer& layer, int lanes, int output, int inputs, int bound) {
    for (int input = 0; input < inputs; ++input) {
      const int64_t weight = std::abs(int(layer.weight[place(layer, lanes, output, input)]));
      size += weight;
      largest = std::max(largest, weight);
    }
    const int64_t bias = std::abs(int64_t(layer.bias[output]));
    room = std::max<int64_t>(0, kSumLimit - 1 - (size * bound + bias));
  }
};

Parameters weights_of(const Layer& layer, int lanes, int outputs, int inputs, int bound,
                      double rate) {
  Parameters weights(inputs, layer.padded_outputs(lanes));
  for (int output = 0; output < outputs; ++output) {
    const Row row(layer, lanes, output, inputs, bound);
    weights.rate[output] = rate * double(row.size) / double(inputs);
    const int64_t reach = std::min(row.room / (2 * int64_t(bound) * inputs), 2047 - row.largest);
    for (int input = 0; input < inputs; ++input)
      weights.start(input, output, layer.weight[place(layer, lanes, output, input)],
                    double(reach));
  }
  return weights;
}

// `copies` vectors of the layer's biases.
Parameters biases_of(const Layer& layer, int lanes, int outputs, int inputs,
                     const Parameters& weights, double as_input, int copies) {
  Parameters biases(copies, layer.padded_outputs(lanes));
  for (int output = 0; output < outputs; ++output) {
    const Row row(layer, lanes, output, inputs, kActivationMax);
    biases.rate[output] = weights.rate[output] * as_input;
    for (int copy = 0; copy < copies; ++copy)
      biases.start(copy, output, layer.bias[output], double(row.room / 2));
  }
  return biases;
}

HeadSums sums_of(const AdaptiveHead& head) {
  HeadSums sums;
  sums.trunk.assign(head.trunk_weight.value.size(), 0.0);
  sums.earlier.assign(head.earlier_weight.value.size(), 0.0);
  sums.out.assign(head.out_weight.value.size(), 0.0);
  sums.trunk_bias.assign(size_t(2) * head.trunk_biases.padded, 0.0);
  sums.out_bias.assign(head.out_bias.value.size(), 0.0);
  return sums;
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

AdaptiveHead::AdaptiveHead(const Head& head, const Network& network, int plane, double rate)
    : lanes(network.lanes),
      hidden(head.hidden),
      outputs(3 * network.k + plane),
      trunk(head.trunk),
      earlier(head.earlier),
      out(head.out) {
  const int width = network.width, k = network.k;
  trunk_weight = weights_of(trunk, lanes, hidden, width, kActivationMax, rate);
  trunk_biases = biases_of(trunk, lanes, hidden, width, trunk_weight, kTrunkBias, kPhases);
  out_weight = weights_of(out, lanes, outputs, hidden, kActivationMax, rate);
  out_bias = biases_of(out, lanes, outputs, hidden, out_weight, kOutBias, 1);
  if (plane > 0)
    earlier_weight = weights_of(earlier, lanes, hidden, plane * kFeatures, kFeatureMax, rate);
  for (std::vector<int32_t>& bias : trunk_bias) bias = trunk.bias;

  for (int output = 0; output < outputs; ++output) {
    const int unit = output < k ? 6 : output < 2 * k ? 9 : output < 3 * k ? 6 : 8;
    back_shift.push_back(out.shift[output] + unit);
  }
  const int least = *std::min_element(back_shift.begin(), back_shift.end());
  for (int32_t& shift : back_shift) shift += 1 - least;
  PlainLayer nothing;
  nothing.outputs = hidden;
  nothing.inputs = outputs;
  nothing.weight.assign(size_t(hidden) * outputs, 0);
  nothing.bias.assign(hidden, 0);
  nothing.shift.assign(hidden, 0);
  back = Layer(nothing, 1, lanes, kGradientMax);
  int64_t largest = 0;
  for (int input = 0; input < hidden; ++input) {
    look_back(input);
    int64_t sum = 0;
    for (int output = 0; output < outputs; ++output)
      sum += std::abs(int(back.weight[place(back, lanes, input, output)]));
    largest = std::max(largest, sum * kGradientMax);
  }
  const int shift = std::max(0, bit_length(largest) - 20);
  std::fill_n(back.shift.begin(), hidden, shift);
  std::fill_n(back.bias.begin(), hidden, shift ? 1 << (shift - 1) : 0);
}

void AdaptiveHead::look_back(int input) {
  const double* value = &out_weight.value[size_t(input) * out_weight.padded];
  for (int output = 0; output < outputs; ++output) {
    const int32_t weight = int32_t(std::floor(value[output] + 0.5));
    const int shift = back_shift[output];
    back.weight[place(back, lanes, input, output)] =
        int16_t((weight + (1 << (shift - 1))) >> shift);
  }
}

void AdaptiveHead::advance() {
  first_power *= kFirstDecay;
  second_power *= kSecondDecay;
  first_scale = 1.0 / (1.0 - first_power);
  second_scale = 1.0 / (1.0 - second_power);
}

Adaptation::Adaptation(const Network& network, int strength, int threads) {
  const double rate = std::ldexp(1.0, strength - 10);
  for (int plane = 0; plane < kPlanes; ++plane) {
    heads[plane] = AdaptiveHead(network.heads[plane], network, plane, rate);
    const AdaptiveHead& head = heads[plane];
    auto add = [&](Unit::Of of, int inputs) {
      for (int pair = 0; 2 * pair < inputs; ++pair) units.push_back({of, plane, pair});
    };
    add(Unit::Of::kTrunk, head.trunk_weight.inputs);
    add(Unit::Of::kEarlier, head.earlier_weight.inputs);
    add(Unit::Of::kOut, head.out_weight.inputs);
    units.push_back({Unit::Of::kBias, plane, 0});
    units_until[plane + 1] = int(units.size());
  }
  std::vector<HeadSums> of_a_thread;
  for (const AdaptiveHead& head : heads) of_a_thread.push_back(sums_of(head));
  sums.assign(size_t(std::max(threads, 1)), of_a_thread);
}

}  // namespace ncml
