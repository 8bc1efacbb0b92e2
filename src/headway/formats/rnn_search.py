"""RNNsearch's folders: no library has a layout for it, so they have our own names."""

from headway.formats.own_names import own_layout
from headway.models.rnn_search import RNNSearch, RNNSearchConfig

LAYOUT = own_layout("rnnsearch", RNNSearchConfig, RNNSearch)
