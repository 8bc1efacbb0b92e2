"""The documentation names what there is, and nothing that is not there."""

import dataclasses
import re
from pathlib import Path

import pytest

from headway.cli.verbs import VERBS
from headway.cli.write import Choosing, Place, Several
from headway.models.registry import FAMILIES
from headway.training.recipe import AdapterSettings, BudgetSettings, DataSettings, TokenizerSettings, TrainSettings

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])


def names(cls: type) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}


def test_every_setting_has_a_line_and_every_line_a_setting() -> None:
    sections = {
        "data": names(DataSettings),
        "tokenizer": names(TokenizerSettings),
        "model": {"family"}.union(*(names(family.config) for family in FAMILIES.values())),
        "adapter": names(AdapterSettings),
        "train": names(TrainSettings),
        "budget": names(BudgetSettings),
    }
    expected = {f"{section}.{name}" for section, found in sections.items() for name in found}
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| `([a-z]+\.[a-z0-9_]+)` \|", page, re.MULTILINE)
    assert sorted(lines) == sorted(expected)


def test_every_option_of_write_is_explained() -> None:
    page = (ROOT / "docs" / "write.md").read_text(encoding="utf-8")
    options = {f"--{name.replace('_', '-')}" for name in names(Choosing) | names(Several) | names(Place)}
    assert not {option for option in options if option not in page}


def test_every_verb_is_named_on_the_pages() -> None:
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert not {verb.name for verb in VERBS if f"headway {verb.name}" not in text and f"make {verb.name}" not in text}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert not [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_on_the_pages_are_commands(page: Path) -> None:
    blocks = re.findall(r"^```\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    called = {word for block in blocks for word in re.findall(r"(?:^|\| )headway ([a-z]+)", block, re.MULTILINE)}
    assert called <= {verb.name for verb in VERBS}
