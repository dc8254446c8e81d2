// One component's blocks, wave by wave: ncml_codec/coefficients/codec.py and network.py, equal to the
// bit.

#pragma once

#include <cstdint>
#include <vector>

#include "decisions.h"
#include "kernels.h"
#include "network.h"

namespace ncml::coefficients {

// A plane. blocks: [rows][columns][64], read when encoding, written when decoding. first, of another
// size, and other, of the same one, are planes before: null where the plane has none.
struct Plane {
  int rows = 0, columns = 0, first_rows = 0, first_columns = 0;
  int16_t* blocks = nullptr;
  const int32_t* steps = nullptr;  // [64], at least 1
  const int16_t* first = nullptr;
  const int32_t* first_steps = nullptr;
  const int16_t* other = nullptr;
  bool third = false;
};

class Walk {
 public:
  Walk(const Kernels& kernels, const PlaneNetwork& network, const Tables& tables,
       const Plane& plane, bool learns);
  // Codes every block. Throws Damaged.
  void run(Coder& coder);

 private:
  // A block of the wave at work.
  struct Block {
    size_t place = 0;  // in the plane
    int row = 0, column = 0, end = 0;
    int32_t level = 0;
    int count = 0;              // of the terms
    Term terms[LAST + 1];       // coefficients coded so far that are not 0
    int32_t masses[BLOCK + 1];  // of the end, running sums
    int32_t linear[BLOCK], values[BLOCK];
  };

  struct Terms {
    int count = 0;
    Term list[(NEIGHBOURS + 4) * BLOCK + NEIGHBOURS + 2];  // every input, and one of factor 0

    void add(int column, int32_t factor) { list[count++] = {column, int16_t(factor)}; }
  };

  void wave(Coder& coder, size_t count);
  void reserve(size_t count);
  void look_around(Block& block, int32_t* sums);
  void gather(const int16_t* block, uint64_t which, int32_t level, int role, int column,
              int values);
  void look_across(const Block& block, int column);
  void add_terms(int32_t* sums, const Columns& columns, Terms& terms) const;
  void start_ends(size_t count);
  void code_ends(Coder& coder, size_t count);
  void start_heads(size_t count);
  void code_place(Coder& coder, int place);
  void add(Block& block, int place, int32_t value) const;
  int32_t logarithm(int64_t size) const;
  int32_t dequantised(int64_t value, int place) const;

  const Kernels& kernels_;
  const PlaneNetwork& network_;
  const Tables& tables_;
  const Plane& plane_;
  Corrections ends_, numbers_;
  Aligned<int32_t> first_bias_;  // with what is the same for all blocks of the plane
  int64_t reciprocals_[BLOCK];
  std::vector<uint64_t> nonzero_;  // of every block that is done, which coefficients are not 0

  // Of the wave: [blocks][width].
  std::vector<Block> blocks_;
  Aligned<int16_t> first_, second_;
  // Of the blocks that code a coefficient.
  std::vector<size_t> rows_;
  std::vector<const int16_t*> inputs_;
  Aligned<int32_t> sums_, means_;
  Aligned<int16_t> active_;
  std::vector<const int16_t*> here_;  // blocks of the first plane at a block's place
  Terms terms_, linear_terms_;  // of the first layer and of the linear path
  std::vector<int32_t> nodes_;
  Round round_;
  Numbers room_;
};

}  // namespace ncml::coefficients
