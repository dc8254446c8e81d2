// Heads that adapt to the image: their parameters in double precision and as the integers in use,
// Adam's averages, and the sums of a wave's gradient. FORMAT.md, section 4.4.
//
// Matrices lie by inputs, with lanes over the outputs, which are padded to whole vectors. What is
// padded has rate and room 0, so it stays 0.

#pragma once

#include <cstdint>
#include <vector>

#include "network.h"

namespace ncml {

constexpr int kPhases = 4;
constexpr int kGradientMax = 32767;
constexpr int kStrongest = 7;

// A matrix of parameters, [input][padded output]; or vectors, one for each of `inputs`.
struct Parameters {
  int inputs = 0, padded = 0;
  std::vector<double> value, low, high, first, second;
  std::vector<double> rate;  // [padded]

  Parameters() = default;
  Parameters(int inputs_, int padded_);
  void start(int input, int output, double at, double room);
};

struct AdaptiveHead {
  int lanes = 0, hidden = 0, outputs = 0;
  Layer trunk, earlier, out;                 // weights in use; the trunk's biases are these:
  std::vector<int32_t> trunk_bias[kPhases];  // in use, [padded hidden]
  Layer back;                                // output weights as the gradient sees them
  std::vector<int32_t> back_shift;           // [output]
  Parameters trunk_weight, trunk_biases, earlier_weight, out_weight, out_bias;
  double first_power = 1, second_power = 1;  // the averages' decays to the number of steps
  double first_scale = 1, second_scale = 1;  // this step's corrections of their bias

  AdaptiveHead() = default;
  AdaptiveHead(const Head& head, const Network& network, int plane, double rate);

  // What the gradient sees of the weights from the hidden feature `input`.
  void look_back(int input);
  void advance();
};

// A thread's sums over its pixels, whole numbers, laid out as the parameters are.
struct HeadSums {
  std::vector<double> trunk, earlier, out;
  std::vector<double> trunk_bias;  // [row mod 2][padded hidden]
  std::vector<double> out_bias;
};

// A piece of the update: two inputs of a matrix, or a head's biases.
struct Unit {
  enum class Of { kTrunk, kEarlier, kOut, kBias };
  Of of;
  int plane, pair;
};

struct Adaptation {
  AdaptiveHead heads[kPlanes];
  std::vector<std::vector<HeadSums>> sums;  // [thread][plane]
  std::vector<Unit> units;                  // by planes
  int units_until[kPlanes + 1] = {};        // how many belong to the first planes

  // strength: 1 to kStrongest.
  Adaptation(const Network& network, int strength, int threads);
};

}  // namespace ncml
