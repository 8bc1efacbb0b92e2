// What the bindings of all families share: arrays as spans, and a model's weights by name.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <atomic>
#include <stdexcept>

#include "decoder_parts.h"
#include "unlocked.h"

namespace headway {

using Ints = nanobind::ndarray<const std::int64_t, nanobind::c_contig, nanobind::device::cpu>;
using FloatArray = nanobind::ndarray<const float, nanobind::c_contig, nanobind::device::cpu>;
using OutArray = nanobind::ndarray<float, nanobind::c_contig, nanobind::device::cpu>;

inline std::span<const std::int64_t> span_of(const Ints& ints) { return {ints.data(), ints.size()}; }

inline Tensors tensors_of(const nanobind::dict& given) {
  Tensors tensors;
  for (const auto& [name, value] : given) {
    const auto array = nanobind::cast<FloatArray>(value);
    if (array.ndim() != 1 && array.ndim() != 2) throw std::invalid_argument("weights must be vectors or matrices");
    const auto columns = static_cast<std::int64_t>(array.shape(array.ndim() - 1));
    const auto rows = array.ndim() == 2 ? static_cast<std::int64_t>(array.shape(0)) : 1;
    tensors[nanobind::cast<std::string>(name)] = {array.data(), rows, columns};
  }
  return tensors;
}

// What a model is made from. given: a dict of arrays by name, or Parts; kept: where its parts are noted, or null.
inline Weights weights_of(const nanobind::object& given, Parts* kept) {
  if (nanobind::isinstance<Parts>(given)) return {{}, nullptr, &nanobind::cast<const Parts&>(given)};
  return {tensors_of(nanobind::cast<nanobind::dict>(given)), kept, nullptr};
}

// A state that one thread at a time may use.
struct Held {
  explicit Held(State state) : state(std::move(state)) {}
  State state;
  std::atomic<bool> busy{false};
};

class Use {
 public:
  explicit Use(Held& held) : held_(held) {
    if (held.busy.exchange(true)) throw std::runtime_error("two threads use one state at once");
  }
  ~Use() { held_.busy.store(false); }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;

 private:
  Held& held_;
};

// The columns of ids (rows, columns) that a step is given. Throws std::invalid_argument where ids or logits do not fit.
inline int columns_of(const Ints& ids, const Ints& counts, bool every, int stride, const OutArray& logits) {
  const std::size_t rows = counts.size();
  const std::size_t columns = ids.ndim() == 2 ? ids.shape(1) : 0;
  if (ids.size() != rows * columns || logits.size() < rows * (every ? columns : 1) * stride) {
    throw std::invalid_argument("ids and logits must fit the counts");
  }
  return static_cast<int>(columns);
}

// A decoder's step.
template <class Model>
void step(const Model& model, const Ints& ids, const Ints& counts, Held& held, bool every, int threads, const OutArray& logits) {
  const Use use(held);
  const int columns = columns_of(ids, counts, every, model.logits_stride(), logits);
  const Unlocked unlocked;
  model.step({span_of(ids), columns, span_of(counts), every}, held.state, threads, logits.data());
}

// Each family's own classes.
void bind_parts(nanobind::module_& module);
void bind_bert(nanobind::module_& module);
void bind_transformer(nanobind::module_& module);

}  // namespace headway
