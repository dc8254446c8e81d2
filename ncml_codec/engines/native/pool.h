// A pool of threads for short jobs, one job at a time, made of chunks that any thread may take. If
// chunks are even, all but the job's last one begin and end at even items.
//
// The caller works too, and never waits for a thread that has not begun: on a busy machine it does
// the whole job itself. Waiting threads spin for some microseconds at most, then sleep. If a thread
// was stopped by the system in the middle of a chunk, so that the caller had to wait for it, the
// pool leaves its threads asleep for as long, and if that happens again and again for up to 32 times
// as long; so it does for a while if a thread was given the caller's own processor. So another busy
// process costs little.

#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace ncml {

struct Job {
  // Items [first, stop), done by thread number `thread` of the pool.
  virtual void run(int thread, int first, int stop) = 0;

 protected:
  ~Job() = default;
};

class Pool {
 public:
  explicit Pool(int threads);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return int(workers_.size()) + 1; }

  // Begin a job of `items` items, `chunk` at a time; other threads may start on it now. It must
  // live until `finish`.
  void post(Job& job, int items, int chunk);

  // Work on the job until it is done. Nothing happens if none was posted.
  void finish();

 private:
  using Clock = std::chrono::steady_clock;

  // A run of items, taken from the front: each thread has its own, and then helps the others.
  struct alignas(64) Share {
    std::atomic<int> next{0};
    int stop = 0;
  };

  int work(int thread);
  void live(int thread);
  bool enter(uint64_t& seen);

  Job* job_ = nullptr;
  int chunk_ = 1;
  std::vector<Share> shares_;
  // generation << 32 | open << 31 | threads inside.
  alignas(64) std::atomic<uint64_t> state_{0};
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false};
  std::mutex mutex_;
  std::condition_variable posted_, left_;
  bool waiting_ = false;  // the caller sleeps until the last thread has left; under mutex_
  uint64_t generation_ = 0;
  Clock::time_point rest_until_{};
  int rest_ = 1;  // the last one's length, in stalls
  Clock::duration slowest_chunk_{0};  // of late
  std::atomic<int> processor_{-1};     // the caller's, -1 if the system does not tell
  std::atomic<bool> crowded_{false};   // a thread ran on it, too
  std::vector<std::thread> workers_;
};

}  // namespace ncml
