"""Curves as an SVG: well formed whatever the names, every number there as text, readable on both grounds."""

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.errors import UsageError
from headway.evaluation import plot
from headway.evaluation.plot import Curve, Labels, Point, draw_curves, xml_text

SVG = "{http://www.w3.org/2000/svg}"
LABELS = Labels(
    title="BLEU by length", x="words of the source", y="BLEU", caption="Bands hold 95 % of 1,000 resamples."
)
FALLING = [Point(3.4, 40.0, 45.25, 50.0, 412), Point(7.5, 30.0, 34.5, 39.0, 428), Point(17.2, 9.0, 12.75, 16.0, 223)]
LEVEL = [point._replace(low=point.low + 5, mid=47.5, high=60.0) for point in FALLING]


def elements(svg: str, name: str, kind: str | None = None) -> list[ElementTree.Element]:
    found = ElementTree.fromstring(svg).iter(SVG + name)
    return [element for element in found if kind is None or element.get("class") == kind]


def text_of(element: ElementTree.Element) -> str:
    """The text that is seen, without the title that shows where the pointer rests."""
    return (element.text or "") + "".join(part.tail or "" for part in element)


def places(points: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in points.split())]


def test_every_number_is_there_as_text() -> None:
    svg = draw_curves([Curve(name="rnn-fixed", points=FALLING), Curve(name="transformer", points=LEVEL)], LABELS)
    (described,) = elements(svg, "desc")
    assert described.text is not None
    for curve, points in (("rnn-fixed", FALLING), ("transformer", LEVEL)):
        assert f"\n{curve}: " in described.text
        for point in points:
            said = f"BLEU {point.mid:.2f} ({point.low:.2f} to {point.high:.2f}) at {point.x}, {point.n} sentences"
            assert said in described.text
            assert any(f"{curve}: {said}" == element.text for element in elements(svg, "title"))
    seen = [text_of(element) for element in elements(svg, "text")]
    assert {"BLEU by length", "words of the source", "BLEU", "rnn-fixed", "transformer", LABELS.caption} <= set(seen)


def test_lines_and_bands_lie_where_the_values_are() -> None:
    svg = draw_curves([Curve(name="one", points=FALLING)], LABELS)
    ticks = {text_of(element): float(element.get("y", "")) - 4 for element in elements(svg, "text", "small end")}
    zero, fifty = ticks["0"], ticks["50"]
    (line,), (band,) = elements(svg, "polyline"), elements(svg, "polygon")
    for (_, y), point in zip(places(line.get("points", "")), FALLING, strict=True):
        assert y == pytest.approx(zero + (fifty - zero) * point.mid / 50, abs=0.1)
    outline = places(band.get("points", ""))
    assert len(outline) == 6
    for (_, high), (_, low), point in zip(outline[:3], outline[:2:-1], FALLING, strict=True):
        assert high == pytest.approx(zero + (fifty - zero) * point.high / 50, abs=0.1)
        assert low == pytest.approx(zero + (fifty - zero) * point.low / 50, abs=0.1)
    along = [x for x, _ in places(line.get("points", ""))]
    assert (along[1] - along[0]) / (along[2] - along[0]) == pytest.approx((7.5 - 3.4) / (17.2 - 3.4), abs=0.01)


def test_plain_tuples_are_points_and_are_sorted() -> None:
    given_backwards = draw_curves([Curve(name="one", points=[tuple(point) for point in reversed(FALLING)])], LABELS)  # type: ignore[misc]
    assert given_backwards == draw_curves([Curve(name="one", points=FALLING)], LABELS)


def test_names_at_the_line_ends_do_not_overlap() -> None:
    curves = [Curve(name=f"system {number}", points=LEVEL) for number in range(9)]
    svg = draw_curves(curves, LABELS)
    heights = sorted(float(element.get("y", "")) for element in elements(svg, "text", "name"))
    assert len(heights) == 9
    assert all(below - above >= plot.LINE - 0.1 for above, below in zip(heights, heights[1:], strict=False))
    assert heights[0] > plot.TOP and heights[-1] < plot.TOP + plot.PLOT_HEIGHT + plot.LINE


def test_names_that_would_run_out_of_the_bottom_are_pushed_up() -> None:
    low = [Point(1.0, 0.0, 0.5, 100.0, 3), Point(2.0, 0.0, 0.5, 100.0, 3)]
    svg = draw_curves([Curve(name=str(number), points=low) for number in range(4)], LABELS)
    heights = sorted(float(element.get("y", "")) for element in elements(svg, "text", "name"))
    assert heights[-1] <= plot.TOP + plot.PLOT_HEIGHT + 4
    assert all(below - above >= plot.LINE - 0.1 for above, below in zip(heights, heights[1:], strict=False))


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "a & b",
        "\"quoted\" 'too'",
        "]]>",
        "\0\x1b[31m\ud800\ufffe",
        "مرحبا",
        "日本語" * 30,
        "",
    ],
)
def test_hostile_names_are_text(name: str) -> None:
    labels = Labels(title=name, x=name, y=name, caption=name, counted=name)
    svg = draw_curves([Curve(name=name, points=FALLING)], labels)
    svg.encode("utf-8")
    root = ElementTree.fromstring(svg)
    assert {element.tag for element in root.iter()} <= {
        SVG + tag
        for tag in ("svg", "title", "desc", "style", "rect", "text", "line", "g", "polygon", "polyline", "path")
    }
    assert (elements(svg, "title")[0].text or "") == re.sub("[\0\x1b\ud800\ufffe]", "\ufffd", name)


def test_long_names_are_cut_but_said_in_full() -> None:
    name = "a-model-with-a-name-that-goes-on-and-on-and-on"
    svg = draw_curves([Curve(name=name, points=FALLING)], LABELS)
    (shown,) = elements(svg, "text", "name")
    assert text_of(shown) == name[:25] + "..." and shown[0].text == name


def test_nothing_is_fetched_and_nothing_runs() -> None:
    svg = draw_curves([Curve(name="one", points=FALLING)], LABELS)
    assert svg.count("http") == 1  # the name of the format itself
    assert not re.search(r"<script|<image|@import|url\(|href|\son\w+=", svg)


def test_two_plots_on_a_page_have_different_ids() -> None:
    first = draw_curves([Curve(name="one", points=FALLING)], LABELS)
    second = draw_curves([Curve(name="one", points=LEVEL)], LABELS)
    ids = [re.findall(r'\bid="([^"]+)"', svg) for svg in (first, second)]
    assert len({*ids[0], *ids[1]}) == 4
    (root,) = elements(first, "svg")
    assert root.get("role") == "img" and root.get("aria-labelledby") == " ".join(ids[0])


def luminance(colour: str) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("ground", [0, 1])
def test_every_colour_of_text_can_be_read_on_its_ground(ground: int) -> None:
    behind = luminance(plot.GROUNDS[ground])
    for colour in (*(plot.LIGHT, plot.DARK)[ground], plot.INKS[ground], plot.FAINT[ground]):
        before = luminance(colour)
        contrast = (max(behind, before) + 0.05) / (min(behind, before) + 0.05)
        assert contrast >= 4.5, f"{colour} on {plot.GROUNDS[ground]} has {contrast:.2f}"


def test_both_grounds_have_all_colours() -> None:
    (style,) = elements(draw_curves([Curve(name="one", points=FALLING)], LABELS), "style")
    light, dark = (style.text or "").split("@media (prefers-color-scheme:dark)")
    assert all(colour in light for colour in plot.LIGHT) and all(colour in dark for colour in plot.DARK)
    assert all(rule.startswith(".headway-plot ") or rule == "}" for rule in dark.strip("{\n").splitlines())


def test_sentences_are_counted_below_only_where_all_curves_agree() -> None:
    same = draw_curves([Curve(name="one", points=FALLING), Curve(name="two", points=LEVEL)], LABELS)
    assert [element[0].text for element in elements(same, "rect") if len(element)] == [
        "412 sentences",
        "428 sentences",
        "223 sentences",
    ]
    other = [point._replace(x=point.x + 1) for point in LEVEL]
    apart = draw_curves([Curve(name="one", points=FALLING), Curve(name="two", points=other)], LABELS)
    assert not [element for element in elements(apart, "rect") if len(element)]


def test_one_point_shows_its_band_as_a_line() -> None:
    svg = draw_curves([Curve(name="one", points=FALLING[:1])], LABELS)
    assert not elements(svg, "polygon") and len(elements(svg, "path", "line")) == 1
    assert len(elements(svg, "path", "marker")) == 1


def test_points_that_are_not_finite_are_left_out() -> None:
    broken = [*FALLING, Point(20.0, math.nan, math.nan, math.nan, 3), Point(21.0, 1.0, math.inf, 2.0, 3)]
    svg = draw_curves([Curve(name="one", points=broken), Curve(name="none", points=broken[3:])], LABELS)
    assert len(elements(svg, "path", "marker")) == 3 and "none: no point" in svg
    assert "nan" not in svg and "inf" not in svg


def test_nothing_to_draw_is_refused() -> None:
    for curves in ([], [Curve(name="one", points=[])]):
        with pytest.raises(UsageError, match="no point to draw"):
            draw_curves(curves, LABELS)


def test_the_axis_begins_at_zero_unless_told_otherwise() -> None:
    high = [Point(1.0, 80.0, 81.0, 82.0, 5), Point(2.0, 83.0, 84.0, 85.0, 5)]
    curves = [Curve(name="one", points=high)]
    ticks = [text_of(element) for element in elements(draw_curves(curves, LABELS), "text", "small end")]
    near = [text_of(element) for element in elements(draw_curves(curves, LABELS, from_zero=False), "text", "small end")]
    assert ticks[0] == "0" and near[0] == "80" and near[-1] == "85"


VALUES = st.floats(-1e9, 1e9) | st.just(0.0)


@given(st.lists(st.tuples(VALUES, VALUES, VALUES, VALUES, st.integers(0, 10**9)), min_size=1, max_size=6))
def test_any_finite_values_are_drawn_inside_the_page(values: list[tuple[float, float, float, float, int]]) -> None:
    points = [Point(x, *sorted((low, mid, high)), n) for x, low, mid, high, n in values]
    svg = draw_curves([Curve(name="one", points=points)], LABELS)
    for line in elements(svg, "polyline"):
        for x, y in places(line.get("points", "")):
            assert plot.LEFT - 1 <= x <= plot.WIDTH and plot.TOP - 1 <= y <= plot.TOP + plot.PLOT_HEIGHT + 1


@given(st.text())
def test_any_text_becomes_xml(text: str) -> None:
    allowed = re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
    read = ElementTree.fromstring(f"<text>{xml_text(text)}</text>").text or ""
    assert read == allowed.replace("\r\n", "\n").replace("\r", "\n")  # which XML reads as one
