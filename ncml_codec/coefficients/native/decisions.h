// Binary decisions, their corrections, and mixtures of numbers: ncml_codec/coefficients/decisions.py and
// mixtures.py, equal to the bit.

#pragma once

#include <vector>

#include "../../engines/native/range_coder.h"
#include "kernels.h"

namespace ncml::coefficients {

constexpr int NODES = 32, DOUBLINGS = 17;

struct Damaged {};  // words of no stream, or a number that no file has

// Encodes what it is told or tells what it decodes.
class Coder {
 public:
  explicit Coder(RangeEncoder* encoder) : encoder_(encoder) {}
  explicit Coder(RangeDecoder* decoder) : decoder_(decoder) {}
  bool encodes() const { return encoder_ != nullptr; }

  // A round's decisions, of which `found` is known or becomes so.
  void code(Round& round) {
    if (encoder_)
      encoder_->encode_bits(round.found.data(), round.probability.data(), round.count);
    else if (!decoder_->decode_bits(round.found.data(), round.probability.data(), round.count))
      throw Damaged();
  }

 private:
  RangeEncoder* encoder_ = nullptr;
  RangeDecoder* decoder_ = nullptr;
};

// What decisions have taught; see `Corrections` of decisions.py.
class Corrections {
 public:
  Corrections(int places, int nodes, bool learns);

  // Codes a round of one node and learns from it.
  void decide(Coder& coder, const Kernels& kernels, const Tables& tables, int place, int node,
              Round& round);
  // The same, of a node each.
  void decide(Coder& coder, const Kernels& kernels, const Tables& tables, int place,
              const int32_t* nodes, Round& round);

 private:
  // 32 bits hold a bias's sums over a wave of 2^13 blocks. A decision adds 7 to `seen` at least.
  struct Cell {
    int32_t bias = 0, gain = 0, variance = 0, spread = 0;
    Lesson lesson;
  };

  size_t cell_of(int place, int node) const {
    return node < nodes_ ? size_t(1 + place * nodes_ + node) : 0;
  }
  static void learn(Cell& cell, const Lesson& lesson);
  static void code(Coder& coder, const Kernels& kernels, const Tables& tables, Round& round);

  int nodes_;
  bool learns_;
  std::vector<Cell> cells_;
  std::vector<Cell*> touched_;
};

// Numbers of one place while they are coded. Their mixtures stand in lanes of eight.
class Numbers {
 public:
  void reserve(size_t count);
  // known: when encoding. The values are written to `value`.
  void code(size_t count, int components, Coder& coder, const Kernels& kernels,
            Corrections& corrections, int place, const Tables& tables);

  std::vector<Mixtures> mixtures;
  std::vector<uint8_t> may_be_zero;
  std::vector<int32_t> known, value;

 private:
  // |value| - 1 is from `least` on, of `width` values; masses from `least` on, and behind.
  struct Range {
    int32_t least, width, lower, upper;
    bool negative;
  };
  using Rows = std::vector<int32_t>;

  int32_t outside(int32_t row, int32_t bound, int components, const Tables& tables) const;

  Round round_;
  std::vector<Range> ranges_;
  Rows nonzero_, left_, next_, nodes_;
};

}  // namespace ncml::coefficients
