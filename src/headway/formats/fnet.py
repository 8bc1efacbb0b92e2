"""FNet as Hugging Face's transformers writes it (class FNetModel and those with a head), beside our settings.

A BERT without attention, and with a matrix behind the embeddings. Its configuration has no heads and no dropout of
attention; ours are written beside it all the same, so that a model comes back as it was.
"""

from headway.formats.reader_keys import SHARED_KEYS, Key, Kind
from headway.formats.reader_layout import layout

LAYOUT = layout(
    Kind(
        model_type="fnet",
        classes="FNet",
        keys=(
            Key(foreign="vocab_size", ours="vocabulary", kind=int, absent=32000),
            Key(foreign="hidden_act", ours="activation", kind=str, absent="gelu_new"),
            Key(foreign="type_vocab_size", ours="segments", kind=int, absent=4),
            Key(foreign="num_attention_heads", ours="n_heads", kind=int, absent=12),
            Key(foreign="attention_probs_dropout_prob", ours="attention_dropout", kind=float, absent=0.1),
            *SHARED_KEYS,
        ),
        layer={
            "attention_norm": ("fourier.output.LayerNorm",),
            "feed_forward.expand": ("intermediate.dense",),
            "feed_forward.contract": ("output.dense",),
            "feed_forward_norm": ("output.LayerNorm",),
        },
        fixed={"mixer": "fourier", "embedding_projection": True},
    )
)
