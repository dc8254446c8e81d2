// AVX2: 16 products in one pmaddwd.

#include "target.h"

#if NCML_X86
#include <immintrin.h>

#include "state.h"

NCML_TARGET("avx2,bmi2")
#include "kernels.h"
#include "simd_x86.h"

namespace ncml {

extern const Kernels kAvx2;
const Kernels kAvx2 = kernels_of<Avx2>("avx2");

}  // namespace ncml

NCML_TARGET_END
#endif
