// Binary decisions, their biases, and mixtures of numbers: ncml_codec/coefficients/decisions.py and
// mixtures.py, equal to the bit.

#pragma once

#include <algorithm>
#include <vector>

#include "../../engines/native/range_coder.h"
#include "network.h"

namespace ncml::coefficients {

constexpr int ONE_BITS = 16, LEAST = 8, NODES = 32, GROUPS = 16, GROUPED = 8, DOUBLINGS = 17;
constexpr int LOGIT_MAX = 2815;
constexpr int64_t MASS = int64_t{1} << 30;

struct Damaged {};  // words of no stream, or a number that no file has

// Encodes what it is told or tells what it decodes. Bits: of a decision being true, in 65536ths.
class Coder {
 public:
  explicit Coder(RangeEncoder* encoder) : encoder_(encoder) {}
  explicit Coder(RangeDecoder* decoder) : decoder_(decoder) {}
  bool encodes() const { return encoder_ != nullptr; }

  bool code(int32_t probability, bool known) {
    const uint32_t zeros = uint32_t(65536 - probability) << 8;
    if (encoder_) {
      encoder_->encode_bit(known, zeros);
      return known;
    }
    bool found = false;
    if (!decoder_->decode_bit(&found, zeros)) throw Damaged();
    return found;
  }

 private:
  RangeEncoder* encoder_ = nullptr;
  RangeDecoder* decoder_ = nullptr;
};

// What decisions have taught; see `Biases` of decisions.py.
class Biases {
 public:
  Biases(int places, int nodes, int grouped, bool learns);

  // Codes one decision. group: of the number.
  bool decide(Coder& coder, const Tables& tables, int place, int node, int group, int64_t mass,
              int64_t total, bool known);
  // Ends a round: biases change by its decisions.
  void learn();

 private:
  // 32 bits hold the sums of a wave of 2^15 blocks. A decision adds 7 to `seen` at least.
  struct Cell {
    int32_t bias = 0, variance = 0, surprise = 0, seen = 0;
  };
  // The factor of a place and node.
  struct Gain {
    int64_t surprise = 0, seen = 0;
    int32_t gain = 0, spread = 0;
  };
  void touch(size_t at, int32_t surprise, int32_t seen);

  int nodes_, grouped_;
  size_t grouped_from_;
  bool learns_;
  std::vector<Cell> cells_;
  std::vector<Gain> gains_;
  std::vector<size_t> touched_;
};

struct Mixture {
  static constexpr int MOST = 8;
  int count = 0;
  int32_t weight[MOST], mean[MOST], mantissa[MOST], shift[MOST];

  // From a head's outputs [3 count] and the linear path's mean.
  void set(const int32_t* outputs, int components, int64_t linear, const Tables& tables);
  int64_t below(int64_t bound, const Tables& tables) const;
};

// A number while it is coded.
struct Number {
  Mixture mixture;
  bool may_be_zero = false;
  int64_t known = 0, value = 0;  // known: when encoding
  int group = 0;

  bool negative = false, open = false;
  int64_t size = 0;  // |known| - 1
  int64_t least = 0, width = 1, lower = 0, upper = 0, below_zero = 0, up_to_zero = 0;

  int64_t outside(int64_t bound, const Tables& tables) const {
    return negative ? mixture.below(-bound, tables) : MASS - mixture.below(bound + 1, tables);
  }
};

// Codes numbers round by round; their values.
void code_numbers(std::vector<Number*>& numbers, Coder& coder, Biases& biases, int place,
                  const Tables& tables);

}  // namespace ncml::coefficients
