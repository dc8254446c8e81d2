// What native code knows of a scan; `records.py` and `plain_reader.py` say what it means.

#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

namespace ncml::jpeg {

constexpr int kLongestRun = 0x7FFF;
constexpr int kCoefficientMax = 0x7FFF;

// What the caller reports as a FormatError.
struct Unsound : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Counts by length, then symbols, as in a DHT segment.
struct HuffmanCode {
  bool present = false;
  uint8_t counts[16];
  std::vector<uint8_t> symbols;
};

struct Component {
  int16_t* blocks;  // [rows][block_columns][64]
  int64_t block_columns;
  int horizontal, vertical;  // blocks in a unit
  HuffmanCode dc, ac;

  int16_t* block(int64_t row, int64_t column) const {
    return blocks + (row * block_columns + column) * 64;
  }
};

struct Scan {
  std::vector<Component> components;
  int64_t rows, columns, interval;
  bool progressive;
  int first, last, high, low;

  int64_t units() const { return rows * columns; }
};

struct Notes {
  std::string padding;  // bits, one a byte
  std::vector<int64_t> breaks;
  std::vector<std::pair<int64_t, int>> zero_runs;
  std::vector<std::pair<int64_t, std::string>> restarts;

  int64_t size() const { return int64_t(breaks.size() + zero_runs.size() + restarts.size()); }
};

struct Reading {
  Notes notes;
  int64_t end, units;
};

// Calls visit(component, block) for the blocks of a unit in coding order, while it returns true.
template <class Visit>
bool each_block(const Scan& scan, int64_t row, int64_t column, Visit visit) {
  for (size_t index = 0; index < scan.components.size(); ++index) {
    const Component& part = scan.components[index];
    for (int down = 0; down < part.vertical; ++down)
      for (int across = 0; across < part.horizontal; ++across)
        if (!visit(index, part.block(row * part.vertical + down, column * part.horizontal + across)))
          return false;
  }
  return true;
}

// Place of the lowest bit that is set.
inline int lowest_bit(uint64_t bits) {
#ifdef __GNUC__
  return __builtin_ctzll(bits);
#else
  int place = 0;
  for (; !(bits & 1); bits >>= 1) ++place;
  return place;
#endif
}

inline int count_bits(uint64_t bits) {
#ifdef __GNUC__
  return __builtin_popcountll(bits);
#else
  int count = 0;
  for (; bits; bits &= bits - 1) ++count;
  return count;
#endif
}

// Bits of the places from begin up to, without, end; both 0 to 64.
inline uint64_t bits_between(int begin, int end) {
  if (begin >= end) return 0;
  return ~uint64_t(0) << begin & ~uint64_t(0) >> (64 - end);
}

// A bit for each of 64 coefficients, the first one lowest: whether it is not zero.
inline uint64_t not_zero(const int16_t* block) {
  uint64_t bits = 0;
#ifdef __SSE2__
  for (int at = 48; at >= 0; at -= 16) {
    const auto* from = reinterpret_cast<const __m128i*>(block + at);
    const __m128i pair = _mm_packs_epi16(_mm_loadu_si128(from), _mm_loadu_si128(from + 1));
    const int zeros = _mm_movemask_epi8(_mm_cmpeq_epi8(pair, _mm_setzero_si128()));
    bits = bits << 16 | uint64_t(~zeros & 0xFFFF);
  }
#else
  for (int at = 0; at < 64; ++at) bits |= uint64_t(block[at] != 0) << at;
#endif
  return bits;
}

Reading read_scan(const uint8_t* data, int64_t size, int64_t start, const Scan& scan,
                  int64_t notes_max);
std::string write_scan(const Scan& scan, const Notes& notes, int64_t units, int64_t limit);

}  // namespace ncml::jpeg
