#include "range_coder.h"

#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>

namespace ncml {

namespace {

constexpr int kBits = 24;  // counts of a row sum to 2^24
constexpr int kWord = 32;
constexpr uint64_t kLeastRange = uint64_t{1} << kWord;
constexpr uint32_t kOnes = ~uint32_t{0};

[[noreturn]] void refuse(const char* what) {
  throw std::invalid_argument(std::string("range coder: ") + what);
}

constexpr int kWidest = 256;

// A weight as a count less one; what no count can be becomes -1.
inline int32_t whole(float weight) {
  return weight >= 0.0f && weight <= float(1 << kBits) ? int32_t(weight) : -1;
}

// C(0), ..., C(width) of a row.
template <int kWidth>
inline void sum_up(const float* row, int width, int32_t* bounds) {
  const int count = kWidth ? kWidth : width;
  int32_t weights[kWidth ? kWidth : kWidest];
  int32_t signs = 0;
  for (int at = 0; at < count; ++at) {
    weights[at] = whole(row[at]);
    signs |= weights[at];
  }
  uint32_t sum = 0;  // of at most 256 counts of at most 2^24: none passes for 2^24 by overflow
  bounds[0] = 0;
  for (int at = 0; at < count; ++at) {
    sum += uint32_t(weights[at]) + 1;
    bounds[at + 1] = int32_t(sum);
  }
  if (signs < 0 || sum != 1u << kBits)
    refuse("the counts of a row are below 1 or do not sum to 2^24");
}

template <class Function>
void by_width(int width, Function function) {
  if (width < 2 || width > kWidest) refuse("an alphabet is not of 2 to 256 symbols");
  if (width == 16) return function(std::integral_constant<int, 16>());
  if (width == 2) return function(std::integral_constant<int, 2>());
  function(std::integral_constant<int, 0>());
}

}  // namespace

void RangeEncoder::encode(const int32_t* symbols, const float* weights, size_t rows, int width) {
  by_width(width, [&](auto fixed) {
    int32_t bounds[kWidest + 1];
    for (size_t at = 0; at < rows; ++at) {
      const int symbol = symbols[at];
      if (symbol < 0 || symbol >= width) refuse("a symbol is not in its alphabet");
      sum_up<fixed>(weights + at * size_t(width), width, bounds);
      const uint64_t scale = range_ >> kBits;
      const uint64_t before = lower_;
      lower_ += scale * uint64_t(bounds[symbol]);
      range_ = scale * uint64_t(bounds[symbol + 1] - bounds[symbol]);
      if (lower_ < before) carry();
      if (range_ < kLeastRange) {
        shift(uint32_t(lower_ >> kWord));
        lower_ <<= kWord;
        range_ <<= kWord;
      }
    }
  });
}

std::vector<uint32_t> RangeEncoder::finish() const {
  if (range_ == ~uint64_t{0}) return {};
  std::vector<uint32_t> words = words_;
  const uint64_t point = lower_ + kLeastRange - 1;
  write_waiting(words, point < lower_);
  const auto end = uint32_t(point >> kWord);
  words.push_back(end);
  if (uint32_t((lower_ + range_) >> kWord) == end) words.push_back(0);
  return words;
}

// Add one to the words above `lower_`. It happens at most once to each, so none overflows.
void RangeEncoder::carry() {
  write_waiting(words_, 1);
  if (!held_) return;
  word_ = words_.back();
  words_.pop_back();
  ones_ = 0;
}

void RangeEncoder::shift(uint32_t word) {
  if (held_ && word == kOnes) {
    ++ones_;
    return;
  }
  write_waiting(words_, 0);
  held_ = true;
  word_ = word;
  ones_ = 0;
}

void RangeEncoder::write_waiting(std::vector<uint32_t>& to, uint32_t carry) const {
  if (!held_) return;
  to.push_back(word_ + carry);
  to.insert(to.end(), ones_, kOnes + carry);
}

RangeDecoder::RangeDecoder(std::vector<uint32_t> words) : words_(std::move(words)) {
  above_ = next() << kWord;
  above_ |= next();
}

bool RangeDecoder::decode(int32_t* symbols, const float* weights, size_t rows, int width) {
  bool sound = true;
  by_width(width, [&](auto fixed) {
    const int count = fixed ? int(fixed) : width;
    int32_t bounds[kWidest + 1];
    for (size_t at = 0; at < rows; ++at) {
      sum_up<fixed>(weights + at * size_t(count), count, bounds);
      const uint64_t scale = range_ >> kBits;
      const uint64_t point = above_ / scale;
      if (point >> kBits) {
        sound = false;
        return;
      }
      const auto wanted = int32_t(point);
      int symbol = 0;
      for (int later = 1; later < count; ++later) symbol += bounds[later] <= wanted;
      symbols[at] = symbol;
      above_ -= scale * uint64_t(bounds[symbol]);
      range_ = scale * uint64_t(bounds[symbol + 1] - bounds[symbol]);
      if (range_ < kLeastRange) {
        above_ = above_ << kWord | next();
        range_ <<= kWord;
      }
    }
  });
  return sound;
}

}  // namespace ncml
