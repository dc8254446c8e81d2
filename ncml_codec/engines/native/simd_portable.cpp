// The portable path: plain C++, and the last resort of every build.

#include <cmath>

#include "state.h"

namespace ncml {
namespace {

template <class T>
struct Four {
  T at[4];
};

template <class T, class F>
Four<T> each(F f) {
  Four<T> out;
  for (int i = 0; i < 4; ++i) out.at[i] = T(f(i));
  return out;
}

struct Portable {
  static constexpr int lanes = 4, rows = 2, columns = 2, doubles = 4;
  using V = Four<int32_t>;
  using Q = Four<int16_t>;
  using D = Four<double>;

  template <class T>
  static Four<T> load(const T* p) {
    return each<T>([=](int i) { return p[i]; });
  }
  template <class T>
  static void store(T* p, Four<T> v) {
    for (int i = 0; i < 4; ++i) p[i] = v.at[i];
  }
  template <class T>
  static Four<T> add(Four<T> a, Four<T> b) {
    return each<T>([=](int i) { return a.at[i] + b.at[i]; });
  }
  template <class T>
  static Four<T> subtract(Four<T> a, Four<T> b) {
    return each<T>([=](int i) { return a.at[i] - b.at[i]; });
  }
  template <class T>
  static Four<T> multiply(Four<T> a, Four<T> b) {
    return each<T>([=](int i) { return a.at[i] * b.at[i]; });
  }
  template <class T>
  static Four<T> both(Four<T> a, Four<T> b) {
    return each<T>([=](int i) { return a.at[i] & b.at[i]; });
  }
  template <class T>
  static Four<T> min(Four<T> a, Four<T> b) {
    return each<T>([=](int i) { return std::min(a.at[i], b.at[i]); });
  }
  template <class T>
  static Four<T> max(Four<T> a, Four<T> b) {
    return each<T>([=](int i) { return std::max(a.at[i], b.at[i]); });
  }

  static V set(int32_t x) {
    return each<int32_t>([=](int) { return x; });
  }
  static int32_t pair(int16_t low, int16_t high) {
    return int32_t(uint32_t(uint16_t(low)) | uint32_t(uint16_t(high)) << 16);
  }
  static V load_pairs(const int16_t* p) {
    return each<int32_t>([=](int i) { return pair(p[2 * i], p[2 * i + 1]); });
  }
  static V broadcast_pair(const int16_t* p) { return set(pair(p[0], p[1])); }
  static V dot(V sum, V a, V w) {
    return each<int32_t>([=](int i) {
      return sum.at[i] + int16_t(a.at[i]) * int16_t(w.at[i]) +
             (a.at[i] >> 16) * (w.at[i] >> 16);
    });
  }
  static V shift_right(V a, V by) {
    return each<int32_t>([=](int i) { return a.at[i] >> by.at[i]; });
  }
  template <int by>
  static V shift_right(V a) {
    return shift_right_all(a, by);
  }
  static V shift_right_all(V a, int by) {
    return each<int32_t>([=](int i) { return a.at[i] >> by; });
  }
  static V widen(const int16_t* p) {
    return each<int32_t>([=](int i) { return p[i]; });
  }
  static void store_narrow(int16_t* p, V v) {
    for (int i = 0; i < lanes; ++i) p[i] = int16_t(v.at[i]);
  }
  template <class T>
  static V gather(const T* table, V index) {
    return each<int32_t>([=](int i) { return table[index.at[i]]; });
  }
  static V gather_narrow(const int16_t* table, V index) { return gather(table, index); }
  static void hide(V& v) {
    static volatile int32_t first;
    first = v.at[0];
    v.at[0] = first;
  }

  static D all(double x) {
    return each<double>([=](int) { return x; });
  }
  static D divide(D a, D b) {
    return each<double>([=](int i) { return a.at[i] / b.at[i]; });
  }
  static D root(D a) {
    return each<double>([=](int i) { return std::sqrt(a.at[i]); });
  }
  static D floor(D a) {
    return each<double>([=](int i) { return std::floor(a.at[i]); });
  }
  static D load_whole(const int32_t* p) {
    return each<double>([=](int i) { return p[i]; });
  }
  static void store_floor(int32_t* p, D d) {
    for (int i = 0; i < doubles; ++i) p[i] = int32_t(std::floor(d.at[i]));
  }

  static Q load4(const int16_t* p) { return load(p); }
  static void store4(int16_t* p, Q q) { store(p, q); }
  static Q subtract4(Q a, Q b) { return subtract(a, b); }
  static Q and4(Q a, Q b) { return both(a, b); }
  template <int bits>
  static Q scaled_feature(Q a) {
    return each<int16_t>([=](int i) {
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
