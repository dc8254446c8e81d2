// AVX-512 with VNNI: 32 products and their sums in one instruction.

#include "target.h"

#if NCML_X86
#include <immintrin.h>

#include "state.h"

NCML_TARGET("avx2,bmi2,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#include "kernels.h"
#include "simd_avx512.h"

namespace ncml {
namespace {

struct Avx512Vnni : Avx512 {
  static V dot(V sum, V a, V w) { return _mm512_dpwssd_epi32(sum, a, w); }
};

}  // namespace

extern const Kernels kAvx512Vnni;
const Kernels kAvx512Vnni = kernels_of<Avx512Vnni>("avx512vnni");

}  // namespace ncml

NCML_TARGET_END
#endif
