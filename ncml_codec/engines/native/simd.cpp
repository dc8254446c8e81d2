// Which of the instruction sets this processor can run.

#include "state.h"
#include "target.h"

namespace ncml {

extern const Kernels kPortable;
#if NCML_X86
extern const Kernels kAvx2, kAvx512, kAvx512Vnni;
#if NCML_AVXVNNI
extern const Kernels kAvxVnni;
#endif
#endif
#if NCML_NEON
extern const Kernels kNeon;
#endif

const std::vector<const Kernels*>& available_kernels() {
  static const std::vector<const Kernels*> found = [] {
    std::vector<const Kernels*> list;
#if NCML_X86
    // The compiler's run-time looks whether the system saves the wide registers, too.
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512vl");
    if (avx512 && __builtin_cpu_supports("avx512vnni")) list.push_back(&kAvx512Vnni);
    if (avx512) list.push_back(&kAvx512);
#if NCML_AVXVNNI
    if (avx2 && __builtin_cpu_supports("avxvnni")) list.push_back(&kAvxVnni);
#endif
    if (avx2) list.push_back(&kAvx2);
#endif
#if NCML_NEON
    list.push_back(&kNeon);
#endif
    list.push_back(&kPortable);
    return list;
  }();
  return found;
}

}  // namespace ncml
