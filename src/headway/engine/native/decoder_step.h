// What the step of every decoder has around its layers: checks before, slices of tokens, logits after.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "decoder_parts.h"

namespace headway {

// What a step is given; see the decoding protocol.
struct Step {
  std::span<const std::int64_t> ids;  // (rows, columns)
  int columns = 0;
  std::span<const std::int64_t> counts;  // (rows): how many of a row's ids are its new tokens
  bool every = false;                    // logits after each of them, not after the last alone
};

// Throws std::invalid_argument, or std::length_error past the context (0: there is none).
void check(const Step& step, const State& state, int vocabulary, int context);

// The new tokens in slices that are computed together; no number depends on where one ends.
std::vector<std::vector<Segment>> slices_of(const Step& step, const State& state);

// In the last layer of a step that gives logits after each row's last token alone, no other token reads anything.
void skip_all_but_ends(const Step& step, std::span<Segment> slice);

// Moves the rows of the tokens that are not skipped together, to the front; returns how many they are.
int close_up(std::vector<Segment>& slice, std::span<Floats* const> rows);

// Logits of a step: (rows, stride), or (rows, columns, stride) where `every`. What no token stands before is left as it is.
class Outputs {
 public:
  // norm: the one after the last layer, or null.
  Outputs(const Step& step, const Matrix& matrix, const Norm* norm, float* logits)
      : step_(step), matrix_(matrix), norm_(norm), logits_(logits) {}
  void take(Computing& computing, std::span<const Segment> slice, const Floats& stream);
  void finish(Computing& computing);

 private:
  const Step& step_;
  const Matrix& matrix_;
  const Norm* norm_;
  float* logits_;
  std::vector<std::int64_t> places_;  // where each of the vectors taken belongs
};

}  // namespace headway
