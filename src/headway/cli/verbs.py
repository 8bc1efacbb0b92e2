"""The verbs of the command line, each registered once; the overview is printed from this table alone.

It is plain data, so that `headway --help` answers without loading any verb, the parser or torch.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One verb: `function` is the import path of what runs it."""

    name: str
    function: str
    group: str
    summary: str


VERBS = (
    Verb(
        name="write",
        function="headway.cli.write:write",
        group="Use a model",
        summary="Write on from a prompt, streaming.",
    ),
    Verb(
        name="translate",
        function="headway.cli.translate:translate",
        group="Use a model",
        summary="Translate sentences, files or a pipe.",
    ),
    Verb(
        name="summarise",
        function="headway.cli.summarise:summarise",
        group="Use a model",
        summary="Say a long text in few words, with a model trained to.",
    ),
    Verb(
        name="fill",
        function="headway.cli.fill:fill",
        group="Use a model",
        summary="Guess the words behind [MASK], from both sides.",
    ),
    Verb(
        name="classify",
        function="headway.cli.classify:classify",
        group="Use a model",
        summary="Say what each text is, or that it is not sure.",
    ),
    Verb(
        name="tag",
        function="headway.cli.tag:tag",
        group="Use a model",
        summary="Find the spans of a text a model was trained to find.",
    ),
    Verb(
        name="answer",
        function="headway.cli.answer:answer",
        group="Use a model",
        summary="Find the answer to a question in a text.",
    ),
    Verb(
        name="embed",
        function="headway.cli.embed:embed",
        group="Use a model",
        summary="Turn texts into vectors that can be compared.",
    ),
    Verb(
        name="serve",
        function="headway.cli.serve:serve",
        group="Use a model",
        summary="Open the page, and serve models to other programs.",
    ),
    Verb(
        name="look",
        function="headway.cli.look:look",
        group="Use a model",
        summary="See which source words each word of a translation read.",
    ),
    Verb(
        name="demo",
        function="headway.cli.demo:demo",
        group="Use a model",
        summary="See the bundled models write, translate and read.",
    ),
    Verb(
        name="train",
        function="headway.cli.train:train",
        group="Make a model",
        summary="Train on text, pairs or labels, or fine-tune with --from.",
    ),
    Verb(
        name="evaluate",
        function="headway.cli.evaluate:evaluate",
        group="Make a model",
        summary="Bits per byte on held-out text; BLEU and chrF on pairs.",
    ),
    Verb(
        name="compare",
        function="headway.cli.compare:compare",
        group="Make a model",
        summary="Train several families alike on your pairs, and report.",
    ),
    Verb(
        name="export",
        function="headway.cli.export:export",
        group="Move a model",
        summary="Write a model folder for other programs.",
    ),
    Verb(
        name="import",
        function="headway.cli.import_:import_",
        group="Move a model",
        summary="Make a model folder from one of other programs.",
    ),
    Verb(
        name="models",
        function="headway.cli.models:models",
        group="Look around",
        summary="List the bundled models.",
    ),
    Verb(
        name="bench",
        function="headway.cli.bench:bench",
        group="Look around",
        summary="Speed, memory and quality of a model at each width of the compiled engine.",
    ),
    Verb(
        name="doctor",
        function="headway.cli.doctor:doctor",
        group="Look around",
        summary="What this machine has, and what will fit on it.",
    ),
)


def overview(version: str) -> str:
    """The text of `headway --help`."""
    lines = [
        f"headway {version}: train, run and look inside models that write, translate and read",
        "",
        "Usage: headway VERB [ARGUMENTS]   (headway VERB --help explains a verb, with an example)",
    ]
    for group in dict.fromkeys(verb.group for verb in VERBS):
        lines += ["", group]
        lines += [f"  {verb.name:<9} {verb.summary}" for verb in VERBS if verb.group == group]
    lines += [
        "",
        "For every verb",
        "  --json    print one JSON object on stdout instead of text",
        "  --debug   show the full traceback of an error",
        "  --help    explain the verb; --version prints the version",
        "",
        "Two commands from text to a model that writes, from pairs to one that translates, from labels to a judge:",
        "  headway train my-texts/ -o my-model --minutes 10",
        '  headway write my-model "Once upon a time"',
        "  headway train pairs.tsv -o my-translator --family transformer --minutes 30",
        '  headway translate my-translator "A sentence."',
        "  headway train reviews.tsv --from reader --task classify -o my-judge",
        '  headway classify my-judge --text "A text."',
    ]
    return "\n".join(lines)
