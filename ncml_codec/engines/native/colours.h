// The cells of a tile whose colours count: how often they were seen and expected, and what a wave's
// pixels made of them. FORMAT.md, section 6.1.

#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "network.h"

namespace ncml {

constexpr int kLevels = 256;
constexpr int kModes = 4;               // of colours, 0 among them
constexpr int kStagesMax = 2;           // of a plane
constexpr int32_t kOpenMass = 1 << 14;  // of 2^24: groups of less have no factors

// Asks the system for large pages, if it has any: for memory that will be touched all over.
void advise_large_pages(void* begin, size_t bytes);

// Zeros of which only pages that were touched take memory. scattered: soon all of them will be.
template <class T>
class Zeros {
 public:
  Zeros(size_t count, bool scattered) : values_(static_cast<T*>(std::calloc(count, sizeof(T)))) {
    if (!values_) throw std::bad_alloc();
    if (scattered) advise_large_pages(values_.get(), count * sizeof(T));
  }
  T* data() { return values_.get(); }
  const T* data() const { return values_.get(); }

 private:
  struct Free {
    void operator()(T* values) const { std::free(values); }
  };
  std::unique_ptr<T, Free> values_;
};

// What a stage made of one pixel's levels.
struct Weighed {
  uint32_t open = 0;            // a bit for each group
  double sum = 0;               // of the groups
  double groups[kSymbols] = {};  // masses after this stage's factors
  int32_t levels[kLevels] = {};  // masses before them, of the levels of open groups
};

enum class Cells { kPairs, kDifferences, kTriples };

struct Stage {
  Cells kind;
  int plane;
  double prior;  // what a new cell has seen and expected, in units of 2^-24
  Zeros<int32_t> seen;
  Zeros<double> expected;  // whole numbers, in units of 2^-24
  std::vector<Weighed> weighed;  // [pixel] of the wave

  // most: pixels of a wave. pixels: of the tile.
  Stage(Cells kind, int most, int64_t pixels);
  // The cell of a pixel's level 0; those of its other levels follow.
  size_t place(int red, int green) const;
  // A pixel of the wave is known to have this level in the stage's plane.
  void learn(const Weighed& pixel, size_t cell, int level);
};

struct Colours {
  std::vector<Stage> stages;  // in order, plane by plane

  // mode: 1 to 3.
  Colours(int mode, int most, int64_t pixels);
};

}  // namespace ncml
