"""Tokenizers come from names and folders; damaged, hostile or foreign files end in an error that names the file."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as ReferenceTokenizer
from tokenizers import models
from vocabularies import PROSE, of_merges

from headway.errors import DataError, FormatError, StorageError
from headway.text import loading
from headway.text.byte_level import ByteLevelTokenizer
from headway.text.encoders import SPLIT_PATTERN
from headway.text.loading import UnknownTokenizer, load, load_from_folder
from headway.text.tokenizer import Tokenizer

SHIPPED = Path(loading.__file__).parent / "vocabularies" / "gpt2"
Table = dict[str, Any]


@pytest.fixture
def small() -> ByteLevelTokenizer:
    return ByteLevelTokenizer(of_merges([(b"t", b"h"), (b"th", b"e"), (b" ", b"the")]))


@pytest.fixture
def folder(small: ByteLevelTokenizer, tmp_path: Path) -> Path:
    small.save(tmp_path)
    return tmp_path


def change(folder: Path, edit: Callable[[Table], object], name: str = "tokenizer.json") -> None:
    table = json.loads((folder / name).read_text(encoding="utf-8"))
    edit(table)
    (folder / name).write_text(json.dumps(table), encoding="utf-8")


def as_pair(folder: Path, vocab: str = "vocab.json", merges: str = "merges.txt") -> None:
    """The folder's tokenizer.json as the older pair of files."""
    model = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    (folder / vocab).write_text(json.dumps(model["vocab"]), encoding="utf-8")
    (folder / merges).write_text("#version: 0.2\n" + "\n".join(model["merges"]) + "\n", encoding="utf-8")
    (folder / "tokenizer.json").unlink()


def test_the_shipped_name_loads_and_comes_with_its_notice(gpt2: ByteLevelTokenizer) -> None:
    loaded = Tokenizer.load("gpt2")
    assert isinstance(loaded, ByteLevelTokenizer)
    assert loaded.vocabulary == gpt2.vocabulary
    assert "MIT" in (SHIPPED / "LICENSE").read_text(encoding="utf-8")


def test_an_existing_path_wins_over_a_name(
    small: ByteLevelTokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("gpt2").mkdir()
    small.save(Path("gpt2"))
    assert load("gpt2").size == small.size


def test_all_three_layouts_give_the_same_tokenizer(folder: Path, small: ByteLevelTokenizer) -> None:
    names = (("vocab.json", "merges.txt"), ("encoder.json", "vocab.bpe"))
    assert load(folder).encode(PROSE) == small.encode(PROSE)
    for vocab, merges in names:
        other = folder / vocab.removesuffix(".json")
        shutil.copytree(folder, other, ignore=lambda _, found: [name for name in found if not name.startswith("tok")])
        as_pair(other, vocab, merges)
        loaded = load(other)
        assert isinstance(loaded, ByteLevelTokenizer)
        assert loaded.vocabulary == small.vocabulary


def test_windows_line_ends_and_a_missing_version_line_do_no_harm(folder: Path, small: ByteLevelTokenizer) -> None:
    as_pair(folder)
    lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")[1:]
    (folder / "merges.txt").write_bytes("\r\n".join(lines).encode())
    assert load(folder).encode(PROSE) == small.encode(PROSE)


def test_merges_listed_as_pairs_are_read(folder: Path, small: ByteLevelTokenizer) -> None:
    change(folder, lambda table: table["model"].update(merges=[line.split() for line in table["model"]["merges"]]))
    assert load(folder).encode(PROSE) == small.encode(PROSE)


def test_gpt2s_split_spelled_out_is_read(folder: Path, small: ByteLevelTokenizer) -> None:
    cut = {"type": "Split", "pattern": {"Regex": SPLIT_PATTERN}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    change(folder, lambda table: table.update(pre_tokenizer={"type": "Sequence", "pretokenizers": [cut, level]}))
    assert load(folder).encode(PROSE) == small.encode(PROSE)


def test_added_tokens_are_special_wherever_their_ids_are(folder: Path) -> None:
    def edit(table: Table) -> None:
        vocab = {token: number + 2 for token, number in table["model"]["vocab"].items()}
        added = [{"id": 0, "content": "<pad>"}, {"id": 1, "content": "<|\u4e2d|>", "special": False}]
        table["model"]["vocab"] = vocab
        table["added_tokens"] = [*added, {"id": vocab["<|endoftext|>"], "content": "<|endoftext|>"}]

    change(folder, edit)
    tokenizer = load(folder)
    assert dict(tokenizer.special_tokens) == {"<pad>": 0, "<|\u4e2d|>": 1, "<|endoftext|>": 261}
    assert tokenizer.encode("<pad>the", allowed_special="all") == [0, 259]
    assert tokenizer.decode([1, 0, 260]) == "<|\u4e2d|><pad> the"


def test_tokens_of_an_added_tokens_file_are_special(folder: Path) -> None:
    as_pair(folder)
    (folder / "added_tokens.json").write_text('{"<pad>": 260}')
    assert dict(load(folder).special_tokens) == {"<|endoftext|>": 259, "<pad>": 260}


def test_the_configurations_end_token_ends_a_text(folder: Path) -> None:
    change(folder, lambda table: table["model"]["vocab"].update({"</s>": 260}))
    change(folder, lambda table: table["added_tokens"].append({"id": 260, "content": "</s>"}))
    change(folder, lambda table: table.update(eos_token={"content": "</s>"}), "tokenizer_config.json")
    assert load(folder).end_of_text == 260


def test_without_an_end_token_there_is_none(folder: Path) -> None:
    def edit(table: Table) -> None:
        del table["model"]["vocab"]["<|endoftext|>"]
        table["added_tokens"] = []

    change(folder, edit)
    assert load(folder).end_of_text is None


def test_an_entry_no_text_reaches_is_kept_and_decodes(folder: Path) -> None:
    change(folder, lambda table: table["model"]["vocab"].update({"unreached": 260}))
    tokenizer = load(folder)
    assert tokenizer.decode([260]) == "unreached"
    assert 260 not in tokenizer.encode("unreached")


def test_no_path_and_no_name_is_an_error_that_lists_the_names(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no tokenizer 'gpt3'.*shipped ones are gpt2"):
        load("gpt3")
    with pytest.raises(DataError, match="holds no tokenizer"):
        load(tmp_path)
    assert load_from_folder(tmp_path) is None
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(DataError, match="is a file; give the folder it is in"):
        load(tmp_path / "tokenizer.json")


FOREIGN: dict[str, Callable[[Table], object]] = {
    "another model": lambda table: table["model"].update(type="WordPiece"),
    "dropout": lambda table: table["model"].update(dropout=0.1),
    "a suffix": lambda table: table["model"].update(end_of_word_suffix="</w>"),
    "byte fallback": lambda table: table["model"].update(byte_fallback=True),
    "merges ignored": lambda table: table["model"].update(ignore_merges=True),
    "a normalizer": lambda table: table.update(normalizer={"type": "NFC"}),
    "no split": lambda table: table.update(pre_tokenizer=None),
    "another split": lambda table: table.update(pre_tokenizer={"type": "Whitespace"}),
    "no regex": lambda table: table["pre_tokenizer"].update(use_regex=False),
    "a prefix space": lambda table: table["pre_tokenizer"].update(add_prefix_space=True),
    "a foreign pattern": lambda table: table.update(
        pre_tokenizer={
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
            ],
        }
    ),
    "a template": lambda table: table.update(post_processor={"type": "TemplateProcessing"}),
    "a greedy token": lambda table: table["added_tokens"][0].update(lstrip=True),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_would_change_the_ids_is_an_unknown_tokenizer(kind: str, folder: Path) -> None:
    change(folder, FOREIGN[kind])
    with pytest.raises(UnknownTokenizer, match=r"tokenizer\.json: .*(support|we have)"):
        load_from_folder(folder)


@pytest.mark.parametrize("name", ["tokenizer.model", "spiece.model", "vocab.json", "merges.txt"])
def test_files_of_other_tokenizers_are_an_unknown_tokenizer(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"\x00\xff")
    with pytest.raises(UnknownTokenizer, match=name):
        load_from_folder(tmp_path)


@pytest.mark.parametrize(
    "settings", [{"tokenizer_class": "CLIPTokenizer"}, {"add_prefix_space": True}, {"add_bos_token": True}]
)
def test_a_configuration_that_changes_the_ids_is_an_unknown_tokenizer(settings: Table, folder: Path) -> None:
    as_pair(folder)
    change(folder, lambda table: table.update(settings), "tokenizer_config.json")
    with pytest.raises(UnknownTokenizer, match=r"tokenizer_config\.json"):
        load_from_folder(folder)


def put(table: Table, token: str, number: object) -> None:
    table["model"]["vocab"][token] = number


DAMAGED: dict[str, Callable[[Table], object]] = {
    "no model": lambda table: table.pop("model"),
    "a model of text": lambda table: table.update(model="BPE"),
    "no vocabulary": lambda table: table["model"].pop("vocab"),
    "a listed vocabulary": lambda table: table["model"].update(vocab=[["a", 0]]),
    "no merges": lambda table: table["model"].pop("merges"),
    "merges of numbers": lambda table: table["model"].update(merges=[[1, 2]]),
    "merges of three": lambda table: table["model"].update(merges=["t h e"]),
    "a merge of strangers": lambda table: table["model"]["merges"].append("zz top"),
    "a merge into a stranger": lambda table: table["model"]["merges"].append("the the"),
    "a merge outside the alphabet": lambda table: table["model"]["merges"].append(["t", " "]),
    "an id too large": lambda table: put(table, "the", 10**9),
    "an id beyond any": lambda table: put(table, "the", 10**400),
    "a negative id": lambda table: put(table, "the", -1),
    "an id twice": lambda table: put(table, "the", 0),
    "an id of text": lambda table: put(table, "the", "258"),
    "a fractional id": lambda table: put(table, "the", 258.0),
    "an id that is true": lambda table: put(table, "the", True),
    "a token outside the alphabet": lambda table: put(table, "\u4e2d", 260),
    "a lone surrogate": lambda table: put(table, "\ud800", 260),
    "a missing byte": lambda table: table["model"]["vocab"].pop("a"),
    "added tokens of text": lambda table: table.update(added_tokens="x"),
    "an added token of text": lambda table: table.update(added_tokens=["x"]),
    "an added token without text": lambda table: table.update(added_tokens=[{"id": 260}]),
    "an empty added token": lambda table: table.update(added_tokens=[{"id": 260, "content": ""}]),
    "an added token without id": lambda table: table.update(added_tokens=[{"content": "<x>"}]),
    "an added token far off": lambda table: table.update(added_tokens=[{"id": 999, "content": "<x>"}]),
    "an added lone surrogate": lambda table: table.update(added_tokens=[{"id": 260, "content": "\ud800"}]),
    "an added token with two ids": lambda table: table.update(added_tokens=[{"id": 7, "content": "<|endoftext|>"}]),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_damage_is_an_error_that_names_the_file(damage: str, folder: Path) -> None:
    change(folder, DAMAGED[damage])
    with pytest.raises(FormatError, match=r"tokenizer\.json: ") as caught:
        load_from_folder(folder)
    assert not isinstance(caught.value, UnknownTokenizer)
    assert len(str(caught.value).removeprefix(str(folder))) < 300
    assert str(caught.value).isascii() and str(caught.value).count("\n") < 6


RAW = {
    "empty": b"",
    "a list": b"[1, 2]",
    "half": b'{"model": {"vocab": {"a": 0',
    "not UTF-8": b'{"model": "\xff"}',
    "deep": b"[" * 200_000,
    "deep tables": b'{"a":' * 200_000,
    "a number without end": b'{"model": ' + b"9" * 10_000 + b"}",
    "zeros": bytes(1000),
}


@pytest.mark.parametrize("kind", RAW)
@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json", "vocab.json", "added_tokens.json"])
def test_files_that_are_no_table_are_an_error_that_names_them(kind: str, name: str, folder: Path) -> None:
    if not name.startswith("tokenizer"):
        as_pair(folder)
    (folder / name).write_bytes(RAW[kind])
    with pytest.raises(FormatError, match=name.replace(".", r"\.")):
        load_from_folder(folder)


@pytest.mark.parametrize("line", [b"t h e\n", b"the\n", b"\xff\xfe\n", "\u4e2d \u6587\n".encode(), b"t  h\n"])
def test_a_bad_line_of_merges_is_an_error_that_names_the_file(line: bytes, folder: Path) -> None:
    as_pair(folder)
    with (folder / "merges.txt").open("ab") as file:
        file.write(line)
    with pytest.raises(FormatError, match=r"merges\.txt|vocab\.json"):
        load_from_folder(folder)


def test_a_huge_file_is_refused_unread(folder: Path) -> None:
    with (folder / "tokenizer.json").open("wb") as file:
        file.truncate(10**12)  # a hole: it takes no room
    with pytest.raises(FormatError, match=r"tokenizer\.json has 1000000000000 bytes"):
        load_from_folder(folder)


def test_what_is_not_a_plain_file_is_not_opened(folder: Path) -> None:
    import os

    (folder / "tokenizer.json").unlink()
    os.mkfifo(folder / "tokenizer.json")  # opening it would wait for ever
    assert load_from_folder(folder) is None


def test_a_failed_write_is_a_storage_error(small: ByteLevelTokenizer, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").mkdir()
    with pytest.raises(StorageError, match=r"tokenizer\.json could not be written"):
        small.save(tmp_path)


def test_a_reference_tokenizer_of_another_kind_is_unknown(tmp_path: Path) -> None:
    ReferenceTokenizer(models.WordLevel({"a": 0}, unk_token="a")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(UnknownTokenizer, match="WordLevel"):
        load_from_folder(tmp_path)
