"""An inspection as one HTML page that needs nothing else: no network, no other file, nothing but its own short script.

The numbers travel as JSON in the page; every text is put into it as text, never as markup.
"""

import base64
import hashlib
import json
from collections.abc import Mapping
from html import escape
from importlib import resources
from typing import Any

_MARKER = "<!--data-->"


def look_html(inspection: Mapping[str, Any], *, title: str = "What a model sees") -> str:
    """The whole page of what `inspection.inspect` gave: tokens, surprise, heads, logit lens, contributions.

    Whole maps may be in either encoding; what was not asked for is left out. The page forbids itself every script but
    its own, and every connection.
    """
    style, script = _part("css"), _part("js")
    policy = f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; base-uri 'none'"
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{escape(policy)}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{style}</style>",
            "</head>",
            "<body>",
            f"<h1>{escape(title)}</h1>",
            '<main id="look"><noscript>This page is drawn by the script in it: switch scripts on.</noscript></main>',
            f'<script type="application/json" id="data">{_embedded(inspection)}</script>',
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def filled(template: str, inspection: Mapping[str, Any]) -> str:
    """A page of one's own with the inspection as JSON in place of its first `<!--data-->`."""
    before, marker, behind = template.partition(_MARKER)
    assert marker, f"a template has {_MARKER}"
    return f"{before}{_embedded(inspection)}{behind}"


def _embedded(inspection: Mapping[str, Any]) -> str:
    """JSON that may stand inside a script element: no character of it begins or ends markup."""
    text = json.dumps(inspection, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _part(kind: str) -> str:
    return (resources.files("headway.insight") / f"look_page.{kind}").read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}"
