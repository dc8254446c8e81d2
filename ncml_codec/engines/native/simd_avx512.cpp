// AVX-512: 32 products in one pmaddwd.

#include "target.h"

#if NCML_X86
#include <immintrin.h>

#include "state.h"

NCML_TARGET("avx2,bmi2,avx512f,avx512bw,avx512dq,avx512vl")
#include "kernels.h"
#include "simd_avx512.h"

namespace ncml {

extern const Kernels kAvx512;
const Kernels kAvx512 = kernels_of<Avx512>("avx512");

}  // namespace ncml

NCML_TARGET_END
#endif
