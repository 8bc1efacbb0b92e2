"""reader.json, and what folders of other libraries say in its place."""

import json
from pathlib import Path

import pytest

from headway.errors import ConfigError, FormatError
from headway.formats.reader_settings import ReaderSettings, read_reader_settings, write_reader_settings


def write(folder: Path, name: str, table: object) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(table), encoding="utf-8")


def test_settings_come_back_as_they_were_written(tmp_path: Path) -> None:
    settings = ReaderSettings(
        task="classify",
        labels=("é", "b"),
        temperature=1.7,
        longest=256,
        abstention=((0.5, 0.1, 1.0), (0.9, 0.0, 0.25)),
        calibration={"error_before": 0.1, "error_after": 0.05, "examples": 100.0},
    )
    write_reader_settings(tmp_path, settings)
    write_reader_settings(tmp_path, settings)
    assert read_reader_settings(tmp_path) == settings
    assert [path.name for path in tmp_path.iterdir()] == ["reader.json"]


def test_labels_and_task_come_from_config_json(tmp_path: Path) -> None:
    names = {"0": "neg", "1": "pos"}
    write(tmp_path, "config.json", {"architectures": ["BertForSequenceClassification"], "id2label": names})
    assert read_reader_settings(tmp_path) == ReaderSettings(task="classify", labels=("neg", "pos"))
    several = {"architectures": ["FNetForSequenceClassification"], "id2label": names}
    write(tmp_path, "config.json", {**several, "problem_type": "multi_label_classification"})
    assert read_reader_settings(tmp_path).multi_label
    tags = {"0": "O", "1": "B-X", "2": "I-X"}
    write(tmp_path, "config.json", {"architectures": ["GPT2ForTokenClassification"], "id2label": tags})
    assert read_reader_settings(tmp_path).scheme == "BIO"
    write(tmp_path, "config.json", {"architectures": ["BertForMaskedLM"], "id2label": {"0": "LABEL_0"}})
    assert read_reader_settings(tmp_path) == ReaderSettings()


def test_pooling_comes_from_sentence_transformers_files(tmp_path: Path) -> None:
    write(tmp_path, "config.json", {"architectures": ["BertModel"]})
    write(tmp_path, "1_Pooling/config.json", {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False})
    write(tmp_path, "modules.json", [{"type": "sentence_transformers.models.Pooling"}])
    write(tmp_path, "sentence_bert_config.json", {"max_seq_length": 128})
    expected = ReaderSettings(task="embed", pooling="cls", normalise=False, longest=128)
    assert read_reader_settings(tmp_path) == expected
    write(tmp_path, "1_Pooling/config.json", {"pooling_mode_max_tokens": True})
    with pytest.raises(FormatError, match="max_tokens"):
        read_reader_settings(tmp_path)


def test_damage_is_named(tmp_path: Path) -> None:
    write(tmp_path, "reader.json", {"task": "classify", "lables": []})
    with pytest.raises(FormatError, match="did you mean labels"):
        read_reader_settings(tmp_path)
    (tmp_path / "reader.json").write_text("{")
    with pytest.raises(FormatError, match="JSON"):
        read_reader_settings(tmp_path)
    (tmp_path / "reader.json").unlink()
    write(tmp_path, "config.json", {"architectures": ["BertForSequenceClassification"], "id2label": {"1": "a"}})
    with pytest.raises(FormatError, match="id2label"):
        read_reader_settings(tmp_path)
    for wrong in ({"temperature": 0.0}, {"longest": 0}, {"labels": ("a", "a")}):
        with pytest.raises(ConfigError):
            ReaderSettings(**wrong)  # type: ignore[arg-type]
