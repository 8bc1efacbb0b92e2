// The engine as Python sees it. Nothing here holds Python's lock while it computes.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <stdexcept>

#include "bindings.h"
#include "gpt2.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace headway {
namespace {

GPT2* make_gpt2(const nb::dict& sizes, const nb::object& given, int bits, const std::string& kernels, Parts* keep) {
  const auto whole = [&](const char* name) { return nb::cast<int>(sizes[name]); };
  GPT2Sizes made;
  made.vocabulary = whole("vocabulary");
  made.context = whole("context");
  made.width = whole("width");
  made.layers = whole("layers");
  made.heads = whole("heads");
  made.hidden = whole("hidden");
  made.epsilon = nb::cast<float>(sizes["epsilon"]);
  made.activation = static_cast<Activation>(whole("activation"));
  made.tied = nb::cast<bool>(sizes["tied"]);
  made.scale_by_head_width = nb::cast<bool>(sizes["scale_by_head_width"]);
  made.scale_by_layer = nb::cast<bool>(sizes["scale_by_layer"]);
  const Weights weights = weights_of(given, keep);
  const Unlocked unlocked;
  return new GPT2(made, weights, static_cast<Width>(bits), kernels);
}

nb::tuple lengths(const Held& held) {
  nb::list out;
  for (const Row& row : held.state.rows()) out.append(row.length);
  return nb::tuple(out);
}

}  // namespace

NB_MODULE(_native, m) {
  nb::set_leak_warnings(false);  // a thread that waits for the end of the process holds what it used
  m.doc() = "The compiled engine's own module; headway.engine is its face.";
  nb::exception<std::length_error>(m, "PastContext", PyExc_ValueError);
  nb::module_::import_("atexit").attr("register")(nb::cpp_function(&Unlocked::interpreter_ends));
  m.def("kernels_here", &kernels_here, "Names of the kernels that this processor runs, the fastest first.");
  nb::class_<Held>(m, "State")
      .def("select", [](Held& held, const Ints& indices) { const Use use(held); held.state.select(span_of(indices)); })
      .def("join", [](Held& held, Held& other) {
        if (&held == &other) throw std::invalid_argument("join takes another state of the same model; for the same rows twice use select");
        const Use use(held);
        const Use used(other);
        held.state.join(other.state);
      })
      .def("rewind", [](Held& held, const Ints& counts) { const Use use(held); held.state.rewind(span_of(counts)); })
      .def("copy", [](Held& held) { const Use use(held); return new Held(held.state.copy()); }, nb::rv_policy::take_ownership)
      .def("growth", [](Held& held, const Ints& counts, std::int64_t columns) {
        const Use use(held);
        return held.state.growth(span_of(counts), columns);
      }, "counts"_a, "columns"_a, "Bytes that a step would take for keys and values.")
      .def_prop_ro("lengths", &lengths)
      .def_prop_ro("pages_out", [](const Held& held) { return held.state.store()->pages_out(); },
                   "Pages in use by all states of the model.");
  bind_parts(m);
  nb::class_<GPT2>(m, "GPT2")
      .def("__init__", [](GPT2* at, const nb::dict& sizes, const nb::object& weights, int bits, const std::string& kernels, Parts* keep) {
        std::unique_ptr<GPT2> made(make_gpt2(sizes, weights, bits, kernels, keep));
        new (at) GPT2(std::move(*made));
      }, "sizes"_a, "weights"_a, "bits"_a, "kernels"_a = "", "keep"_a.none() = nb::none())
      .def("start", [](const GPT2& model, int rows) { return new Held(model.start(rows)); }, nb::rv_policy::take_ownership)
      .def("step", &step<GPT2>, "ids"_a, "counts"_a, "state"_a, "every"_a, "threads"_a, "logits"_a)
      .def_prop_ro("logits_stride", &GPT2::logits_stride)
      .def_prop_ro("kernels", &GPT2::kernels)
      .def_prop_ro("bytes", &GPT2::bytes);
  bind_bert(m);
  bind_transformer(m);
}

}  // namespace headway
