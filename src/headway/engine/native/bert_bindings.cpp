// BERT as Python sees it.
#include <memory>

#include <nanobind/stl/vector.h>

#include "bert.h"
#include "bindings.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace headway {
namespace {

BERT* make_bert(const nb::dict& sizes, const nb::object& given, int bits, const std::string& kernels, Parts* keep) {
  const auto whole = [&](const char* name) { return nb::cast<int>(sizes[name]); };
  const auto is = [&](const char* name) { return nb::cast<bool>(sizes[name]); };
  BERTSizes made;
  made.vocabulary = whole("vocabulary");
  made.context = whole("context");
  made.width = whole("width");
  made.layers = whole("layers");
  made.heads = whole("heads");
  made.hidden = whole("hidden");
  made.segments = whole("segments");
  made.scores = whole("scores");
  made.epsilon = nb::cast<float>(sizes["epsilon"]);
  made.activation = static_cast<Activation>(whole("activation"));
  made.pre_norm = is("pre_norm");
  made.causal = is("causal");
  made.learned_positions = is("learned_positions");
  made.rotary = is("rotary");
  made.gated = is("gated");
  made.embedding_norm = is("embedding_norm");
  made.embedding_projection = is("embedding_projection");
  made.pooler = is("pooler");
  made.transform = is("transform");
  made.words = is("words");
  made.tied = is("tied");
  made.head_bias = is("head_bias");
  made.scales = nb::cast<std::vector<float>>(sizes["scales"]);
  const Weights weights = weights_of(given, keep);
  const Unlocked unlocked;
  return new BERT(made, weights, static_cast<Width>(bits), kernels);
}

void encode(const BERT& model, const Ints& ids, const Ints& lengths, const Ints& segments, int threads, const OutArray& out) {
  const int columns = static_cast<int>(ids.ndim() == 2 ? ids.shape(1) : 0);
  if (ids.size() != lengths.size() * columns || (segments.size() != 0 && segments.size() != ids.size()) ||
      out.size() != ids.size() * model.sizes().width) {
    throw std::invalid_argument("ids, segments and states must fit the lengths");
  }
  const Unlocked unlocked;
  model.encode({span_of(ids), span_of(segments), span_of(lengths), columns}, threads, out.data());
}

void apply(const BERT& model, int part, const FloatArray& rows, int threads, const OutArray& out) {
  const int count = static_cast<int>(rows.size() / model.sizes().width);
  const Part asked = static_cast<Part>(part);
  if (out.size() != static_cast<std::size_t>(count) * model.stride_of(asked)) throw std::invalid_argument("the numbers must fit the rows");
  const Unlocked unlocked;
  model.apply(asked, rows.data(), count, threads, out.data());
}

}  // namespace

void bind_bert(nb::module_& module) {
  nb::class_<BERT>(module, "BERT")
      .def("__init__", [](BERT* at, const nb::dict& sizes, const nb::object& weights, int bits, const std::string& kernels, Parts* keep) {
        std::unique_ptr<BERT> made(make_bert(sizes, weights, bits, kernels, keep));
        new (at) BERT(std::move(*made));
      }, "sizes"_a, "weights"_a, "bits"_a, "kernels"_a = "", "keep"_a.none() = nb::none())
      .def("encode", &encode, "ids"_a, "lengths"_a, "segments"_a, "threads"_a, "out"_a)
      .def("apply", &apply, "part"_a, "rows"_a, "threads"_a, "out"_a)
      .def("outputs_of", [](const BERT& model, int part) { return model.outputs_of(static_cast<Part>(part)); })
      .def("stride_of", [](const BERT& model, int part) { return model.stride_of(static_cast<Part>(part)); })
      .def_prop_ro("kernels", &BERT::kernels)
      .def_prop_ro("bytes", &BERT::bytes);
}

}  // namespace headway
