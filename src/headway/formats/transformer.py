"""The Transformer's folders: Marian's layout where it can say the model, else our own names."""

from headway.formats import marian
from headway.formats.layout import Layout
from headway.formats.own_names import own_layout
from headway.models.transformer import Transformer, TransformerConfig

LAYOUT = own_layout("transformer", TransformerConfig, Transformer)


def layout_for(config: TransformerConfig) -> Layout:
    """The layout that a model of these settings is written in."""
    return marian.LAYOUT if marian.can_say(config) else LAYOUT
