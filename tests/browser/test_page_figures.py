"""What the page draws and adds up are the library's own figures: two models, parts, habits, spectra, curves."""

import math
import re
from dataclasses import asdict
from typing import Any

import numpy
import pytest
from page_states import STATES, busy_over

import headway
from headway.insight.inspection import InspectionRequest, inspect
from headway.insight.spectrum_model import cut_windows, spectrum_of
from headway.tasks.described import describe, open_in_pytorch

pytestmark = pytest.mark.browser
PROMPT = "The king looked at his people and said,"
CHOICE = {"temperature": 0.8, "top_k": 40}
TEXT = "The king said that the king was dead, and that the king was alive."


@pytest.fixture(scope="module")
def twin() -> Any:
    return open_in_pytorch("writer")


def drawn(page: Any, label: str) -> list[list[float]]:
    """The heights of each line of a curve, upwards, in the drawing's own units."""
    lines = page.locator(f"svg[aria-label^='{label}'] polyline").all()
    assert lines, label
    return [[-float(point.split(",")[1]) for point in line.get_attribute("points").split()] for line in lines]


def proportional(heights: list[float], values: list[float]) -> None:
    """Whether a line shows these values; it is drawn to a tenth of a unit, of some 200."""
    assert len(heights) == len(values)
    slope, base = numpy.polyfit(values, heights, 1)
    assert slope > 0
    numpy.testing.assert_allclose(numpy.array(values) * slope + base, heights, atol=0.11)


def test_two_models_write_side_by_side_and_their_bits_are_theirs(tab: Any, other: str) -> None:
    page = tab.open(f"compare?left=writer&right=other&length=16&seed=9&prompt={PROMPT.replace(' ', '%20')}")
    page.get_by_role("button", name="Write with both").click()
    busy_over(page)
    page.wait_for_function("() => document.querySelectorAll('dl.facts').length === 2")
    for side, folder in (("Left", "writer"), ("Right", other)):
        found = headway.Writer(folder, device="cpu").write(
            PROMPT, max_new_tokens=16, seed=9, logprobs=1, echo=True, **CHOICE
        )
        section = page.get_by_role("region", name=side)
        assert section.locator(".written .tokens").text_content().replace("↵\n", "\n") == PROMPT + found.text
        said = section.locator("dd").nth(1).text_content()
        bits = [-logprob / math.log(2) for logprob in found.logprobs]
        expected = [sum(bits) / len(found.text), sum(bits) / len(bits)]
        assert [float(value) for value in re.findall(r"([\d.]+) bits", said)] == pytest.approx(expected, abs=0.006)
    texts = [one.text_content() for one in page.locator(".written .tokens").all()]
    assert texts[0] != texts[1]


def test_what_each_part_adds_and_which_heads_have_a_habit(tab: Any, twin: Any) -> None:
    model, tokenizer = twin
    page = tab.open("look?text=" + TEXT.replace(" ", "%20"))
    page.wait_for_selector("table.kinds")
    expected = inspect(model, tokenizer, TEXT, InspectionRequest(contributions=True, heads=True, logit_lens=1))
    for place in (-1, 4):
        if place >= 0:
            page.locator('[aria-label="The text\'s tokens"] .token').nth(place).click()
            page.wait_for_selector("text=this position's logit")
        rows = page.locator("table.bars-table", has=page.locator("th", has_text="embedding")).locator("tr")
        shown = {row.locator("th").text_content(): float(row.locator("td.number").text_content()) for row in rows.all()}
        parts = expected["contributions"]
        assert shown["embedding"] == pytest.approx(parts["embedding"][place], abs=0.006)
        for at, name in enumerate(parts["layers"]):
            assert shown[f"layer {name}, attention"] == pytest.approx(parts["attention"][at][place], abs=0.006)
            assert shown[f"layer {name}, feed-forward"] == pytest.approx(parts["feed_forward"][at][place], abs=0.006)
    kinds = page.locator("table.kinds tbody tr").all()
    for row, name in zip(kinds, ("previous", "first", "repeat"), strict=True):
        best = sorted((value for layer in expected["heads"][name] for value in layer), reverse=True)[:4]
        found = re.findall(r"(\d+)\.(\d+) (\d+) %", row.text_content())
        for (layer, head, percent), value in zip(found, best, strict=True):
            assert int(percent) == round(100 * value)
            assert expected["heads"][name][int(layer)][int(head)] == pytest.approx(value, abs=1e-5)


def test_a_layer_s_rows_and_their_spectra_are_drawn_as_they_are(tab: Any, twin: Any) -> None:
    model, tokenizer = twin
    text = "It was a fine day, and they walked by the sea."
    page = tab.page
    with page.expect_response("**/v1/spectrum") as asked:
        tab.open(f"fourier?model=writer&layer=1&text={text.replace(' ', '%20')}")
    page.wait_for_selector("svg[aria-label^='Spectrum of row']")
    attention = numpy.array(inspect(model, tokenizer, text, InspectionRequest(attention=(1,)))["attention"]["1"])[0]
    row = attention[-1]
    power = numpy.abs(numpy.fft.rfft(attention)) ** 2
    power[:, 1 : None if len(row) % 2 else -1] *= 2
    shares = 100 * power / power.sum(axis=1, keepdims=True)
    one, mean = drawn(page, "Spectrum of row")
    proportional(one, shares[-1].tolist())
    proportional(mean, shares.mean(axis=0).tolist())
    stems = [float(stem.get_attribute("height")) for stem in page.locator("svg[aria-label^='Row'] rect").all()]
    numpy.testing.assert_allclose(numpy.array(stems) / max(stems), row / row.max(), atol=1e-3)
    windows = cut_windows(tokenizer.encode(text), 128 if model.context is None else min(128, model.context))
    expected = asdict(spectrum_of(model, describe("writer").family, windows))
    found = asked.value.json()
    for head, wanted in zip(found["heads"], expected["heads"], strict=True):
        for name, value in wanted.items():
            if isinstance(value, float) and math.isfinite(value):
                assert head[name] == pytest.approx(value, rel=1e-3, abs=1e-5), name
    proportional(
        drawn(page, "Spectrum of the positions")[0], [100 * share for share in expected["positions"]["shares"]]
    )
    table = page.get_by_role("region", name="Table: heads").locator("tbody tr")
    assert table.count() == len(found["heads"])


def test_the_length_curve_is_that_of_the_model_cards(tab: Any) -> None:
    page = tab.open("translate")
    page.wait_for_selector("svg[aria-label^='BLEU by length']")
    figure = page.locator("figure.curve", has=page.locator("svg[aria-label^='BLEU by length']"))
    names = [name.strip() for name in figure.locator("figcaption > span").all_text_contents()]
    assert sorted(names) == ["en-fr", "en-fr-rnn-fixed", "en-fr-rnnsearch"]
    curves = [describe(name).length_curve for name in names]
    assert all(len(curve) > 3 for curve in curves)
    lines = drawn(page, "BLEU by length")
    assert [len(line) for line in lines] == [len(curve) for curve in curves]
    proportional([height for line in lines for height in line], [point.bleu for curve in curves for point in curve])


def test_a_large_head_is_darker_where_more_is_read(tab: Any, twin: Any) -> None:
    model, tokenizer = twin
    page = tab.open("look?head=2.3&text=" + TEXT.replace(" ", "%20"))
    page.wait_for_selector(".head-large canvas")
    weights = numpy.array(inspect(model, tokenizer, TEXT, InspectionRequest(attention=(2,)))["attention"]["2"])[3]
    size = len(weights)
    shades = page.evaluate(
        """(size) => {
          const canvas = document.querySelector(".head-large canvas");
          const cell = canvas.width / size;
          const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          const middle = (place) => Math.floor((place + 0.5) * cell);
          const at = (row, column) => data[4 * (middle(row) * canvas.width + middle(column)) + 3];
          return Array.from({length: size}, (_, row) => Array.from({length: size}, (__, column) => at(row, column)));
        }""",
        size,
    )
    numpy.testing.assert_allclose(numpy.array(shades) / 255, weights, atol=0.004)


def test_a_lesson_s_curve_is_what_the_lesson_told(tab: Any) -> None:
    page = tab.open("learn")
    STATES["learn, over"][1](page)
    learning, aside = drawn(page, "Bits a byte by step")
    proportional(learning, [1 + 6 / step for step in range(1, 40)])
    assert len(aside) == 1
    assert "2.30 bits a byte on text kept aside" in page.locator("p[role=status].figures").text_content()
