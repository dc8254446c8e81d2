// `plain_reader.py`, faster: a segment is copied without its stuffing, so that any bits of it are
// one unaligned load; codes of up to ten bits are one look into a table.

#include <algorithm>
#include <cstring>
#include <memory>

#include "scan.h"

namespace ncml::jpeg {
namespace {

// A block takes less than 64 symbols of 32 bits: zeros behind a segment let it be read without
// checks, and whether it ended too late is asked afterwards.
constexpr size_t kSpare = 64 * 4 + 16;
constexpr int kPeek = 10;

class Decoder {
 public:
  explicit Decoder(const HuffmanCode& huffman) : symbols_(huffman.symbols) {
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
        if (length > kPeek) continue;
        const uint32_t begin = code << (kPeek - length);
        std::fill_n(table_ + begin, 1u << (kPeek - length), uint16_t(length << 8 | symbol));
      }
      end_[length] = code;
    }
  }

  // Length << 8 | symbol of the code that the word begins with, or 0.
  uint32_t find(uint64_t word) const {
    const uint32_t entry = table_[word >> (64 - kPeek)];
    return entry ? entry : find_long(word);
  }

 private:
  uint32_t find_long(uint64_t word) const {
    for (int length = 1; length <= 16; ++length) {
      const uint32_t code = uint32_t(word >> (64 - length));
      if (code >= end_[length]) continue;
      // Shorter codes are prefixes of smaller ones only, so this one begins at first_.
      const uint32_t at = offset_[length] + code - first_[length];
      return usable_[at] ? uint32_t(length << 8 | symbols_[at]) : 0;
    }
    return 0;
  }

  uint16_t table_[1 << kPeek] = {};
  uint32_t first_[17], end_[17], offset_[17];
  std::vector<uint8_t> symbols_;
  std::vector<bool> usable_;
};

int extend(uint32_t value, int size) {
  return value >> (size - 1) ? int(value) : int(value) - (1 << size) + 1;
}

class Reader {
 public:
  Reader(const uint8_t* data, int64_t size, const Scan& scan, int64_t notes_max)
      : data_(data), size_(size), scan_(scan), notes_max_(notes_max), predicted_(scan.components.size()) {
    for (const Component& part : scan.components) {
      dc_.push_back(part.dc.present ? std::make_unique<Decoder>(part.dc) : nullptr);
      ac_.push_back(part.ac.present ? std::make_unique<Decoder>(part.ac) : nullptr);
    }
  }

  Reading run(int64_t start) {
    begin_segment(start);
    int64_t unit = 0;
    for (int64_t row = 0; row < scan_.rows; ++row)
      for (int64_t column = 0; column < scan_.columns; ++column, ++unit) {
        const int64_t first_block = block_;
        const uint64_t began = position_;
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
    position_ = 0;
    std::fill(predicted_.begin(), predicted_.end(), 0);
    run_left_ = 0;
    run_length_ = -1;
  }

  bool read_unit(int64_t row, int64_t column) {
    return each_block(scan_, row, column, [&](size_t index, int16_t* block) {
      const bool sound = read_block(index, block) && position_ <= limit_;
      ++block_;
      return sound;
    });
  }

  // What follows the `number`th unit; end: where the scan ends, if this is the last one.
  bool finish_unit(int64_t number, int64_t& end) {
    const bool last = number == scan_.units();
    if (!last && !(scan_.interval && number % scan_.interval == 0)) return true;
    if (run_left_) return false;
    end = file_position((position_ + 7) / 8);
    int64_t marker = end_;
    if (!last) {
      while (marker < size_ && data_[marker] == 0xFF) ++marker;
      if (marker == size_ || data_[marker] < 0xD0 || data_[marker] > 0xD7) return false;
    }
    while (position_ % 8) notes_.padding.push_back(char(take(1)));
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

  // At least 57 bits from the position on, then zeros.
  uint64_t peek() const {
    const uint8_t* from = bytes_.data() + position_ / 8;
    uint64_t word = 0;
    for (int byte = 0; byte < 8; ++byte) word = word << 8 | from[byte];
    return word << (position_ % 8);
  }

  uint32_t take(int count) {
    if (count == 0) return 0;
    const uint64_t word = peek();
    position_ += unsigned(count);
    return uint32_t(word >> (64 - count));
  }

  bool read_block(size_t index, int16_t* block) {
    if (!scan_.progressive) return read_dc(index, block) && read_band(index, block);
    if (scan_.first == 0 && scan_.high == 0) return read_dc(index, block);
    if (scan_.first == 0) {
      block[0] = int16_t(block[0] | int(take(1)) << scan_.low);
      return true;
    }
    return scan_.high == 0 ? read_band(index, block) : refine_band(index, block);
  }

  bool read_dc(size_t index, int16_t* block) {
    const uint64_t word = peek();
    const uint32_t entry = dc_[index]->find(word);
    const int length = int(entry >> 8), size = int(entry & 255);
    if (!entry || size > 15) return false;
    position_ += unsigned(length + size);
    if (size) predicted_[index] += extend(uint32_t(word << length >> (64 - size)), size);
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
    while (position <= last) {
      const uint64_t word = peek();
      const uint32_t entry = decoder.find(word);
      if (!entry) return false;
      const int length = int(entry >> 8), run = int(entry >> 4 & 15), size = int(entry & 15);
      if (size) {
        position += run;
        zero_runs = 0;
        const int value = extend(uint32_t(word << length >> (64 - size)), size) * (1 << low);
        if (position > last || value > kCoefficientMax || value < -kCoefficientMax) return false;
        position_ += unsigned(length + size);
        block[position++] = int16_t(value);
        continue;
      }
      position_ += unsigned(length);
      if (run == 15) {
        position += 16;
        ++zero_runs;
      } else {
        if (!begin_run(run, position == scan_.first)) return false;
        ended = true;
        break;
      }
    }
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
      const uint32_t entry = decoder.find(peek());
      if (!entry) return false;
      position_ += entry >> 8;
      const int run = int(entry >> 4 & 15), size = int(entry & 15);
      if (size > 1) return false;
      int value = 0;
      if (size) {
        value = take(1) ? 1 << low : -(1 << low);
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

  int correct(int16_t* block, int position, int zeros) {
    for (; position <= scan_.last; ++position) {
      if (block[position]) {
        if (take(1)) {
          const int step = block[position] > 0 ? 1 << scan_.low : -(1 << scan_.low);
          block[position] = int16_t(block[position] + step);
        }
      } else if (zeros-- == 0) {
        break;
      }
    }
    return position;
  }

  bool begin_run(int category, bool at_first) {
    if (category && !scan_.progressive) return false;
    const int length = (1 << category) + int(take(category));
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
  uint64_t position_ = 0, limit_ = 0;  // in bits
  int64_t block_ = 0;
  int run_left_ = 0, run_length_ = -1;
};

}  // namespace

Reading read_scan(const uint8_t* data, int64_t size, int64_t start, const Scan& scan,
                  int64_t notes_max) {
  return Reader(data, size, scan, notes_max).run(start);
}

}  // namespace ncml::jpeg
