// The portable path: plain C++, and the last resort of every build.

#include <cmath>

#include "state.h"

namespace ncml {
namespace {

struct Portable {
  static constexpr int lanes = 4, rows = 2, columns = 2;
  struct V {
    int32_t at[lanes];
  };
  struct Q {
    int16_t at[4];
  };

  template <class F>
  static V each(F f) {
    V out;
    for (int i = 0; i < lanes; ++i) out.at[i] = f(i);
    return out;
  }
  static V set(int32_t x) {
    return each([=](int) { return x; });
  }
  static V load(const int32_t* p) {
    return each([=](int i) { return p[i]; });
  }
  static void store(int32_t* p, V v) {
    for (int i = 0; i < lanes; ++i) p[i] = v.at[i];
  }
  static int32_t pair(int16_t low, int16_t high) {
    return int32_t(uint32_t(uint16_t(low)) | uint32_t(uint16_t(high)) << 16);
  }
  static V load_pairs(const int16_t* p) {
    return each([=](int i) { return pair(p[2 * i], p[2 * i + 1]); });
  }
  static V broadcast_pair(const int16_t* p) { return set(pair(p[0], p[1])); }
  static V dot(V sum, V a, V w) {
    return each([=](int i) {
      return sum.at[i] + int16_t(a.at[i]) * int16_t(w.at[i]) +
             (a.at[i] >> 16) * (w.at[i] >> 16);
    });
  }
  static V add(V a, V b) {
    return each([=](int i) { return a.at[i] + b.at[i]; });
  }
  static V subtract(V a, V b) {
    return each([=](int i) { return a.at[i] - b.at[i]; });
  }
  static V multiply(V a, V b) {
    return each([=](int i) { return a.at[i] * b.at[i]; });
  }
  static V both(V a, V b) {
    return each([=](int i) { return a.at[i] & b.at[i]; });
  }
  static V min(V a, V b) {
    return each([=](int i) { return std::min(a.at[i], b.at[i]); });
  }
  static V max(V a, V b) {
    return each([=](int i) { return std::max(a.at[i], b.at[i]); });
  }
  static V shift_right(V a, V by) {
    return each([=](int i) { return a.at[i] >> by.at[i]; });
  }
  template <int by>
  static V shift_right(V a) {
    return shift_right_all(a, by);
  }
  static V shift_right_all(V a, int by) {
    return each([=](int i) { return a.at[i] >> by; });
  }
  static V widen(const int16_t* p) {
    return each([=](int i) { return p[i]; });
  }
  static void store_narrow(int16_t* p, V v) {
    for (int i = 0; i < lanes; ++i) p[i] = int16_t(v.at[i]);
  }
  static V gather(const int32_t* table, V index) {
    return each([=](int i) { return table[index.at[i]]; });
  }
  static V gather_narrow(const int16_t* table, V index) {
    return each([=](int i) { return table[index.at[i]]; });
  }
  static void hide(V& v) {
    static volatile int32_t first;
    first = v.at[0];
    v.at[0] = first;
  }

  static constexpr int doubles = 4;
  struct D {
    double at[doubles];
  };
  template <class F>
  static D each_double(F f) {
    D out;
    for (int i = 0; i < doubles; ++i) out.at[i] = f(i);
    return out;
  }
  static D all(double x) {
    return each_double([=](int) { return x; });
  }
  static D load(const double* p) {
    return each_double([=](int i) { return p[i]; });
  }
  static void store(double* p, D d) {
    for (int i = 0; i < doubles; ++i) p[i] = d.at[i];
  }
  static D add(D a, D b) {
    return each_double([=](int i) { return a.at[i] + b.at[i]; });
  }
  static D subtract(D a, D b) {
    return each_double([=](int i) { return a.at[i] - b.at[i]; });
  }
  static D multiply(D a, D b) {
    return each_double([=](int i) { return a.at[i] * b.at[i]; });
  }
  static D divide(D a, D b) {
    return each_double([=](int i) { return a.at[i] / b.at[i]; });
  }
  static D root(D a) {
    return each_double([=](int i) { return std::sqrt(a.at[i]); });
  }
  static D min(D a, D b) {
    return each_double([=](int i) { return std::min(a.at[i], b.at[i]); });
  }
  static D max(D a, D b) {
    return each_double([=](int i) { return std::max(a.at[i], b.at[i]); });
  }
  static D floor(D a) {
    return each_double([=](int i) { return std::floor(a.at[i]); });
  }
  static D load_whole(const int32_t* p) {
    return each_double([=](int i) { return double(p[i]); });
  }
  static void store_floor(int32_t* p, D d) {
    for (int i = 0; i < doubles; ++i) p[i] = int32_t(std::floor(d.at[i]));
  }

  template <class F>
  static Q quad(F f) {
    Q out;
    for (int i = 0; i < 4; ++i) out.at[i] = int16_t(f(i));
    return out;
  }
  static Q load4(const int16_t* p) {
    return quad([=](int i) { return p[i]; });
  }
  static void store4(int16_t* p, Q q) {
    for (int i = 0; i < 4; ++i) p[i] = q.at[i];
  }
  static Q subtract4(Q a, Q b) {
    return quad([=](int i) { return a.at[i] - b.at[i]; });
  }
  static Q and4(Q a, Q b) {
    return quad([=](int i) { return a.at[i] & b.at[i]; });
  }
  template <int bits>
  static Q scaled_feature(Q a) {
    return quad([=](int i) {
      return std::clamp(a.at[i] * (1 << bits), -kFeatureMax, kFeatureMax);
    });
  }
};

}  // namespace
}  // namespace ncml

#include "kernels.h"

namespace ncml {

extern const Kernels kPortable;
const Kernels kPortable = kernels_of<Portable>("portable");

}  // namespace ncml
