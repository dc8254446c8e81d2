// `plain_reader.py`, faster: a segment is copied without its stuffing, so that its next 56 bits and
// more are one unaligned load; codes of up to ten bits, with the value that follows where both fit,
// are one look into a table.

#include <algorithm>
#include <cstring>
#include <memory>

#include "scan.h"

namespace ncml::jpeg {
namespace {

// A block takes less than 64 symbols of 32 bits, and loads reach 15 bytes beyond: zeros behind a
// segment let it be read without checks, and whether it ended too late is asked afterwards.
constexpr size_t kSpare = 64 * 4 + 32;
constexpr int kPeek = 10;

int extend(uint32_t value, int size) {
  return value >> (size - 1) ? int(value) : int(value) - (1 << size) + 1;
}

class Decoder {
 public:
  // values: whether bits that the symbol's low half counts follow each code.
  Decoder(const HuffmanCode& huffman, bool values) : symbols_(huffman.symbols) {
    bool seen[256] = {};
    uint32_t code = 0, at = 0;
    for (int length = 1; length <= 16; ++length) {
      code <<= 1;
      first_[length] = code;
      offset_[length] = at;
      for (int left = huffman.counts[length - 1]; left > 0; --left, ++code, ++at) {
        const uint8_t symbol = symbols_[at];
        usable_.push_back(!seen[symbol]);
        if (seen[symbol]) continue;
        seen[symbol] = true;
        if (length <= kPeek) fill(code, length, symbol, values);
      }
      end_[length] = code;
    }
  }

  // Value << 16 | length << 8 | symbol of what the window begins with; 0 if it begins with no code.
  // The length counts the value's bits if there is a value: if none stands here, they follow.
  uint32_t find(uint64_t window) const {
    const uint32_t entry = table_[window >> (64 - kPeek)];
    return entry ? entry : find_long(window);
  }

 private:
  void fill(uint32_t code, int length, uint8_t symbol, bool values) {
    const int size = values ? symbol & 15 : 0, free = kPeek - length - size;
    uint32_t* at = table_ + (code << (kPeek - length));
    const uint32_t entry = uint32_t(length << 8 | symbol);
    if (size == 0 || free < 0) {
      std::fill_n(at, 1u << (kPeek - length), entry);
      return;
    }
    for (uint32_t value = 0; value < 1u << size; ++value, at += 1u << free)
      std::fill_n(at, 1u << free,
                  uint32_t(extend(value, size)) << 16 | (entry + uint32_t(size << 8)));
  }

  uint32_t find_long(uint64_t window) const {
    for (int length = 1; length <= 16; ++length) {
      const uint32_t code = uint32_t(window >> (64 - length));
      if (code >= end_[length]) continue;
      // Shorter codes are prefixes of smaller ones only, so this one begins at first_.
      const uint32_t at = offset_[length] + code - first_[length];
      return usable_[at] ? uint32_t(length << 8 | symbols_[at]) : 0;
    }
    return 0;
  }

  uint32_t table_[1 << kPeek] = {};
  uint32_t first_[17], end_[17], offset_[17];
  std::vector<uint8_t> symbols_;
  std::vector<bool> usable_;
};

// The next bits of a segment, highest first. A copy on the stack stays in registers.
struct Bits {
  const uint8_t* next;  // the first byte of which the window has not all bits
  uint64_t window = 0;
  int count = 0;  // bits of the window that are taken for certain

  // At least 56 bits in the window.
  void refill() {
    uint64_t word = 0;
    for (int byte = 0; byte < 8; ++byte) word = word << 8 | next[byte];
    window |= word >> count;
    next += (63 - count) >> 3;
    count |= 56;
  }

  void skip(int bits) {
    window <<= bits;
    count -= bits;
  }

  uint32_t take(int bits) {
    if (bits == 0) return 0;
    if (count < bits) refill();
    const uint32_t value = uint32_t(window >> (64 - bits));
    skip(bits);
    return value;
  }
};

class Reader {
 public:
  Reader(const uint8_t* data, int64_t size, const Scan& scan, int64_t notes_max)
      : data_(data), size_(size), scan_(scan), notes_max_(notes_max), predicted_(scan.components.size()) {
    for (const Component& part : scan.components) {
      dc_.push_back(part.dc.present ? std::make_unique<Decoder>(part.dc, true) : nullptr);
      const bool values = scan.high == 0;
      ac_.push_back(part.ac.present ? std::make_unique<Decoder>(part.ac, values) : nullptr);
    }
  }

  Reading run(int64_t start) {
    begin_segment(start);
    int64_t unit = 0;
    for (int64_t row = 0; row < scan_.rows; ++row)
      for (int64_t column = 0; column < scan_.columns; ++column, ++unit) {
        const int64_t first_block = block_;
        const uint64_t began = position();
        int64_t end = 0;
        // Fewer notes than the most leave room for one of a restart marker.
        if (read_unit(row, column) && notes_.size() < notes_max_ && finish_unit(unit + 1, end)) {
          if (unit + 1 == scan_.units()) return {std::move(notes_), end, unit + 1};
          continue;
        }
        if (!scan_.progressive)
          each_block(scan_, row, column, [](size_t, int16_t* block) {
            std::memset(block, 0, 64 * sizeof(int16_t));
            return true;
          });
        while (!notes_.zero_runs.empty() && notes_.zero_runs.back().first >= first_block)
          notes_.zero_runs.pop_back();
        return {std::move(notes_), file_position(began / 8), unit};
      }
    throw Unsound("JPEG scan: no unit");
  }

 private:
  void begin_segment(int64_t start) {
    start_ = start;
    bytes_.clear();
    int64_t at = start;
    while (at < size_) {
      const void* found = std::memchr(data_ + at, 0xFF, size_t(size_ - at));
      const int64_t marker = found ? static_cast<const uint8_t*>(found) - data_ : size_;
      const bool stuffed = marker + 1 < size_ && data_[marker + 1] == 0;
      bytes_.insert(bytes_.end(), data_ + at, data_ + marker + stuffed);
      at = marker + 2 * stuffed;
      if (!stuffed) break;
    }
    end_ = std::min(at, size_);
    limit_ = 8 * uint64_t(bytes_.size());
    bytes_.resize(bytes_.size() + kSpare);
    bits_ = Bits{bytes_.data()};
    std::fill(predicted_.begin(), predicted_.end(), 0);
    run_left_ = 0;
    run_length_ = -1;
  }

  bool read_unit(int64_t row, int64_t column) {
    return each_block(scan_, row, column, [&](size_t index, int16_t* block) {
      const bool sound = read_block(index, block) && position() <= limit_;
      ++block_;
      return sound;
    });
  }

  // What follows the `number`th unit; end: where the scan ends, if this is the last one.
  bool finish_unit(int64_t number, int64_t& end) {
    const bool last = number == scan_.units();
    if (!last && !(scan_.interval && number % scan_.interval == 0)) return true;
    if (run_left_) return false;
    end = file_position((position() + 7) / 8);
    int64_t marker = end_;
    if (!last) {
      while (marker < size_ && data_[marker] == 0xFF) ++marker;
      if (marker == size_ || data_[marker] < 0xD0 || data_[marker] > 0xD7) return false;
    }
    while (position() % 8) notes_.padding.push_back(char(bits_.take(1)));
    if (last) return true;
    const int64_t index = number / scan_.interval - 1;
    if (marker - end != 1 || data_[marker] != 0xD0 + index % 8)
      notes_.restarts.emplace_back(
          index, std::string(reinterpret_cast<const char*>(data_ + end), size_t(marker + 1 - end)));
    begin_segment(marker + 1);
    return true;
  }

  int64_t file_position(uint64_t at) const {
    return start_ + int64_t(at) + std::count(bytes_.begin(), bytes_.begin() + int64_t(at), 0xFF);
  }

  // In bits, from the segment's begin.
  uint64_t position() const {
    return 8 * uint64_t(bits_.next - bytes_.data()) - uint64_t(bits_.count);
  }

  bool read_block(size_t index, int16_t* block) {
    if (!scan_.progressive) return read_dc(index, block) && read_band(index, block);
    if (scan_.first == 0 && scan_.high == 0) return read_dc(index, block);
    if (scan_.first == 0) {
      block[0] = int16_t(block[0] | int(bits_.take(1)) << scan_.low);
      return true;
    }
    return scan_.high == 0 ? read_band(index, block) : refine_band(index, block);
  }

  bool read_dc(size_t index, int16_t* block) {
    bits_.refill();
    const uint32_t entry = dc_[index]->find(bits_.window);
    const int length = int(entry >> 8 & 255), size = int(entry & 255);
    if (!entry || size > 15) return false;
    bits_.skip(length);
    if (const int difference = int32_t(entry) >> 16)
      predicted_[index] += difference;
    else if (size)
      predicted_[index] += extend(bits_.take(size), size);
    const int64_t value = int64_t(predicted_[index]) * (1 << scan_.low);
    if (value < -kCoefficientMax - 1 || value > kCoefficientMax) return false;
    block[0] = int16_t(value);
    return true;
  }

  bool read_band(size_t index, int16_t* block) {
    if (run_left_) {
      --run_left_;
      return true;
    }
    const Decoder& decoder = *ac_[index];
    const int last = scan_.last, low = scan_.low;
    int position = std::max(scan_.first, 1), zero_runs = 0;
    bool ended = false;
    Bits bits = bits_;
    while (position <= last) {
      bits.refill();
      const uint32_t entry = decoder.find(bits.window);
      if (!entry) return false;
      bits.skip(int(entry >> 8 & 255));
      const int run = int(entry >> 4 & 15), size = int(entry & 15);
      if (size) {
        int value = int32_t(entry) >> 16;
        if (!value) value = extend(bits.take(size), size);
        value *= 1 << low;
        position += run;
        zero_runs = 0;
        if (position > last || value > kCoefficientMax || value < -kCoefficientMax) return false;
        block[position++] = int16_t(value);
      } else if (run == 15) {
        position += 16;
        ++zero_runs;
      } else {
        bits_ = bits;
        if (!begin_run(run, position == scan_.first)) return false;
        bits = bits_;
        ended = true;
        break;
      }
    }
    bits_ = bits;
    if (position > last + 1) return false;
    finish_block(zero_runs, ended);
    return true;
  }

  bool refine_band(size_t index, int16_t* block) {
    const int first = scan_.first, last = scan_.last, low = scan_.low;
    if (run_left_) {
      --run_left_;
      correct(block, first, 64);
      return true;
    }
    const Decoder& decoder = *ac_[index];
    int position = first, zero_runs = 0;
    bool ended = false, began = true;
    while (position <= last) {
      bits_.refill();
      const uint32_t entry = decoder.find(bits_.window);
      if (!entry) return false;
      bits_.skip(int(entry >> 8));
      const int run = int(entry >> 4 & 15), size = int(entry & 15);
      if (size > 1) return false;
      int value = 0;
      if (size) {
        value = bits_.take(1) ? 1 << low : -(1 << low);
        zero_runs = 0;
      } else if (run == 15) {
        ++zero_runs;
      } else {
        if (!begin_run(run, began)) return false;
        ended = true;
        correct(block, position, 64);
        break;
      }
      position = correct(block, position, run);
      if (position > last) return false;
      if (value) block[position] = int16_t(value);
      ++position;
      began = false;
    }
    finish_block(zero_runs, ended);
    return true;
  }

  // Reads a bit for each non-zero from the position until so many zeros are passed. The position
  // of the zero behind them, or behind the band.
  int correct(int16_t* block, int position, int zeros) {
    const int end = scan_.last + 1;
    uint64_t left = not_zero(block) & bits_between(position, end);
    for (; left; left &= left - 1) {
      const int at = lowest_bit(left);
      if (at - position > zeros) return position + zeros;
      zeros -= at - position;
      position = at + 1;
      if (bits_.take(1)) {
        const int step = block[at] > 0 ? 1 << scan_.low : -(1 << scan_.low);
        block[at] = int16_t(block[at] + step);
      }
    }
    return std::min(position + zeros, end);
  }

  bool begin_run(int category, bool at_first) {
    if (category && !scan_.progressive) return false;
    const int length = (1 << category) + int(bits_.take(category));
    if (at_first && run_length_ >= 0 && run_length_ < kLongestRun) notes_.breaks.push_back(block_);
    run_left_ = run_length_ = length;
    return true;
  }

  void finish_block(int zero_runs, bool ended) {
    if (zero_runs) notes_.zero_runs.emplace_back(block_, 2 * zero_runs + !ended);
    if (ended) --run_left_;
    if (!ended || !scan_.progressive) run_length_ = -1;
  }

  const uint8_t* data_;
  int64_t size_;
  const Scan& scan_;
  int64_t notes_max_;
  std::vector<std::unique_ptr<Decoder>> dc_, ac_;
  std::vector<int> predicted_;
  Notes notes_;
  std::vector<uint8_t> bytes_;  // of the segment, without stuffing, and spare zeros
  int64_t start_ = 0, end_ = 0;  // of the segment in the file
  Bits bits_{};
  uint64_t limit_ = 0;  // in bits
  int64_t block_ = 0;
  int run_left_ = 0, run_length_ = -1;
};

}  // namespace

Reading read_scan(const uint8_t* data, int64_t size, int64_t start, const Scan& scan,
                  int64_t notes_max) {
  return Reader(data, size, scan, notes_max).run(start);
}

}  // namespace ncml::jpeg
