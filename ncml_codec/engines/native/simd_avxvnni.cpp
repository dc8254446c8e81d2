// AVX2 with the VNNI instruction in its 256-bit form (AVX-VNNI).

#include "target.h"

#if NCML_X86 && NCML_AVXVNNI
#include <immintrin.h>

#include "state.h"

NCML_TARGET("avx2,bmi2,avxvnni")
#include "kernels.h"
#include "simd_x86.h"

namespace ncml {
namespace {

struct AvxVnni : Avx2 {
  // Not by the intrinsic: GCC 12 copies every sum before it and spills it after.
  static V dot(V sum, V a, V w) {
    __asm__("%{vex%} vpdpwssd %2, %1, %0" : "+x"(sum) : "x"(a), "x"(w));
    return sum;
  }
};

}  // namespace

extern const Kernels kAvxVnni;
const Kernels kAvxVnni = kernels_of<AvxVnni>("avxvnni");

}  // namespace ncml

NCML_TARGET_END
#endif
