// The range coder of FORMAT.md, section 6: the words of ncml_codec/entropy/range_coder.py, equal to the bit.
//
// Weights are [rows][symbols] floats: counts less one, whole numbers, counts summing to 2^24. Rows
// of another sum, or with one below zero, raise std::invalid_argument. What is not a number or not
// whole cannot do worse than decode to anything: every count that is used is at least 1.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ncml {

class RangeEncoder {
 public:
  // Raises std::invalid_argument for a symbol that its row does not have.
  void encode(const int32_t* symbols, const float* weights, size_t rows, int width);
  // The same for symbols of two, 0 or 1, of which 1 has `ones` 65536ths, 1 to 65535.
  void encode_bits(const uint8_t* symbols, const int32_t* ones, size_t count) {
    uint64_t lower = lower_, range = range_;
    for (size_t i = 0; i < count; ++i) {
      const uint64_t scale = range >> 24, zeros = uint64_t(65536 - ones[i]) << 8;
      const uint64_t before = lower, bound = scale * zeros;
      lower += symbols[i] ? bound : 0;
      range = symbols[i] ? (scale << 24) - bound : bound;
      if (lower < before) carry();
      if (range >> 32) continue;
      shift(uint32_t(lower >> 32));
      lower <<= 32;
      range <<= 32;
    }
    lower_ = lower;
    range_ = range;
  }
  // The words of everything so far.
  std::vector<uint32_t> finish() const;

 private:
  void carry();
  void shift(uint32_t word);
  void write_waiting(std::vector<uint32_t>& to, uint32_t carry) const;

  // The code is a number: words that are done, words that a carry may change (one, and `ones_` full
  // ones after it), and the 64 bits of `lower_`.
  std::vector<uint32_t> words_;
  bool held_ = false;
  uint32_t word_ = 0;
  size_t ones_ = 0;
  uint64_t lower_ = 0;
  uint64_t range_ = ~uint64_t{0};
};

class RangeDecoder {
 public:
  explicit RangeDecoder(std::vector<uint32_t> words);
  // Whether the words are a stream of this coder so far; if not, no symbol is to be believed.
  bool decode(int32_t* symbols, const float* weights, size_t rows, int width);
  // The same for symbols of two, 0 or 1, of which 1 has `ones` 65536ths, 1 to 65535.
  bool decode_bits(uint8_t* symbols, const int32_t* ones, size_t count) {
    uint64_t above = above_, range = range_;
    bool sound = true;
    for (size_t i = 0; i < count; ++i) {
      const uint64_t scale = range >> 24, zeros = uint64_t(65536 - ones[i]) << 8;
      const uint64_t bound = scale * zeros;
      sound &= above < scale << 24;
      const bool symbol = above >= bound;
      symbols[i] = symbol;
      above -= symbol ? bound : 0;
      range = symbol ? (scale << 24) - bound : bound;
      if (range >> 32) continue;
      above = above << 32 | next();
      range <<= 32;
    }
    above_ = above;
    range_ = range;
    return sound;
  }

 private:
  uint64_t next() { return at_ < words_.size() ? words_[at_++] : 0; }

  std::vector<uint32_t> words_;
  size_t at_ = 0;
  uint64_t range_ = ~uint64_t{0};
  uint64_t above_;  // how far the number that the words spell is above the encoder's `lower`
};

}  // namespace ncml
