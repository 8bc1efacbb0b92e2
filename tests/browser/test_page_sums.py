"""What the page sums up, writes into cells and draws as lines: the game, a real lesson, the lens, spectra, speeds."""

import json
import math
import re
import urllib.request
from dataclasses import asdict
from typing import Any

import numpy
import pytest
from page_states import busy_over

import headway
from headway.decoding.choice import Choice
from headway.insight.inspection import InspectionRequest, inspect
from headway.insight.next_token import next_candidates
from headway.insight.spectrum_model import cut_windows, spectrum_of
from headway.tasks.described import describe, open_in_pytorch

pytestmark = pytest.mark.browser
TEXT = "The king said that the king was dead, and that the king was alive."
WORDS = 10_000  # over which the room spreads what it is not sure of
GIVEN = 5  # words of the game that are given away


@pytest.fixture(scope="module")
def twin() -> Any:
    return open_in_pytorch("writer")


def lines_of(page: Any, label: str) -> list[list[tuple[float, float]]]:
    """The points of each line of a curve, upwards, in the drawing's own units."""
    found = []
    for line in page.locator(f"svg[aria-label^='{label}'] polyline").all():
        pairs = [point.split(",") for point in line.get_attribute("points").split()]
        found.append([(float(across), -float(down)) for across, down in pairs])
    return found


def shows(lines: list[list[tuple[float, float]]], expected: list[list[tuple[float, float]]]) -> None:
    """Whether lines on one pair of axes show these points; they are drawn to a tenth of a unit."""
    assert [len(line) for line in lines] == [len(line) for line in expected]
    drawn, meant = (numpy.array([point for line in all_lines for point in line]) for all_lines in (lines, expected))
    for axis in (0, 1):
        slope, base = numpy.polyfit(meant[:, axis], drawn[:, axis], 1)
        assert slope > 0
        numpy.testing.assert_allclose(meant[:, axis] * slope + base, drawn[:, axis], atol=0.11)


def percent(probability: float) -> str:
    value = 100 * probability
    return "< 0.01 %" if 0 < value < 0.01 else f"{value:.{2 if value < 0.995 else 1}f} %"


def called(text: str) -> str:
    named = text.replace("\n", " new line ").replace("\t", " tab ").strip()
    return named or "blank"


def bits_of_words(text: str) -> list[float]:
    """The library's bits of each word of a text: those of the tokens that end in it."""
    writer = headway.Writer("writer", device="cpu")
    found = writer.write(text, max_new_tokens=0, echo=True, logprobs=0)
    ids = writer.tokenizer.encode(text)
    bits = [0.0] * len(text.split())
    for at, logprob in enumerate(found.prompt_logprobs):
        before = writer.tokenizer.decode(ids[: at + 1])
        assert text.startswith(before)
        bits[len(before.split()) - 1] += 0.0 if logprob is None else -logprob / math.log(2)
    return bits


def test_the_game_s_bits_and_guesses_are_the_library_s(tab: Any, twin: Any) -> None:
    page = tab.open("play?model=writer&passage=0")
    with page.expect_request("**/v1/completions") as asked:
        page.get_by_role("button", name="Start", exact=True).click()
    words = asked.value.post_data_json["prompt"].split()
    page.locator("#sure").fill("70")
    rows = page.locator("[aria-label='All turns'] tbody tr")
    for turn, guess in enumerate((words[GIVEN].upper(), "cathedral", "")):
        page.locator("#guess").fill(guess)
        page.get_by_role("button", name="Show the word").click()
        page.wait_for_function(
            "(n) => document.querySelectorAll('[aria-label=\"All turns\"] tbody tr').length === n", arg=turn + 1
        )
    room = [-math.log2(0.7), -math.log2(0.3 / WORDS), math.log2(WORDS)]
    model = bits_of_words(" ".join(words))[GIVEN : GIVEN + 3]
    shown = [[cell.text_content() for cell in row.locator("td").all()] for row in rows.all()][::-1]
    assert [row[0] for row in shown] == words[GIVEN : GIVEN + 3]
    assert [float(row[3]) for row in shown] == pytest.approx(room, abs=0.051)
    assert [float(row[4]) for row in shown] == pytest.approx(model, abs=0.051)
    writer = headway.Writer("writer", device="cpu")
    for turn, row in enumerate(shown):
        before = " ".join(words[: GIVEN + turn])
        candidates = next_candidates(*twin, before, Choice(), top=50)["candidates"]
        first = next(one["text"] for one in candidates if re.match(r"\s+\S", one["text"]))
        assert row[2] == (first + writer.write(before + first, max_new_tokens=5, temperature=0).text).split()[0]
    score = [one.text_content() for one in page.locator(".score .bar-number").all()]
    sums = [float(re.match(r"([\d.]+) bits", one)[1]) for one in score]
    assert sums == pytest.approx([sum(room) / 3, sum(model) / 3], abs=0.0051)
    assert score[0].endswith("1 of 3 right")
    means = [[(n, sum(side[:n]) / n) for n in (1, 2, 3)] for side in (room, model)]
    shows(lines_of(page, "Running bits a word"), means)


def events_of(address: str, lesson: str) -> list[dict[str, Any]]:
    with urllib.request.urlopen(f"{address}/v1/lessons/{lesson}/events", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def test_a_lesson_shows_what_the_server_told_and_its_link_shows_it_again(tab: Any, new_tab: Any) -> None:
    page = tab.open("learn")
    page.locator("#text").fill("The cat sat on the mat, and the dog lay by the door of the old house. " * 40)
    page.locator("#seconds").fill("10")
    page.get_by_role("button", name="Learn", exact=True).click()
    now = page.locator("p.figures", has_text=re.compile(r"^Step \d+: "))
    now.wait_for(timeout=90_000)
    live = now.text_content()
    page.locator("#keep-name").wait_for(timeout=90_000)
    events = events_of(tab.address, re.search(r"lesson=([^&]+)", page.url)[1])
    steps = [event for event in events if "step" in event]
    said = [f"Step {one['step']}: {one['bits_per_byte']:.2f} bits a byte" for one in steps]
    assert live.split(",")[0] in said
    rate = int(re.search(r"([\d,]+) tokens a second", live)[1].replace(",", ""))
    assert abs(rate - steps[said.index(live.split(",")[0])]["tokens_per_s"]) <= 0.5
    assert_told(page, events, steps)
    again = new_tab().page
    again.goto(page.url)
    again.locator("#keep-name").wait_for()
    assert_told(again, events, steps)


def assert_told(page: Any, events: list[dict[str, Any]], steps: list[dict[str, Any]]) -> None:
    """The figures, the curve, the samples and the head of a lesson that is over are those of its events."""
    done = next(event["done"] for event in events if "done" in event)
    figures = page.locator("p[role=status].figures").text_content()
    assert f"and {done['steps']} steps: {done['bits_per_byte']:.2f} bits a byte" in figures
    model = next(event["model"] for event in events if "model" in event)
    size = f"{model['parameters']:,} parameters in {model['layers']} layers of {model['heads']} heads"
    assert size in page.locator("p.figures").first.text_content()
    learning = [(one["step"], one["bits_per_byte"]) for one in steps]
    kept = [event["kept_aside"] for event in events if "kept_aside" in event]
    aside = [(one["step"], one["bits_per_byte"]) for one in kept]
    if len(learning) > 1:
        shows(lines_of(page, "Bits a byte by step"), [line for line in (learning, aside) if line])
    else:  # a machine so busy that ten seconds were one step
        assert page.get_by_text("The curve begins after two steps.").count() == 1
    samples = [event for event in events if "sample" in event]
    assert page.locator(".samples .sample").all_text_contents() == [one["sample"] for one in samples[::-1]]
    heads = [event["head"] for event in events if "head" in event]
    assert page.locator(".head-picture").count() == bool(heads)
    if heads:
        assert f"at step {heads[-1]['at_step']}:" in page.locator(".head-picture canvas").get_attribute("aria-label")


def test_every_cell_of_the_lens_and_every_line_of_a_head_is_the_model_s(tab: Any, twin: Any) -> None:
    asked = InspectionRequest(logit_lens=3, contributions=True, heads=True)
    layers = inspect(*twin, TEXT, asked)["logit_lens"]["top"]
    weights = numpy.array(inspect(*twin, TEXT, InspectionRequest(attention=(1,)))["attention"]["1"])[2]
    page = tab.open("look?head=1.2&text=" + TEXT.replace(" ", "%20"))
    page.wait_for_selector("table.lens")
    page.wait_for_selector("svg.lines")
    cells = page.evaluate(
        """() => [...document.querySelectorAll("table.lens tbody tr")].map((row) =>
          [...row.querySelectorAll("td")].map((cell) =>
            [cell.firstChild.data, cell.lastChild.textContent, cell.title]))"""
    )
    expected = [
        [
            [
                called(best[0]["text"]),
                percent(best[0]["probability"]),
                ", ".join(f"{called(one['text'])} {percent(one['probability'])}" for one in best),
            ]
            for best in layer
        ]
        for layer in layers
    ]
    assert cells == expected
    lines = page.evaluate(
        """() => [...document.querySelectorAll("svg.lines line")].map((one) =>
          ["y1", "y2", "opacity"].map((name) => Number(one.getAttribute(name))))"""
    )
    drawn = {(round((start - 13) / 20), round((end - 13) / 20)): opacity for start, end, opacity in lines}
    last = len(weights) - 1  # which stands out
    for (row, column), weight in numpy.ndenumerate(weights):
        if abs(weight - 0.05) > 1e-4:  # what is less is left out
            assert ((row, column) in drawn) == (weight > 0.05), (row, column)
        if (row, column) in drawn:
            strength = 0.15 + 0.85 * weight if row == last else weight / 2
            assert drawn[row, column] == pytest.approx(strength, abs=1e-4), (row, column)


def test_a_comparison_tells_the_prompt_s_bits_and_both_speeds(tab: Any, other: str) -> None:
    prompt = "The king looked at his people and said,"
    page = tab.open(f"compare?left=writer&right=other&length=9&seed=3&prompt={prompt.replace(' ', '%20')}")
    page.get_by_role("button", name="Write with both").click()
    busy_over(page)
    page.wait_for_function("() => document.querySelectorAll('dl.facts').length === 2")
    for side, folder in (("Left", "writer"), ("Right", other)):
        writer = headway.Writer(folder, device="cpu")
        found = writer.write(prompt, max_new_tokens=0, echo=True, logprobs=0)
        bits = [-one / math.log(2) for one in found.prompt_logprobs[1:]]
        characters = len(prompt) - len(writer.tokenizer.decode(writer.tokenizer.encode(prompt)[:1]))
        facts = page.get_by_role("region", name=side).locator("dd")
        shown = [float(value) for value in re.findall(r"([\d.]+) bits", facts.nth(0).text_content())]
        assert shown == pytest.approx([sum(bits) / characters, sum(bits) / len(bits)], abs=0.0051)
        said = facts.nth(2).text_content()
        if " in " not in said:  # where the machine was slow enough to tell a rate after the first
            assert re.fullmatch(r"9 tokens; the first after \d+ ms, then [\d.]+ tokens a second", said)
            continue
        speed = re.fullmatch(r"9 tokens in (\d+) ms, ([\d,.]+) tokens a second; the first after (\d+) ms", said)
        whole, rate, first = (float(one.replace(",", "")) for one in speed.groups())
        assert first <= whole and 9000 / (whole + 0.5) - 0.5 <= rate <= 9000 / max(1, whole - 0.5) + 0.5


def close(found: Any, expected: Any) -> None:
    """Whether two answers are one to 1e-4; what is not finite is told as None."""
    if isinstance(expected, dict):
        assert found.keys() >= expected.keys()
        for name, value in expected.items():
            close(found[name], value)
    elif isinstance(expected, list | tuple):
        for one, value in zip(found, expected, strict=True):
            close(one, value)
    elif isinstance(expected, float):
        assert found == (pytest.approx(expected, rel=1e-4, abs=1e-4) if math.isfinite(expected) else None)
    else:
        assert found == expected


@pytest.mark.parametrize("name", ["writer", "reader-fnet"])
def test_spectra_tables_and_what_is_read_back_are_the_library_s(tab: Any, name: str) -> None:
    page = tab.page
    with page.expect_response("**/v1/spectrum") as asked:
        tab.open(f"fourier?model={name}")
    page.wait_for_selector("svg[aria-label^='Spectrum of row']")
    model, tokenizer = open_in_pytorch(name)
    begin = getattr(tokenizer, "begin_of_text", None)
    ids = tokenizer.encode(page.locator("#fourier-text").input_value())
    ends = {"begin": begin, "end": None if begin is None else tokenizer.end_of_text}
    expected = asdict(spectrum_of(model, describe(name).family, cut_windows(ids, min(64, model.context), **ends)))
    found = asked.value.json()
    close(found, expected)
    readings = [one for one in expected["readings"] if one["layer"] is not None]
    curves: dict[str, list[tuple[float, float]]] = {}
    for one in readings:
        curves.setdefault(one["where"], []).append((one["layer"], 100 * one["identity"]))
    if readings:
        shows(lines_of(page, "Tokens found again by layer"), list(curves.values()))
    for table in ("heads", "readings"):
        if found[table]:
            assert_figures(page.get_by_role("region", name=f"Table: {table}"), found[table])
    if found["mixers"][0] == "fourier":
        stems = [float(one.get_attribute("height")) for one in page.locator("svg[aria-label^='Row'] rect").all()]
        wave = numpy.abs(numpy.cos(2 * numpy.pi * 3 * numpy.arange(len(stems)) / len(stems)))
        numpy.testing.assert_allclose(numpy.array(stems) / max(stems), wave / wave.max(), atol=1e-6)
        line = [0.0] * (len(stems) // 2 + 1)
        line[3] = 100.0
        shows(lines_of(page, "Spectrum of row"), [list(enumerate(line))])


def assert_figures(region: Any, rows: list[dict[str, Any]]) -> None:
    """Each cell of a table is its figure, to the digits that are shown."""
    shown = [[cell.text_content() for cell in row.locator("td").all()] for row in region.locator("tbody tr").all()]
    for cells, row in zip(shown, rows, strict=True):
        for cell, value in zip(cells, row.values(), strict=True):
            if not isinstance(value, int | float):
                assert cell == ("-" if value is None else value)
                continue
            digits, _, power = cell.replace(",", "").partition("e")
            unit = 10.0 ** (int(power or 0) - len(digits.partition(".")[2]))
            assert abs(float(cell.replace(",", "")) - value) <= 0.51 * unit, (cell, value)


def test_a_text_that_takes_long_enough_tells_the_rate_after_its_first_token(tab: Any) -> None:
    tab.page.add_init_script(
        "const now = performance.now.bind(performance); performance.now = () => 1000 * now();"  # a slow machine's clock
    )
    page = tab.open("write?length=60&seed=4")
    page.get_by_role("button", name="Write", exact=True).click()
    busy_over(page)
    page.wait_for_function("() => document.querySelectorAll('.written .token:not(.given)').length === 60")
    said = page.get_by_test_id("speed").text_content()
    found = re.match(r"60 tokens; the first after (\d+) ms, then ([\d,.]+) tokens a second", said)
    assert found is not None and int(found[1]) > 1000, said
    assert 0 < float(found[2].replace(",", "")) < 59 / 0.3
