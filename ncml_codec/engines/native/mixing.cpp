#include "mixing.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace ncml {
namespace {

constexpr int kDepthMax = 16;
constexpr int kComponentsMax = 8;
constexpr int kKinds = kCandidates + kComponentsMax * kDepthMax;
constexpr int kStages = kCandidates + kComponentsMax;
constexpr int kCounterLimit = 255, kStateLimit = 255, kMapLimit = 127;
constexpr int kStatePrior = 4, kMapPrior = 4;
constexpr int kMapBits = 12, kBuckets = 33;
constexpr int kLogitMax = 2815;
constexpr int64_t kWeightMax = 1 << 20;
constexpr int kEnergies = 64, kEarlier = 4;
constexpr int64_t kOne = int64_t(1) << 26;
constexpr double kRidge = 1.0, kPivotMin = 0.5;

// Neighbours as (row, column), in the order of neighbours.TAPS.
constexpr int kOffsets[kTaps][2] = {{0, -1},  {-1, 0},  {-1, -1}, {-1, 1}, {0, -2},
                                    {-2, 0},  {-2, 1},  {-1, -2}, {-2, -1}, {0, -3},
                                    {-3, 0},  {-2, 2},  {-2, 3},  {-3, 1}, {-3, -1}};
enum { kW, kN, kNW, kNE, kWW, kNN, kNNE };

// Rows of items after the neighbours, in the order of contexts.EXTRA.
enum {
  kSix = kTaps, kTwelve, kCurrent, kBefore, kGradient, kJoint, kEqual, kSources, kFirst
};
constexpr int kRelative = 11, kCorrected = 5;  // contexts

int64_t floor_divide(int64_t a, int64_t b) {  // b > 0
  const int64_t quotient = a / b;
  return quotient - (a % b < 0);
}

uint32_t fold(uint32_t left, uint32_t right) {
  const uint32_t mixed = (left + right + 0x7F4A7C15u) * 0x9E3779B1u;
  return mixed ^ (mixed >> 15);
}

int floor_log2(uint64_t value) {
  int found = 0;
  while (value >>= 1) ++found;
  return found;
}

int energy_of(int64_t total) {  // total >= 4
  const int log = floor_log2(uint64_t(total));
  return std::min(4 * log + int((total >> (log - 2)) & 3) - 8, kEnergies - 1);
}

// A hint that costs nothing where it is not known.
void fetch(const void* where) {
#if defined(__GNUC__)
  __builtin_prefetch(where);
#else
  (void)where;
#endif
}

int64_t energy_step(int energy) { return int64_t(4 + energy % 4) << (energy / 4); }

}  // namespace

MixingWalk::MixingWalk(MixingPlan plan) : plan_(std::move(plan)) {
  const int64_t count = int64_t(plan_.height) * plan_.width;
  components_ = int(plan_.depths.size());
  if (plan_.height < 1 || plan_.width < 1 || count > (1 << 28) || components_ < 1 ||
      components_ > kComponentsMax || plan_.slot_bits < 1 || plan_.slot_bits > 24)
    throw std::invalid_argument("mixing: a plan beyond its limits");
  for (int depth : plan_.depths)
    if (depth < 0 || depth > kDepthMax) throw std::invalid_argument("mixing: depth of a component");
  if (plan_.stretch.size() != 4096 || plan_.squash.size() != 2 * kLogitMax + 1 ||
      plan_.distribution.size() != 1025)
    throw std::invalid_argument("mixing: sizes of tables");
  for (const auto* chains : {&plan_.component, &plan_.candidate}) {
    if (chains->size() != kContexts) throw std::invalid_argument("mixing: number of contexts");
    for (const auto& chain : *chains)
      for (int item : chain)
        if (item < 0 || item >= kItems) throw std::invalid_argument("mixing: an item of a chain");
  }
  pixels_ = size_t(count);
  samples_.assign(size_t(components_), std::vector<uint16_t>(pixels_ + 1));
  errors_.assign(size_t(components_), std::vector<int32_t>(pixels_ + 1));
  hashes_.assign(pixels_ + 1, 0);
  counters_.resize(size_t(kContexts) << plan_.slot_bits);
  expected_.resize(size_t(kContexts) * kKinds * 256);
  for (size_t at = 0; at < expected_.size(); ++at) {
    const int zeros = int(at >> 4 & 15), ones = int(at & 15);
    expected_[at].probability = uint16_t(65535 * (5 * ones + 2) / (5 * (zeros + ones) + 4));
    expected_[at].seen = uint8_t(at & 255 ? kStatePrior : 0);
  }
  for (auto* maps : {&levels_, &maps_}) {
    maps->resize(size_t(maps == &levels_ ? 4 * kKinds : 1 << kMapBits) * kBuckets);
    for (size_t at = 0; at < maps->size(); ++at) {
      (*maps)[at].probability =
          uint16_t(plan_.squash[size_t((int(at % kBuckets) - 16) * 128 + kLogitMax)]);
      (*maps)[at].seen = kMapPrior;
    }
  }
  kinds_.resize(kKinds);
  for (WeightSet& set : kinds_)
    for (int i = 0; i < kMixingInputs - 1; ++i)
      set.weights[size_t(i)] = i < 2 * kContexts ? 65536 / 20 : 3 * 65536 / 10;
  stages_.resize(size_t(kContexts + 1) * kStages);
  std::vector<Scale> scales(size_t(kEnergies) * kEarlier);
  for (size_t at = 0; at < scales.size(); ++at)
    scales[at].total.fill((energy_step(int(at / kEarlier)) + 2) / 2);
  scales_.assign(size_t(components_), scales);
  if (plan_.fitted)
    for (int c = 0; c < components_; ++c) {
      const size_t n = size_t(inputs_of(c));
      const std::vector<double> none((size_t(plan_.height) + 1) * (n * (n + 1) / 2 + n));
      fits_.push_back({Fit{0.875, 0.625, none, none}, Fit{0.96875, 0.90625, none, none}});
    }
  for (auto& table : followers_) table.assign(size_t(1) << plan_.slot_bits, 0);
}

int MixingWalk::inputs_of(int component) const {
  return 6 + (component ? 3 : 0) + std::min(std::max(component - 1, 0), 2);
}

bool MixingWalk::ask() {
  for (;;) {
    if (phase_ == Phase::kEnd) return false;
    if (phase_ == Phase::kWave) {
      if (++wave_ >= plan_.width + 2 * int64_t(plan_.height - 1)) {
        phase_ = Phase::kEnd;
        return false;
      }
      begin_wave();
      if (wave_pixels_.empty()) continue;
      phase_ = plan_.candidates ? Phase::kGuess : Phase::kComponent;
      index_ = 0;
      begun_ = false;
    } else if (phase_ == Phase::kGuess) {
      if (index_ == kCandidates) {
        phase_ = Phase::kComponent;
        index_ = 0;
        continue;
      }
      active_.clear();
      for (size_t at = 0; at < wave_pixels_.size(); ++at)
        if (wave_pixels_[at].left && wave_pixels_[at].count > index_) active_.push_back(int(at));
      if (active_.empty()) {
        ++index_;
        continue;
      }
      judge(index_, index_);
      return true;
    } else {
      if (index_ == components_) {
        end_wave();
        phase_ = Phase::kWave;
        continue;
      }
      if (!begun_) begin_component();
      begun_ = true;
      const int depth = plan_.depths[size_t(index_)];
      if (level_ < depth && !active_.empty()) {
        judge(kCandidates + kDepthMax * index_ + level_, kCandidates + index_);
        return true;
      }
      end_component();
      ++index_;
      begun_ = false;
    }
  }
}

void MixingWalk::truth(const uint16_t* samples, int32_t* bits) const {
  for (size_t at = 0; at < decisions_.size(); ++at) {
    const Pixel& pixel = wave_pixels_[size_t(decisions_[at].pixel)];
    if (phase_ == Phase::kGuess) {
      bits[at] = 1;
      for (int c = 0; c < components_; ++c)
        bits[at] &= samples[size_t(c) * pixels_ + size_t(pixel.here)] ==
                    samples_[size_t(c)][size_t(pixel.candidate[size_t(index_)])];
    } else {
      bits[at] = samples[size_t(index_) * pixels_ + size_t(pixel.here)] >>
                     (plan_.depths[size_t(index_)] - level_ - 1) & 1;
    }
  }
}

void MixingWalk::tell(const int32_t* bits) {
  learn(bits);
  if (phase_ == Phase::kGuess) {
    for (size_t at = 0; at < decisions_.size(); ++at) {
      if (!bits[at]) continue;
      Pixel& pixel = wave_pixels_[size_t(decisions_[at].pixel)];
      pixel.left = false;
      for (auto& plane : samples_)
        plane[size_t(pixel.here)] = plane[size_t(pixel.candidate[size_t(index_)])];
    }
    ++index_;
    return;
  }
  const int64_t half = int64_t(1) << (plan_.depths[size_t(index_)] - level_ - 1);
  for (size_t at = 0; at < decisions_.size(); ++at) {
    Pixel& pixel = wave_pixels_[size_t(decisions_[at].pixel)];
    const int64_t middle = pixel.low + half;
    (bits[at] ? pixel.below : pixel.above) = pixel.middle;
    if (bits[at]) pixel.low = middle;
  }
  ++level_;
}

void MixingWalk::begin_wave() {
  const int64_t first = std::max<int64_t>(0, (wave_ - plan_.width + 2) / 2);
  const int64_t stop = std::min<int64_t>(plan_.height - 1, wave_ / 2) + 1;
  wave_pixels_.resize(size_t(std::max<int64_t>(stop - first, 0)));
  const int64_t width = plan_.width;
  for (size_t at = 0; at < wave_pixels_.size(); ++at) {
    Pixel& pixel = wave_pixels_[at];
    const int64_t i = first + int64_t(at), j = wave_ - 2 * i;
    pixel.row = int(i);
    pixel.here = i * width + j;
    pixel.left = true;
    pixel.current = 0;
    pixel.items.fill(0);
    for (int t = 0; t < kTaps; ++t) {
      const int64_t row = std::max<int64_t>(i + kOffsets[t][0], 0), up = i - row;
      const int64_t column =
          std::min({j + kOffsets[t][1], j + 2 * up - 1, width - 1});
      int64_t place = row * width + std::max<int64_t>(column, 0);
      if (column < 0 && up == 0) place = i > 0 ? (i - 1) * width : int64_t(pixels_);
      pixel.near[size_t(t)] = place;
      pixel.items[size_t(t)] = hashes_[size_t(place)];
    }
    uint32_t hash = 1;
    for (int t = 0; t < 6; ++t) hash = fold(hash, pixel.items[size_t(t)]);
    pixel.items[kSix] = hash;
    for (int t = 6; t < 12; ++t) hash = fold(hash, pixel.items[size_t(t)]);
    pixel.items[kTwelve] = hash;
    if (plan_.candidates) find_candidates(pixel);
  }
}

void MixingWalk::find_candidates(Pixel& pixel) {
  auto& items = pixel.items;
  const int64_t source[6] = {int64_t(followers_[0][follower_slot(items[kTwelve])]) - 1,
                             int64_t(followers_[1][follower_slot(items[kSix])]) - 1,
                             pixel.near[kW], pixel.near[kN], pixel.near[kNE], pixel.near[kNW]};
  int rank[6];
  pixel.count = 0;
  pixel.candidate.fill(0);
  for (int k = 0; k < 6; ++k) {
    rank[k] = kCandidates;
    if (source[k] < 0) continue;
    bool fresh = true;
    for (int earlier = 0; earlier < k && fresh; ++earlier)
      if (source[earlier] >= 0 &&
          hashes_[size_t(source[k])] == hashes_[size_t(source[earlier])]) {
        rank[k] = rank[earlier];
        fresh = false;
      }
    if (fresh && pixel.count < kCandidates) {
      rank[k] = pixel.count;
      pixel.candidate[size_t(pixel.count++)] = source[k];
    }
  }
  uint32_t sources = 0;
  for (int k = 0; k < 6; ++k) sources += uint32_t(rank[k]) << (2 * k);
  items[kSources] = sources;
  const int pairs[7][2] = {{kW, kN}, {kW, kNW}, {kN, kNE}, {kN, kNN}, {kW, kWW}, {kN, kNW},
                           {kNE, kNNE}};
  uint32_t equal = 0;
  for (int k = 0; k < 7; ++k)
    equal |= uint32_t(items[size_t(pairs[k][0])] == items[size_t(pairs[k][1])]) << k;
  items[kEqual] = equal;
  items[kFirst] = hashes_[size_t(pixel.candidate[0])];
  for (uint32_t c = 0; c < kContexts; ++c) {
    uint32_t hash = 1 + c;
    for (int item : plan_.candidate[c]) hash = fold(hash, items[size_t(item)]);
    pixel.bases[c] = hash;
  }
}

void MixingWalk::begin_component() {
  const int depth = plan_.depths[size_t(index_)];
  level_ = 0;
  active_.clear();
  for (Pixel& pixel : wave_pixels_) pixel.items[kCurrent] = pixel.current;
  if (depth == 0) return;
  for (size_t at = 0; at < wave_pixels_.size(); ++at) {
    Pixel& pixel = wave_pixels_[at];
    if (plan_.fitted) fit_inputs(pixel);
    if (!pixel.left) continue;
    active_.push_back(int(at));
    predict(pixel);
  }
}

void MixingWalk::fit_inputs(Pixel& pixel) const {
  size_t n = 0;
  const auto mean_of = [&](int component) {
    const auto& plane = samples_[size_t(component)];
    const auto value = [&](int tap) { return int64_t(plane[size_t(pixel.near[size_t(tap)])]); };
    return double((2 * (value(kW) + value(kN)) + value(kNW) + value(kNE)) * 4 / 6) * 0.25;
  };
  const auto& plane = samples_[size_t(index_)];
  pixel.mean = mean_of(index_);
  for (int t = 0; t < 6; ++t)
    pixel.inputs[n++] = double(plane[size_t(pixel.near[size_t(t)])]) - pixel.mean;
  for (int other = index_ - 1; other > std::max(index_ - 4, -1); --other) {
    const auto& before = samples_[size_t(other)];
    const double mean = mean_of(other);
    pixel.inputs[n++] = double(before[size_t(pixel.here)]) - mean;
    if (other == index_ - 1)
      for (int t = 0; t < 2; ++t)
        pixel.inputs[n++] = double(before[size_t(pixel.near[size_t(t)])]) - mean;
  }
}

void MixingWalk::predict(Pixel& pixel) {
  const int depth = plan_.depths[size_t(index_)];
  const int64_t top = int64_t(1) << depth;
  const auto& plane = samples_[size_t(index_)];
  const auto value = [&](int tap) { return int64_t(plane[size_t(pixel.near[size_t(tap)])]); };
  const int64_t west = value(kW), north = value(kN), north_west = value(kNW);
  const int64_t mean = 8 * (west + north) + 4 * (value(kNE) - north_west);
  const int64_t median = 16 * std::clamp(west + north - north_west, std::min(west, north),
                                         std::max(west, north));
  int64_t joint = mean, earlier = 0;
  int context = 0, earlier_depth = 0;
  if (index_ > 0) {
    const auto& before = samples_[size_t(index_ - 1)];
    earlier = before[size_t(pixel.here)];
    earlier_depth = plan_.depths[size_t(index_ - 1)];
    const int64_t moved = west - before[size_t(pixel.near[kW])] + north -
                          before[size_t(pixel.near[kN])];
    joint = 16 * std::clamp<int64_t>(earlier + (moved >> 1), 0, top - 1);
    const int error = errors_[size_t(index_ - 1)][size_t(pixel.here)];
    context = (error >= 8) + (error >= 32) + (error >= 128);
  }
  pixel.centre = {median, mean, joint, median};
  if (plan_.fitted) {
    const size_t n = size_t(inputs_of(index_)), products = n * (n + 1) / 2, sums = products + n;
    for (size_t f = 0; f < 2; ++f) {
      const Fit& fit = fits_[size_t(index_)][f];
      const double* row = fit.row.data() + size_t(pixel.row + 1) * sums;
      const double* above = fit.above.data() + size_t(pixel.row) * sums;
      double matrix[11][11], factor[11][11], pivots[11], right[11];
      size_t at = 0;
      for (size_t r = 0; r < n; ++r)
        for (size_t q = 0; q <= r; ++q, ++at) matrix[r][q] = row[at] + fit.down * above[at];
      for (size_t r = 0; r < n; ++r, ++at) right[r] = row[at] + fit.down * above[at];
      for (size_t r = 0; r < n; ++r) matrix[r][r] += kRidge;
      for (size_t k = 0; k < n; ++k) {
        pivots[k] = std::max(matrix[k][k], kPivotMin);
        for (size_t r = k + 1; r < n; ++r) factor[r][k] = matrix[r][k] / pivots[k];
        for (size_t r = k + 1; r < n; ++r)
          for (size_t q = k + 1; q <= r; ++q) matrix[r][q] -= factor[r][k] * matrix[q][k];
        for (size_t r = k + 1; r < n; ++r) right[r] -= factor[r][k] * right[k];
      }
      for (size_t k = 0; k < n; ++k) right[k] /= pivots[k];
      for (size_t k = n - 1; k > 0; --k)
        for (size_t q = 0; q < k; ++q) right[q] -= factor[k][q] * right[k];
      double predicted = right[0] * pixel.inputs[0];
      for (size_t k = 1; k < n; ++k) predicted = predicted + right[k] * pixel.inputs[k];
      predicted = predicted + pixel.mean;
      const double limited = std::min(std::max(predicted, 0.0), double(top - 1));
      pixel.centre[f] = int64_t(std::floor(limited * 16.0 + 0.5));
    }
  }
  const auto error = [&](int tap) {
    return int64_t(errors_[size_t(index_)][size_t(pixel.near[size_t(tap)])]);
  };
  int64_t total = error(kW) + error(kN);
  for (int t = 0; t < 6; ++t) total += error(t);
  const int energy = energy_of(total / 2 + 4);
  pixel.context = kEarlier * energy + context;
  const Scale& scale = scales_[size_t(index_)][size_t(pixel.context)];
  for (size_t e = 0; e < kExperts; ++e)
    pixel.scale[e] = std::max<int64_t>(3 * scale.total[e] / (4 * scale.seen), 3);
  auto& items = pixel.items;
  items[kBefore] = uint32_t(earlier >> std::max(earlier_depth - 8, 0) >> 2);
  items[kGradient] = uint32_t((west + north - north_west) >> std::max(depth - 8, 0));
  items[kJoint] = uint32_t(pixel.centre[2] >> 4);
  for (uint32_t c = 0; c < kContexts; ++c) {
    uint32_t hash = 1 + c + kContexts * uint32_t(1 + index_);
    for (int item : plan_.component[c]) hash = fold(hash, items[size_t(item)]);
    pixel.bases[c] = hash;
  }
  pixel.low = 0;
  pixel.below.fill(0);
  pixel.above.fill(kOne);
}

void MixingWalk::end_component() {
  const int depth = plan_.depths[size_t(index_)];
  auto& plane = samples_[size_t(index_)];
  auto& scales = scales_[size_t(index_)];
  if (depth > 0) {
    for (int at : active_) {
      Pixel& pixel = wave_pixels_[size_t(at)];
      plane[size_t(pixel.here)] = uint16_t(pixel.low);
      Scale& scale = scales[size_t(pixel.context)];
      for (size_t e = 0; e < kExperts; ++e) {
        const int64_t error = std::abs(16 * pixel.low - pixel.centre[e]);
        scale.new_total[e] += error;
        if (e == 0) errors_[size_t(index_)][size_t(pixel.here)] = int32_t(error);
      }
      ++scale.fresh;
    }
    for (int at : active_) {
      Scale& scale = scales[size_t(wave_pixels_[size_t(at)].context)];
      if (!scale.fresh) continue;
      scale.seen += scale.fresh;
      int halvings = 0;
      while (scale.seen > 400) {
        scale.seen >>= 1;
        ++halvings;
      }
      for (size_t e = 0; e < kExperts; ++e)
        scale.total[e] = (scale.total[e] + scale.new_total[e]) >> halvings;
      scale.new_total.fill(0);
      scale.fresh = 0;
    }
    if (plan_.fitted) {
      const size_t n = size_t(inputs_of(index_)), products = n * (n + 1) / 2, sums = products + n;
      for (size_t k = wave_pixels_.size(); k-- > 0;) {  // what is above must still be the old
        const Pixel& pixel = wave_pixels_[k];
        const double value = double(plane[size_t(pixel.here)]) - pixel.mean;
        for (Fit& fit : fits_[size_t(index_)]) {
          double* row = fit.row.data() + size_t(pixel.row + 1) * sums;
          double* above = fit.above.data() + size_t(pixel.row) * sums;
          size_t at = 0;
          for (size_t r = 0; r < n; ++r)
            for (size_t q = 0; q <= r; ++q, ++at)
              row[at] = row[at] * fit.along + pixel.inputs[r] * pixel.inputs[q];
          for (size_t r = 0; r < n; ++r, ++at)
            row[at] = row[at] * fit.along + pixel.inputs[r] * value;
          for (size_t q = 0; q < sums; ++q) above[sums + q] = row[q] + fit.down * above[q];
        }
      }
    }
  }
  for (Pixel& pixel : wave_pixels_)
    pixel.current = fold(pixel.current, uint32_t(plane[size_t(pixel.here)]) + 1);
}

void MixingWalk::end_wave() {
  for (const Pixel& pixel : wave_pixels_) {
    hashes_[size_t(pixel.here)] = pixel.current;
    if (!plan_.candidates) continue;
    followers_[0][follower_slot(pixel.items[kTwelve])] = uint32_t(pixel.here + 1);
    followers_[1][follower_slot(pixel.items[kSix])] = uint32_t(pixel.here + 1);
  }
}

int64_t MixingWalk::distribution(int64_t value, const Pixel& pixel, int expert) const {
  const int64_t top = int64_t(1) << plan_.depths[size_t(index_)];
  if (value <= 0) return 0;
  if (value >= top) return kOne;
  const int64_t distance = (16 * value - 8 - pixel.centre[size_t(expert)]) * (1 << 17);
  const int64_t position =
      std::clamp<int64_t>(floor_divide(distance, pixel.scale[size_t(expert)]) + (1024 << 11), 0,
                          (1024 << 12) - 1);
  const size_t step = size_t(position >> 12);
  const int64_t low = plan_.distribution[step], high = plan_.distribution[step + 1];
  return low + (((high - low) * (position & 4095)) >> 12);
}

void MixingWalk::opinions(Pixel& pixel, int32_t* logits) {
  const int64_t half = int64_t(1) << (plan_.depths[size_t(index_)] - level_ - 1);
  for (int e = 0; e < kExperts; ++e) {
    const int64_t low = pixel.below[size_t(e)], high = pixel.above[size_t(e)];
    const int64_t middle = distribution(pixel.low + half, pixel, e);
    pixel.middle[size_t(e)] = middle;
    const int64_t share = ((high - middle + 32) << 16) / (high - low + 64);
    logits[e] = stretch(std::min<int64_t>(share, 65535));
  }
}

void MixingWalk::judge(int kind, int stage) {
  const bool guess = kind < kCandidates;
  const int depth = guess ? 0 : plan_.depths[size_t(index_)], left = depth - level_;
  decisions_.resize(active_.size());
  probability_.resize(active_.size());
  for (size_t at = 0; at < active_.size(); ++at) {
    Pixel& pixel = wave_pixels_[size_t(active_[at])];
    Decision& decision = decisions_[at];
    decision.pixel = active_[at];
    const uint32_t node =
        guess ? uint32_t(kind + 1) : uint32_t(1) << level_ | uint32_t(pixel.low >> left);
    auto& hashes = pixel.hashes;
    for (size_t c = 0; c < kContexts; ++c) hashes[c] = fold(pixel.bases[c], node);
    if (!guess) {
      const int64_t half = int64_t(1) << (left - 1);
      const int64_t place = std::clamp<int64_t>(
          (pixel.centre[0] - 16 * (pixel.low + half) + 8) >> left, -40, 40);
      const int spread =
          std::min(floor_log2(uint64_t(std::max<int64_t>(pixel.scale[0] >> left, 1))), 15);
      hashes[kRelative] = fold(
          fold(fold(pixel.bases[kRelative], uint32_t(place + 100)), uint32_t(spread)),
          uint32_t(left));
    }
    // The counters lie far apart in memory; what is asked for early is there when it is needed.
    for (uint32_t c = 0; c < kContexts; ++c) {
      const uint32_t slot = (hashes[c] >> (32 - plan_.slot_bits)) + (c << plan_.slot_bits);
      decision.slots[c] = slot;
      fetch(&counters_[slot]);
    }
    const Counter* map = &maps_[size_t(hashes[kCorrected] >> (32 - kMapBits)) * kBuckets];
    for (int bucket = 0; bucket < kBuckets; bucket += 8) fetch(map + bucket);
  }
  const auto& first = kinds_[size_t(kind)].weights;
  for (size_t at = 0; at < active_.size(); ++at) {
    Pixel& pixel = wave_pixels_[size_t(active_[at])];
    Decision& decision = decisions_[at];
    int32_t* inputs = decision.inputs.data();
    int known = 0;
    for (uint32_t c = 0; c < kContexts; ++c) {
      const Counter& counter = counters_[decision.slots[c]];
      const uint32_t state = (c * kKinds + uint32_t(kind)) * 256 + counter.history;
      decision.states[c] = state;
      known += counter.seen > 0;
      inputs[c] = counter.seen ? stretch(counter.probability) : 0;
      inputs[kContexts + c] = stretch(expected_[state].probability);
    }
    if (guess)
      std::fill(inputs + 2 * kContexts, inputs + 2 * kContexts + kExperts, 0);
    else
      opinions(pixel, inputs + 2 * kContexts);
    inputs[kMixingInputs - 1] = 256;
    decision.set = known + (kContexts + 1) * stage;
    const auto& second = stages_[size_t(decision.set)].weights;
    int64_t total = 0;
    for (size_t i = 0; i < kMixingInputs; ++i)
      total += int64_t(first[i] + second[i]) * inputs[i];
    const int64_t logit = std::clamp<int64_t>(total >> 16, -kLogitMax, kLogitMax);
    decision.mixed = plan_.squash[size_t(logit + kLogitMax)];
    const int64_t place = std::clamp<int64_t>(logit, -2047, 2047) + 2048;
    const int share = int(place & 127);
    const int level = 4 * kind + (guess ? 0 : 4 * known / (kContexts + 1));
    const int buckets[2] = {level * kBuckets + int(place >> 7),
                            int(pixel.hashes[kCorrected] >> (32 - kMapBits)) * kBuckets +
                                int(place >> 7)};
    int32_t sum = 2 * decision.mixed;
    for (size_t m = 0; m < 2; ++m) {
      const auto& map = m ? maps_ : levels_;
      sum += (map[size_t(buckets[m])].probability * (128 - share) +
              map[size_t(buckets[m] + 1)].probability * share) >> 7;
      decision.buckets[m] = buckets[m] + (share >= 64);
    }
    probability_[at] = std::clamp(sum >> 2, 1, 65535);
  }
}

void MixingWalk::update(Counter& counter, int limit) {
  if (!counter.bits) return;
  const int64_t total = counter.bits, ones = counter.ones, zeros = total - ones;
  const int64_t p = counter.probability, n = counter.seen;
  const int64_t change = ones * (65535 - p) - zeros * p;
  counter.probability = uint16_t(p + floor_divide(2 * change, 2 * n + 2 * total + 1));
  counter.seen = uint8_t(std::min<int64_t>(n + total, limit));
  counter.ones = counter.bits = 0;
}

void MixingWalk::step(WeightSet& set) {
  if (!set.bits) return;
  const int64_t rate = 66 + 8192 / (50 + set.waves);
  const int64_t whole = int64_t(std::max(set.bits, 16)) << 20;
  for (size_t i = 0; i < kMixingInputs; ++i) {
    const int64_t moved =
        set.weights[i] + floor_divide(set.steps[i] * rate + (whole >> 1), whole);
    set.weights[i] = int32_t(std::clamp(moved, -kWeightMax, kWeightMax));
  }
  set.steps.fill(0);
  set.bits = 0;
  set.waves = std::min(set.waves + 1, 65535);
}

void MixingWalk::learn(const int32_t* bits) {
  const bool guess = phase_ == Phase::kGuess;
  WeightSet& shared =
      kinds_[size_t(guess ? index_ : kCandidates + kDepthMax * index_ + level_)];
  for (size_t at = 0; at < decisions_.size(); ++at) {
    const Decision& decision = decisions_[at];
    const int bit = bits[at] != 0;
    const auto count = [bit](Counter& counter) {
      counter.ones = uint16_t(counter.ones + bit);
      ++counter.bits;
    };
    for (size_t c = 0; c < kContexts; ++c) {
      count(counters_[decision.slots[c]]);
      count(expected_[decision.states[c]]);
    }
    count(levels_[size_t(decision.buckets[0])]);
    count(maps_[size_t(decision.buckets[1])]);
    const int64_t error = bit * 65536 - decision.mixed;
    WeightSet& own = stages_[size_t(decision.set)];
    for (size_t i = 0; i < kMixingInputs; ++i) {
      shared.steps[i] += error * decision.inputs[i];
      own.steps[i] += error * decision.inputs[i];
    }
    ++shared.bits;
    ++own.bits;
  }
  step(shared);
  for (const Decision& decision : decisions_) {
    step(stages_[size_t(decision.set)]);
    for (size_t c = 0; c < kContexts; ++c) {
      Counter& counter = counters_[decision.slots[c]];
      if (counter.bits) {
        const int ones = counter.ones, zeros = counter.bits - ones;
        int known_zeros = counter.history >> 4, known_ones = counter.history & 15;
        if (!zeros && known_zeros > 2) known_zeros = (known_zeros + 2) >> 1;
        if (!ones && known_ones > 2) known_ones = (known_ones + 2) >> 1;
        counter.history = uint8_t(16 * std::min(known_zeros + zeros, 15) +
                                  std::min(known_ones + ones, 15));
        update(counter, kCounterLimit);
      }
      update(expected_[decision.states[c]], kStateLimit);
    }
    update(levels_[size_t(decision.buckets[0])], kMapLimit);
    update(maps_[size_t(decision.buckets[1])], kMapLimit);
  }
}

}  // namespace ncml
