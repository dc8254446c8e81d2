// The integer network, packed for vectors of a given number of 32-bit lanes.
//
// What it computes is FORMAT.md, sections 4 to 6. Constructors check everything that the safety of
// memory rests on (shapes, offsets, ranges), whatever the caller has checked before.

#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace ncml {

constexpr int kPlanes = 3;
constexpr int kSymbols = 16;
constexpr int kComponentsMax = 16;
constexpr int kActivationMax = 2047;
constexpr int kOutputMax = 32767;
constexpr int kFeatureMax = 256;
constexpr int kFeatures = 3;  // of every earlier plane's residual: times 4, times 16, as it is

struct Tap {
  int rows, columns;
  int lag() const { return -(columns + 2 * rows); }
};

// A layer as it comes from the model file: weight[outputs][inputs].
struct PlainLayer {
  int outputs = 0, inputs = 0;
  std::vector<int16_t> weight;
  std::vector<int32_t> bias, shift;
};

inline int round_up(int value, int step) { return (value + step - 1) / step * step; }

// A layer whose inputs lie in `segments` runs of `pairs` pairs each. Outputs are padded to whole
// vectors; what is padded has weight, bias and shift 0, so padded outputs are 0.
//
// weight[group][segment][pair][lane][2]: one vector holds two inputs' weights for `lanes` outputs.
struct Layer {
  int segments = 0, pairs = 0, groups = 0;
  int length = 0;                 // inputs of a segment in the model
  int part = 1, part_stride = 1;  // outputs of a part in the model, and here
  int32_t limit = 0;
  std::vector<int16_t> weight;
  std::vector<int32_t> bias, shift;

  Layer() = default;

  // parts: the outputs are that many equal parts, each padded by itself (the gate has two).
  Layer(const PlainLayer& plain, int segments_, int lanes, int32_t limit_, int parts = 1,
        int segment_step = 2)
      : segments(segments_), length(plain.inputs / segments_), limit(limit_) {
    const int stride = round_up(length, segment_step);
    part = plain.outputs / parts;
    part_stride = round_up(part, lanes);
    pairs = stride / 2;
    groups = parts * part_stride / lanes;
    const size_t padded = size_t(groups) * lanes;
    weight.assign(padded * segments * stride, 0);
    bias.assign(padded, 0);
    shift.assign(padded, 0);
    for (int output = 0; output < plain.outputs; ++output) {
      const int to = output_at(output);
      bias[to] = plain.bias[output];
      shift[to] = plain.shift[output];
      for (int input = 0; input < plain.inputs; ++input)
        weight[weight_at(lanes, to, input)] = plain.weight[size_t(output) * plain.inputs + input];
    }
  }

  // Where an output or an input of the model is here.
  int output_at(int output) const { return output / part * part_stride + output % part; }
  int input_at(int input) const { return input / length * (pairs * 2) + input % length; }
  // Where the weight of an output of this layer is, of input `within` a segment.
  size_t place(int lanes, int output, int segment, int within) const {
    const size_t pair = (size_t(output / lanes) * segments + segment) * pairs + within / 2;
    return (pair * lanes + output % lanes) * 2 + within % 2;
  }
  // The same for an input of the model.
  size_t weight_at(int lanes, int output, int input) const {
    return place(lanes, output, input / length, input % length);
  }

  int padded_outputs(int lanes) const { return groups * lanes; }
};

struct Block {
  Layer taps, gate;
  int hidden = 0;  // outputs of `taps`
};

struct Head {
  Layer trunk, earlier, out;
  int hidden = 0;  // outputs of `trunk`
};

struct PlainNetwork {
  std::vector<Tap> window, near, neighbours;
  int k = 0;
  std::vector<PlainLayer> layers;  // in the order of the model file
  std::vector<int32_t> sigmoid, exponential, scale_mantissa, scale_shift, logistic;
};

struct Network {
  int lanes, k, width, width_padded, inputs, inputs_padded;
  int hidden_padded = 0;   // the widest `taps` layer
  int trunk_padded = 0;    // the widest `trunk` layer
  int outputs_padded = 0;  // the widest `out` layer
  std::vector<Tap> window, near, neighbours;
  Layer first;
  std::vector<Block> blocks;
  Head heads[kPlanes];
  std::vector<int16_t> sigmoid;  // and one more, since a gather reads 32 bits
  std::vector<int32_t> exponential, scale_mantissa, scale_shift;
  std::vector<int32_t> logistic;  // value | rise to the next << 17

  Network(const PlainNetwork& plain, int lanes_);

 private:
  static void require(bool sound, const std::string& what) {
    if (!sound) throw std::invalid_argument("native engine: " + what);
  }
  static void check_layer(const PlainLayer& layer, const std::string& name);
};

}  // namespace ncml
