"""The texts of a file, each in one piece, for benchmarks that count or shuffle whole documents."""

from pathlib import Path

from headway.corpus.documents import read_documents


def whole_documents(path: Path) -> list[str]:
    """The texts of a file; a document the reader gives in pieces is whole again."""
    texts: list[str] = []
    more = False
    for document in read_documents(path):
        if more:
            texts[-1] += document.text
        else:
            texts.append(document.text)
        more = document.more
    return texts
