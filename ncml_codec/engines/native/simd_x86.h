// What the x86 instruction sets share: four 16-bit integers in SSE2, and 32-bit integers in AVX2.
// Include it after the target has been set.

#pragma once

#include <cstring>

#include "state.h"

namespace ncml {
namespace {

struct Quads {
  using Q = __m128i;
  static Q load4(const int16_t* p) {
    return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  }
  static void store4(int16_t* p, Q q) { _mm_storel_epi64(reinterpret_cast<__m128i*>(p), q); }
  static Q subtract4(Q a, Q b) { return _mm_sub_epi16(a, b); }
  static Q and4(Q a, Q b) { return _mm_and_si128(a, b); }
  template <int bits>
  static Q scaled_feature(Q a) {
    const Q limit = _mm_set1_epi16(kFeatureMax), least = _mm_set1_epi16(-kFeatureMax);
    return _mm_max_epi16(_mm_min_epi16(_mm_slli_epi16(a, bits), limit), least);
  }
};

inline int32_t pair_at(const int16_t* p) {
  int32_t pair;
  std::memcpy(&pair, p, sizeof pair);
  return pair;
}

struct Avx2 : Quads {
  // 12 sums, 3 weights and an input are the 16 registers.
  static constexpr int lanes = 8, rows = 4, columns = 3;
  using V = __m256i;

  static V set(int32_t x) { return _mm256_set1_epi32(x); }
  static V load(const int32_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static void store(int32_t* p, V v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  static V load_pairs(const int16_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static V broadcast_pair(const int16_t* p) { return _mm256_set1_epi32(pair_at(p)); }
  static V dot(V sum, V a, V w) { return _mm256_add_epi32(sum, _mm256_madd_epi16(a, w)); }
  static V add(V a, V b) { return _mm256_add_epi32(a, b); }
  static V subtract(V a, V b) { return _mm256_sub_epi32(a, b); }
  static V multiply(V a, V b) { return _mm256_mullo_epi32(a, b); }
  static V both(V a, V b) { return _mm256_and_si256(a, b); }
  static V min(V a, V b) { return _mm256_min_epi32(a, b); }
  static V max(V a, V b) { return _mm256_max_epi32(a, b); }
  static V shift_right(V a, V by) { return _mm256_srav_epi32(a, by); }
  template <int by>
  static V shift_right(V a) {
    return _mm256_srai_epi32(a, by);
  }
  static V shift_right_all(V a, int by) { return _mm256_sra_epi32(a, _mm_cvtsi32_si128(by)); }
  static V widen(const int16_t* p) {
    return _mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static void store_narrow(int16_t* p, V v) {
    const V packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(v, v), 0xd8);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(packed));
  }
  static V gather(const int32_t* table, V index) {
    return _mm256_i32gather_epi32(reinterpret_cast<const int*>(table), index, 4);
  }
  // Reads 32 bits at each 16-bit entry: the table has one entry more than can be asked for.
  static V gather_narrow(const int16_t* table, V index) {
    const V found = _mm256_i32gather_epi32(reinterpret_cast<const int*>(table), index, 2);
    return _mm256_and_si256(found, _mm256_set1_epi32(0xffff));
  }
  static void hide(V& v) { __asm__ volatile("" : "+x"(v)); }

  static constexpr int doubles = 4;
  using D = __m256d;
  static D all(double x) { return _mm256_set1_pd(x); }
  static D load(const double* p) { return _mm256_loadu_pd(p); }
  static void store(double* p, D d) { _mm256_storeu_pd(p, d); }
  static D add(D a, D b) { return _mm256_add_pd(a, b); }
  static D subtract(D a, D b) { return _mm256_sub_pd(a, b); }
  static D multiply(D a, D b) { return _mm256_mul_pd(a, b); }
  static D divide(D a, D b) { return _mm256_div_pd(a, b); }
  static D root(D a) { return _mm256_sqrt_pd(a); }
  static D min(D a, D b) { return _mm256_min_pd(a, b); }
  static D max(D a, D b) { return _mm256_max_pd(a, b); }
  static D floor(D a) { return _mm256_floor_pd(a); }
  static D load_whole(const int32_t* p) {
    return _mm256_cvtepi32_pd(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static void store_floor(int32_t* p, D d) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvttpd_epi32(_mm256_floor_pd(d)));
  }
};

}  // namespace
}  // namespace ncml
