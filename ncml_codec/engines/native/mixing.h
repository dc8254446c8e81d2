// The mixing coder's pass over an image, equal to the bit to ncml_codec/mixing in numpy.
//
// Every array's size follows from the plan; every index is a hash shifted to its table's size, or a
// place in the image computed here.

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace ncml {

using std::size_t;

constexpr int kContexts = 12;
constexpr int kExperts = 4;
constexpr int kCandidates = 3;
constexpr int kMixingInputs = 2 * kContexts + kExperts + 1;
constexpr int kTaps = 15;
constexpr int kItems = kTaps + 9;  // what contexts are made of

// `mixing.walk.Plan`, and what the modules of ncml_codec/mixing hold in tables.
struct MixingPlan {
  int height, width;
  std::vector<int> depths;  // of each component, 0 to 16
  bool candidates, fitted;
  int slot_bits;
  std::vector<int32_t> stretch, squash, distribution;
  std::vector<std::vector<int>> component, candidate;  // chains of items
};

class MixingWalk {
 public:
  // Throws std::invalid_argument for sizes that the safety of memory could not bear.
  explicit MixingWalk(MixingPlan plan);

  // Judges the next group of decisions; false when the image has ended.
  bool ask();
  // Probabilities of ones of the group, in 65536ths.
  const std::vector<int32_t>& probability() const { return probability_; }
  // The group's bits by the image's samples [components][pixels].
  void truth(const uint16_t* samples, int32_t* bits) const;
  // The group's bits, each 0 or 1.
  void tell(const int32_t* bits);

  size_t pixels() const { return pixels_; }
  const std::vector<std::vector<uint16_t>>& samples() const { return samples_; }

 private:
  struct Counter {
    uint16_t probability = 32768;
    uint8_t seen = 0, history = 0;
    uint16_t ones = 0, bits = 0;  // of the wave
  };
  struct WeightSet {
    std::array<int32_t, kMixingInputs> weights{};
    std::array<int64_t, kMixingInputs> steps{};  // of the wave
    int32_t bits = 0, waves = 0;
  };
  struct Scale {
    std::array<int64_t, kExperts> total{};
    int64_t seen = 2;
    std::array<int64_t, kExperts> new_total{};
    int64_t fresh = 0;
  };
  struct Fit {
    double along, down;
    std::vector<double> row, above;  // [rows + 1][sums]
  };
  // What is known of a pixel of the wave while it is coded.
  struct Pixel {
    int64_t here;
    int row;
    std::array<int64_t, kTaps> near;
    std::array<uint32_t, kItems> items;
    std::array<uint32_t, kContexts> bases, hashes;
    std::array<int64_t, kCandidates> candidate;
    int count;  // of candidates
    bool left;
    uint32_t current;
    int equal, sources;
    // Of the component at work.
    std::array<int64_t, kExperts> centre, scale, below, middle, above;
    int context;
    int64_t low;
    int error;
    double mean;
    std::array<double, 11> inputs;
  };
  // A decision of the group.
  struct Decision {
    int pixel;
    int32_t mixed;
    int set;
    std::array<int, 2> buckets;
    std::array<uint32_t, kContexts> slots, states;
    std::array<int32_t, kMixingInputs> inputs;
  };
  enum class Phase { kWave, kGuess, kComponent, kEnd };

  void begin_wave();
  void end_wave();
  void find_candidates(Pixel& pixel);
  void begin_component();
  void end_component();
  void judge(int kind, int stage);
  void learn(const int32_t* bits);
  void predict(Pixel& pixel);
  void fit_inputs(Pixel& pixel) const;
  int64_t distribution(int64_t value, const Pixel& pixel, int expert) const;
  void opinions(Pixel& pixel, int32_t* logits);
  int inputs_of(int component) const;
  uint32_t follower_slot(uint32_t hash) const { return hash >> (32 - plan_.slot_bits); }
  int32_t stretch(int64_t probability) const { return plan_.stretch[size_t(probability >> 4)]; }
  static void update(Counter& counter, int limit);
  static void step(WeightSet& set);

  MixingPlan plan_;
  size_t pixels_;
  int components_;
  std::vector<std::vector<uint16_t>> samples_;  // [components][pixels + 1], the outside last
  std::vector<std::vector<int32_t>> errors_;
  std::vector<uint32_t> hashes_;
  std::vector<Counter> counters_, expected_, levels_, maps_;
  std::vector<WeightSet> kinds_, stages_;
  std::vector<std::vector<Scale>> scales_;
  std::vector<std::array<Fit, 2>> fits_;
  std::array<std::vector<uint32_t>, 2> followers_;

  Phase phase_ = Phase::kWave;
  int64_t wave_ = -1;
  int index_ = 0;  // of the candidate or the component
  int level_ = 0;
  bool begun_ = false;
  std::vector<Pixel> wave_pixels_;
  std::vector<int> active_;
  std::vector<Decision> decisions_;
  std::vector<int32_t> probability_;
};

}  // namespace ncml
