"""The model card, README.md, of a folder whose maker wrote none: what it is, and how to open it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What the short card says."""

    name: str
    family: str
    parameters: int
    precision: str
    vocabulary: int
    context: int | None


def short_card(facts: CardFacts) -> str:
    """The text of a card from the facts alone; training data, licence and limits are for the maker to add."""
    context = "unlimited" if facts.context is None else f"{facts.context} tokens"
    return f"""---
library_name: transformers
pipeline_tag: text-generation
---
# {facts.name}

A model of the family {facts.family} with {facts.parameters:,} parameters ({facts.precision}), a vocabulary of
{facts.vocabulary:,} and a context of {context}.

What it was trained on, under which terms it may be used and where it fails is not recorded here.

```python
import headway

print(headway.Writer("{facts.name}").write("Once", max_new_tokens=40).text)
```
"""
