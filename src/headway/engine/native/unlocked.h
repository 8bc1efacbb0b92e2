// Python's lock, let go while the engine computes.
#pragma once

#include <Python.h>
#include <unistd.h>

#include <atomic>

namespace headway {

// A daemon thread that asks for the lock after the interpreter has begun to end would be unwound by force, through code
// that cannot be. So from `interpreter_ends` on, a thread that has computed waits here until the process is gone.
class Unlocked {
 public:
  Unlocked() : thread_(PyEval_SaveThread()) {}
  ~Unlocked() {
    ++coming_back_;
    if (ends_.load()) {
      --coming_back_;
      for (;;) pause();
    }
    PyEval_RestoreThread(thread_);
    --coming_back_;
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

  // Called by Python's atexit, with the lock: lets those through that are about to take it, and nobody after them.
  static void interpreter_ends() {
    ends_.store(true);
    PyThreadState* thread = PyEval_SaveThread();
    while (coming_back_.load() > 0) usleep(100);
    PyEval_RestoreThread(thread);
  }

 private:
  PyThreadState* thread_;
  static inline std::atomic<bool> ends_{false};
  static inline std::atomic<int> coming_back_{0};
};

}  // namespace headway
