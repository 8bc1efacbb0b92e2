"""A model folder for runs to begin with: 257 tokens, the bytes and the end of text."""

from pathlib import Path

import torch

from headway.formats.folder import save
from headway.models.gpt2 import GPT2, GPT2Config
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.vocabulary import ByteVocabulary


def save_start(folder: Path) -> Path:
    """Write it, and give its path back."""
    torch.manual_seed(7)
    model = GPT2(GPT2Config(vocabulary=257, context=17, width=14, n_layers=2, n_heads=2, feed_forward=11))
    end = "<|endoftext|>"
    tokens = (*(bytes([byte]) for byte in range(256)), end.encode())
    save(model, ByteLevelTokenizer(ByteVocabulary(tokens=tokens, merges=(), special_tokens={end: 256})), folder)
    return folder
