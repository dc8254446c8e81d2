// What a walk along the waves keeps between waves and between the stages of one wave.

#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "adapt.h"
#include "colours.h"

namespace ncml {

constexpr int kChunk = 32;  // pixels that go through all layers together, at most

inline int first_row(int wave, int width) { return wave < width ? 0 : (wave - width + 2) / 2; }
inline int stop_row(int wave, int height) { return std::min(height - 1, wave / 2) + 1; }
inline int wave_count(int height, int width) { return width + 2 * (height - 1); }

// The last waves' values, [slot][row][stride]; zero outside the image.
struct Ring {
  int slots = 1, margin = 0, stride = 0;
  size_t slot_size = 0;
  std::vector<int16_t> values;

  Ring() = default;
  Ring(int height, int stride_, const std::vector<Tap>& taps) : stride(stride_) {
    int reach = 0;
    for (const Tap& tap : taps) {
      slots = std::max(slots, tap.lag() + 1);
      reach = std::max(reach, std::abs(tap.rows));
    }
    margin = reach + slots;
    slot_size = size_t(height + 2 * margin) * stride;
    values.assign(slots * slot_size, 0);
  }

  // The values of (wave - lag, row); lag is that of one of the taps.
  int16_t* at(int wave, int lag, int row) {
    return values.data() + (wave + slots - lag) % slots * slot_size +
           ptrdiff_t(row + margin) * stride;
  }

  // Clear what an older wave left around the rows that this wave writes: a ring's turn moves the
  // ends of a wave by at most slots / 2 rows.
  void open(int wave, int first, int stop) {
    std::fill_n(at(wave, 0, first - slots), ptrdiff_t(slots) * stride, int16_t(0));
    std::fill_n(at(wave, 0, stop), ptrdiff_t(slots) * stride, int16_t(0));
  }
};

// A ring by features: [slot][feature][row]. A neighbour of consecutive pixels is a run of it.
struct TurnedRing {
  int slots = 1, margin = 0, features = 0;
  ptrdiff_t stride = 0;
  std::vector<int16_t> values;

  TurnedRing(const Ring& ring, int height) : slots(ring.slots), margin(ring.margin) {
    features = ring.stride;
    stride = height + 2 * margin;
    values.assign(size_t(slots) * features * stride, 0);
  }
  int16_t* at(int wave, int lag, int row) {
    return values.data() + (wave + slots - lag) % slots * (features * stride) + row + margin;
  }
  void open(int wave, int first, int stop) {
    for (int feature = 0; feature < features; ++feature) {
      std::fill_n(at(wave, 0, first - slots) + feature * stride, slots, int16_t(0));
      std::fill_n(at(wave, 0, stop) + feature * stride, slots, int16_t(0));
    }
  }
};

// The mixture of one sub-pixel (FORMAT.md, section 5).
struct Mixture {
  int32_t weight[kComponentsMax], mean[kComponentsMax];
  int32_t mantissa[kComponentsMax], shift[kComponentsMax];
  int32_t at[kSymbols + 1];  // the distribution function at the boundaries of high nibbles
};

constexpr int kSampleStride = 8;  // three planes' 4 (x - 128), 0, three times -1 if inside, 0
constexpr int kQuad = 4;          // three planes, 0

// How a tile adapts: whether the body learns, too; 0, or the heads' strength; 0, or the cells.
struct Adapting {
  bool body;
  int strength, colour_mode;
};

struct State {
  const Network& network;
  const int height, width;
  Ring samples;
  std::vector<Ring> hidden;
  int wave = -1, first = 0, count = 0;
  std::vector<int16_t> reference;  // [pixel][kQuad]
  std::vector<int16_t> residual;   // [pixel][kQuad], of the planes known so far
  std::vector<int16_t> features;   // [pixel][width_padded], leaky(x) after the last block
  std::vector<Mixture> mixtures;   // [pixel], of the current plane; all planes' if heads adapt
  // Only if heads adapt, by planes: z before its leaky, [pixel][padded hidden]; log-scales, [pixel][k].
  std::vector<int16_t> hidden_sums[kPlanes], log_scales[kPlanes];
  std::unique_ptr<Adaptation> adaptation;
  // Only if the body learns, by blocks: features inside, [pixel][padded]; a and g, [pixel][2 width].
  std::vector<std::vector<int16_t>> inner, gates;
  std::vector<TurnedRing> turned;

  std::unique_ptr<Colours> colours;  // only with a colour mode

  State(const Network& network_, int height_, int width_, const Adapting& adapting);
  Mixture& mixture(int plane, int pixel) {
    return mixtures[adaptation ? size_t(plane) * (mixtures.size() / kPlanes) + pixel
                               : size_t(pixel)];
  }
  void open(int next_wave);
  // A sample of the wave that was put.
  int level(int plane, int pixel) {
    return samples.at(wave, 0, first + pixel)[plane] / 4 + 128;
  }
  void put(int plane, int pixel, int value) {
    const int16_t quarters = int16_t(4 * (value - 128));
    samples.at(wave, 0, first + pixel)[plane] = quarters;
    const size_t at = size_t(pixel) * kQuad + plane;
    residual[at] = int16_t(quarters - reference[at]);
  }
};

// A thread's own working memory for one chunk.
struct Scratch {
  std::vector<int16_t> inputs, x, hidden, gates, trunk, more, earlier, outputs;
  std::vector<const int16_t*> neighbours, moved;  // where a layer's segments begin
  std::vector<const int16_t*> window, near;       // where the samples at the taps begin
  // Of the gradient; empty without adaptation.
  std::vector<int16_t> gradient, inner, stream, own;
  std::vector<double> sums;
  std::vector<int32_t> in_use;
  // Of all waves so far, by this thread.
  double still_bits = 0;
  double stage_bits[kPlanes][1 + kStagesMax] = {};

  Scratch(const Network& net, bool adaptive)
      : inputs(size_t(kChunk) * net.inputs_padded),
        x(size_t(kChunk) * net.width_padded),
        hidden(size_t(kChunk) * net.hidden_padded),
        gates(size_t(kChunk) * 2 * net.width_padded),
        trunk(size_t(kChunk) * net.trunk_padded),
        more(size_t(kChunk) * net.trunk_padded),
        earlier(size_t(kChunk) * round_up(kPlanes * kFeatures, 2)),
        outputs(size_t(kChunk) * net.outputs_padded),
        neighbours(net.neighbours.size()),
        moved(std::max(net.neighbours.size(), size_t(kPlanes))),
        window(net.window.size()),
        near(net.near.size()) {
    if (!adaptive) return;
    const int widest = std::max({net.trunk_padded, net.outputs_padded, net.hidden_padded,
                                 2 * net.width_padded});
    gradient.assign(size_t(kChunk) * net.outputs_padded, 0);
    inner.assign(size_t(kPlanes) * kChunk * net.trunk_padded, 0);
    stream.assign(size_t(kChunk) * net.width_padded, 0);
    own.assign(size_t(kChunk) * net.width_padded, 0);
    sums.assign(size_t(kUnitInputs) * widest, 0.0);
    in_use.assign(size_t(kUnitInputs) * widest, 0);
  }
};

// The computation for one instruction set. All of them give the same integers.
struct Kernels {
  const char* name;
  int lanes;  // 32-bit integers in a vector
  int rows;   // pixels whose sums are kept in registers together
  // Pixels [begin, end) of the wave, at most kChunk: reference, all blocks, features.
  void (*body)(State&, Scratch&, int begin, int end);
  // Their mixtures of a plane, and weights of the high nibbles, [pixel][16] from the wave's first.
  void (*high)(State&, Scratch&, int plane, float* weights, int begin, int end);
  // Weights of the low nibbles; high [pixel]: 0 to 15.
  void (*low)(State&, int plane, const int32_t* high, float* weights, int begin, int end);
  // What they take by the model's own heads, in bits, once the plane's samples are known; only if
  // not the body learns.
  double (*still_bits)(State&, Scratch&, int plane, int begin, int end);
  // Adds what they take without colours, and after each stage of the plane. high, low: weights.
  void (*stage_bits)(State&, int plane, const float* high, const float* low, int begin, int end,
                     double* to);
  // The gradient of coded planes; pixels as in `body`, an even number unless the wave ends.
  void (*gradient)(State&, Scratch&, int planes, int begin, int end);
  // Sums over the wave, and the step: units [begin, end) of the adaptation.
  void (*learn)(State&, Scratch&, int begin, int end);
  // Multiply-adds done in `rounds` rounds of nothing but multiply-adds, to find the peak.
  int64_t (*peak)(int64_t rounds);
};

// Those that this build has and this processor can run, fastest first. The last one is portable.
const std::vector<const Kernels*>& available_kernels();

}  // namespace ncml
