#include "decoder_step.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace headway {
namespace {

constexpr int kSlice = 256;

// The vectors taken and their logits, kept by each thread from one step to the next.
struct Taken {
  Floats vectors;
  std::vector<float> logits;
};
thread_local Taken taken;

}  // namespace

void check(const Step& step, const State& state, int vocabulary, int context) {
  if (step.counts.size() != state.rows().size()) {
    throw std::invalid_argument("a step takes one count for each of " + std::to_string(state.rows().size()) +
                                " rows, but got " + std::to_string(step.counts.size()));
  }
  for (std::size_t row = 0; row < step.counts.size(); ++row) {
    const std::int64_t count = step.counts[row];
    if (count < 0 || count > step.columns) {
      throw std::invalid_argument("a step takes counts in 0.." + std::to_string(step.columns) + ", but got " +
                                  std::to_string(count));
    }
    const std::int64_t wanted = state.rows()[row].length + count;
    if (context > 0 && wanted > context) {
      throw std::length_error("a row may hold " + std::to_string(context) +
                              " tokens (the model's context), but this step would make it " + std::to_string(wanted));
    }
    for (std::int64_t column = 0; column < count; ++column) {
      const std::int64_t id = step.ids[row * step.columns + column];
      if (id < 0 || id >= vocabulary) {
        throw std::invalid_argument("ids must be in 0.." + std::to_string(vocabulary - 1) + ", but got " +
                                    std::to_string(id));
      }
    }
  }
}

std::vector<std::vector<Segment>> slices_of(const Step& step, const State& state) {
  std::vector<std::vector<Segment>> slices;
  int filled = kSlice;
  for (int row = 0; row < static_cast<int>(step.counts.size()); ++row) {
    int column = 0;
    while (column < step.counts[row]) {
      if (filled == kSlice) {
        slices.emplace_back();
        filled = 0;
      }
      const int count = std::min(kSlice - filled, static_cast<int>(step.counts[row]) - column);
      slices.back().push_back({row, state.rows()[row].length + column, count, filled, column});
      filled += count;
      column += count;
    }
  }
  return slices;
}

void skip_all_but_ends(const Step& step, std::span<Segment> slice) {
  for (Segment& segment : slice) {
    const bool ends = segment.column + segment.count == step.counts[segment.row];
    segment.skip = ends ? segment.count - 1 : segment.count;
  }
}

int close_up(std::vector<Segment>& slice, std::span<Floats* const> rows) {
  int count = 0;
  std::vector<Segment> kept;
  for (const Segment& segment : slice) {
    const int left = segment.count - segment.skip;
    for (int token = 0; token < left; ++token) {
      for (Floats* floats : rows) {
        if (count + token < segment.at + segment.skip + token) {
          std::copy_n(floats->row(segment.at + segment.skip + token), floats->stride(), floats->row(count + token));
        }
      }
    }
    if (left > 0) kept.push_back({segment.row, segment.first + segment.skip, left, count, segment.column + segment.skip});
    count += left;
  }
  slice = std::move(kept);
  return count;
}

void Outputs::take(Computing& computing, std::span<const Segment> slice, const Floats& stream) {
  for (const Segment& segment : slice) {
    for (int token = 0; token < segment.count; ++token) {
      const int column = segment.column + token;
      if (!step_.every && column + 1 < step_.counts[segment.row]) continue;
      const int at = static_cast<int>(places_.size());
      taken.vectors.shape(at + 1, matrix_.inputs);
      std::copy_n(stream.row(segment.at + token), stream.stride(), taken.vectors.row(at));
      places_.push_back(step_.every ? static_cast<std::int64_t>(segment.row) * step_.columns + column : segment.row);
    }
  }
  if (step_.every) finish(computing);
}

void Outputs::finish(Computing& computing) {
  if (places_.empty()) return;
  const int count = static_cast<int>(places_.size());
  const std::int64_t stride = padded(matrix_.outputs, kPanel);
  Floats& vectors = taken.vectors;
  if (norm_ != nullptr) computing.normalise(*norm_, vectors, count, matrix_.inputs, vectors);
  if (places_.back() - places_.front() + 1 == count) {  // places ascend: nothing stands between them
    computing.multiply(matrix_, vectors, count, logits_ + places_.front() * stride, stride);
  } else {
    taken.logits.resize(static_cast<std::size_t>(count) * stride);
    computing.multiply(matrix_, vectors, count, taken.logits.data(), stride);
    for (int at = 0; at < count; ++at) std::copy_n(&taken.logits[at * stride], stride, logits_ + places_[at] * stride);
  }
  places_.clear();
}

}  // namespace headway
