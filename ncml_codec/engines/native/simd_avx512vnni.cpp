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
  // Not by the intrinsic: GCC 12 copies every sum before it and spills it after.
  static V dot(V sum, V a, V w) {
    __asm__("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(w));
    return sum;
  }
};

}  // namespace

extern const Kernels kAvx512Vnni;
const Kernels kAvx512Vnni = kernels_of<Avx512Vnni>("avx512vnni");

}  // namespace ncml

NCML_TARGET_END
#endif
