#include "walk.h"

#include <stdexcept>
#include <string>

namespace ncml {

namespace {

// Chunks small enough that threads end together, in whole tiles of pixels.
int chunk_size(int count, int threads, int rows) {
  if (threads == 1) return kChunk;
  const int share = (count + 4 * threads - 1) / (4 * threads);
  return std::min(round_up(std::max(share, 8), rows), kChunk);
}

template <class Function>
struct Stretch final : Job {
  explicit Stretch(Function& function_) : function(function_) {}
  void run(int thread, int first, int stop) override { function(thread, first, stop); }
  Function& function;
};

template <class Function>
void run_all(Pool& pool, int count, int chunk, Function function) {
  Stretch<Function> job(function);
  pool.post(job, count, chunk);
  pool.finish();
}

void check_size(int height, int width) {
  if (height < 1 || width < 1 || height >= 1 << 24 || width >= 1 << 24)
    throw std::invalid_argument("native engine: an image of " + std::to_string(width) + " x " +
                                std::to_string(height));
}

State checked_state(const Network& network, int height, int width, const Adapting& adapting) {
  check_size(height, width);
  const int strength = adapting.strength, mode = adapting.colour_mode;
  if (strength < (adapting.body ? 1 : 0) || strength > kStrongest || mode < 0 || mode >= kModes)
    throw std::invalid_argument("native engine: no adaptation of strength " +
                                std::to_string(strength) + ", colours " + std::to_string(mode));
  return State(network, height, width, adapting);
}

// A stage of colours learns from a wave whose samples are known.
void count_colours(State& state, Stage& stage) {
  for (int pixel = 0; pixel < state.count; ++pixel)
    stage.learn(stage.weighed[size_t(pixel)],
                stage.place(state.level(0, pixel), state.level(1, pixel)),
                state.level(stage.plane, pixel));
}

// Before the step: the ways of the optimiser's numbers, and what the taps had for inputs.
void prepare_step(State& state, int planes) {
  Adaptation& adaptation = *state.adaptation;
  adaptation.advance(planes);
  for (size_t index = 0; index < state.turned.size(); ++index) {
    Learner& taps = adaptation.blocks[index].taps;
    taps.next_input = state.turned[index].stride;
    for (size_t tap = 0; tap < taps.segments.size(); ++tap) {
      const Tap& offset = state.network.neighbours[tap];
      taps.segments[tap] =
          state.turned[index].at(state.wave, offset.lag(), state.first + offset.rows);
    }
  }
}

// What the wave teaches, once its samples are known and its gradient is summed: colours, which learn
// from all planes only, and the network. Neither looks at the other, so one job does both, and the
// stages of colours, which take longest, come first.
void learn_wave(State& state, const Kernels& kernels, Pool& pool, std::vector<Scratch>& scratch,
                int planes) {
  const int stages = state.colours && planes == kPlanes ? int(state.colours->stages.size()) : 0;
  int units = 0;
  if (state.adaptation && planes > 0) {
    prepare_step(state, planes);
    units = int(state.adaptation->units.size());
  }
  if (stages + units == 0) return;
  const int parts = pool.threads() == 1 ? 1 : 8 * pool.threads();
  const int share = std::max(1, units / parts);
  run_all(pool, stages + (units + share - 1) / share, 1, [&](int thread, int first, int stop) {
    for (int index = first; index < stop; ++index) {
      const int begin = (index - stages) * share;
      if (index < stages) count_colours(state, state.colours->stages[size_t(index)]);
      else kernels.learn(state, scratch[thread], begin, std::min(begin + share, units));
    }
  });
}

}  // namespace

Walk::Walk(std::shared_ptr<const Engine> engine, int height, int width, int threads,
           const Adapting& adapting)
    : engine_(std::move(engine)),
      state_(checked_state(engine_->network, height, width, adapting)),
      scratch_(std::max(threads, 1), Scratch(engine_->network, state_.adaptation != nullptr)),
      pool_(threads) {}

int Walk::size_of(int wave) const {
  const bool next = wave == state_.wave + 1 && wave < wave_count(state_.height, state_.width);
  // A wave without pixels leaves nothing to put.
  const bool done = state_.wave < 0 || state_.count == 0 ||
                    (plane_ == kPlanes && stage_ == Stage::kPut);
  if (!next || !done)
    throw std::invalid_argument("native engine: wave " + std::to_string(wave) +
                                " is not the next one");
  return stop_row(wave, state_.height) - first_row(wave, state_.width);
}

void Walk::begin(int wave, float* first_high) {
  size_of(wave);
  const Kernels& kernels = engine_->kernels;
  if (state_.adaptation && coded_ > 0) {
    run_all(pool_, state_.count, chunk_size(state_.count, pool_.threads(), kernels.rows),
            [&](int thread, int first, int stop) {
              for (int at = first; at < stop; at += kChunk)
                kernels.gradient(state_, scratch_[thread], coded_, at,
                                 std::min(at + kChunk, stop));
            });
  }
  learn_wave(state_, kernels, pool_, scratch_, coded_);
  state_.open(wave);
  plane_ = coded_ = 0;
  stage_ = Stage::kBegun;
  run_all(pool_, state_.count, chunk_size(state_.count, pool_.threads(), kernels.rows),
          [&](int thread, int first, int stop) {
            for (int at = first; at < stop; at += kChunk) {
              const int end = std::min(at + kChunk, stop);
              kernels.body(state_, scratch_[thread], at, end);
              kernels.high(state_, scratch_[thread], 0, first_high, at, end);
            }
          });
}

void Walk::high(int plane, float* weights) {
  expect(plane, plane == plane_ && (stage_ == Stage::kBegun || stage_ == Stage::kPut));
  stage_ = Stage::kHigh;
  if (plane == 0) return;  // `begin` has done it
  run_all(pool_, state_.count, kChunk, [&](int thread, int first, int stop) {
    engine_->kernels.high(state_, scratch_[thread], plane, weights, first, stop);
  });
}

void Walk::low(int plane, const int32_t* high, float* weights) {
  expect(plane, plane == plane_ && stage_ == Stage::kHigh);
  for (int pixel = 0; pixel < state_.count; ++pixel) {
    if (high[pixel] < 0 || high[pixel] >= kSymbols)
      throw std::invalid_argument("native engine: a nibble is not 0 to 15");
  }
  stage_ = Stage::kLow;
  coded_ = plane + 1;
  run_all(pool_, state_.count, 2 * kChunk, [&](int, int first, int stop) {
    engine_->kernels.low(state_, plane, high, weights, first, stop);
  });
}

void Walk::put(int plane, const int32_t* values) {
  // Planes that are not coded are put alone.
  expect(plane, plane == plane_ && state_.wave >= 0);
  for (int pixel = 0; pixel < state_.count; ++pixel) {
    if (values[pixel] < 0 || values[pixel] > 255)
      throw std::invalid_argument("native engine: a sample is not 0 to 255");
  }
  for (int pixel = 0; pixel < state_.count; ++pixel) state_.put(plane, pixel, values[pixel]);
  stage_ = Stage::kPut;
  ++plane_;
}

int64_t Walk::read(RangeDecoder& decoder, uint8_t* samples, int planes, int64_t pixels) {
  if (planes != 1 && planes != kPlanes)
    throw std::invalid_argument("native engine: planes are not 1 or 3");
  int64_t found = 0;
  const int waves = wave_count(state_.height, state_.width);
  while (found < pixels && state_.wave + 1 < waves) {
    const int wave = state_.wave + 1;
    const auto count = size_t(size_of(wave));
    weights_.resize(count * kSymbols);
    symbols_.resize(count);
    values_.resize(count);
    begin(wave, weights_.data());
    if (count == 0) continue;
    for (int plane = 0; plane < planes; ++plane) {
      high(plane, weights_.data());
      if (!decoder.decode(values_.data(), weights_.data(), count, kSymbols)) return -1;
      low(plane, values_.data(), weights_.data());
      if (!decoder.decode(symbols_.data(), weights_.data(), count, kSymbols)) return -1;
      uint8_t* to = samples + plane;
      for (size_t pixel = 0; pixel < count; ++pixel) {
        values_[pixel] = values_[pixel] << 4 | symbols_[pixel];
        const size_t row = size_t(state_.first) + pixel;
        const size_t column = size_t(wave) - 2 * row;
        to[(row * state_.width + column) * planes] = uint8_t(values_[pixel]);
      }
      put(plane, values_.data());
    }
    for (int plane = planes; plane < kPlanes; ++plane) put(plane, values_.data());
    found += int64_t(count);
  }
  return found;
}

void Walk::expect(int plane, bool sound) const {
  if (plane < 0 || plane >= kPlanes || !sound)
    throw std::invalid_argument("native engine: plane " + std::to_string(plane) +
                                " is out of turn");
}

Survey::Survey(std::shared_ptr<const Engine> engine, const uint8_t* samples, int height,
               int width, int planes, int threads, const Adapting& adapting, bool still, bool modes)
    : engine_(std::move(engine)),
      samples_(samples),
      planes_(planes),
      still_(still),
      modes_(modes),
      state_(checked_state(engine_->network, height, width, adapting)),
      scratch_(std::max(threads, 1), Scratch(engine_->network, state_.adaptation != nullptr)),
      pool_(threads) {
  if (planes != 1 && planes != kPlanes)
    throw std::invalid_argument("native engine: planes are not 1 or 3");
  if (planes != kPlanes && state_.colours)
    throw std::invalid_argument("native engine: colours of one plane");
  if (still && (!state_.adaptation || state_.adaptation->body))
    throw std::invalid_argument("native engine: no heads of the model to compare with");
  if (modes && !state_.colours)
    throw std::invalid_argument("native engine: no colour modes to compare");
}

Survey::~Survey() { pool_.finish(); }

int Survey::size_of(int wave) const {
  if (wave < 0 || wave >= waves()) throw std::invalid_argument("native engine: no such wave");
  return stop_row(wave, state_.height) - first_row(wave, state_.width);
}

void Survey::finish() {
  pool_.finish();
  if (!posted_) return;
  posted_ = false;
  if (state_.count == 0) return;
  learn_wave(state_, engine_->kernels, pool_, scratch_, planes_);
}

double Survey::still_bits() const {
  double bits = 0;
  for (const Scratch& scratch : scratch_) bits += scratch.still_bits;
  return bits;
}

std::vector<double> Survey::mode_bits() const {
  double by_stage[kPlanes][1 + kStagesMax] = {};
  for (const Scratch& scratch : scratch_)
    for (int plane = 0; plane < kPlanes; ++plane)
      for (int stage = 0; stage <= kStagesMax; ++stage)
        by_stage[plane][stage] += scratch.stage_bits[plane][stage];
  std::vector<double> bits;
  const int modes = modes_ ? int(state_.colours->stages.size()) : 0;
  for (int mode = 0; mode < modes; ++mode)
    bits.push_back(by_stage[0][0] + by_stage[1][mode >= 2] + by_stage[2][mode >= 1]);
  return bits;
}

void Survey::post(int wave, float* weights, int32_t* symbols) {
  finish();
  if (wave != state_.wave + 1 || wave >= waves())
    throw std::invalid_argument("native engine: wave out of turn");
  state_.open(wave);
  weights_ = weights;
  symbols_ = symbols;
  posted_ = true;
  pool_.post(*this, state_.count,
             chunk_size(state_.count, pool_.threads(), engine_->kernels.rows));
}

double code_length(const Engine& engine, const uint8_t* samples, int height, int width,
                   int planes) {
  if (planes != 1 && planes != kPlanes)
    throw std::invalid_argument("native engine: planes are not 1 or 3");
  State state = checked_state(engine.network, height, width, {false, 0, 0});
  Scratch scratch(engine.network, false);
  double bits = 0;
  for (int wave = 0; wave < wave_count(height, width); ++wave) {
    state.open(wave);
    for (int begin = 0; begin < state.count; begin += kChunk) {
      const int end = std::min(begin + kChunk, state.count);
      engine.kernels.body(state, scratch, begin, end);
      for (int plane = 0; plane < kPlanes; ++plane) {
        for (int pixel = begin; pixel < end; ++pixel) {
          const size_t row = size_t(state.first + pixel);
          const size_t column = size_t(wave - 2 * int(row));
          const size_t place = (row * size_t(width) + column) * size_t(planes);
          state.put(plane, pixel, samples[place + size_t(planes == 1 ? 0 : plane)]);
        }
        if (plane < planes) bits += engine.kernels.still_bits(state, scratch, plane, begin, end);
      }
    }
  }
  return bits;
}

void Survey::run(int thread, int first, int stop) {
  const Kernels& kernels = engine_->kernels;
  Scratch& scratch = scratch_[thread];
  const size_t count = size_t(state_.count);
  for (int begin = first; begin < stop; begin += kChunk) {
    const int end = std::min(begin + kChunk, stop);
    kernels.body(state_, scratch, begin, end);
    for (int plane = 0; plane < kPlanes; ++plane) {
      float* weights = weights_ + 2 * plane * count * kSymbols;
      int32_t* symbols = symbols_ + 2 * plane * count;
      if (plane < planes_) kernels.high(state_, scratch, plane, weights, begin, end);
      for (int pixel = begin; pixel < end; ++pixel) {
        const size_t row = size_t(state_.first + pixel);
        const size_t column = size_t(state_.wave - 2 * int(row));
        const int value =
            samples_[(row * state_.width + column) * planes_ + (planes_ == 1 ? 0 : plane)];
        state_.put(plane, pixel, value);
        if (plane >= planes_) continue;
        symbols[pixel] = value >> 4;
        symbols[count + pixel] = value & 15;
      }
      if (plane < planes_)
        kernels.low(state_, plane, symbols, weights + count * kSymbols, begin, end);
      if (modes_)
        kernels.stage_bits(state_, plane, weights, weights + count * kSymbols, begin, end,
                           scratch.stage_bits[plane]);
      if (still_ && plane < planes_)
        scratch.still_bits += kernels.still_bits(state_, scratch, plane, begin, end);
    }
    if (state_.adaptation) kernels.gradient(state_, scratch, planes_, begin, end);
  }
}

}  // namespace ncml
