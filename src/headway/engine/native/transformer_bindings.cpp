// The Transformer as Python sees it.
#include <memory>

#include "bindings.h"
#include "transformer.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace headway {
namespace {

Transformer* make_transformer(const nb::dict& sizes, const nb::object& given, int bits, const std::string& kernels, Parts* keep) {
  const auto whole = [&](const char* name) { return nb::cast<int>(sizes[name]); };
  const auto is = [&](const char* name) { return nb::cast<bool>(sizes[name]); };
  TransformerSizes made;
  made.vocabulary = whole("vocabulary");
  made.source_vocabulary = whole("source_vocabulary");
  made.context = whole("context");
  made.width = whole("width");
  made.heads = whole("heads");
  made.encoder_layers = whole("encoder_layers");
  made.decoder_layers = whole("decoder_layers");
  made.hidden = whole("hidden");
  made.epsilon = nb::cast<float>(sizes["epsilon"]);
  made.activation = static_cast<Activation>(whole("activation"));
  made.positions = static_cast<Positions>(whole("positions"));
  made.pre_norm = is("pre_norm");
  made.shared = is("shared");
  made.tied = is("tied");
  made.scaled = is("scaled");
  made.output_bias = is("output_bias");
  const Weights weights = weights_of(given, keep);
  const Unlocked unlocked;
  return new Transformer(made, weights, static_cast<Width>(bits), kernels);
}

Held* start(const Transformer& model, const Ints& source, const Ints& lengths, const Ints& rows, int threads) {
  const std::size_t columns = source.ndim() == 2 ? source.shape(1) : 0;
  if (source.size() != lengths.size() * columns) throw std::invalid_argument("source_lengths takes one length a source");
  const Unlocked unlocked;
  return new Held(model.start({span_of(source), span_of(lengths), static_cast<int>(columns)}, span_of(rows), threads));
}

}  // namespace

void bind_transformer(nb::module_& module) {
  nb::class_<Transformer>(module, "Transformer")
      .def("__init__", [](Transformer* at, const nb::dict& sizes, const nb::object& weights, int bits, const std::string& kernels, Parts* keep) {
        std::unique_ptr<Transformer> made(make_transformer(sizes, weights, bits, kernels, keep));
        new (at) Transformer(std::move(*made));
      }, "sizes"_a, "weights"_a, "bits"_a, "kernels"_a = "", "keep"_a.none() = nb::none())
      .def("start", &start, "source"_a, "lengths"_a, "rows"_a, "threads"_a, nb::rv_policy::take_ownership)
      .def("step", &step<Transformer>, "ids"_a, "counts"_a, "state"_a, "every"_a, "threads"_a, "logits"_a)
      .def("source_bytes", &Transformer::source_bytes, "length"_a)
      .def_prop_ro("logits_stride", &Transformer::logits_stride)
      .def_prop_ro("sources_out", &Transformer::sources_out, "Sources that rows of all states of the model read.")
      .def_prop_ro("kernels", &Transformer::kernels)
      .def_prop_ro("bytes", &Transformer::bytes);
}

}  // namespace headway
