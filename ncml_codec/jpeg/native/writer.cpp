// `plain_writer.py`, faster.

#include <algorithm>
#include <memory>

#include "scan.h"

namespace ncml::jpeg {
namespace {

struct Codes {
  explicit Codes(const HuffmanCode& huffman) {
    uint32_t code = 0, at = 0;
    for (int size = 1; size <= 16; ++size) {
      code <<= 1;
      for (int left = huffman.counts[size - 1]; left > 0; --left, ++code, ++at) {
        const uint8_t symbol = huffman.symbols[at];
        if (length[symbol]) continue;
        length[symbol] = uint8_t(size);
        bits[symbol] = uint16_t(code);
      }
    }
  }
  uint16_t bits[256] = {};
  uint8_t length[256] = {};  // 0: no code
};

int bit_length(uint32_t value) {
#ifdef __GNUC__
  return value ? 32 - __builtin_clz(value) : 0;
#else
  int length = 0;
  for (; value > 255; value >>= 8) length += 8;
  for (; value; value >>= 1) ++length;
  return length;
#endif
}

class Output {
 public:
  // count: at most 32. Bits of the value beyond are zero.
  void put(uint32_t value, int count) {
    pending_ = pending_ << count | value;
    filled_ += count;
    if (filled_ < 32) return;
    filled_ -= 32;
    const uint32_t word = uint32_t(pending_ >> filled_);
    if (used_ + 8 > bytes_.size()) bytes_.resize(2 * bytes_.size() + 64);
    char* to = &bytes_[used_];
    if (const bool stuffing = (~word - 0x01010101u) & word & 0x80808080u; !stuffing) {
      for (int at = 0; at < 4; ++at) to[at] = char(word >> (24 - 8 * at));
      used_ += 4;
      return;
    }
    for (int shift = 24; shift >= 0; shift -= 8) {
      const uint8_t byte = uint8_t(word >> shift);
      bytes_[used_++] = char(byte);
      if (byte == 0xFF) bytes_[used_++] = 0;
    }
  }

  // Write the whole bytes that are pending.
  void flush() {
    for (; filled_ >= 8; filled_ -= 8) {
      const uint8_t byte = uint8_t(pending_ >> (filled_ - 8));
      append(&byte, 1);
      if (byte == 0xFF) append(reinterpret_cast<const uint8_t*>(""), 1);
    }
  }

  int bits_to_byte() const { return -filled_ & 7; }

  void append(const uint8_t* from, size_t count) {
    if (used_ + count > bytes_.size()) bytes_.resize(2 * (used_ + count));
    std::copy_n(from, count, bytes_.begin() + int64_t(used_));
    used_ += count;
  }

  int64_t size() const { return int64_t(used_); }

  std::string take() {
    bytes_.resize(used_);
    return std::move(bytes_);
  }

 private:
  std::string bytes_;
  size_t used_ = 0;
  uint64_t pending_ = 0;  // the lowest `filled_` bits count
  int filled_ = 0;
};

class Writer {
 public:
  Writer(const Scan& scan, const Notes& notes, int64_t limit)
      : scan_(scan), notes_(notes), limit_(limit), predicted_(scan.components.size()) {
    for (const Component& part : scan.components) {
      dc_.push_back(part.dc.present ? std::make_unique<Codes>(part.dc) : nullptr);
      ac_.push_back(part.ac.present ? std::make_unique<Codes>(part.ac) : nullptr);
    }
  }

  std::string run(int64_t units) {
    const int64_t all = scan_.units();
    int64_t unit = 0;
    for (int64_t row = 0; row < scan_.rows; ++row)
      for (int64_t column = 0; column < scan_.columns && unit < units; ++column) {
        each_block(scan_, row, column, [&](size_t index, int16_t* block) {
          write_block(index, block);
          ++block_;
          return true;
        });
        if (out_.size() > limit_)
          throw Unsound("JPEG scan: more than the " + std::to_string(limit_) + " bytes it was");
        ++unit;
        if (unit == all) {
          pad();
        } else if (scan_.interval && unit % scan_.interval == 0) {
          pad();
          restart(unit / scan_.interval - 1);
        }
      }
    out_.flush();
    return out_.take();
  }

 private:
  void restart(int64_t index) {
    if (next_restart_ < notes_.restarts.size() && notes_.restarts[next_restart_].first == index) {
      const std::string& marker = notes_.restarts[next_restart_++].second;
      out_.append(reinterpret_cast<const uint8_t*>(marker.data()), marker.size());
    } else {
      const uint8_t marker[2] = {0xFF, uint8_t(0xD0 + index % 8)};
      out_.append(marker, 2);
    }
    std::fill(predicted_.begin(), predicted_.end(), 0);
  }

  void pad() {
    end_run();
    for (int left = out_.bits_to_byte(); left > 0; --left) {
      const std::string& bits = notes_.padding;
      out_.put(bits.empty() ? 1 : uint32_t(bits[std::min(padded_, bits.size() - 1)] & 1), 1);
      ++padded_;
    }
    out_.flush();
  }

  void write_block(size_t index, const int16_t* block) {
    if (!scan_.progressive) {
      write_dc(index, block[0]);
      write_band(index, block);
    } else if (scan_.first == 0 && scan_.high == 0) {
      write_dc(index, block[0]);
    } else if (scan_.first == 0) {
      out_.put(uint32_t(block[0] >> scan_.low & 1), 1);
    } else if (scan_.high == 0) {
      write_band(index, block);
    } else {
      refine_band(index, block);
    }
  }

  void write_dc(size_t index, int value) {
    value >>= scan_.low;
    const int difference = value - predicted_[index];
    predicted_[index] = value;
    put_symbol(*dc_[index], 0, difference);
  }

  void write_band(size_t index, const int16_t* block) {
    const Codes& codes = *ac_[index];
    const int begin = std::max(scan_.first, 1), last = scan_.last, low = scan_.low;
    if (breaks_here()) end_run();
    int before = begin - 1;  // the last position that is coded
    for (uint64_t left = not_zero(block) & bits_between(begin, last + 1); left; left &= left - 1) {
      const int position = lowest_bit(left);
      int value = block[position];
      value = value > 0 ? value >> low : -(-value >> low);
      if (value == 0) continue;
      int zeros = position - before - 1;
      for (; zeros > 15; zeros -= 16) put_symbol(codes, 0xF0, 0);
      put_symbol(codes, 16 * zeros, value);
      before = position;
    }
    const int note = zero_runs_here();
    for (int run = note / 2; run > 0; --run) put_symbol(codes, 0xF0, 0);
    if (before < last && !(note & 1)) end_block(codes);
  }

  void refine_band(size_t index, const int16_t* block) {
    const Codes& codes = *ac_[index];
    const int first = scan_.first, last = scan_.last, low = scan_.low;
    if (breaks_here()) end_run();
    // Coefficients that were not zero before, and those that are 1 in the bit at work.
    uint64_t known = 0, ones = 0;
    for (uint64_t left = not_zero(block) & bits_between(first, last + 1); left; left &= left - 1) {
      const int position = lowest_bit(left), magnitude = std::abs(int(block[position])) >> low;
      known |= uint64_t(magnitude > 1) << position;
      ones |= uint64_t(magnitude == 1) << position;
    }
    int position = first;
    while (ones) {
      const int at = lowest_bit(ones), zeros = count_bits(~known & bits_between(position, at));
      if (zeros > 15) {
        position = skip(codes, block, known, position);
        continue;
      }
      put_symbol(codes, 16 * zeros, block[at] > 0 ? 1 : -1);
      put_corrections(block, known & bits_between(position, at));
      position = at + 1;
      ones &= ones - 1;
    }
    const int note = zero_runs_here();
    for (int run = note / 2; run > 0; --run) position = skip(codes, block, known, position);
    if (position > last || note & 1) return;
    for (uint64_t left = known & bits_between(position, 64); left; left &= left - 1)
      corrections_.push_back(correction(block, lowest_bit(left)));
    end_block(codes);
  }

  // A run of 16 zeros from the position; where it ends.
  int skip(const Codes& codes, const int16_t* block, uint64_t known, int position) {
    uint64_t zeros = ~known & bits_between(position, scan_.last + 1);
    for (int left = 15; zeros && left > 0; --left) zeros &= zeros - 1;
    const int end = zeros ? lowest_bit(zeros) + 1 : scan_.last + 1;
    put_symbol(codes, 0xF0, 0);
    put_corrections(block, known & bits_between(position, end));
    return end;
  }

  void put_corrections(const int16_t* block, uint64_t places) {
    for (; places; places &= places - 1) out_.put(correction(block, lowest_bit(places)), 1);
  }

  uint8_t correction(const int16_t* block, int position) const {
    return uint8_t(std::abs(int(block[position])) >> scan_.low & 1);
  }

  void end_block(const Codes& codes) {
    run_codes_ = &codes;
    if (!scan_.progressive) return put_symbol(codes, 0, 0);
    if (++run_ == kLongestRun) end_run();
  }

  void end_run() {
    if (!run_) return;
    const int run = run_, category = bit_length(uint32_t(run)) - 1;
    run_ = 0;
    put_symbol(*run_codes_, 16 * category, 0);
    out_.put(uint32_t(run - (1 << category)), category);
    for (const uint8_t bit : corrections_) out_.put(bit, 1);
    corrections_.clear();
  }

  // The symbol of high + the value's size, and the value.
  void put_symbol(const Codes& codes, int high, int value) {
    end_run();
    const int size = bit_length(uint32_t(std::abs(value)));
    const int length = size > 15 ? 0 : codes.length[high + size];
    if (!length)
      throw Unsound("JPEG scan: no code for symbol " + std::to_string(high + size) + ", value " +
                    std::to_string(value));
    const uint32_t bits = uint32_t(value > 0 ? value : value + (1 << size) - 1);
    out_.put(uint32_t(codes.bits[high + size]) << size | bits, length + size);
  }

  bool breaks_here() {
    const bool here = next_break_ < notes_.breaks.size() && notes_.breaks[next_break_] == block_;
    next_break_ += here;
    return here;
  }

  int zero_runs_here() {
    if (next_zero_run_ == notes_.zero_runs.size() ||
        notes_.zero_runs[next_zero_run_].first != block_)
      return 0;
    return notes_.zero_runs[next_zero_run_++].second;
  }

  const Scan& scan_;
  const Notes& notes_;
  const int64_t limit_;
  std::vector<std::unique_ptr<Codes>> dc_, ac_;
  std::vector<int> predicted_;
  Output out_;
  size_t next_break_ = 0, next_zero_run_ = 0, next_restart_ = 0, padded_ = 0;
  int64_t block_ = 0;
  int run_ = 0;
  const Codes* run_codes_ = nullptr;
  std::vector<uint8_t> corrections_;
};

}  // namespace

std::string write_scan(const Scan& scan, const Notes& notes, int64_t units, int64_t limit) {
  return Writer(scan, notes, limit).run(units);
}

}  // namespace ncml::jpeg
