"""GPT-2 and BERT as plain modules that graph exporters follow: the weights of a folder, shapes open, nothing hidden.

GPT-2 takes the keys and values so far and gives them longer, and computes the logits of the last position alone. All
rows of a batch are of one length, so that BERT needs no mask. The attention is PyTorch's own operator, which exporters
know and engines have kernels for.
"""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional


class _Stored(torch.nn.Module):
    """Tensors of a file by their names."""

    def _of(self, name: str) -> Tensor:
        return self.get_buffer(name.replace(".", "_"))


class GPT2Graph(_Stored):
    """ids (B, T), rows (B,) to take the past from (reorder), past (B, H, S, K) each -> logits (B, V), longer past."""

    def __init__(self, folder: Path, *, n_heads: int, reorder: bool) -> None:
        super().__init__()
        stored = {
            name.removeprefix("transformer."): value for name, value in load_file(folder / "model.safetensors").items()
        }
        self.n_layers = 1 + max(int(name.split(".")[1]) for name in stored if name.startswith("h."))
        self.n_heads, self.reorder = n_heads, reorder
        self.width = stored["wte.weight"].shape[1]
        for name, value in stored.items():
            self.register_buffer(name.replace(".", "_"), value.float())

    def forward(self, ids: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        """With `reorder`, `given` begins with the rows; the past follows, key and value of each layer in turn."""
        past = list(given[1:]) if self.reorder else list(given)
        if self.reorder:
            past = [values.index_select(0, given[0]) for values in past]
        before = past[0].shape[2]
        positions = torch.arange(before, before + ids.shape[1])
        keys = torch.arange(before + ids.shape[1])
        mask = torch.zeros(1).masked_fill(keys[None, None, None] > positions[None, None, :, None], -1e30)
        x = functional.embedding(ids, self._of("wte.weight")) + functional.embedding(positions, self._of("wpe.weight"))
        present: list[Tensor] = []
        for layer in range(self.n_layers):
            x = x + self._attention(layer, x, mask, past[2 * layer], past[2 * layer + 1], present)
            inner = self._linear(f"h_{layer}_mlp_c_fc", self._norm(f"h_{layer}_ln_2", x))
            x = x + self._linear(f"h_{layer}_mlp_c_proj", functional.gelu(inner, approximate="tanh"))
        return (self._norm("ln_f", x[:, -1]) @ self._of("wte.weight").T, *present)

    def _attention(
        self, layer: int, x: Tensor, mask: Tensor, key: Tensor, value: Tensor, present: list[Tensor]
    ) -> Tensor:
        joined = self._linear(f"h_{layer}_attn_c_attn", self._norm(f"h_{layer}_ln_1", x))
        query, new_key, new_value = (_split(part, self.n_heads) for part in joined.chunk(3, dim=2))
        key, value = torch.cat([key, new_key], 2), torch.cat([value, new_value], 2)
        present += [key, value]
        read = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self._linear(f"h_{layer}_attn_c_proj", read.transpose(1, 2).reshape(x.shape[0], -1, self.width))

    def _linear(self, name: str, x: Tensor) -> Tensor:
        """Their matrices stand the other way round than PyTorch's."""
        return x @ self._of(f"{name}.weight") + self._of(f"{name}.bias")

    def _norm(self, name: str, x: Tensor) -> Tensor:
        return functional.layer_norm(x, (self.width,), self._of(f"{name}.weight"), self._of(f"{name}.bias"))


class BERTGraph(_Stored):
    """ids (B, T) -> states (B, T, D)."""

    def __init__(self, folder: Path, *, n_heads: int) -> None:
        super().__init__()
        stored = {name.removeprefix("bert."): value for name, value in load_file(folder / "model.safetensors").items()}
        self.n_layers = 1 + max(int(name.split(".")[2]) for name in stored if name.startswith("encoder.layer."))
        self.n_heads = n_heads
        self.width = stored["embeddings.word_embeddings.weight"].shape[1]
        for name, value in stored.items():
            matrix = value.ndim == 2 and "embeddings" not in name
            value = value.T.contiguous() if matrix else value  # a product with a constant: what quantisers look for
            self.register_buffer(name.replace(".", "_"), value.float())

    def forward(self, ids: Tensor) -> Tensor:
        """One length for all rows."""
        x = functional.embedding(ids, self._of("embeddings.word_embeddings.weight"))
        x = x + functional.embedding(torch.arange(ids.shape[1]), self._of("embeddings.position_embeddings.weight"))
        x = self._norm("embeddings_LayerNorm", x + self._of("embeddings.token_type_embeddings.weight")[0])
        for layer in range(self.n_layers):
            name = f"encoder_layer_{layer}"
            parts = (self._linear(f"{name}_attention_self_{part}", x) for part in ("query", "key", "value"))
            query, key, value = (_split(part, self.n_heads) for part in parts)
            read = functional.scaled_dot_product_attention(query, key, value)
            read = read.transpose(1, 2).reshape(x.shape[0], -1, self.width)
            x = self._norm(
                f"{name}_attention_output_LayerNorm", x + self._linear(f"{name}_attention_output_dense", read)
            )
            inner = functional.gelu(self._linear(f"{name}_intermediate_dense", x))
            x = self._norm(f"{name}_output_LayerNorm", x + self._linear(f"{name}_output_dense", inner))
        return x

    def _linear(self, name: str, x: Tensor) -> Tensor:
        return x @ self._of(f"{name}.weight") + self._of(f"{name}.bias")

    def _norm(self, name: str, x: Tensor) -> Tensor:
        weight, bias = self._of(f"{name}.weight"), self._of(f"{name}.bias")
        return functional.layer_norm(x, (self.width,), weight, bias, 1e-12)


def _split(x: Tensor, n_heads: int) -> Tensor:
    return x.view(x.shape[0], -1, n_heads, x.shape[2] // n_heads).transpose(1, 2)  # (B, T, D) -> (B, H, T, K)
