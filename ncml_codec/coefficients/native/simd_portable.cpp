// Without instructions of its own: what the compiler makes of plain loops.

// Short loops become vectors only if they are not unrolled before.
#define UNROLL
#if defined(__GNUC__) && !defined(__clang__)
#define ROLLED _Pragma("GCC unroll 1")
#else
#define ROLLED
#endif
#include "loops.h"

namespace ncml::coefficients {
namespace {

struct Eight {
  int32_t at[LANES];

  static Eight all(int32_t value) {
    return each([=](int) { return value; });
  }
  static Eight load(const int32_t* from) {
    return each([=](int i) { return from[i]; });
  }
  static Eight load_short(const int16_t* from) {
    return each([=](int i) { return from[i]; });
  }
  void store(int32_t* to) const {
    for (int i = 0; i < LANES; ++i) to[i] = at[i];
  }
  void store_short(int16_t* to) const {
    for (int i = 0; i < LANES; ++i) to[i] = int16_t(at[i]);
  }
  template <class F>
  static Eight each(F function) {
    Eight found;
    for (int i = 0; i < LANES; ++i) found.at[i] = function(i);
    return found;
  }
};

Eight operator+(const Eight& a, const Eight& b) {
  return Eight::each([&](int i) { return a.at[i] + b.at[i]; });
}
Eight operator-(const Eight& a, const Eight& b) {
  return Eight::each([&](int i) { return a.at[i] - b.at[i]; });
}
Eight operator*(const Eight& a, const Eight& b) {
  return Eight::each([&](int i) { return a.at[i] * b.at[i]; });
}
Eight operator&(const Eight& a, const Eight& b) {
  return Eight::each([&](int i) { return a.at[i] & b.at[i]; });
}
Eight operator>>(const Eight& a, const Eight& b) {
  return Eight::each([&](int i) { return a.at[i] >> b.at[i]; });
}
Eight operator>>(const Eight& a, int bits) {
  return Eight::each([&](int i) { return a.at[i] >> bits; });
}
Eight operator<<(const Eight& a, int bits) {
  return Eight::each([&](int i) { return a.at[i] << bits; });
}
Eight min(const Eight& a, const Eight& b) {
  return Eight::each([&](int i) { return a.at[i] < b.at[i] ? a.at[i] : b.at[i]; });
}
Eight max(const Eight& a, const Eight& b) {
  return Eight::each([&](int i) { return a.at[i] > b.at[i] ? a.at[i] : b.at[i]; });
}
Eight look_up(const int32_t* table, const Eight& at) {
  return Eight::each([&](int i) { return table[at.at[i]]; });
}
Eight quotient(const Eight& a, const Eight& b) {
  return Eight::each([&](int i) { return a.at[i] / b.at[i]; });
}
Eight share_of(const Eight& mass, const Eight& total) {
  return Eight::each([&](int i) {
    return total.at[i] > 0 ? int32_t((int64_t{mass.at[i]} << 16) / total.at[i]) : 32768;
  });
}

struct Portable {
  using Lanes = Eight;
  static constexpr int GROUPS = 1, PARTS = 1, COLUMN_GROUPS = 1;
  struct Sums {
    int32_t at[GROUP];
  };
  using Mixed = Sums;
  struct Pair {
    int16_t first, second;
  };

  static Sums zero() { return {}; }
  static Sums load(const int32_t* from) {
    Sums sums;
    for (int i = 0; i < GROUP; ++i) sums.at[i] = from[i];
    return sums;
  }
  static void store(int32_t* to, const Sums& sums) {
    for (int i = 0; i < GROUP; ++i) to[i] = sums.at[i];
  }
  static void add(Sums& a, const Sums& b) {
    for (int i = 0; i < GROUP; ++i) a.at[i] += b.at[i];
  }
  static const int16_t* weights(const int16_t* from) { return from; }
  static void dot(Sums& sums, const int16_t* weights, const int16_t* inputs) {
    const int16_t first = inputs[0], second = inputs[1];
    ROLLED for (int i = 0; i < GROUP; ++i)
      sums.at[i] += weights[2 * i] * first + weights[2 * i + 1] * second;
  }
  static Mixed mixed_zero() { return {}; }
  static Pair pair(int16_t first, int16_t second) { return {first, second}; }
  static void mixed_dot(Mixed& sums, const int16_t* first, const int16_t* second, Pair factors) {
    ROLLED for (int i = 0; i < GROUP; ++i)
      sums.at[i] += first[i] * factors.first + second[i] * factors.second;
  }
  static void mixed_add(int32_t* to, const Mixed& sums) {
    for (int i = 0; i < GROUP; ++i) to[i] += sums.at[i];
  }
  static uint64_t nonzero(const int16_t* block) {
    uint64_t found = 0;
    for (int k = 0; k < BLOCK; ++k) found |= uint64_t{block[k] != 0} << k;
    return found;
  }
};

}  // namespace

extern const Kernels kPortable;
const Kernels kPortable = kernels_of<Portable>("portable");

}  // namespace ncml::coefficients
