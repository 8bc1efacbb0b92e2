"""The keys of a config.json that name a classifier's labels, as transformers writes them."""

from collections.abc import Mapping
from typing import Any

from headway.errors import FormatError
from headway.formats.config_keys import LARGEST_COUNT, short

LABEL_KEYS = ("id2label", "label2id", "num_labels", "problem_type")


def label_count(table: Mapping[str, Any]) -> int:
    """How many labels a configuration names. Raises FormatError where it says no number."""
    names = table.get("id2label")
    count: Any = len(names) if isinstance(names, Mapping) else table.get("num_labels", 2)
    if type(count) is not int or not 0 < count < LARGEST_COUNT:
        raise FormatError(
            f"config.json has num_labels={short(count)}, where a whole number from 1 belongs\n"
            "Mend the file, or get the folder again."
        )
    return count


def label_keys(foreign: Mapping[str, object], n_labels: int) -> dict[str, object]:
    """The label keys of `foreign` where they name as many labels, else transformers' own names for labels."""
    given = {key: foreign[key] for key in LABEL_KEYS if key in foreign}
    names = given.get("id2label")
    if isinstance(names, Mapping) and len(names) == n_labels:
        return given
    made = {str(number): f"LABEL_{number}" for number in range(n_labels)}
    kept = {key: given[key] for key in ("problem_type",) if key in given}
    return {**kept, "id2label": made, "label2id": {label: int(number) for number, label in made.items()}}
