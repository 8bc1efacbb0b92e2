#include "team.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace headway {
namespace {

constexpr int kSpins = 3000;  // some tens of microseconds

void pause_a_moment() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// One word says what there is to do, so that it is read and claimed in one go: the job's number (16 bits), how many
// helpers may join (8), how many tasks it has (20) and the next of them (20).
struct Ticket {
  std::uint64_t bits;
  int job() const { return static_cast<int>(bits >> 48); }
  int helpers() const { return static_cast<int>(bits >> 40 & 0xff); }
  int count() const { return static_cast<int>(bits >> 20 & 0xfffff); }
  int next() const { return static_cast<int>(bits & 0xfffff); }
  bool open_to(int helper) const { return helper < helpers() && next() < count(); }
};
constexpr int kMostTasks = 1 << 19;  // past the last task every thread may count once more

class Team {
 public:
  void run(int threads, int count, const Task& task) {
    const std::unique_lock<std::mutex> turn(turn_, std::try_to_lock);
    if (!turn.owns_lock() || threads <= 1 || count <= 1) {
      for (int at = 0; at < count; ++at) task(at);
      return;
    }
    const int helpers = std::min(threads - 1, count - 1);
    hire(helpers);
    task_ = &task;
    done_.store(0, std::memory_order_relaxed);
    job_ = (job_ + 1) & 0xffff;
    const std::uint64_t bits = static_cast<std::uint64_t>(job_) << 48 | static_cast<std::uint64_t>(helpers) << 40 |
                               static_cast<std::uint64_t>(count) << 20;
    ticket_.store(bits, std::memory_order_seq_cst);
    if (asleep_.load(std::memory_order_seq_cst) > 0) {
      calls_.fetch_add(1, std::memory_order_seq_cst);
      calls_.notify_all();
    }
    work();
    for (int spin = 0; done_.load(std::memory_order_acquire) < count; ++spin) {
      if (spin < kSpins) {
        pause_a_moment();
      } else {
        const int done = done_.load(std::memory_order_acquire);
        if (done < count) done_.wait(done, std::memory_order_acquire);
      }
    }
  }

 private:
  void hire(int helpers) {
    while (hired_ < helpers) {
      std::thread([this, helper = hired_] { help(helper); }).detach();
      ++hired_;
    }
  }

  // Takes tasks until none is left.
  void work() {
    for (;;) {
      const Ticket claimed{ticket_.fetch_add(1, std::memory_order_acq_rel)};
      if (claimed.next() >= claimed.count()) return;
      // The job cannot end before this task is done, so its function stands still.
      (*task_)(claimed.next());
      const int count = claimed.count();
      const int done = done_.fetch_add(1, std::memory_order_acq_rel) + 1;
      if (done == count || done % 8 == 0) done_.notify_one();
    }
  }

  bool called(int helper) const { return Ticket{ticket_.load(std::memory_order_seq_cst)}.open_to(helper); }

  void help(int helper) {
    for (;;) {
      bool found = false;
      for (int spin = 0; spin < kSpins && !found; ++spin) {
        found = called(helper);
        if (!found) pause_a_moment();
      }
      if (!found) {
        const std::uint32_t calls = calls_.load(std::memory_order_seq_cst);
        asleep_.fetch_add(1, std::memory_order_seq_cst);
        if (!called(helper)) calls_.wait(calls, std::memory_order_seq_cst);
        asleep_.fetch_sub(1, std::memory_order_seq_cst);
        continue;
      }
      work();
    }
  }

  std::mutex turn_;
  const Task* task_ = nullptr;
  int job_ = 0;
  int hired_ = 0;
  alignas(64) std::atomic<std::uint64_t> ticket_{0};
  alignas(64) std::atomic<int> done_{0};
  alignas(64) std::atomic<int> asleep_{0};
  std::atomic<std::uint32_t> calls_{0};
};

// Never destroyed: at the interpreter's exit helpers may still spin. A child process made by fork has none of the
// threads and starts a team of its own.
std::atomic<Team*> shared_team{nullptr};
std::once_flag watched;

Team& team() {
  std::call_once(watched, [] { pthread_atfork(nullptr, nullptr, [] { shared_team.store(nullptr); }); });
  Team* found = shared_team.load(std::memory_order_acquire);
  if (found == nullptr) {
    Team* made = new Team;
    if (shared_team.compare_exchange_strong(found, made)) return *made;
    delete made;
  }
  return *found;
}

}  // namespace

void in_parallel(int threads, int count, const Task& task) {
  if (count <= 1 || threads <= 1) {
    for (int at = 0; at < count; ++at) task(at);
    return;
  }
  threads = std::min(threads, kMostThreads);
  const int runs = (count + kMostTasks - 1) / kMostTasks;
  for (int run = 0; run < runs; ++run) {
    const int first = run * kMostTasks;
    const int here = std::min(kMostTasks, count - first);
    if (first == 0) {
      team().run(threads, here, task);
    } else {
      team().run(threads, here, [&](int at) { task(first + at); });
    }
  }
}

}  // namespace headway
