"""What an inspection shows equals what the modules compute; every family, every view."""

import base64
import json
import math
from typing import Any

import numpy
import pytest
import torch

from headway.errors import ContextError, DataError, UsageError
from headway.insight.attention_maps import small_maps
from headway.insight.inspection import InspectionRequest, SourceText, inspect
from headway.models.bert import BERT, BERTConfig
from headway.models.gpt2 import GPT2, GPT2Config
from headway.models.laplace import Laplace, LaplaceConfig
from headway.models.rnn_search import RNNSearch, RNNSearchConfig
from headway.models.transformer import Transformer, TransformerConfig
from headway.nn.trace import Trace
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.vocabulary import ByteVocabulary

END, MASK = "<|endoftext|>", "[MASK]"
N_IDS = 258
IDS = [104, 101, 195, 169, 32, 104, 101, 195, 169, 33, 10]  # eleven; four of them occurred before
SOURCE = [97, 98, 99, 100, 101, 102, 256]  # seven


def tokenizer_of_bytes() -> ByteLevelTokenizer:
    """The bytes, the end of text and a mask."""
    tokens = (*(bytes([byte]) for byte in range(256)), END.encode(), MASK.encode())
    return ByteLevelTokenizer(ByteVocabulary(tokens=tokens, merges=(), special_tokens={END: 256, MASK: 257}))


TOKENIZER = tokenizer_of_bytes()
READ = SourceText(ids=SOURCE, tokenizer=TOKENIZER, start=256)


def build(name: str) -> Any:
    torch.manual_seed(5)
    shape: dict[str, Any] = {"vocabulary": N_IDS, "context": 61, "feed_forward": 19, "initial_deviation": 0.4}
    sides: dict[str, Any] = {**shape, "width": 20, "n_heads": 5, "encoder_layers": 3, "decoder_layers": 2}
    layers: dict[str, Any] = {**shape, "width": 14, "n_layers": 3}
    if name == "gpt2":
        return GPT2(GPT2Config(**layers, n_heads=2)).eval()
    if name == "gpt2-labels":
        return GPT2(GPT2Config(**layers, n_heads=2, head="classify", n_labels=3)).eval()
    if name == "laplace":
        return Laplace(LaplaceConfig(**layers, modes=5)).eval()
    if name == "transformer":
        return Transformer(TransformerConfig(**sides)).eval()
    if name == "transformer-pre":
        return Transformer(TransformerConfig(**sides, norm="pre", output_bias=True)).eval()
    if name == "rnnsearch":
        sizes: dict[str, Any] = {"width": 11, "embedding": 13, "alignment": 7, "maxout": 5}
        return RNNSearch(RNNSearchConfig(vocabulary=N_IDS, context=61, **sizes)).eval()
    mixer: dict[str, Any] = {"bert": {}, "fnet": {"mixer": "fourier"}, "hartley": {"mixer": "hartley"}}[
        name.removesuffix("-hybrid")
    ]
    hybrid = {"attention_layers": 1} if name.endswith("hybrid") else {}
    return BERT(BERTConfig(**layers, n_heads=2, **mixer, **hybrid, head="masked")).eval()


WRITERS = ("gpt2", "laplace")
TRANSLATORS = ("transformer", "transformer-pre", "rnnsearch")
READERS = ("bert", "fnet", "hartley", "fnet-hybrid")


def look(name: str, ids: Any = None, **wanted: Any) -> dict[str, Any]:
    source = READ if name in TRANSLATORS else None
    return inspect(build(name), TOKENIZER, IDS if ids is None else ids, InspectionRequest(**wanted), source=source)


def own_logits(name: str, ablate: Any = None) -> torch.Tensor:
    """(T, V), from the model itself."""
    model, ids = build(name), torch.tensor([IDS])
    with torch.no_grad():
        if name in TRANSLATORS:
            return model(torch.tensor([SOURCE]), None, torch.tensor([[256, *IDS]]))[0]  # type: ignore[no-any-return]
        if ablate is None:
            return model(ids)[0]  # type: ignore[no-any-return]
        return model.step(ids, torch.tensor([len(IDS)]), model.start(rows=1), every=True, ablate=ablate)[0][0]  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", [*WRITERS, *TRANSLATORS])
def test_surprise_and_next_are_the_models_own(name: str) -> None:
    found, logits = look(name, top=5), own_logits(name).double()
    fed = [256, *IDS] if name in TRANSLATORS else IDS
    assert [token["id"] for token in found["tokens"]] == fed and found["surprise"][0] is None
    bits = -logits.log_softmax(dim=1)[range(len(fed) - 1), fed[1:]] / math.log(2)
    assert found["surprise"][1:] == pytest.approx(bits.tolist(), abs=1e-4)
    best = logits[-1].softmax(dim=0).topk(5)
    assert [one["id"] for one in found["next"]] == best.indices.tolist()
    assert [one["probability"] for one in found["next"]] == pytest.approx(best.values.tolist(), abs=1e-5)
    assert found["masks"] is None and (found["source_tokens"] is not None) == (name in TRANSLATORS)


@pytest.mark.parametrize("name", [*WRITERS, *TRANSLATORS, *READERS, "gpt2-labels"])
def test_everything_that_is_shown_is_json_and_what_is_missing_is_said(name: str) -> None:
    wanted: dict[str, Any] = {"thumbnails": 7, "logit_lens": 2, "contributions": True, "heads": True}
    found = look(name, attention=(0,), **wanted)
    assert json.loads(json.dumps(found, allow_nan=False))["n_layers"] == (
        1 if name == "rnnsearch" else len(layers(name))
    )
    for view in ("thumbnails", "logit_lens", "contributions", "heads"):
        assert (found[view] is None) == (view in found["notes"]), view
    assert (found["contributions"] is not None) == (name in (*WRITERS, "transformer", "transformer-pre"))
    assert (found["heads"] is not None) == (
        name in ("gpt2", "gpt2-labels", "transformer", "transformer-pre", "bert", "fnet-hybrid")
    )


def layers(name: str) -> range:
    return range(2 if name.startswith("transformer") else 3)


@pytest.mark.parametrize("name", ["gpt2", "bert", "fnet-hybrid"])
def test_maps_are_those_of_the_trace_in_both_encodings(name: str) -> None:
    model, trace = build(name), Trace()
    with torch.no_grad():
        model.encode(torch.tensor([IDS]), None, trace=trace)
    plain, packed = (look(name, attention=(0, 2), encoding=kind)["attention"] for kind in ("json", "u16"))
    assert sorted(plain) == sorted(packed) == (["2"] if name == "fnet-hybrid" else ["0", "2"])
    for layer, maps in plain.items():
        own = trace.found[f"layers.{layer}.attention"][0]
        torch.testing.assert_close(torch.tensor(maps), own, rtol=0.0, atol=1e-6)
        assert packed[layer]["shape"] == [2, 11, 11]
        cells = numpy.frombuffer(base64.b64decode(packed[layer]["data"]), "<u2").reshape(2, 11, 11) / 65535
        torch.testing.assert_close(torch.tensor(cells).float(), own, rtol=0.0, atol=1e-5)


def test_a_translators_three_kinds_of_attention_are_shown() -> None:
    found = look("transformer", attention=(0, 1, 2), thumbnails=5)
    shapes = {name: numpy.array(maps).shape for name, maps in found["attention"].items()}
    expected = {f"{layer}": (5, 12, 12) for layer in (0, 1)} | {f"cross.{layer}": (5, 12, 7) for layer in (0, 1)}
    assert shapes == expected | {f"encoder.{layer}": (5, 7, 7) for layer in (0, 1, 2)}
    for maps in found["attention"].values():
        assert numpy.allclose(numpy.array(maps).sum(axis=-1), 1.0, atol=1e-4)
    small = found["thumbnails"]
    assert [small["shape"], small["encoder"]["shape"], small["cross"]["shape"]] == [
        [2, 5, 5, 5],
        [3, 5, 5, 5],
        [2, 5, 5, 5],
    ]
    assert list(look("rnnsearch", attention=(0,))["attention"]) == ["cross.0"]


def test_small_maps_are_means_over_equal_areas_with_the_largest_at_255() -> None:
    maps = torch.arange(36.0).reshape(1, 6, 6)
    means = maps.reshape(1, 3, 2, 3, 2).mean(dim=(2, 4))
    assert torch.equal(small_maps(maps, 3), (means / means.max() * 255).round().to(torch.uint8))
    # Five places in three: the second cell has a third of place 1, all of 2 and a third of 3.
    line = torch.tensor([[[0.0, 3.0, 5.0, 6.0, 2.0]]])
    means = torch.tensor([2.0 / 5 * 3, (2.0 + 5.0 * 3 / 3 + 2.0 * 1) / 5 * 3, (4.0 + 2.0) / 5 * 3])
    means[0], means[1], means[2] = 3 * 2 / 3 / (5 / 3), (3 / 3 + 5 + 6 / 3) / (5 / 3), (6 * 2 / 3 + 2) / (5 / 3)
    assert small_maps(line, 3).tolist() == [[(means / means.max() * 255).round().tolist()]]
    assert small_maps(torch.zeros(2, 5, 5), 3).tolist() == torch.zeros(2, 3, 3).tolist()
    found = look("gpt2", thumbnails=24)["thumbnails"]
    cells = numpy.frombuffer(base64.b64decode(found["data"]), numpy.uint8).reshape(found["shape"])
    assert found["side"] == 11 and found["shape"] == [3, 2, 11, 11] and (cells.max(axis=(2, 3)) == 255).all()


@pytest.mark.parametrize("name", ["gpt2", "laplace", "transformer", "transformer-pre", "bert", "fnet", "hartley"])
def test_the_lens_at_the_last_layer_is_what_the_model_says(name: str) -> None:
    lens, logits = look(name, logit_lens=3)["logit_lens"], own_logits(name)
    best = logits.softmax(dim=1).topk(3, dim=1)
    assert len(lens["top"]) == len(lens["layers"]) == 1 + len(layers(name)) and lens["layers"][:2] == ["embedding", "0"]
    for place, tops in enumerate(lens["top"][-1]):
        assert [one["probability"] for one in tops] == pytest.approx(best.values[place].tolist(), abs=1e-5)
        assert tops[0]["id"] == int(best.indices[place, 0])


def test_the_lens_at_an_earlier_layer_is_norm_and_output_of_its_stream() -> None:
    model, trace = build("gpt2"), Trace(residual=True)
    with torch.no_grad():
        model.encode(torch.tensor([IDS]), None, trace=trace)
        for number, stream in enumerate(("embedding", "layers.0.residual", "layers.1.residual")):
            best = model.output(model.final_norm(trace.found[stream][0])).softmax(dim=1).max(dim=1)
            tops = look("gpt2", logit_lens=1)["logit_lens"]["top"][number]
            assert [top[0]["probability"] for top in tops] == pytest.approx(best.values.tolist(), abs=1e-5)
            assert [top[0]["id"] for top in tops] == best.indices.tolist()


@pytest.mark.parametrize("name", ["gpt2", "laplace", "transformer", "transformer-pre"])
def test_the_parts_add_up_to_the_logit_of_the_token_that_follows(name: str) -> None:
    parts, logits = look(name, contributions=True)["contributions"], own_logits(name).double()
    targets = [*IDS, int(logits[-1].argmax())] if name in TRANSLATORS else [*IDS[1:], int(logits[-1].argmax())]
    assert [one["id"] for one in parts["targets"]] == targets
    own = logits[range(len(targets)), targets] - logits.mean(dim=1)
    kinds = ["attention", "feed_forward", *(["cross_attention"] if name in TRANSLATORS else [])]
    total = numpy.array(parts["embedding"]) + parts["bias"]
    for kind in kinds:
        assert numpy.array(parts[kind]).shape == (len(layers(name)), len(targets))
        total = total + numpy.array(parts[kind]).sum(axis=0)
    assert total.tolist() == pytest.approx(own.tolist(), abs=1e-3)
    assert parts["logit"] == pytest.approx(own.tolist(), abs=1e-3)


@torch.no_grad()
def test_a_parts_share_is_what_the_logit_loses_without_it_when_the_scale_is_held() -> None:
    model, trace = build("gpt2"), Trace(residual=True, parts=True)
    model.encode(torch.tensor([IDS]), None, trace=trace)
    stream, added = trace.found["layers.2.residual"][0], trace.found["layers.1.feed_forward_added"][0]
    scale = (stream.var(dim=1, unbiased=False, keepdim=True) + model.final_norm.eps).rsqrt()

    def logits(x: torch.Tensor) -> torch.Tensor:
        return model.output((x - x.mean(dim=1, keepdim=True)) * scale * model.final_norm.weight)  # type: ignore[no-any-return]

    lost = logits(stream) - logits(stream - added)
    shares = look("gpt2", contributions=True)["contributions"]["feed_forward"][1]
    own = (lost - lost.mean(dim=1, keepdim=True))[range(len(IDS) - 1), IDS[1:]]
    assert shares[:-1] == pytest.approx(own.tolist(), abs=1e-3)


def test_ablation_is_the_models_own_and_the_whole_model_stands_beside_it() -> None:
    ablate = frozenset({(0, 1), (2, 0), (2, 1)})
    found, whole = look("gpt2", ablate=frozenset({(0, 1), (2, -1)}), top=3), look("gpt2", top=3)
    best = own_logits("gpt2", ablate)[-1].softmax(dim=0).topk(3)
    assert [one["probability"] for one in found["next"]] == pytest.approx(best.values.tolist(), abs=1e-5)
    assert found["without_ablation"]["next"] == whole["next"] and found["next"] != whole["next"]
    assert found["without_ablation"]["surprise"] == whole["surprise"] and "without_ablation" not in whole
    masked = look("bert", [104, 257, 101], ablate=frozenset({(1, 0)}), top=2)
    assert masked["masks"][0]["position"] == 1 and masked["masks"] != masked["without_ablation"]["masks"]


def test_readers_guess_their_masks_and_a_text_gets_their_ends() -> None:
    found = look("bert", "a[MASK]b[MASK]", top=2)
    assert [token["id"] for token in found["tokens"]] == [97, 257, 98, 257, 256] and found["surprise"] is None
    with torch.no_grad():
        own = build("bert")(torch.tensor([[97, 257, 98, 257, 256]]))[0].softmax(dim=1)
    for mask, place in zip(found["masks"], (1, 3), strict=True):
        assert mask["position"] == place
        assert mask["top"][0]["probability"] == pytest.approx(float(own[place].max()), abs=1e-5)
    assert look("bert")["masks"] == [] and look("bert")["next"] is None
    assert [token["id"] for token in look("gpt2", "[M")["tokens"]] == [91, 77]


def test_bytes_that_are_no_character_are_shown_as_bytes() -> None:
    assert [token["text"] for token in look("gpt2")["tokens"]][1:5] == ["e", "\\xc3", "\\xa9", " "]


@pytest.mark.parametrize(
    ("name", "ids", "wanted", "error"),
    [
        ("gpt2", [], {}, DataError),
        ("gpt2", "", {}, DataError),
        ("gpt2", [1] * 62, {}, ContextError),
        ("gpt2", [1, 258], {}, UsageError),
        ("gpt2", [1, -1], {}, UsageError),
        ("gpt2", [1], {"attention": (3,)}, UsageError),
        ("gpt2", [1], {"ablate": frozenset({(3, 0)})}, UsageError),
        ("gpt2", [1], {"ablate": frozenset({(3, -1)})}, UsageError),
        ("laplace", [1], {"ablate": frozenset({(0, -1)})}, UsageError),
        ("laplace", [1], {"ablate": frozenset({(0, 0)})}, UsageError),
    ],
)
def test_what_cannot_be_is_refused(name: str, ids: Any, wanted: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        look(name, ids, **wanted)


def test_requests_out_of_range_and_sources_out_of_place_are_refused() -> None:
    for wanted in ({"thumbnails": 129}, {"logit_lens": 51}, {"top": -1}, {"top": 1001}, {"encoding": "u8"}):
        with pytest.raises(UsageError):
            InspectionRequest(**wanted)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="reads no source"):
        inspect(build("gpt2"), TOKENIZER, IDS, InspectionRequest(), source=READ)
    with pytest.raises(UsageError, match="reads a source"):
        inspect(build("transformer"), TOKENIZER, IDS, InspectionRequest())


def test_a_single_token_and_the_whole_context_can_be_looked_at() -> None:
    wanted: dict[str, Any] = {
        "attention": (0, 1, 2),
        "thumbnails": 24,
        "logit_lens": 1,
        "contributions": True,
        "heads": True,
    }
    for ids in ([65], list(range(61))):
        found = look("gpt2", ids, **wanted)
        assert len(found["surprise"]) == len(ids) and found["thumbnails"]["side"] == min(24, len(ids))
        assert numpy.array(found["attention"]["1"]).shape == (2, len(ids), len(ids))


def test_answers_that_would_be_huge_are_refused_before_anything_runs() -> None:
    model = GPT2(GPT2Config(vocabulary=N_IDS, context=2048, width=32, n_layers=1, n_heads=16)).eval()
    with pytest.raises(UsageError, match="fewer layers"):
        inspect(model, TOKENIZER, [1] * 2048, InspectionRequest(attention=(0,)))
