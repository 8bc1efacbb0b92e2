"""Laplace's folders: no library has a layout for it, so they have our own names."""

from headway.formats.own_names import own_layout
from headway.models.laplace import Laplace, LaplaceConfig

LAYOUT = own_layout("laplace", LaplaceConfig, Laplace)
