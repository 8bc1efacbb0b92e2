// What the bindings of all families share: arrays as spans, and a model's weights by name.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

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

// Each family's own classes.
void bind_bert(nanobind::module_& module);

}  // namespace headway
