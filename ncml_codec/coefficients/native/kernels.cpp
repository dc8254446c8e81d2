// Which of the instruction sets this processor can run.

#include "kernels.h"

#include <algorithm>

#include "../../engines/native/target.h"

namespace ncml::coefficients {

extern const Kernels kPortable;
#if NCML_X86
extern const Kernels kAvx2, kAvx512Vnni;
#endif

const std::vector<const Kernels*>& available_kernels() {
  static const std::vector<const Kernels*> found = [] {
    std::vector<const Kernels*> list;
#if NCML_X86
    // The compiler's run-time looks whether the system saves the wide registers, too.
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2");
    if (avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512vnni"))
      list.push_back(&kAvx512Vnni);
    if (avx2) list.push_back(&kAvx2);
#endif
    list.push_back(&kPortable);
    return list;
  }();
  return found;
}

}  // namespace ncml::coefficients
