"""How much a server takes on at once: past it requests wait, and past that they are refused."""

import math
from dataclasses import dataclass, fields

from headway.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The bounds of one served writer.

    rows: texts that are written at once; a request for n samples takes n. queue: requests that wait for rows.
    prompt_tokens: tokens of the prompts of all requests, waiting and running. prefill_chunk: prompt tokens read
    between two tokens of the rows that write. deadline_s: seconds from a request's arrival to its end.
    prefix_cache_tokens: of texts that were read before, kept so that a prompt that begins alike goes on from them; 0:
    none. Rows and cache hold the keys and values of their tokens in memory. Raises ConfigError out of range.
    """

    rows: int = 32
    queue: int = 256
    prompt_tokens: int = 65_536
    prefill_chunk: int = 128
    deadline_s: float = 300.0
    prefix_cache_tokens: int = 16_384

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            smallest = 0 if setting.name == "prefix_cache_tokens" else 1
            if setting.name == "deadline_s":
                if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
                    raise ConfigError(f"deadline_s must be a number of seconds above 0, but got {value!r}")
            elif isinstance(value, bool) or not isinstance(value, int) or value < smallest:
                raise ConfigError(f"{setting.name} must be a whole number of at least {smallest}, but got {value!r}")
