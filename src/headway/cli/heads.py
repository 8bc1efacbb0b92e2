"""The heads of a model by how well they align, for `headway look --pairs`."""

from itertools import islice
from pathlib import Path

from headway.cli.output import note, print_json, print_rows
from headway.cli.source_text import read_lines
from headway.cli.translate import Place
from headway.errors import UsageError

_MOST_PAIRS = 1000  # more change no head's place
_SHOWN = 12


def show_heads(name: str, pairs: Path, *, gold: Path | None, remember: bool, place: Place, json: bool) -> None:
    """Print a model's heads, the one that aligns best first; with `remember` note that one in its folder."""
    from headway.corpus.pairs import read_pairs
    from headway.formats.bundled import ROOT, locate
    from headway.tasks.alignment_quality import read_gold, remember_head, score_heads
    from headway.tasks.translator import Translator

    folder = locate(name).resolve()
    if remember and folder.is_relative_to(ROOT.resolve()):
        raise UsageError(f"{name} is a bundled model, which stays as it is\nCopy its folder, and give the copy.")
    some = list(islice(read_pairs(pairs), _MOST_PAIRS))
    known = None if gold is None else [read_gold(line) for line in islice(read_lines(gold), len(some))]
    translator = Translator(folder, device=place.device, engine="torch", dtype=place.dtype)
    scores = score_heads(translator.sides, [pair.source for pair in some], [pair.target for pair in some], gold=known)
    if remember:
        remember_head(folder, scores[0].head)
    if json:
        rows = [
            {"layer": one.head[0], "head": one.head[1], "agreement": one.agreement, "error_rate": one.error_rate}
            for one in scores
        ]
        print_json({"model": name, "pairs": len(some), "heads": rows})
        return
    shown = [("layer", "head", "diagonal", "error rate")]
    for one in scores[:_SHOWN]:
        layer, head = one.head
        rate = "" if one.error_rate is None else f"{one.error_rate:.3f}"
        shown.append((str(layer), "mean" if head is None else str(head), f"{one.agreement:.3f}", rate))
    print_rows(shown)
    if remember:
        note("(The first is noted in generation_config.json: alignments are its own from now on.)")
