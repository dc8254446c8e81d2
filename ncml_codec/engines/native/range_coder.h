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
  // The same for one symbol of two, of which 0 has `zeros` counts, 1 to 2^24 - 1.
  void encode_bit(bool symbol, uint32_t zeros) {
    const uint64_t scale = range_ >> 24, before = lower_;
    if (symbol) lower_ += scale * zeros;
    range_ = scale * (symbol ? (1u << 24) - zeros : zeros);
    if (lower_ < before) carry();
    if (range_ >> 32) return;
    shift(uint32_t(lower_ >> 32));
    lower_ <<= 32;
    range_ <<= 32;
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
  // The same for one symbol of two, of which 0 has `zeros` counts, 1 to 2^24 - 1.
  bool decode_bit(bool* symbol, uint32_t zeros) {
    const uint64_t scale = range_ >> 24, bound = scale * zeros;
    if (above_ >= scale << 24) return false;
    *symbol = above_ >= bound;
    if (*symbol) above_ -= bound;
    range_ = scale * (*symbol ? (1u << 24) - zeros : zeros);
    if (range_ >> 32) return true;
    above_ = above_ << 32 | next();
    range_ <<= 32;
    return true;
  }

 private:
  uint64_t next() { return at_ < words_.size() ? words_[at_++] : 0; }

  std::vector<uint32_t> words_;
  size_t at_ = 0;
  uint64_t range_ = ~uint64_t{0};
  uint64_t above_;  // how far the number that the words spell is above the encoder's `lower`
};

}  // namespace ncml
