#include "colours.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace ncml {

namespace {

constexpr int kSpan = 2 * kLevels - 1;  // differences of two levels
constexpr int kHashBits = 14;
constexpr int64_t kManyPixels = 1 << 16;  // which touch pages everywhere
constexpr uint32_t kMultiplier = 2654435761u;  // 2^32 divided by the golden ratio

size_t count_of(Cells kind) {
  switch (kind) {
    case Cells::kPairs: return size_t(kLevels) * kLevels;
    case Cells::kDifferences: return size_t(kSpan) * kSpan;
    case Cells::kTriples: break;
  }
  return size_t(kLevels) << kHashBits;
}

double prior_of(Cells kind) {
  switch (kind) {
    case Cells::kPairs: return 3 << 23;
    case Cells::kDifferences: return 5 << 19;
    case Cells::kTriples: break;
  }
  return 3 << 21;
}

}  // namespace

void advise_large_pages([[maybe_unused]] void* begin, [[maybe_unused]] size_t bytes) {
#if defined(MADV_HUGEPAGE)
  constexpr uintptr_t page = 4096;
  const uintptr_t first = (reinterpret_cast<uintptr_t>(begin) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(begin) + bytes) / page * page;
  // It is advice: whether it is taken changes nothing but the time.
  if (first < end) (void)madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#endif
}

Stage::Stage(Cells kind_, int most, int64_t pixels)
    : kind(kind_),
      plane(kind_ == Cells::kPairs ? 1 : 2),
      prior(prior_of(kind_)),
      seen(count_of(kind_), pixels >= kManyPixels),
      expected(count_of(kind_), pixels >= kManyPixels),
      weighed(size_t(most)) {}

size_t Stage::place(int red, int green) const {
  switch (kind) {
    case Cells::kPairs: return size_t(red) * kLevels;
    case Cells::kDifferences:
      return size_t(green - red + kLevels - 1) * kSpan + size_t(kLevels - 1 - green);
    case Cells::kTriples: break;
  }
  const uint32_t hashed = uint32_t(red * kLevels + green) * kMultiplier;
  return size_t(hashed >> (32 - kHashBits)) * kLevels;
}

void Stage::learn(const Weighed& pixel, size_t cell, int level) {
  for (int group = 0; group < kSymbols; ++group) {
    if (!(pixel.open >> group & 1)) continue;
    const int32_t* mass = pixel.levels + group * kSymbols;
    double* to = expected.data() + cell + size_t(group) * kSymbols;
    for (int n = 0; n < kSymbols; ++n) to[n] += double(mass[n]);
  }
  if (pixel.open >> (level / kSymbols) & 1) ++seen.data()[cell + size_t(level)];
}

Colours::Colours(int mode, int most, int64_t pixels) {
  if (mode >= 2) stages.emplace_back(Cells::kPairs, most, pixels);
  stages.emplace_back(Cells::kDifferences, most, pixels);
  if (mode >= 3) stages.emplace_back(Cells::kTriples, most, pixels);
}

}  // namespace ncml
