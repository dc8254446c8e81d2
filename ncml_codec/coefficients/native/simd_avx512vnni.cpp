// AVX-512 with VNNI: 32 products and their sums in one vpdpwssd.

#include "../../engines/native/target.h"

#if NCML_X86
#include <immintrin.h>

#include "kernels.h"

NCML_TARGET("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,bmi,bmi2,lzcnt")
#include "loops.h"
#include "simd_x86.h"

namespace ncml::coefficients {
namespace {

struct Avx512Vnni {
  using Lanes = Eight;
  static constexpr int GROUPS = 2, PARTS = 4, COLUMN_GROUPS = 8;
  using Sums = __m512i;
  using Mixed = __m512i;

  static Sums zero() { return _mm512_setzero_si512(); }
  static Sums load(const int32_t* from) { return _mm512_loadu_si512(from); }
  static void store(int32_t* to, Sums sums) { _mm512_storeu_si512(to, sums); }
  static void add(Sums& a, Sums b) { a = _mm512_add_epi32(a, b); }
  static __m512i weights(const int16_t* from) { return _mm512_loadu_si512(from); }
  // Not by the intrinsic: GCC 12 copies every sum before it and spills it after.
  static void dot(Sums& sums, __m512i weights, const int16_t* inputs) {
    const auto* both = reinterpret_cast<const int32_t(*)[1]>(inputs);
    __asm__("vpdpwssd %2%{1to16%}, %1, %0" : "+v"(sums) : "v"(weights), "m"(*both));
  }
  static Mixed mixed_zero() { return zero(); }
  static __m512i pair(int16_t first, int16_t second) {
    return _mm512_set1_epi32(int32_t(uint32_t(uint16_t(first)) | uint32_t(uint16_t(second)) << 16));
  }
  static void mixed_dot(Mixed& sums, const int16_t* first, const int16_t* second, __m512i factors) {
    const __m512i a = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i*)first));
    const __m512i b = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i*)second));
    const __m512i order = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40,
                                           8, 39, 7, 38, 6, 37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32,
                                           0);
    const __m512i both = _mm512_permutex2var_epi16(a, order, b);
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sums) : "v"(both), "v"(factors));
  }
  static void mixed_add(int32_t* to, Mixed sums) { store(to, _mm512_add_epi32(load(to), sums)); }
  static uint64_t nonzero(const int16_t* block) {
    const __m512i low = _mm512_loadu_si512(block), high = _mm512_loadu_si512(block + 32);
    return uint64_t(_mm512_test_epi16_mask(low, low)) |
           uint64_t(_mm512_test_epi16_mask(high, high)) << 32;
  }
};

}  // namespace

extern const Kernels kAvx512Vnni;
const Kernels kAvx512Vnni = kernels_of<Avx512Vnni>("avx512vnni");

}  // namespace ncml::coefficients

NCML_TARGET_END
#endif
