"""Translation memories (.tmx, TMX 1.4b): their units as pairs, streamed, with hostile XML refused."""

import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from xml.parsers import expat

from headway.corpus.text_file import byte_chunks, shown
from headway.errors import DataError

logger = logging.getLogger(__name__)

_LONGEST = 1 << 24  # characters of a segment
_CODES = {"bpt", "ept", "ph", "it", "ut", "sub"}  # inside a segment: marks of the layout, not words
_SPACES = re.compile(r"[ \t]*\n\s*")
_PLAIN = "Export the translation memory as plain TMX 1.4, without <!DOCTYPE ... [ ... ]>."
_WAY_OUT = "Name the two languages: --set data.source_field=en --set data.target_field=fr"


def read_translation_memory(path: Path, *, source: str | None, target: str | None) -> Iterator[tuple[str, str, int]]:
    """The source, the target and the line of each unit that has both; the others are counted in a log line.

    source, target: languages; "en" takes "en-GB" too. Without them the source is the header's `srclang` (or the first
    language of the first unit, where that is "*all*" or none), the target the one other language. A document type
    that declares anything itself, and so every entity of the file's own, is refused; one that only names tmx14.dtd is
    not fetched. Raises DataError.
    """
    parser = _MemoryParser(path)
    languages = None if source is None or target is None else (source, target)
    given = left_out = 0
    for unit in parser.units():
        if languages is None:
            languages = _languages(unit, parser.source_language, path)
            if languages is None:
                left_out += 1
                continue
            logger.info("%s: source language %s, target language %s", shown(path), *languages)
        if (source is None) and len(unit.texts) > 2:
            raise DataError(
                f"{shown(path)}:{unit.line} has {len(unit.texts)} languages: {', '.join(unit.texts)}\n{_WAY_OUT}"
            )
        found = _of(unit.texts, languages[0]), _of(unit.texts, languages[1])
        if found[0] is None or found[1] is None:
            left_out += 1
            continue
        given += 1
        yield found[0], found[1], unit.line
    if given == 0 and left_out:
        wanted = "two languages" if languages is None else f"the languages {languages[0]!r} and {languages[1]!r}"
        raise DataError(
            f"none of the {left_out} units of {shown(path)} has {wanted}; "
            f"its languages are {', '.join(sorted(parser.languages)) or 'none'}\n{_WAY_OUT}"
        )
    if left_out:
        logger.warning("left out %d units of %s that lack one of the two languages", left_out, shown(path))


class _Unit:
    """One translation unit: the text of each language, by its name in lower case, and its line."""

    def __init__(self, line: int) -> None:
        self.texts: dict[str, str] = {}
        self.line = line


class _MemoryParser:
    """expat's own interface rather than ElementTree's: only there can declarations be refused as they appear."""

    def __init__(self, path: Path) -> None:
        self.source_language: str | None = None
        self.languages: set[str] = set()
        self._path = path
        self._ready: list[_Unit] = []
        self._unit: _Unit | None = None
        self._language: str | None = None
        self._segment: list[str] | None = None
        self._size = self._codes = 0
        self._expat = expat.ParserCreate()
        self._expat.buffer_text = True
        self._expat.StartElementHandler = self._start
        self._expat.EndElementHandler = self._end
        self._expat.CharacterDataHandler = self._characters
        self._expat.StartDoctypeDeclHandler = self._doctype
        self._expat.EntityDeclHandler = self._entity
        self._expat.SkippedEntityHandler = self._skipped

    def units(self) -> Iterator[_Unit]:
        """The units of the file, a chunk's at a time."""
        try:
            for chunk in byte_chunks(self._path):
                self._expat.Parse(chunk, False)
                yield from self._ready
                self._ready = []
            self._expat.Parse(b"", True)
        except expat.ExpatError as error:
            raise DataError(
                f"{shown(self._path)}:{error.lineno} is not sound XML: {expat.ErrorString(error.code)}\n"
                "Mend it there, or export the translation memory again."
            ) from None
        yield from self._ready

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        if name == "header":
            named = attributes.get("srclang", "*all*").lower()
            self.source_language = None if named == "*all*" else named
        elif name == "tu":
            self._unit = _Unit(self._expat.CurrentLineNumber)
        elif name == "tuv":
            language = attributes.get("xml:lang") or attributes.get("lang")
            if language is None:
                raise DataError(
                    f"{self._place()}: <tuv> must say its language (xml:lang), but does not\nMend it there."
                )
            self._language = language.lower()
            self.languages.add(self._language)
        elif name == "seg":
            self._segment, self._size, self._codes = [], 0, 0
        elif name in _CODES:
            self._codes += 1

    def _end(self, name: str) -> None:
        if name in _CODES:
            self._codes -= 1
        elif name == "seg" and self._segment is not None:
            if self._unit is not None and self._language is not None:
                self._unit.texts.setdefault(self._language, _SPACES.sub(" ", "".join(self._segment)).strip())
            self._segment = None
        elif name == "tu" and self._unit is not None:
            self._ready.append(self._unit)
            self._unit = None

    def _characters(self, text: str) -> None:
        if self._segment is not None and self._codes == 0:
            self._segment.append(text)
            self._size += len(text)
            if self._size > _LONGEST:
                raise DataError(f"{self._place()}: a segment must have at most {_LONGEST} characters\nTake it out.")

    def _doctype(self, name: str, system: str | None, public: str | None, internal: bool) -> None:
        if internal:
            raise DataError(f"{self._place()}: a document type with declarations of its own is refused\n{_PLAIN}")

    def _entity(self, *declaration: object) -> None:
        raise DataError(f"{self._place()}: entity declarations are refused\n{_PLAIN}")

    def _skipped(self, name: str, is_parameter: bool) -> None:
        raise DataError(f"{self._place()}: the entity &{name}; is declared nowhere\nWrite the character itself.")

    def _place(self) -> str:
        return f"{shown(self._path)}:{self._expat.CurrentLineNumber}"


def _languages(unit: _Unit, source: str | None, path: Path) -> tuple[str, str] | None:
    """Source and target of a file of two languages, by a unit that has both; None: this one does not."""
    if len(unit.texts) < 2:
        return None
    names = list(unit.texts)
    first = names[0] if source is None else next((name for name in names if _matches(name, source)), None)
    if first is None:
        return None
    others = [name for name in names if name != first]
    if len(others) > 1:
        raise DataError(f"{shown(path)}:{unit.line} has {len(names)} languages: {', '.join(sorted(names))}\n{_WAY_OUT}")
    return first, others[0]


def _of(texts: Mapping[str, str], language: str) -> str | None:
    return next((text for name, text in texts.items() if _matches(name, language)), None)


def _matches(name: str, language: str) -> bool:
    """Whether a language of the file is the one asked for: the same, or a variety of it ("en-GB" of "en")."""
    wanted = language.lower().replace("_", "-")
    found = name.lower().replace("_", "-")
    return found == wanted or found.startswith(wanted + "-")
