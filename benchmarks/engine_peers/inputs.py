"""The models with random weights, and what they are given: the same for every peer, from fixed seeds.

Weights as a training begins with them make a tied GPT-2 repeat its last token for ever, because the token's own
embedding is most of what meets the output matrix. So the matrices of the blocks are multiplied by four, the
Transformer's too: then what the blocks add is far larger than the embedding, and the text wanders; a run says where it
does not.
"""

from pathlib import Path

import torch

from headway.formats.folder import save
from headway.models.bert import BERT, BERTConfig
from headway.models.gpt2 import GPT2, GPT2Config
from headway.models.transformer import Transformer, TransformerConfig
from headway.text.tokenizer import Tokenizer

VOCABULARY, START, END = 8000, 7999, 0
_SPECIAL = {"decoder_start_token_id": START, "pad_token_id": START, "eos_token_id": END}
_GPT2 = GPT2Config()
_TINY_GPT2 = GPT2Config(context=128, width=64, n_layers=2, n_heads=2)
_BERT = BERTConfig(head="none")
_TINY_BERT = BERTConfig(width=64, n_layers=2, n_heads=2, feed_forward=128, head="none")
_MARIAN = TransformerConfig(vocabulary=VOCABULARY, output_bias=True, activation="silu", foreign=_SPECIAL)
_TINY_MARIAN = TransformerConfig(
    vocabulary=VOCABULARY,
    width=64,
    n_heads=2,
    encoder_layers=2,
    decoder_layers=2,
    feed_forward=128,
    output_bias=True,
    activation="silu",
    foreign=_SPECIAL,
)


def make_folders(work: Path, families: list[str], *, tiny: bool) -> dict[str, Path]:
    """A folder for each family that was asked for; one that a run before this has made is taken as it is."""
    folders = {family: work / (f"{family}-tiny" if tiny else family) for family in families}
    for family, folder in folders.items():
        if not (folder / "model.safetensors").exists():
            torch.manual_seed(5)
            _MAKERS[family](folder, tiny)
    return folders


def _make_gpt2(folder: Path, tiny: bool) -> None:
    model = GPT2(_TINY_GPT2 if tiny else _GPT2).eval()
    with torch.no_grad():
        for name, values in model.named_parameters():
            if name.startswith("blocks.") and values.ndim == 2:
                values.mul_(4)
    save(model, Tokenizer.load("gpt2"), folder)


def _make_bert(folder: Path, tiny: bool) -> None:
    save(BERT(_TINY_BERT if tiny else _BERT).eval(), None, folder)


def _make_marian(folder: Path, tiny: bool) -> None:
    model = Transformer(_TINY_MARIAN if tiny else _MARIAN).eval()
    with torch.no_grad():
        for name, values in model.named_parameters():
            if values.ndim == 2 and "embedding" not in name:
                values.mul_(4)
        model.token_embedding.weight[START] = 0  # as published models have it, and as CTranslate2 takes for granted
    save(model, None, folder)


_MAKERS = {"gpt2": _make_gpt2, "bert": _make_bert, "marian": _make_marian}


def prompts(n_rows: int, length: int) -> list[list[int]]:
    """Rows of ids of GPT-2, all of one length."""
    return _drawn((n_rows, length), 50_000).tolist()


def sentences(n_rows: int, length: int) -> list[list[int]]:
    """Rows of ids of BERT, all of one length."""
    return _drawn((n_rows, length), 30_000).tolist()


def sources(n_rows: int) -> list[list[int]]:
    """Sources of 20 to 30 tokens, 25 on the average, the end id last, the longest and the shortest far apart."""
    return [[*row[: 19 + number * 7 % 11], END] for number, row in enumerate((_drawn((n_rows, 30), 7000) + 1).tolist())]


def _drawn(shape: tuple[int, int], most: int) -> torch.Tensor:
    return torch.randint(most, shape, generator=torch.Generator().manual_seed(shape[0] * 1000 + shape[1]))
