// Layers that learn from the image: their parameters in double precision and as the integers in
// use, Adam's averages, and the gradient of a wave. FORMAT.md, sections 4.4 and 4.5.
//
// Matrices lie by inputs, with lanes over the outputs, both padded as in `Layer`. What is padded
// has rate and room 0, so it stays 0.

#pragma once

#include <cstdint>
#include <vector>

#include "network.h"

namespace ncml {

constexpr int kPhases = 4;
constexpr int kGradientMax = 32767;
constexpr int kStrongest = 7;
constexpr int kUnitInputs = 8;            // of a matrix, updated together

// A matrix of parameters, [input][padded output]; or vectors, one for each of `inputs`.
struct Parameters {
  int inputs = 0, padded = 0;
  std::vector<double> value, low, high, first, second;
  std::vector<double> rate;  // [padded]

  Parameters() = default;
  Parameters(int inputs_, int padded_);
  void start(int input, int output, double at, double room);
};

// Adam's corrections of the averages' bias after each step.
struct Schedule {
  double first_power = 1, second_power = 1, first_scale = 1, second_scale = 1;
  void advance();
};

struct Learner;

// The way back through a layer: its weights rounded once more, from its outputs to its inputs.
struct Back {
  Layer* layer = nullptr;      // outputs: the inputs of the way forth
  int segment = 0;             // of `layer`, where the gradient by the outputs comes in
  int from = 0, count = 0;     // which inputs of the way forth are passed to
  std::vector<int32_t> shift, half;  // [padded output]: what is dropped, and half of its last bit
};

struct Learner {
  int lanes = 0, outputs = 0;
  int inputs = 0;                       // in all segments, padded
  Layer layer;                          // in use; a head's first layer has the biases below
  Parameters weight, bias;
  std::vector<std::vector<int32_t>> biases;  // in use, if there is one for each phase
  Schedule* schedule = nullptr;
  Back back;
  // Of the wave: the gradient by the outputs, [pair of pixels][padded][2]; the inputs likewise, if
  // they are its own. Two pixels' values of an input lie side by side, from one input to the next
  // and from one pair to the next at a distance, one pointer a segment.
  std::vector<int16_t> columns, rows;
  std::vector<const int16_t*> segments;
  ptrdiff_t next_input = 2, next_pair = 2;

  Learner() = default;
  // bounds: of the inputs' absolute values, unpadded. phases: 1, or kPhases.
  Learner(const Layer& layer_, int lanes_, int outputs_, const std::vector<int>& bounds,
          double rate, double bias_as_input, int phases, Schedule& schedule_);

  int padded() const { return weight.padded; }
  const int16_t* row(int input) const {
    const int length = layer.pairs * 2;
    return segments[size_t(input / length)] + (input % length) * next_input;
  }
  // What the way back sees of the weights from `input` (padded); used: those in use, [padded].
  void look_back(int input, const int32_t* used);
  // Room for `most` pixels of a wave. own_rows: or they lie elsewhere.
  void open(int most, bool own_rows);
};

struct AdaptiveHead {
  Learner trunk, earlier, out;
  Layer back;  // from the outputs to the hidden layer
  Schedule schedule;
  int gradient_bits = 0;  // log2 of the unit of the gradient by the hidden layer
};

struct AdaptiveBlock {
  Learner taps, gate;
  Layer taps_back, gate_back;
};

// Some inputs of a learner's matrix, or its biases.
struct Unit {
  Learner* learner;
  int input;  // the first one; -1: the biases
};

struct Adaptation {
  AdaptiveHead heads[kPlanes];
  bool body;
  Learner first;
  std::vector<AdaptiveBlock> blocks;
  Layer trunk_back;  // from all heads' hidden layers
  Schedule body_schedule;
  int own = -1;  // where (0, 0) is among the neighbours

  std::vector<int16_t> features;   // what the heads learn from, as a learner's own rows
  std::vector<int16_t> ones, odd;  // inputs of biases: 1; and 0, 1, 0, 1, ...
  std::vector<int32_t> slope;      // of the sigmoid, by g + 2047, over 16 entries
  int planes = 0;                  // coded in the wave
  std::vector<Unit> units;         // of `planes` planes, and of the body

  // body: whether it learns, too. strength: 1 to kStrongest. most: pixels of a wave.
  Adaptation(const Network& network, bool body, int strength, int most);
  Adaptation(const Adaptation&) = delete;
  // The wave is coded: count a step for everything that learns from these planes.
  void advance(int planes_);
};

}  // namespace ncml
