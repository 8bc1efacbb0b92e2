"""Texts that would run in a page that took a text for markup, and answers of a server that are made of them."""

import html
import json
import urllib.parse
from collections.abc import Callable
from typing import Any

CODE = "window.__ran=1"


def payloads() -> list[str]:
    """More than 1,000, each another: elements, attributes, addresses and templates, in many disguises."""
    found = [disguise(text) for text in _elements() for disguise in _disguises()]
    return list(dict.fromkeys(found))


def _elements() -> list[str]:
    return [
        f"<script>{CODE}</script>",
        f"<script type=module>{CODE}</script>",
        f"<script src='data:text/javascript,{CODE}'></script>",
        f"<script>{CODE}",
        f"<img src=x onerror={CODE}>",
        f"<img src=x onerror='{CODE}' ",
        f"<img/src/onerror={CODE}>",
        f"<image href=x onerror={CODE}>",
        f"<svg onload={CODE}>",
        f"<svg/onload={CODE}//",
        f"<svg><script>{CODE}</script></svg>",
        f"<svg><script href='data:,{CODE}' />",
        f"<svg><animate onbegin={CODE} attributeName=x dur=1s>",
        f"<svg><a xlink:href='javascript:{CODE}'><text y=20>x</text></a></svg>",
        f"<svg><foreignObject><iframe srcdoc='<script>parent.{CODE}</script>'></foreignObject></svg>",
        f"<svg><use href='data:image/svg+xml,<svg id=x onload={CODE}>#x'></svg>",
        f"<math><mtext><script>{CODE}</script></mtext></math>",
        f"<math href='javascript:{CODE}'>x</math>",
        f"<iframe srcdoc='<script>parent.{CODE}</script>'></iframe>",
        f"<iframe src='javascript:parent.{CODE}'></iframe>",
        f"<body onpageshow={CODE}>",
        f"<details open ontoggle={CODE}>",
        f"<input autofocus onfocus={CODE}>",
        f"<marquee onstart={CODE}>x</marquee>",
        f"<video><source onerror={CODE}></video>",
        f"<audio src=x onerror={CODE}>",
        f"<a href='javascript:{CODE}'>x</a>",
        f"<a href='java\tscript:{CODE}'>x</a>",
        f"<form action='javascript:{CODE}'><button>x</button></form>",
        f"<button formaction='javascript:{CODE}'>x</button>",
        f"<object data='javascript:{CODE}'></object>",
        f"<embed src='javascript:{CODE}'>",
        f"<template><script>{CODE}</script></template>",
        f"<template shadowrootmode=open><script>{CODE}</script></template>",
        f"<style>@import 'javascript:{CODE}';</style>",
        f"<style onload={CODE}></style>",
        f"<link rel=stylesheet href=x onerror={CODE}>",
        f"<base href='javascript:{CODE}//'>",
        f"<meta http-equiv=refresh content='0;url=javascript:{CODE}'>",
        f"<noscript><p title='</noscript><img src=x onerror={CODE}>'>",
        f"<xmp><p title='</xmp><img src=x onerror={CODE}>'>",
        f"<textarea></textarea><img src=x onerror={CODE}>",
        f"<title></title><svg onload={CODE}>",
        f"<select><option><img src=x onerror={CODE}></select>",
        f"<p style='x:expression({CODE})' onanimationstart={CODE}>",
        f"<custom-element onclick={CODE} tabindex=1 onfocus={CODE} autofocus>",
        f"${{{CODE}}}",
        f"{{{{constructor.constructor('{CODE}')()}}}}",
        f"javascript:{CODE}",
        f"data:text/html,<script>{CODE}</script>",
        f"[x](javascript:{CODE})",
        f"![x](x' onerror='{CODE})",
        f"<javascript:{CODE}>",
        json.dumps({"__html": f"<img src=x onerror={CODE}>", "type": "script", "props": {"children": CODE}}),
        json.dumps({"__proto__": {"dangerouslySetInnerHTML": {"__html": f"<img src=x onerror={CODE}>"}}}),
    ]


def _disguises() -> list[Callable[[str], str]]:
    return [
        lambda text: text,
        lambda text: f'">{text}',
        lambda text: f"'>{text}",
        lambda text: f"</textarea></title></style></script>{text}",
        lambda text: f"-->{text}<!--",
        lambda text: f"]]>{text}<![CDATA[",
        lambda text: f"`{text}`",
        lambda text: f"**{text}**",
        lambda text: f"# {text}",
        lambda text: f"| {text} | x |\n|---|---|\n| {text} | x |",
        lambda text: f"    {text}\n\n- {text}",
        lambda text: f"\\x3c{text}\\u003c",
        lambda text: text.replace("<", "\uff1c<").replace(" ", "\x0c"),
        lambda text: f"\u202e{text}\u2028\ufeff",
        lambda text: text.swapcase().replace("WINDOW.__RAN", "window.__ran"),
        lambda text: html.escape(text),
        lambda text: "".join(f"&#{ord(letter)};" for letter in text),
        lambda text: urllib.parse.quote(text),
        lambda text: text.replace("<", "<\n").replace("=", "\n=\n"),
        lambda text: text.replace("<", "<<").replace(">", ">>"),
    ]


def next_answer(texts: list[str]) -> dict[str, Any]:
    """As /v1/next answers, with these tokens."""
    one = {"probability": 0.001, "kept_probability": 0.001}
    candidates = [{"id": at, "text": text, **one} for at, text in enumerate(texts)]
    return {"candidates": candidates, "rest": {"count": 3, **one}, "windowed": False}


def stream(texts: list[str]) -> str:
    """As /v1/completions streams, a token each; the alternatives are named so, too."""
    events = []
    for text in texts:
        logprobs = {"tokens": [text], "token_logprobs": [-1.0], "top_logprobs": [{text: -1.0}], "text_offset": [0]}
        choice = {"index": 0, "text": text, "ids": [1], "finish_reason": None, "logprobs": logprobs}
        events.append({"id": "x", "object": "text_completion", "model": "writer", "choices": [choice]})
    events.append({**events[-1], "choices": [{"index": 0, "text": "", "ids": [], "finish_reason": "length"}]})
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"


def translation(texts: list[str]) -> dict[str, Any]:
    """As /v1/translate answers: a text of all of them, and some as the words that are aligned."""
    weights = [[1.0] * 30 for _ in range(30)]
    alignment = {"source": texts[:30], "target": texts[30:60], "weights": weights}
    return {"data": [{"text": " ".join(texts), "score": 0.0, "finish_reason": "end", "alignment": alignment}]}


def lesson_events(texts: list[str]) -> str:
    """As a lesson tells: samples, and a head's tokens."""
    events: list[dict[str, Any]] = [{"model": {"parameters": 1, "layers": 1, "heads": 1, "text_bytes": 1}}]
    events += [
        {"sample": f"{one}{two}", "prompt": one, "at_step": at}
        for at, (one, two) in enumerate(zip(texts[:-1], texts[1:], strict=True))
    ]
    picture = {"layer": 0, "head": 0, "side": 4, "data": "AAECAwQFBgcICQoLDA0ODw==", "at_step": 1}
    events += [{"head": {**picture, "tokens": texts[at : at + 4]}} for at in range(0, 16, 4)]
    events.append({"done": {"seconds": 1.0, "steps": 2, "bits_per_byte": 3.0}})
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"


def model_list(models: dict[str, Any], texts: list[str]) -> dict[str, Any]:
    """The served models, with cards, labels and names of these texts."""
    hostile = [
        {**one, "headway": {**one["headway"], "languages": texts[:2], "labels": texts[2:40], "engine": texts[5]}}
        for one in models["data"]
    ]
    card = {"title": texts[0], "text": "\n\n".join(texts), "licence": texts[1]}
    hostile.insert(0, {**hostile[0], "id": texts[3], "headway": {**hostile[0]["headway"], "card": card, "verbs": []}})
    return {**models, "data": hostile}
