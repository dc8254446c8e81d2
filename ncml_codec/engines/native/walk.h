// One image's walk along the waves, with threads: step by step when samples are found by a decoder,
// or a whole wave at a time when they are known.

#pragma once

#include <memory>
#include <vector>

#include "pool.h"
#include "range_coder.h"
#include "state.h"

namespace ncml {

// A network packed for one instruction set.
struct Engine {
  const Kernels& kernels;
  Network network;
};

// Stages must come in order: for wave 0, 1, ...: `begin`, then for each plane `high`, `low`, `put`.
// Another order, or a value out of range, raises std::invalid_argument.
class Walk {
 public:
  Walk(std::shared_ptr<const Engine> engine, int height, int width, int threads,
       const Adapting& adapting);

  // Pixels of the wave that comes next, if it is `wave`.
  int size_of(int wave) const;
  // Weights are [pixel][16] floats: counts less one, whole numbers.
  void begin(int wave, float* first_high);
  void high(int plane, float* weights);
  void low(int plane, const int32_t* high, float* weights);
  void put(int plane, const int32_t* values);
  // All stages of the next waves, with a coder in hand, until so many pixels are found or none is
  // left.
  // samples: [height][width][planes], where what is found goes, whose size is the caller's promise.
  // The number of pixels, 0 once there is no wave left; -1 if the words are no stream of the coder.
  int64_t read(RangeDecoder& decoder, uint8_t* samples, int planes, int64_t pixels);
  int height() const { return state_.height; }
  int width() const { return state_.width; }
  int count() const { return state_.count; }

 private:
  enum class Stage { kBegun, kHigh, kLow, kPut };

  void expect(int plane, bool sound) const;

  std::shared_ptr<const Engine> engine_;
  State state_;
  std::vector<Scratch> scratch_;
  Pool pool_;
  int plane_ = kPlanes;  // the last one put, plus one
  int coded_ = 0;        // planes of this wave whose symbols were asked for
  Stage stage_ = Stage::kPut;
  std::vector<float> weights_;            // of `read`
  std::vector<int32_t> symbols_, values_;  // of `read`
};

// All waves of a known image. While the caller codes one wave, threads compute the next one.
class Survey : private Job {
 public:
  // samples: [height][width][planes], kept by the caller for as long as this lives. still: count
  // `still_bits`, too, which only heads that learn can do (strengths 1 to 7). modes: count
  // `mode_bits`, if there are colours.
  Survey(std::shared_ptr<const Engine> engine, const uint8_t* samples, int height, int width,
         int planes, int threads, const Adapting& adapting, bool still, bool modes);
  ~Survey();

  int waves() const { return wave_count(state_.height, state_.width); }
  int size_of(int wave) const;
  // Begin to compute the wave; the one before must be finished.
  // weights: [plane][high, low][pixel][16]; symbols: [plane][high, low][pixel].
  void post(int wave, float* weights, int32_t* symbols);
  void finish();
  // What the finished waves take without learning, in bits: the model's own heads on the same
  // features, by the coder's counts. The last digits depend on threads.
  double still_bits() const;
  // What they take with the same learning by all colour modes below the present one, in bits.
  std::vector<double> mode_bits() const;

 private:
  void run(int thread, int begin, int end) override;

  std::shared_ptr<const Engine> engine_;
  const uint8_t* samples_;
  const int planes_;
  const bool still_, modes_;
  State state_;
  std::vector<Scratch> scratch_;
  Pool pool_;
  float* weights_ = nullptr;
  int32_t* symbols_ = nullptr;
  bool posted_ = false;
};

// What a known image takes without learning, in bits, by the coder's counts.
double code_length(const Engine& engine, const uint8_t* samples, int height, int width,
                   int planes);

}  // namespace ncml
