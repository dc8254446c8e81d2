#include "pool.h"

#include <algorithm>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

namespace ncml {

namespace {

constexpr uint64_t kOpen = uint64_t(1) << 31;
constexpr uint64_t kInside = kOpen - 1;
// Long enough to bridge the coder's work between two jobs of a wave, which is what a wake-up costs.
constexpr auto kSpin = std::chrono::microseconds(30);
// A wait beyond this and beyond this many chunks means that a thread was stopped by other work.
// Ticks, missing pages and the like take less.
constexpr auto kStall = std::chrono::microseconds(100);
constexpr int kStallChunks = 2;
// A rest's length, in stalls: it doubles with each stall so soon after the rest before, up to where
// what is lost by waiting stays below 1 / 32.
constexpr auto kSoon = std::chrono::milliseconds(100);
constexpr int kLongestRest = 32;
// Until it is tried again whether a thread now gets a processor of its own.
constexpr auto kCrowdedRest = std::chrono::milliseconds(20);

int processor() {
#if defined(__linux__)
  return sched_getcpu();
#else
  return -1;
#endif
}

void pause_briefly() {
#if defined(__x86_64__) || defined(_M_X64)
  _mm_pause();
#elif defined(__aarch64__) && defined(__GNUC__)
  __asm__ volatile("yield");
#endif
}

// Whether `done` became true within the time.
template <class Done>
bool spin(std::chrono::steady_clock::duration time, Done done) {
  const auto end = std::chrono::steady_clock::now() + time;
  do {
    for (int i = 0; i < 16; ++i) {
      if (done()) return true;
      pause_briefly();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

}  // namespace

Pool::Pool(int threads) : shares_(std::max(threads, 1)) {
  for (int thread = 1; thread < threads; ++thread)
    workers_.emplace_back([this, thread] { live(thread); });
}

Pool::~Pool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  posted_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Pool::post(Job& job, int items, int chunk) {
  job_ = &job;
  chunk_ = std::max(chunk, 1);
  const int count = int(shares_.size());
  int begin = 0;
  for (int share = 0; share < count; ++share) {
    // Even, since pixels are taken in pairs.
    const int end = share + 1 == count ? items : int(int64_t(items) * (share + 1) / count) & ~1;
    shares_[share].next.store(begin, std::memory_order_relaxed);
    shares_[share].stop = end;
    begin = end;
  }
  if (workers_.empty() || items <= chunk_ || Clock::now() < rest_until_) return;
  if (crowded_.exchange(false)) {
    rest_until_ = Clock::now() + kCrowdedRest;
    return;
  }
  processor_.store(processor());
  state_.store(++generation_ << 32 | kOpen);
  if (sleepers_.load() > 0) {
    std::lock_guard<std::mutex> lock(mutex_);
    posted_.notify_all();
  }
}

void Pool::finish() {
  if (job_ == nullptr) return;
  const auto begun = Clock::now();
  const int done = work(0);
  const auto ended = Clock::now();
  if (done > 0) slowest_chunk_ = std::max(slowest_chunk_ * 63 / 64, (ended - begun) / done);
  auto empty = [this] { return (state_.load() & kInside) == 0; };
  state_.fetch_and(~kOpen);
  if (!empty()) {
    if (!spin(kSpin, empty)) {
      std::unique_lock<std::mutex> lock(mutex_);
      waiting_ = true;
      left_.wait(lock, empty);
      waiting_ = false;
    }
    const auto now = Clock::now();
    const auto waited = now - ended;
    if (waited > kStall + kStallChunks * slowest_chunk_) {
      rest_ = now - rest_until_ < kSoon ? std::min(2 * rest_, kLongestRest) : 1;
      rest_until_ = now + rest_ * waited;
    }
  }
  job_ = nullptr;
}

// The number of chunks done.
int Pool::work(int thread) {
  int done = 0;
  const int count = int(shares_.size());
  for (int turn = 0; turn < count; ++turn) {
    Share& share = shares_[(thread + turn) % count];
    while (share.next.load(std::memory_order_relaxed) < share.stop) {
      const int first = share.next.fetch_add(chunk_);
      if (first >= share.stop) break;
      job_->run(thread, first, std::min(first + chunk_, share.stop));
      ++done;
    }
  }
  return done;
}

// Take part in the job that is open, if it is one not seen before.
bool Pool::enter(uint64_t& seen) {
  uint64_t state = state_.load();
  while ((state & kOpen) != 0 && state >> 32 != seen) {
    if (state_.compare_exchange_weak(state, state + 1)) {
      seen = state >> 32;
      return true;
    }
  }
  return false;
}

void Pool::live(int thread) {
  uint64_t seen = 0;
  auto ready = [&] {
    const uint64_t state = state_.load();
    return ((state & kOpen) != 0 && state >> 32 != seen) || stop_.load();
  };
  for (bool alone = true;;) {
    if (!alone || !spin(kSpin, ready)) {
      std::unique_lock<std::mutex> lock(mutex_);
      ++sleepers_;
      posted_.wait(lock, ready);
      --sleepers_;
    }
    if (stop_.load()) return;
    if (!enter(seen)) continue;
    work(thread);
    const int here = processor();
    alone = here < 0 || here != processor_.load();
    if (!alone) crowded_.store(true);
    const uint64_t state = state_.fetch_sub(1) - 1;
    if ((state & (kOpen | kInside)) == 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      if (waiting_) left_.notify_one();
    }
  }
}

}  // namespace ncml
