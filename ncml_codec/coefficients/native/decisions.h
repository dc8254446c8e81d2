// Binary decisions, their corrections, and mixtures of numbers: ncml_codec/coefficients/decisions.py and
// mixtures.py, equal to the bit.

#pragma once

#include <algorithm>
#include <vector>

#include "../../engines/native/range_coder.h"
#include "network.h"

namespace ncml::coefficients {

constexpr int ONE_BITS = 16, LEAST = 8, NODES = 32, DOUBLINGS = 17;
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

// What decisions have taught; see `Corrections` of decisions.py.
class Corrections {
 public:
  Corrections(int places, int nodes, bool learns);

  // Codes one decision.
  bool decide(Coder& coder, const Tables& tables, int place, int node, int64_t mass, int64_t total,
              bool known);
  // Ends a round: its decisions change the corrections.
  void learn();

 private:
  // 32 bits hold a bias's sums over a wave of 2^13 blocks. A decision adds 7 to `seen` at least.
  struct Cell {
    int32_t bias = 0, gain = 0, variance = 0, spread = 0;
    int32_t surprise = 0, seen = 0;
    int64_t gain_surprise = 0, gain_seen = 0;
  };

  int nodes_;
  bool learns_;
  std::vector<Cell> cells_;
  std::vector<Cell*> touched_;
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

  bool negative = false, open = false;
  int64_t size = 0;  // |known| - 1
  int64_t least = 0, width = 1, lower = 0, upper = 0, below_zero = 0, up_to_zero = 0;

  int64_t outside(int64_t bound, const Tables& tables) const {
    return negative ? mixture.below(-bound, tables) : MASS - mixture.below(bound + 1, tables);
  }
};

// Codes numbers round by round; their values.
void code_numbers(std::vector<Number*>& numbers, Coder& coder, Corrections& corrections, int place,
                  const Tables& tables);

}  // namespace ncml::coefficients
