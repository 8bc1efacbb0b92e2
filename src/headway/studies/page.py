"""One self-contained HTML page: no script, no request, light and dark, readable on a phone.

`Html` is text that may stand in the page as it is; every other string passes `words`, which escapes it.
"""

import html
from collections.abc import Iterable, Sequence
from typing import NewType

Html = NewType("Html", str)

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --soft: #5b6570; --line: #d5dae0; --tint: #f3f5f8;
  --mark: #0b5cad; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ed; --paper: #14171b; --soft: #9aa5b1; --line: #353c45; --tint: #1d2228; --mark: #7db8f5; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1.25rem 1rem 4rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0.5rem 0; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 0.5rem; border-top: 1px solid var(--line); padding-top: 1rem; }
h3 { font-size: 1.05rem; margin: 1.5rem 0 0.4rem; }
p, li { max-width: 46rem; }
.said { border-left: 0.3rem solid var(--mark); background: var(--tint); padding: 0.6rem 1rem; }
.soft, figcaption, caption { color: var(--soft); font-size: 0.92rem; }
.wide { overflow-x: auto; }
.wide:focus-visible, a:focus-visible, summary:focus-visible { outline: 2px solid var(--mark); }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin: 0.6rem 0; }
caption { text-align: left; padding-bottom: 0.3rem; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.8rem 0.3rem 0; border-bottom: 1px solid var(--line); }
thead th { border-bottom: 2px solid var(--line); }
td.number, th.number { text-align: right; white-space: nowrap; }
figure { margin: 1rem 0; }
figure svg { max-width: 100%; height: auto; }
details { margin: 0.6rem 0; }
summary { cursor: pointer; }
pre, code { font: 0.85rem/1.45 ui-monospace, monospace; }
pre { overflow-x: auto; background: var(--tint); padding: 0.7rem; }
a { color: var(--mark); }
nav ul { padding-left: 1.1rem; columns: 14rem; }
"""


def words(text: object) -> Html:
    """Any text as it should be read."""
    return Html(html.escape(str(text)))


def paragraph(text: object, kind: str = "") -> Html:
    """A paragraph; kind: "said" for what is claimed, "soft" for what is beside it."""
    return Html(f"<p{_kind(kind)}>{words(text)}</p>\n")


def items(texts: Iterable[object], kind: str = "") -> Html:
    """A list of sentences."""
    lines = "".join(f"<li>{words(text)}</li>\n" for text in texts)
    return Html(f"<ul{_kind(kind)}>\n{lines}</ul>\n")


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], *, texts: int = 1) -> Html:
    """A table whose first `texts` columns are read as text, the others as numbers; the first names its row."""
    top = "".join(f'<th scope="col"{_number(place >= texts)}>{words(name)}</th>' for place, name in enumerate(head))
    body = []
    for row in rows:
        first, *rest = row
        cells = [f'<th scope="row">{words(first)}</th>']
        cells += [f"<td{_number(place >= texts)}>{words(cell)}</td>" for place, cell in enumerate(rest, 1)]
        body.append(f"<tr>{''.join(cells)}</tr>\n")
    return Html(
        f'<div class="wide" role="region" aria-label="{words(caption)}" tabindex="0">\n<table>\n'
        f"<caption>{words(caption)}</caption>\n<thead><tr>{top}</tr></thead>\n<tbody>\n{''.join(body)}</tbody>\n"
        f"</table>\n</div>\n"
    )


def figure(drawing: Html, caption: str) -> Html:
    """A drawing (SVG) with the words below it."""
    return Html(
        f'<figure>\n<div class="wide" role="region" aria-label="{words(caption)}" tabindex="0">{drawing}</div>\n'
        f"<figcaption>{words(caption)}</figcaption>\n</figure>\n"
    )


def folded(summary: str, inner: Html) -> Html:
    """What opens on demand."""
    return Html(f"<details>\n<summary>{words(summary)}</summary>\n{inner}</details>\n")


def preformatted(text: str) -> Html:
    """Text with its line ends, such as a recipe."""
    return Html(f'<pre tabindex="0">{words(text)}</pre>\n')


def joined(parts: Iterable[Html]) -> Html:
    """One after another."""
    return Html("".join(parts))


def page(title: str, lede: Html, sections: Sequence[tuple[str, Html]]) -> str:
    """The whole document: a title, what is said first, and sections by heading with a list of them."""
    links = "".join(
        f'<li><a href="#part-{number}">{words(name)}</a></li>\n' for number, (name, _) in enumerate(sections)
    )
    parts = "".join(
        f'<section id="part-{number}">\n<h2>{words(name)}</h2>\n{inner}</section>\n'
        for number, (name, inner) in enumerate(sections)
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{words(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f'<h1>{words(title)}</h1>\n{lede}<nav aria-label="Contents">\n<ul>\n{links}</ul>\n</nav>\n{parts}'
        f"</main>\n</body>\n</html>\n"
    )


def _kind(kind: str) -> str:
    return f' class="{words(kind)}"' if kind else ""


def _number(numeric: bool) -> str:
    return ' class="number"' if numeric else ""
