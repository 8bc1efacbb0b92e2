import json
import math
import random

import pytest


@pytest.fixture
def bench():
    import defaults

    return defaults


@pytest.fixture
def corpus(tmp_path):
    draw = random.Random(1)
    words = ["ship", "whale", "sea", "sail", "captain", "harpoon", "\u00e9toile"]
    documents = [" ".join(draw.choices(words, k=60)) for _ in range(20)]
    path, valid = tmp_path / "corpus.jsonl", tmp_path / "valid.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents), encoding="utf-8")
    valid.write_text(json.dumps({"text": " ".join(draw.choices(words, k=30))}) + "\n", encoding="utf-8")
    return path, valid


def line_of(name, megabytes=0.002, minutes=1.0, **changes):
    sizes = {"width": 128, "n_layers": 4, "vocabulary": 512, "parameters": 10**6, "learning_rate": 0.004}
    return {"megabytes": megabytes, "minutes": minutes, "name": name, "bits_per_byte": 2.0, **sizes, **changes}


def test_each_neighbour_changes_one_thing(bench):
    steps = bench.ladder()
    width, n_layers = steps[3]
    chosen = line_of("default", width=width, n_layers=n_layers)
    set_by = {name: settings(chosen) for name, settings in bench.NEIGHBOURS.items()}
    assert set_by == {
        "smaller": [f"model.width={steps[2][0]}", f"model.n_layers={steps[2][1]}"],
        "larger": [f"model.width={steps[4][0]}", f"model.n_layers={steps[4][1]}"],
        "half rate": ["train.learning_rate=0.002"],
        "double rate": ["train.learning_rate=0.008"],
    }


def test_the_ends_of_the_ladder_have_neighbours_too(bench):
    arithmetic = [width**2 * n_layers for width, n_layers in bench.ladder()]
    assert arithmetic == sorted(set(arithmetic))
    for width, n_layers in (bench.ladder()[1], bench.ladder()[-2]):
        chosen = line_of("default", width=width, n_layers=n_layers)
        own = [f"model.width={width}", f"model.n_layers={n_layers}"]
        assert len({tuple(own), tuple(bench.beside(chosen, -1)), tuple(bench.beside(chosen, 1))}) == 3


def test_a_smaller_text_is_the_beginning_of_a_larger(bench, corpus, tmp_path):
    texts = {}
    for megabytes in (0.001, 0.003):
        lines = bench.subset([corpus[0]], megabytes, tmp_path).read_text(encoding="utf-8").splitlines()
        texts[megabytes] = "".join(json.loads(line)["text"] for line in lines)
        assert megabytes * 1e6 - 2 < len(texts[megabytes].encode()) <= megabytes * 1e6  # never half a character
    assert texts[0.003].startswith(texts[0.001])
    with pytest.raises(SystemExit, match="bytes less than 1 MB"):
        bench.subset([corpus[0]], 1.0, tmp_path)


def test_a_cell_is_run_once_and_the_default_first(bench, corpus, tmp_path, monkeypatch):
    ran = []

    def run_cell(cell, text, assignments, given):
        ran.append((cell.name, assignments))
        return line_of(cell.name, text=bench.text_print(text, given.validation))

    monkeypatch.setattr(bench, "run_cell", run_cell)
    words = [str(corpus[0]), "--validation", str(corpus[1]), "--workdir", str(tmp_path / "work")]
    words += ["--sizes", "0.002", "--minutes", "1", "--set", "train.seed=3"]
    bench.fill(bench.arguments([*words, "--only", "half rate"]))
    assert ran == [("default", ["train.seed=3"]), ("half rate", ["train.seed=3", "train.learning_rate=0.002"])]
    with (tmp_path / "work" / "results.jsonl").open("a") as file:
        file.write('{"megabytes": 0.0')  # a run was killed while it wrote
    bench.fill(bench.arguments(words))
    assert [name for name, _ in ran[2:]] == ["smaller", "larger", "double rate"]
    bench.fill(bench.arguments(words))
    assert len(ran) == 5


def test_results_on_other_text_are_refused(bench, tmp_path):
    line = line_of("default", text="one")
    (tmp_path / "results.jsonl").write_text(json.dumps(line) + "\n")
    cell = bench.Cell(megabytes=0.002, minutes=1.0, name="default")
    assert bench.finished(cell, tmp_path, "one") == line
    with pytest.raises(SystemExit, match="other text; take another --workdir"):
        bench.finished(cell, tmp_path, "two")


def test_a_cell_is_trained_and_scored(bench, corpus, tmp_path):
    folder = tmp_path / "model"
    line = bench.trained(str(corpus[0]), str(corpus[1]), str(folder), 0.01, ["train.sample_tokens=0", "model.width=32"])
    assert math.isfinite(line["bits_per_byte"])
    assert line["width"] == 32
    assert not folder.exists()


def test_the_table_marks_the_winner_of_each_row(bench):
    lines = [line_of("default"), line_of("larger", bits_per_byte=1.5), line_of("default", minutes=30.0)]
    rows = bench.table(lines).splitlines()
    assert len(rows) == 4
    assert rows[2].split("|")[7:12] == [" 2.000 ", " - ", " **1.500** ", " - ", " - "]
    assert "| 30 | 4 x 128 | 512 |" in rows[3]
    assert "**2.000**" in rows[3]
