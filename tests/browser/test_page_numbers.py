"""What the page shows are the library's own numbers."""

import base64
import json
import math
import re
from typing import Any

import numpy
import pytest

import headway
from headway.decoding.choice import Choice
from headway.insight.inspection import InspectionRequest, inspect
from headway.insight.next_token import next_candidates
from headway.tasks.described import open_in_pytorch

pytestmark = pytest.mark.browser
PROMPT = "It was a dark night, and the old man"
CHOICE = {"temperature": 0.8, "top_k": 40}


@pytest.fixture(scope="module")
def writer() -> headway.Writer:
    return headway.Writer("writer", device="cpu")


@pytest.fixture(scope="module")
def twin() -> Any:
    return open_in_pytorch("writer")


def written(page: Any) -> list[tuple[str, str]]:
    """Text and title of each token of the text."""
    tokens = page.locator(".written .token")
    return [(token.text_content(), token.get_attribute("title")) for token in tokens.all()]


def finish(page: Any) -> None:
    page.wait_for_function("() => document.querySelector('.written .tokens')?.getAttribute('aria-busy') === 'false'")


def percent(probability: float) -> str:
    value = 100 * probability
    if value == 0:
        return "0 %"
    return "< 0.01 %" if 0 < value < 0.01 else f"{value:.{2 if value < 0.995 else 1}f} %"


def test_write_streams_what_the_library_writes_and_how_surprising_it_was(tab: Any, writer: headway.Writer) -> None:
    page = tab.open("write?length=30&seed=4")
    page.get_by_role("button", name="Write", exact=True).click()
    page.wait_for_selector(".written .token")
    finish(page)
    expected = writer.write(PROMPT, max_new_tokens=30, seed=4, logprobs=1, echo=True, **CHOICE)
    shown = written(page)
    text = "".join(text for text, _ in shown).replace("↵\n", "\n")
    assert text == PROMPT + expected.text
    own = shown[-len(expected.logprobs) :]
    assert [title for _, title in own] == [f"{-logprob / math.log(2):.1f} bits" for logprob in expected.logprobs]
    assert "tokens a second" in page.get_by_test_id("speed").text_content()


def test_a_token_shows_its_real_alternatives_and_one_of_them_makes_a_branch(tab: Any, twin: Any) -> None:
    page = tab.open("write?length=12&seed=4")
    page.get_by_role("button", name="Write", exact=True).click()
    page.wait_for_selector(".written .token")
    finish(page)
    model, tokenizer = twin
    before = tokenizer.encode(PROMPT)
    # The end of the text may still be asked about, which is another question.
    with page.expect_response(
        lambda one: one.url.endswith("/v1/next") and one.request.post_data_json.get("ids") == before
    ) as asked:
        page.locator(".written .token:not(.given)").first.click()
    expected = next_candidates(model, tokenizer, before, Choice(**CHOICE), top=20)
    found = json.loads(asked.value.text())
    assert [one["id"] for one in found["candidates"]] == [one["id"] for one in expected["candidates"]]
    probabilities = [one["probability"] for one in found["candidates"]]
    assert probabilities == pytest.approx([one["probability"] for one in expected["candidates"]], abs=1e-5)
    assert sum(probabilities) + found["rest"]["probability"] == pytest.approx(1.0, abs=1e-6)
    page.wait_for_function("() => document.querySelectorAll('.bars .bar').length === 21")
    numbers = page.locator(".bars .bar-number").all_text_contents()
    kept = [one["kept_probability"] for one in [*found["candidates"], found["rest"]]]
    assert numbers == [percent(one) for one in kept]
    old = "".join(text for text, _ in written(page))
    page.locator(".bars button.bar").nth(3).click()
    page.wait_for_selector(".tree button")
    finish(page)
    assert page.locator(".tree button").count() == 2
    new = "".join(text for text, _ in written(page))
    assert new != old and new.startswith(PROMPT + found["candidates"][3]["text"])
    page.locator(".tree button").first.click()
    page.wait_for_function(f"() => document.querySelector('.written .tokens').textContent === {json.dumps(old)}")


def test_the_sliders_redraw_what_is_drawn_from(tab: Any, twin: Any) -> None:
    page = tab.open("write")
    page.wait_for_selector(".bars .bar")
    model, tokenizer = twin
    for name, value, choice in (
        ("temperature", "1.5", Choice(temperature=1.5, top_k=40)),
        ("top-k", "3", Choice(temperature=1.5, top_k=3)),
        ("top-p", "0.5", Choice(temperature=1.5, top_k=3, top_p=0.5)),
    ):
        expected = next_candidates(model, tokenizer, PROMPT, choice, top=20)
        shown = [percent(one["kept_probability"]) for one in expected["candidates"]]
        page.locator(f"#{name}").fill(value)
        page.wait_for_function(
            f"() => JSON.stringify([...document.querySelectorAll('.bars li:not(.bar-rest) .bar-number')]"
            f".map((one) => one.textContent)) === {json.dumps(json.dumps(shown, separators=(',', ':')))}"
        )


def test_look_shows_the_model_s_own_attention_and_what_changes_without_a_head(tab: Any, twin: Any) -> None:
    model, tokenizer = twin
    text = "The king said that the king was dead."
    page = tab.page
    with page.expect_response(lambda one: '"attention":[2]' in (one.request.post_data or "")) as asked:
        tab.open("look?head=2.3&text=" + text.replace(" ", "%20"))
    expected = inspect(model, tokenizer, text, InspectionRequest(attention=(2,), logit_lens=3))
    found = json.loads(asked.value.text())["attention"]["2"]
    weights = numpy.frombuffer(base64.b64decode(found["data"]), "<u2").reshape(found["shape"]) / 65535
    numpy.testing.assert_allclose(weights, numpy.array(expected["attention"]["2"]), atol=2e-5)
    page.wait_for_selector(".head-large .figures")
    last = weights[3, -1]
    said = page.locator(".head-large .figures").first.text_content()
    assert [int(value) for value in re.findall(r"(\d+)\u00a0%", said)] == [
        round(100 * x) for x in sorted(last)[::-1][:5]
    ]
    page.wait_for_selector("table.lens")  # it comes after the maps
    lens = page.locator("table.lens tbody tr")
    assert lens.count() == len(expected["logit_lens"]["layers"])
    top = [[place[0]["probability"] for place in layer] for layer in expected["logit_lens"]["top"]]
    assert [cell.text_content() for cell in lens.nth(1).locator("td .small").all()] == [percent(one) for one in top[1]]
    followers = page.locator(".bars-table").first.locator("td.number")
    before = followers.first.text_content()
    page.get_by_role("button", name="Switch this head off").click()
    page.wait_for_selector("text=1 head is off")
    silent = inspect(model, tokenizer, text, InspectionRequest(ablate=frozenset({(2, 3)}), top=3))
    now = json.dumps(percent(silent["next"][0]["probability"]))
    page.wait_for_function(f"() => document.querySelector('.bars-table td.number').textContent === {now}")
    page.get_by_role("button", name="Switch layer 2 off").click()
    page.wait_for_selector("text=heads are off")
    silent = inspect(model, tokenizer, text, InspectionRequest(ablate=frozenset((2, head) for head in range(5)), top=3))
    now = json.dumps(percent(silent["next"][0]["probability"]))
    page.wait_for_function(f"() => document.querySelector('.bars-table td.number').textContent === {now}")
    assert before == percent(expected["next"][0]["probability"])


def test_look_takes_a_paragraph(tab: Any) -> None:
    words = "The quick brown fox jumps over the lazy dog and runs away. " * 14
    page = tab.open("look?text=" + words.strip().replace(" ", "%20"))
    page.wait_for_selector(".head-large canvas")
    assert page.locator('[aria-label="The text\'s tokens"] .token').count() > 180


def test_translators_show_what_the_library_translates_and_aligns(tab: Any) -> None:
    text = "Where is the station?"
    answers: dict[str, Any] = {}
    tab.page.on(
        "response", lambda one: one.url.endswith("/v1/translate") and answers.update({one.json()["model"]: one})
    )
    page = tab.open("translate?text=" + text.replace(" ", "%20"))
    page.wait_for_function("() => document.querySelectorAll('.translation').length === 3")
    for name in ("en-fr", "en-fr-rnnsearch", "en-fr-rnn-fixed"):
        article = page.locator("article", has=page.get_by_role("heading", name=name, exact=True))
        aligns = name != "en-fr-rnn-fixed"
        expected = headway.Translator(name, device="cpu").translate(text, alignment=aligns)
        assert article.locator(".translation").text_content() == expected.text
        assert article.locator("canvas").count() == int(aligns)
        if aligns:
            drawn = article.locator(".labelled-rows span").all_text_contents()
            assert drawn == list(expected.alignment.target_words)
            weights = answers[name].json()["data"][0]["alignment"]["weights"]
            numpy.testing.assert_allclose(weights, expected.alignment.word_weights, atol=1e-4)


def test_fill_guesses_what_the_reader_guesses(tab: Any) -> None:
    text = "The [MASK] of the Union is strong."
    page = tab.open("fill?text=" + text.replace(" ", "%20"))
    page.wait_for_selector(".bars .bar")
    expected = headway.Reader("reader", device="cpu").fill(text, top=8)
    shown = list(
        zip(
            page.locator(".bars li:not(.bar-rest) .bar-text").all_text_contents(),
            page.locator(".bars li:not(.bar-rest) .bar-number").all_text_contents(),
            strict=True,
        )
    )
    assert shown == [(one.token, percent(one.probability)) for one in expected]
    page.wait_for_selector(".head-large canvas")


def test_compare_writes_with_two_models_from_one_seed(tab: Any, writer: headway.Writer) -> None:
    page = tab.open("compare?left=writer&right=writer&length=12&seed=9&prompt=" + PROMPT.replace(" ", "%20"))
    page.get_by_role("button", name="Write with both").click()
    page.wait_for_function("() => document.querySelectorAll('.written [aria-busy=false]').length === 2")
    expected = PROMPT + writer.write(PROMPT, max_new_tokens=12, seed=9, **CHOICE).text
    for side in page.locator(".written .tokens").all():
        assert side.text_content().replace("↵\n", "\n") == expected


def test_fourier_draws_rows_and_spectra(tab: Any) -> None:
    page = tab.open("fourier")
    page.wait_for_selector(".view-fourier canvas, .view-fourier svg")
    assert page.locator(".view-fourier svg path, .view-fourier svg polyline, .view-fourier svg line").count() > 3
