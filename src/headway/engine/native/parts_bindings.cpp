// Packed parts as Python sees them.
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <memory>

#include "bindings.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace headway {
namespace {

using Bytes = nb::ndarray<nb::numpy, const std::uint8_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

nb::tuple read(int descriptor, std::uint64_t offset, std::uint64_t bytes,
               const std::vector<std::tuple<std::string, std::uint64_t, std::uint64_t>>& places, int threads) {
  std::vector<Place> wanted;
  for (const auto& [name, begin, size] : places) wanted.push_back({name, begin, size});
  Read made;
  {
    const Unlocked unlocked;
    made = read_parts(descriptor, offset, bytes, wanted, threads);
  }
  return nb::make_tuple(nb::cast(new Parts(std::move(made.parts)), nb::rv_policy::take_ownership), made.checksum);
}

// Views of the parts' own memory, by name.
nb::dict blocks(const nb::object& self) {
  nb::dict out;
  for (const auto& [name, block] : nb::cast<const Parts&>(self).blocks()) {
    out[name.c_str()] = Bytes(block.as<std::uint8_t>(), {block.bytes()}, self);
  }
  return out;
}

}  // namespace

void bind_parts(nb::module_& module) {
  nb::class_<Parts>(module, "Parts").def(nb::init<>()).def("blocks", &blocks, "Each part's bytes, by name.");
  module.def("read_parts", &read, "descriptor"_a, "offset"_a, "bytes"_a, "places"_a, "threads"_a,
             "The parts in some bytes of an open file, and the bytes' checksum.");
  module.def("checksum_of", [](int descriptor, std::uint64_t offset, std::uint64_t bytes, int threads) {
    const Unlocked unlocked;
    return checksum_of(descriptor, offset, bytes, threads);
  }, "descriptor"_a, "offset"_a, "bytes"_a, "threads"_a, "The checksum of some bytes of an open file.");
}

}  // namespace headway
