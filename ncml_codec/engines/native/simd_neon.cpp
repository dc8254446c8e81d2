// NEON, which every 64-bit Arm processor has.

#include "target.h"

#if NCML_NEON
#include <arm_neon.h>

#include <cstring>

#include "kernels.h"

namespace ncml {
namespace {

struct Neon {
  // 24 sums in 32 registers.
  static constexpr int lanes = 4, rows = 8, columns = 3;
  using V = int32x4_t;
  using Q = int16x4_t;

  static V set(int32_t x) { return vdupq_n_s32(x); }
  static V load(const int32_t* p) { return vld1q_s32(p); }
  static void store(int32_t* p, V v) { vst1q_s32(p, v); }
  static V load_pairs(const int16_t* p) { return vreinterpretq_s32_s16(vld1q_s16(p)); }
  static V broadcast_pair(const int16_t* p) {
    int32_t pair;
    std::memcpy(&pair, p, sizeof pair);
    return vdupq_n_s32(pair);
  }
  // Products of the pairs' halves, and the sums of neighbours: as pmaddwd does.
  static V dot(V sum, V a, V w) {
    const int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(w);
    const V low = vmull_s16(vget_low_s16(x), vget_low_s16(y));
    return vaddq_s32(sum, vpaddq_s32(low, vmull_high_s16(x, y)));
  }
  static V add(V a, V b) { return vaddq_s32(a, b); }
  static V subtract(V a, V b) { return vsubq_s32(a, b); }
  static V multiply(V a, V b) { return vmulq_s32(a, b); }
  static V both(V a, V b) { return vandq_s32(a, b); }
  static V min(V a, V b) { return vminq_s32(a, b); }
  static V max(V a, V b) { return vmaxq_s32(a, b); }
  static V shift_right(V a, V by) { return vshlq_s32(a, vnegq_s32(by)); }
  template <int by>
  static V shift_right(V a) {
    return vshrq_n_s32(a, by);
  }
  static V shift_right_all(V a, int by) { return vshlq_s32(a, vdupq_n_s32(-by)); }
  static V widen(const int16_t* p) { return vmovl_s16(vld1_s16(p)); }
  static void store_narrow(int16_t* p, V v) { vst1_s16(p, vmovn_s32(v)); }
  template <class T>
  static V look_up(const T* table, V index) {
    int32_t at[lanes];
    vst1q_s32(at, index);
    for (int32_t& value : at) value = table[value];
    return vld1q_s32(at);
  }
  static V gather(const int32_t* table, V index) { return look_up(table, index); }
  static V gather_narrow(const int16_t* table, V index) { return look_up(table, index); }
  static void hide(V& v) { __asm__ volatile("" : "+w"(v)); }

  static constexpr int doubles = 2;
  using D = float64x2_t;
  static D all(double x) { return vdupq_n_f64(x); }
  static D load(const double* p) { return vld1q_f64(p); }
  static void store(double* p, D d) { vst1q_f64(p, d); }
  static D add(D a, D b) { return vaddq_f64(a, b); }
  static D subtract(D a, D b) { return vsubq_f64(a, b); }
  static D multiply(D a, D b) { return vmulq_f64(a, b); }
  static D divide(D a, D b) { return vdivq_f64(a, b); }
  static D root(D a) { return vsqrtq_f64(a); }
  static D min(D a, D b) { return vminq_f64(a, b); }
  static D max(D a, D b) { return vmaxq_f64(a, b); }
  static D floor(D a) { return vrndmq_f64(a); }
  static D load_whole(const int32_t* p) { return vcvtq_f64_s64(vmovl_s32(vld1_s32(p))); }
  static void store_floor(int32_t* p, D d) { vst1_s32(p, vmovn_s64(vcvtmq_s64_f64(d))); }

  static Q load4(const int16_t* p) { return vld1_s16(p); }
  static void store4(int16_t* p, Q q) { vst1_s16(p, q); }
  static Q subtract4(Q a, Q b) { return vsub_s16(a, b); }
  static Q and4(Q a, Q b) { return vand_s16(a, b); }
  template <int bits>
  static Q scaled_feature(Q a) {
    const Q limit = vdup_n_s16(kFeatureMax), least = vdup_n_s16(-kFeatureMax);
    return vmax_s16(vmin_s16(vshl_n_s16(a, bits), limit), least);
  }
};

}  // namespace

extern const Kernels kNeon;
const Kernels kNeon = kernels_of<Neon>("neon");

}  // namespace ncml
#endif
