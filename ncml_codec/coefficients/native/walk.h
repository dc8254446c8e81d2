// One component's blocks, wave by wave: ncml_codec/coefficients/codec.py and network.py, equal to the
// bit.

#pragma once

#include <cstdint>
#include <vector>

#include "decisions.h"
#include "network.h"

namespace ncml::coefficients {

// A plane. blocks: [rows][columns][64], read when encoding, written when decoding. cross:
// [rows][columns][2][64] and other, as blocks: null where the plane has none.
struct Plane {
  int rows = 0, columns = 0;
  int16_t* blocks = nullptr;
  const int32_t* steps = nullptr;  // [64], at least 1
  const int32_t* cross = nullptr;
  const int16_t* other = nullptr;
  bool third = false;
};

class Walk {
 public:
  Walk(const PlaneNetwork& network, const Tables& tables, const Plane& plane, bool learns);
  // Codes every block. Throws Damaged.
  void run(Coder& coder);

 private:
  // A block of the wave at work.
  struct Block {
    int row = 0, column = 0, end = 0;
    int32_t level = 0;
    std::vector<int16_t> features;  // of the first layer, then of the second one
    std::vector<int32_t> hidden, dc;  // sums of the heads' hidden units
    std::vector<int64_t> masses;  // [65], running sums
    int32_t linear[BLOCK];
    int64_t values[BLOCK];
  };

  void wave(Coder& coder, size_t count);
  void look_around(Block& block);
  void add_values(const int16_t* values, int count, int from, int32_t* sums) const;
  void code_ends(Coder& coder, size_t count);
  void start_heads(Block& block);
  void code_place(Coder& coder, int place, size_t count);
  void add(Block& block, int place, int64_t value) const;
  int32_t logarithm(int64_t size) const;
  int32_t dequantised(int64_t value, int place) const;
  void add_linear(int32_t* sums, int role, int place, int32_t value) const;

  const PlaneNetwork& network_;
  const Tables& tables_;
  const Plane& plane_;
  Corrections ends_, numbers_;
  std::vector<int32_t> first_bias_;  // with what is the same for all blocks of the plane
  int64_t reciprocals_[BLOCK];
  std::vector<Block> blocks_;
  std::vector<Number> room_;
  std::vector<Number*> coded_;
  std::vector<int32_t> sums_;
  std::vector<int16_t> active_;
};

}  // namespace ncml::coefficients
