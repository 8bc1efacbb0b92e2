"""CTranslate2: its converter's reading of the same folder, its quantiser, `inter_threads=1`.

The converter's loaders are called below the part that reads a tokenizer, for ids are all that is given here; the
vocabulary that a model of CTranslate2 must hold is filled with names of ids.
"""

import time
from pathlib import Path
from typing import Any

import ctranslate2  # type: ignore[import-not-found, unused-ignore]
import numpy

END = 0
_TYPES = {32: "float32", 16: "bfloat16", 8: "int8"}
_CLASSES = {"gpt2": "GPT2LMHeadModel", "bert": "BertModel", "marian": "MarianMTModel"}


def version() -> str:
    """Its own."""
    return str(ctranslate2.__version__)


def prepare(family: str, folder: Path, scratch: Path, bits: int) -> Path:
    """A folder of its own format at this width."""
    import transformers
    from ctranslate2.converters import transformers as converters  # type: ignore[import-not-found, unused-ignore]

    made = scratch / f"ctranslate2-{family}-{bits}"
    if (made / "model.bin").exists():
        return made
    kind = _CLASSES[family]
    model = getattr(transformers, kind).from_pretrained(folder).eval()
    if family == "bert":
        model.config.position_embedding_type = "absolute"  # asked for by name, and no longer there in transformers 5
    loaders = {type(loader).__name__: loader for loader in converters._MODEL_LOADERS.values()}
    names = {"gpt2": "GPT2Loader", "bert": "BertLoader", "marian": "MarianMTLoader"}
    loader = loaders[names[family]]
    specification = loader.get_model_spec(model)
    known = model.config.vocab_size - (family == "marian")  # the last id there is the start, which it leaves out
    tokens = [f"t{number}" for number in range(known)]
    if family == "marian":
        specification.register_source_vocabulary(tokens)
        specification.register_target_vocabulary(tokens)
        specification.config.decoder_start_token = tokens[END]  # its embedding is not read: it starts from zeros
    else:
        specification.register_vocabulary(tokens)
    end = 50256 if family == "gpt2" else END
    for name in ("bos_token", "eos_token", "unk_token"):
        setattr(specification.config, name, tokens[end])
    specification.validate()
    specification.optimize(quantization=_TYPES[bits])
    made.mkdir(parents=True, exist_ok=True)
    specification.save(str(made))
    return made


def _settings(bits: int, threads: int) -> dict[str, Any]:
    return {"device": "cpu", "compute_type": _TYPES[bits], "inter_threads": 1, "intra_threads": threads}


class GPT2:
    """Greedy text by `generate_batch`, the end token suppressed."""

    def __init__(self, made: Path, bits: int, threads: int, shape: tuple[int, int]) -> None:
        self._model = ctranslate2.Generator(str(made), **_settings(bits, threads))

    def greedy(self, prompts: list[list[int]], new: int) -> tuple[list[list[int]], list[float]]:
        """The new ids of each row, and the seconds after each of them."""
        stamps = [0.0] * new
        started = time.perf_counter()

        def note(result: Any) -> bool:
            stamps[result.step] = time.perf_counter() - started  # the batch's last row comes last
            return False

        found = self._model.generate_batch(
            [[f"t{one}" for one in row] for row in prompts],
            max_length=new,
            min_length=new,
            beam_size=1,
            sampling_topk=1,
            include_prompt_in_result=False,
            callback=note,
        )
        return [list(result.sequences_ids[0]) for result in found], stamps


class BERT:
    """States by `forward_batch`."""

    def __init__(self, made: Path, bits: int, threads: int, shape: tuple[int, int]) -> None:
        self._model = ctranslate2.Encoder(str(made), **_settings(bits, threads))

    def encode(self, ids: Any) -> Any:
        """ids (B, T) -> states (B, T, D)."""
        return numpy.array(self._model.forward_batch(ids.tolist()).last_hidden_state)


class Marian:
    """Beam search by `translate_batch`."""

    def __init__(self, made: Path, bits: int, threads: int, shape: tuple[int, int]) -> None:
        self._model = ctranslate2.Translator(str(made), **_settings(bits, threads))

    def translate(self, sources: list[list[int]], new: int) -> list[list[int]]:
        """The best hypothesis of each source, `new` tokens long; the end id is suppressed."""
        found = self._model.translate_batch(
            [[f"t{one}" for one in row] for row in sources],
            beam_size=4,
            min_decoding_length=new,
            max_decoding_length=new,
            suppress_sequences=[[f"t{END}"]],
        )
        return [[int(token[1:]) for token in result.hypotheses[0]] for result in found]


OPENED = {"gpt2": GPT2, "bert": BERT, "marian": Marian}
