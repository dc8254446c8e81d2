#include "colours.h"

namespace ncml {

namespace {

constexpr int kSpan = 2 * kLevels - 1;  // differences of two levels
constexpr int kHashBits = 14;
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

Stage::Stage(Cells kind_, int most)
    : kind(kind_),
      plane(kind_ == Cells::kPairs ? 1 : 2),
      prior(prior_of(kind_)),
      seen(count_of(kind_)),
      expected(count_of(kind_)),
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

Colours::Colours(int mode, int most) {
  if (mode >= 2) stages.emplace_back(Cells::kPairs, most);
  stages.emplace_back(Cells::kDifferences, most);
  if (mode >= 3) stages.emplace_back(Cells::kTriples, most);
}

}  // namespace ncml
