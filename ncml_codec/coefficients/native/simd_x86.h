// Eight lanes of AVX2, for it and for AVX-512; included where the target is set.

namespace ncml::coefficients {
namespace {

// Eight lanes of 32 bits.
struct Eight {
  __m256i at;

  static Eight all(int32_t value) { return {_mm256_set1_epi32(value)}; }
  static Eight load(const int32_t* from) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from))};
  }
  static Eight load_short(const int16_t* from) {
    return {_mm256_cvtepi16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)))};
  }
  void store(int32_t* to) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), at); }
  void store_short(int16_t* to) const {
    const __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi32(at, at), 0x08);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm256_castsi256_si128(both));
  }
};

inline Eight operator+(Eight a, Eight b) { return {_mm256_add_epi32(a.at, b.at)}; }
inline Eight operator-(Eight a, Eight b) { return {_mm256_sub_epi32(a.at, b.at)}; }
inline Eight operator*(Eight a, Eight b) { return {_mm256_mullo_epi32(a.at, b.at)}; }
inline Eight operator&(Eight a, Eight b) { return {_mm256_and_si256(a.at, b.at)}; }
inline Eight operator>>(Eight a, Eight b) { return {_mm256_srav_epi32(a.at, b.at)}; }
inline Eight operator>>(Eight a, int bits) { return {_mm256_srai_epi32(a.at, bits)}; }
inline Eight operator<<(Eight a, int bits) { return {_mm256_slli_epi32(a.at, bits)}; }
inline Eight min(Eight a, Eight b) { return {_mm256_min_epi32(a.at, b.at)}; }
inline Eight max(Eight a, Eight b) { return {_mm256_max_epi32(a.at, b.at)}; }

inline Eight look_up(const int32_t* table, Eight at) {
  return {_mm256_i32gather_epi32(table, at.at, 4)};
}

// a / b, at most 2**14. A float holds both numbers; their quotient, rounded, may be the next whole
// number.
inline Eight quotient(Eight a, Eight b) {
  const __m256 ratio = _mm256_div_ps(_mm256_cvtepi32_ps(a.at), _mm256_cvtepi32_ps(b.at));
  const __m256i found = _mm256_cvttps_epi32(ratio);
  const __m256i beyond = _mm256_cmpgt_epi32(_mm256_mullo_epi32(found, b.at), a.at);
  return {_mm256_add_epi32(found, beyond)};
}

inline __m128i half_share(__m128i mass, __m128i total) {
  const __m256d scaled = _mm256_mul_pd(_mm256_cvtepi32_pd(mass), _mm256_set1_pd(65536.0));
  return _mm256_cvttpd_epi32(_mm256_div_pd(scaled, _mm256_cvtepi32_pd(total)));
}

// mass / total in 65536ths, or 1/2 of nothing. A double's quotient of numbers below 2**46 and 2**31
// rounds down to the whole number's.
inline Eight share_of(Eight mass, Eight total) {
  const __m256i none = _mm256_cmpgt_epi32(_mm256_set1_epi32(1), total.at);
  const __m256i whole = _mm256_sub_epi32(total.at, none);
  const __m128i low =
      half_share(_mm256_castsi256_si128(mass.at), _mm256_castsi256_si128(whole));
  const __m128i high =
      half_share(_mm256_extracti128_si256(mass.at, 1), _mm256_extracti128_si256(whole, 1));
  const __m256i found = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
  return {_mm256_blendv_epi8(found, _mm256_set1_epi32(32768), none)};
}

}  // namespace
}  // namespace ncml::coefficients
