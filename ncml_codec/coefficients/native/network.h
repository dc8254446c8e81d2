// The network of integers of ncml_codec/coefficients/network.py, laid out for speed; equal to the bit.
//
// Who makes one has proved its sums (network.check), so 32 bits hold all of them in any order.

#pragma once

#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

namespace ncml::coefficients {

constexpr int BLOCK = 64, LAST = 63, NEIGHBOURS = 6, NEAR = 2;
constexpr int ACTIVATION_MAX = 2047, DEQUANTISED_MAX = 2047, LOGARITHMS = 2048, FLAG = 64;
constexpr int GROUP = 16;  // outputs side by side in packed weights

// Vectors of 64 bytes do not cross a cache line.
template <class T>
struct Allocator {
  using value_type = T;
  Allocator() = default;
  template <class U>
  Allocator(const Allocator<U>&) {}
  T* allocate(size_t n) {
    return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(64)));
  }
  void deallocate(T* at, size_t) { ::operator delete(at, std::align_val_t(64)); }
  bool operator==(const Allocator&) const { return true; }
  bool operator!=(const Allocator&) const { return false; }
};

template <class T>
using Aligned = std::vector<T, Allocator<T>>;

inline int padded(int count, int to) { return (count + to - 1) / to * to; }

// clip((weight a + bias) >> shift). Outputs are padded with zeros to whole groups.
struct Layer {
  int inputs = 0, outputs = 0;
  int width = 0;  // outputs with padding
  int pairs = 0;  // of inputs, with padding
  int32_t limit = ACTIVATION_MAX;
  Aligned<int16_t> weight;  // [groups][pairs][16 outputs][2 inputs]
  Aligned<int32_t> bias, shift;
};

// The same with weights column by column, for inputs of which most are 0.
struct Columns {
  int width = 0;  // outputs with padding
  Aligned<int16_t> weight;  // [inputs][width]

  const int16_t* of(int input) const { return weight.data() + size_t(input) * size_t(width); }
};

// A coefficient's own layers. earlier: of the positive, then the negative parts of coefficients 1 to
// 63; hidden's weights are of the trunk's features.
struct Head {
  Layer hidden, out;
  Columns earlier;
};

struct Tables {
  std::vector<int32_t> logarithm, exponential, logistic;
  std::vector<int32_t> scale;  // mantissa + 2**16 shift
  std::vector<int32_t> stretch, squash;  // of ncml_codec/context_mixing/logits.py
};

struct PlaneNetwork {
  bool chroma = false;
  int far = 0;
  Layer first;  // without weights
  Columns first_columns;
  Layer end, second;
  std::vector<int32_t> end_bias;  // [64][second's width]
  std::vector<Head> heads;  // [64], DC first
  Columns linear;  // of every role and input coefficient, the block itself at last

  int roles() const { return NEIGHBOURS + (chroma ? 2 : 0); }
  int components() const { return heads[0].out.outputs / 3; }
};

}  // namespace ncml::coefficients
