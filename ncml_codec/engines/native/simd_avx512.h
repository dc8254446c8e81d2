// AVX-512 (F, BW, DQ, VL) without its VNNI instruction. Include it after the target has been set.

#pragma once

#include "simd_x86.h"

namespace ncml {
namespace {

struct Avx512 : Quads {
  // 24 sums, 3 weights and some inputs in 32 registers.
  static constexpr int lanes = 16, rows = 8, columns = 3;
  using V = __m512i;

  static V set(int32_t x) { return _mm512_set1_epi32(x); }
  static V load(const int32_t* p) { return _mm512_loadu_si512(p); }
  static void store(int32_t* p, V v) { _mm512_storeu_si512(p, v); }
  static V load_pairs(const int16_t* p) { return _mm512_loadu_si512(p); }
  static V broadcast_pair(const int16_t* p) { return _mm512_set1_epi32(pair_at(p)); }
  static V dot(V sum, V a, V w) { return _mm512_add_epi32(sum, _mm512_madd_epi16(a, w)); }
  static V add(V a, V b) { return _mm512_add_epi32(a, b); }
  static V subtract(V a, V b) { return _mm512_sub_epi32(a, b); }
  static V multiply(V a, V b) { return _mm512_mullo_epi32(a, b); }
  static V both(V a, V b) { return _mm512_and_si512(a, b); }
  static V min(V a, V b) { return _mm512_min_epi32(a, b); }
  static V max(V a, V b) { return _mm512_max_epi32(a, b); }
  static V shift_right(V a, V by) { return _mm512_srav_epi32(a, by); }
  template <int by>
  static V shift_right(V a) {
    return _mm512_srai_epi32(a, by);
  }
  static V shift_right_all(V a, int by) { return _mm512_sra_epi32(a, _mm_cvtsi32_si128(by)); }
  static V widen(const int16_t* p) {
    return _mm512_cvtepi16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static void store_narrow(int16_t* p, V v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(v));
  }
  static V gather(const int32_t* table, V index) {
    return _mm512_i32gather_epi32(index, table, 4);
  }
  // Reads 32 bits at each 16-bit entry: the table has one entry more than can be asked for.
  static V gather_narrow(const int16_t* table, V index) {
    const V found = _mm512_i32gather_epi32(index, table, 2);
    return _mm512_and_si512(found, _mm512_set1_epi32(0xffff));
  }
  static void hide(V& v) { __asm__ volatile("" : "+v"(v)); }

  static constexpr int doubles = 8;
  using D = __m512d;
  static D all(double x) { return _mm512_set1_pd(x); }
  static D load(const double* p) { return _mm512_loadu_pd(p); }
  static void store(double* p, D d) { _mm512_storeu_pd(p, d); }
  static D add(D a, D b) { return _mm512_add_pd(a, b); }
  static D subtract(D a, D b) { return _mm512_sub_pd(a, b); }
  static D multiply(D a, D b) { return _mm512_mul_pd(a, b); }
  static D divide(D a, D b) { return _mm512_div_pd(a, b); }
  static D root(D a) { return _mm512_sqrt_pd(a); }
  static D min(D a, D b) { return _mm512_min_pd(a, b); }
  static D max(D a, D b) { return _mm512_max_pd(a, b); }
  static D floor(D a) { return _mm512_floor_pd(a); }
  static D load_whole(const int32_t* p) {
    return _mm512_cvtepi32_pd(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static void store_floor(int32_t* p, D d) {
    const __m256i whole = _mm512_cvttpd_epi32(_mm512_floor_pd(d));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), whole);
  }
};

}  // namespace
}  // namespace ncml
