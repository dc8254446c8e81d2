#include "network.h"

#include <algorithm>

namespace ncml {

namespace {

constexpr int kTapMax = 8;
constexpr int kGates = 2 * kActivationMax + 1;
constexpr int kExponentials = 1024, kScales = 577, kLogistics = 1025;
constexpr int kOutputsMax = 1 << 20, kInputsMax = 1 << 22;  // so that no size overflows

bool within(const std::vector<int32_t>& values, int32_t low, int32_t high) {
  return std::all_of(values.begin(), values.end(),
                     [=](int32_t value) { return low <= value && value <= high; });
}

bool near_enough(const std::vector<Tap>& taps, int least_lag) {
  return !taps.empty() && taps.size() <= 4096 && std::all_of(taps.begin(), taps.end(), [=](const Tap& tap) {
    const bool own = tap.rows == 0 && tap.columns == 0;
    return std::abs(tap.rows) <= kTapMax && std::abs(tap.columns) <= kTapMax &&
           (tap.lag() >= 1 || (own && least_lag == 0));
  });
}

}  // namespace

void Network::check_layer(const PlainLayer& layer, const std::string& name) {
  const auto outputs = size_t(layer.outputs), inputs = size_t(layer.inputs);
  require(layer.outputs >= 1 && layer.outputs <= kOutputsMax && layer.inputs >= 1 &&
              layer.inputs <= kInputsMax,
          name + ": too large or empty");
  require(layer.weight.size() == outputs * inputs && layer.bias.size() == outputs &&
              layer.shift.size() == outputs,
          name + ": weight, bias and shift do not fit together");
  require(within(layer.shift, 0, 24), name + ": a shift is not between 0 and 24");
}

Network::Network(const PlainNetwork& plain, int lanes_)
    : lanes(lanes_),
      k(plain.k),
      window(plain.window),
      near(plain.near),
      neighbours(plain.neighbours),
      exponential(plain.exponential),
      scale_mantissa(plain.scale_mantissa),
      scale_shift(plain.scale_shift) {
  require(1 <= k && k <= kComponentsMax, "components are not 1 to 16");
  require(near_enough(window, 1) && near_enough(near, 1) && near_enough(neighbours, 0), "taps");
  require(plain.sigmoid.size() == kGates && within(plain.sigmoid, 0, 1 << 11), "table sigmoid");
  require(exponential.size() == kExponentials && within(exponential, 0, 1 << 16) &&
              exponential[0] == 1 << 16,
          "table exponential");
  require(scale_mantissa.size() == kScales && within(scale_mantissa, 1, (1 << 13) - 1),
          "table scale_mantissa");
  require(scale_shift.size() == kScales && within(scale_shift, 0, 31), "table scale_shift");
  require(plain.logistic.size() == kLogistics && within(plain.logistic, 0, 1 << 16),
          "table logistic");
  require(plain.layers.size() >= 9 && (plain.layers.size() - 9) % 2 == 0, "number of layers");
  for (size_t index = 0; index < plain.layers.size(); ++index)
    check_layer(plain.layers[index], "layer " + std::to_string(index));

  auto next = plain.layers.begin();
  auto take = [&](int outputs, int given) -> const PlainLayer& {
    require(next->inputs == given && (outputs == 0 || next->outputs == outputs),
            "layer " + std::to_string(next - plain.layers.begin()) + ": shape");
    return *next++;
  };
  inputs = kPlanes * int(window.size() + 2 * near.size() + 1) + 3;
  // Four values are written at a time: three more may be written behind the last.
  inputs_padded = round_up(inputs + 4, 2);
  const PlainLayer& entrance = take(0, inputs);
  width = entrance.outputs;
  width_padded = round_up(width, lanes);
  first = Layer(entrance, 1, lanes, kActivationMax);
  const int taps = int(neighbours.size());
  for (size_t index = 0; index < (plain.layers.size() - 9) / 2; ++index) {
    const PlainLayer& inner = take(0, width * taps);
    Block block;
    block.hidden = inner.outputs;
    block.taps = Layer(inner, taps, lanes, kActivationMax, 1, lanes);
    block.gate = Layer(take(2 * width, inner.outputs), 1, lanes, kActivationMax, 2);
    hidden_padded = std::max(hidden_padded, block.taps.padded_outputs(lanes));
    blocks.push_back(std::move(block));
  }
  for (int plane = 0; plane < kPlanes; ++plane) {
    const PlainLayer& trunk = take(0, width);
    Head& head = heads[plane];
    head.hidden = trunk.outputs;
    head.trunk = Layer(trunk, 1, lanes, kActivationMax);
    if (plane > 0)
      head.earlier = Layer(take(trunk.outputs, plane * kFeatures), 1, lanes, kActivationMax);
    head.out = Layer(take(3 * k + plane, trunk.outputs), 1, lanes, kOutputMax);
    trunk_padded = std::max(trunk_padded, head.trunk.padded_outputs(lanes));
    outputs_padded = std::max(outputs_padded, head.out.padded_outputs(lanes));
  }
  sigmoid.assign(plain.sigmoid.begin(), plain.sigmoid.end());
  sigmoid.push_back(0);
  for (int index = 0; index < kLogistics; ++index) {
    const int32_t value = plain.logistic[index];
    const int32_t rise = index + 1 < kLogistics ? plain.logistic[index + 1] - value : 0;
    require(0 <= rise && rise <= 1 << 12, "table logistic does not rise by 0 to 4096");
    logistic.push_back(value | rise << 17);
  }
}

}  // namespace ncml
