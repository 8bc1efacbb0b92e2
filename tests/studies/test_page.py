"""The page: whatever stands in the data stays text."""

from headway.studies.page import Html, figure, folded, items, page, paragraph, preformatted, table, words

HOSTILE = "<script>alert('x')</script> & \"quoted\" \u202e right-to-left"


def test_no_text_becomes_markup() -> None:
    inner = Html(
        paragraph(HOSTILE, HOSTILE)
        + items([HOSTILE])
        + table(HOSTILE, [HOSTILE, HOSTILE], [[HOSTILE, HOSTILE]])
        + figure(Html("<svg></svg>"), HOSTILE)
        + folded(HOSTILE, preformatted(HOSTILE))
    )
    text = page(HOSTILE, inner, [(HOSTILE, inner)])
    assert "<script" not in text and 'x")' not in text
    assert "&lt;script&gt;alert(&#x27;x&#x27;)" in text


def test_tables_name_rows_and_columns_and_scroll_where_they_are_wide() -> None:
    text = table("Scores", ["family", "BLEU"], [["rnnsearch", "7.1"]])
    assert '<th scope="col">family</th><th scope="col" class="number">BLEU</th>' in text
    assert '<th scope="row">rnnsearch</th><td class="number">7.1</td>' in text
    assert "<caption>Scores</caption>" in text and 'tabindex="0"' in text


def test_numbers_are_words_too() -> None:
    assert words(7.5) == "7.5"
