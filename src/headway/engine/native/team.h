// The threads that compute: one team for the whole process, in which every call is a caller and some helpers.
//
// Work is cut into many small tasks that whoever is free takes next, so a thread that another process holds up costs
// no more than the task in its hands. Helpers spin for some microseconds and then sleep.
#pragma once

#include <functional>

namespace headway {

using Task = std::function<void(int)>;

// Calls task(0) .. task(count - 1), each once, on at most `threads` threads, the caller's own among them; returns when
// all are done. Where the team is at work for another caller, this one computes alone. Tasks must not throw.
void in_parallel(int threads, int count, const Task& task);

inline constexpr int kMostThreads = 255;

}  // namespace headway
