// AVX2: 16 products in one pmaddwd.

#include "../../engines/native/target.h"

#if NCML_X86
#include <immintrin.h>

#include "kernels.h"

NCML_TARGET("avx2,bmi,bmi2,lzcnt")
#include "loops.h"
#include "simd_x86.h"

namespace ncml::coefficients {
namespace {

struct Avx2 {
  using Lanes = Eight;
  static constexpr int GROUPS = 1, PARTS = 2, COLUMN_GROUPS = 4;
  struct Sums {
    __m256i low, high;
  };
  using Mixed = Sums;  // outputs 0 to 3 and 8 to 11, then the others: as they come from unpack

  static Sums zero() { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  static __m256i read(const void* from) {
    return _mm256_loadu_si256(static_cast<const __m256i*>(from));
  }
  static void write(void* to, __m256i what) {
    _mm256_storeu_si256(static_cast<__m256i*>(to), what);
  }
  static Sums load(const int32_t* from) { return {read(from), read(from + 8)}; }
  static void store(int32_t* to, Sums sums) {
    write(to, sums.low);
    write(to + 8, sums.high);
  }
  static void add(Sums& a, Sums b) {
    a = {_mm256_add_epi32(a.low, b.low), _mm256_add_epi32(a.high, b.high)};
  }
  static Sums weights(const int16_t* from) { return {read(from), read(from + 16)}; }
  static void dot(Sums& sums, Sums weights, const int16_t* inputs) {
    int32_t both;
    __builtin_memcpy(&both, inputs, 4);
    dot(sums, weights, _mm256_set1_epi32(both));
  }
  static void dot(Sums& sums, Sums weights, __m256i inputs) {
    sums = {_mm256_add_epi32(sums.low, _mm256_madd_epi16(weights.low, inputs)),
            _mm256_add_epi32(sums.high, _mm256_madd_epi16(weights.high, inputs))};
  }
  static Mixed mixed_zero() { return zero(); }
  static __m256i pair(int16_t first, int16_t second) {
    return _mm256_set1_epi32(int32_t(uint32_t(uint16_t(first)) | uint32_t(uint16_t(second)) << 16));
  }
  static void mixed_dot(Mixed& sums, const int16_t* first, const int16_t* second, __m256i factors) {
    const __m256i a = read(first), b = read(second);
    dot(sums, {_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)}, factors);
  }
  static void mixed_add(int32_t* to, Mixed sums) {
    Sums all = load(to);
    add(all, {_mm256_permute2x128_si256(sums.low, sums.high, 0x20),
              _mm256_permute2x128_si256(sums.low, sums.high, 0x31)});
    store(to, all);
  }
  static uint64_t nonzero(const int16_t* block) {
    uint64_t found = 0;
    for (int part = 0; part < 2; ++part) {
      const __m256i zero = _mm256_setzero_si256();
      const __m256i a = _mm256_cmpeq_epi16(read(block + 32 * part), zero);
      const __m256i b = _mm256_cmpeq_epi16(read(block + 32 * part + 16), zero);
      const __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi16(a, b), 0xd8);
      found |= uint64_t(~uint32_t(_mm256_movemask_epi8(both))) << 32 * part;
    }
    return found;
  }
};

}  // namespace

extern const Kernels kAvx2;
const Kernels kAvx2 = kernels_of<Avx2>("avx2");

}  // namespace ncml::coefficients

NCML_TARGET_END
#endif
