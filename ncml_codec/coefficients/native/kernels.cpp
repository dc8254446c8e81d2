// The two loops over weights. GCC makes a version of each for every kind of processor, where the C
// library can choose among them (glibc).

#include "network.h"

#if defined(__GLIBC__) && defined(__x86_64__) && !defined(__clang__) && __GNUC__ >= 12
#define VERSIONS __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define VERSIONS
#endif

namespace ncml::coefficients {

VERSIONS void add_products(int32_t* sums, const int16_t* weight, const int16_t* inputs, int outputs,
                           int count) {
  for (int o = 0; o < outputs; ++o, weight += count) {
    int32_t sum = 0;
    for (int i = 0; i < count; ++i) sum += int32_t(weight[i]) * inputs[i];
    sums[o] += sum;
  }
}

VERSIONS void add_scaled(int32_t* sums, const int16_t* weight, int16_t factor, int count) {
  for (int i = 0; i < count; ++i) sums[i] += int32_t(weight[i]) * factor;
}

}  // namespace ncml::coefficients
