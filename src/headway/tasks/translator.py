"""Translator: a text in, its translation out, by any model that reads a source. Many texts go in batches."""

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, overload

from headway.decoding.search import LengthPenalty, Search
from headway.errors import ContextError, FormatError, UsageError
from headway.models.protocol import AnyDecoder
from headway.tasks.alignment import Alignment, Head, align, attention_of
from headway.tasks.in_pytorch import in_pytorch
from headway.tasks.request import draw_seed
from headway.tasks.search_defaults import read_defaults
from headway.tasks.translating import Sides, Translation, TranslationRequest, Unknown, translate_all
from headway.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "en-fr"
Texts = list[str] | tuple[str, ...]
_RATIO, _EXTRA = 3.0, 10  # where nothing is said: a model that never ends must end somewhere
_FIRST_LINES, _MOST_LINES, _MOST_CHARACTERS = 16, 4096, 1 << 22  # a stream's first and largest window


class Translator:
    """Translates with a model folder, a bundled model or a model in memory."""

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        *,
        device: "str | torch.device" = "auto",
        engine: str = "auto",
        dtype: "str | torch.dtype | None" = None,
        bits: int | None = None,
    ) -> None:
        """Open a model folder, or a bundled model by name; an existing path wins over a name.

        Defaults of the search are the folder's (generation_config.json: num_beams, length_penalty, max_new_tokens or
        max_length). device, engine, dtype, bits: as for `Writer`. A compiled model keeps no trace: alignments come from
        one pass in PyTorch over the finished translation, at the stored precision, and a search with a coverage penalty
        runs there as a whole; the first of these opens the folder in PyTorch. Raises FormatError where the folder has
        no tokenizer that headway reads, UsageError for a model that reads no source, ResourceError for a device or an
        engine that is not there.
        """
        from headway.formats.bundled import locate
        from headway.formats.folder import family_of_folder, load, load_target_tokenizer, read_generation
        from headway.formats.reading import read_json
        from headway.models.registry import FAMILIES
        from headway.tasks.engines import Asked, in_engine
        from headway.tasks.placement import choose_device

        asked = Asked(engine=engine, bits=bits, dtype=dtype)
        folder = locate(model).resolve()
        name = family_of_folder(folder)
        if not FAMILIES[name].reads_source:
            able = ", ".join(other for other, known in FAMILIES.items() if known.reads_source)
            raise UsageError(
                f"{model} is a {name} model, which reads no source, so it does not translate\n"
                f"Give a model of one of the families {able} (headway train pairs.tsv), or use headway write."
            )
        loaded, tokenizer = load(folder, device=choose_device(device), dtype=dtype)
        if tokenizer is None:
            raise FormatError(
                f"{model} holds weights but no tokenizer that headway reads, and a translator needs one\n"
                "Put the model's tokenizer.json into the folder, and one of the target's own under target/."
            )
        running: AnyDecoder = in_engine(loaded, asked)
        plain = None if running is loaded else in_pytorch(folder)
        settings = {**_special_ids(read_json(folder, "config.json")), **read_generation(folder)}
        self._join(running, tokenizer, load_target_tokenizer(folder) or tokenizer, settings, plain)
        self._insists = asked.insists

    @classmethod
    def of(
        cls,
        model: AnyDecoder,
        tokenizer: Tokenizer,
        *,
        target_tokenizer: Tokenizer | None = None,
        generation: Mapping[str, object] | None = None,
    ) -> "Translator":
        """A translator of a model in memory, which is put in evaluation mode.

        target_tokenizer: None where one tokenizer serves both sides. generation: what generation_config.json would say.
        """
        translator = cls.__new__(cls)
        translator._insists = False
        translator._join(model, tokenizer, target_tokenizer or tokenizer, generation or {})
        return translator

    # More than six parameters: each is a word of the public interface, the same as on the command line.
    @overload
    def translate(
        self,
        text: str,
        *,
        beam: int | None = ...,
        n_best: int = ...,
        length_penalty: LengthPenalty | None = ...,
        alpha: float | None = ...,
        min_ratio: float = ...,
        max_ratio: float | None = ...,
        max_new_tokens: int | None = ...,
        coverage_penalty: float = ...,
        prefix: str | None = ...,
        temperature: float | None = ...,
        seed: int | None = ...,
        unknown: Unknown = ...,
        alignment: bool = ...,
        by_sentence: bool = ...,
        longest: int | None = ...,
        batch_tokens: int = ...,
    ) -> Translation: ...

    @overload
    def translate(
        self,
        text: Texts,
        *,
        beam: int | None = ...,
        n_best: int = ...,
        length_penalty: LengthPenalty | None = ...,
        alpha: float | None = ...,
        min_ratio: float = ...,
        max_ratio: float | None = ...,
        max_new_tokens: int | None = ...,
        coverage_penalty: float = ...,
        prefix: str | None = ...,
        temperature: float | None = ...,
        seed: int | None = ...,
        unknown: Unknown = ...,
        alignment: bool = ...,
        by_sentence: bool = ...,
        longest: int | None = ...,
        batch_tokens: int = ...,
    ) -> list[Translation]: ...

    def translate(
        self,
        text: str | Texts,
        *,
        beam: int | None = None,
        n_best: int = 1,
        length_penalty: LengthPenalty | None = None,
        alpha: float | None = None,
        min_ratio: float = 0.0,
        max_ratio: float | None = None,
        max_new_tokens: int | None = None,
        coverage_penalty: float = 0.0,
        prefix: str | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        unknown: Unknown = "keep",
        alignment: bool = False,
        by_sentence: bool = False,
        longest: int | None = None,
        batch_tokens: int = 1600,
    ) -> Translation | list[Translation]:
        """Translate a text, or each of a list of texts as if it were alone; a list in gives a list out.

        beam: None is the folder's, else 4; 1 takes the likeliest token at every place. n_best, length_penalty, alpha,
        min_ratio, coverage_penalty: see `Search`. max_ratio: target tokens at most for each of the source; None: 3,
        and 10 more. prefix: the translation begins with it. temperature: draws instead of searching, repeatably with
        seed (None: one is drawn); n_best is then how many draws. unknown: what becomes of the unknown word of a
        vocabulary that has one: it is kept, forbidden, or replaced by the source word it is aligned to. alignment:
        find what each word was translated from. A text of more than `longest` source tokens (None: the model's own
        limit) is translated sentence by sentence (see `Translation.windowed`), and so is every text with by_sentence;
        a line's end in a text stays. batch_tokens: source tokens read together. An empty text stays empty.
        """
        request = self.request(
            beam=beam,
            n_best=n_best,
            length_penalty=length_penalty,
            alpha=alpha,
            min_ratio=min_ratio,
            max_ratio=max_ratio,
            max_new_tokens=max_new_tokens,
            coverage_penalty=coverage_penalty,
            prefix=prefix,
            temperature=temperature,
            seed=seed,
            unknown=unknown,
            alignment=alignment,
            by_sentence=by_sentence,
            longest=longest,
            batch_tokens=batch_tokens,
        )
        texts = [text] if isinstance(text, str) else list(text)
        found = translate_all(self.sides, texts, request)
        return found[0] if isinstance(text, str) else found

    def stream(
        self,
        lines: Iterable[str],
        *,
        beam: int | None = None,
        n_best: int = 1,
        length_penalty: LengthPenalty | None = None,
        alpha: float | None = None,
        min_ratio: float = 0.0,
        max_ratio: float | None = None,
        max_new_tokens: int | None = None,
        coverage_penalty: float = 0.0,
        prefix: str | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        unknown: Unknown = "keep",
        alignment: bool = False,
        by_sentence: bool = False,
        longest: int | None = None,
        batch_tokens: int = 1600,
        window: int | None = None,
    ) -> Iterator[Translation]:
        """The translations of any number of texts, in their order, in bounded memory.

        So many texts as `window` are read at once, sorted by length, translated in batches and given out in their
        order; None: 16 first, twice as many each time, up to 4,096. No translation depends on it. The other
        arguments are those of `translate`; they are checked at the call.
        """
        if window is not None and window < 1:
            raise UsageError(f"window must be a whole number of at least 1, but got {window}")
        request = self.request(
            beam=beam,
            n_best=n_best,
            length_penalty=length_penalty,
            alpha=alpha,
            min_ratio=min_ratio,
            max_ratio=max_ratio,
            max_new_tokens=max_new_tokens,
            coverage_penalty=coverage_penalty,
            prefix=prefix,
            temperature=temperature,
            seed=seed,
            unknown=unknown,
            alignment=alignment,
            by_sentence=by_sentence,
            longest=longest,
            batch_tokens=batch_tokens,
        )
        return self.stream_of(lines, request, window)

    def stream_of(
        self, lines: Iterable[str], request: TranslationRequest, window: int | None = None
    ) -> Iterator[Translation]:
        """`stream` of a request that is made already."""
        for texts in windows(lines, window):
            yield from translate_all(self.sides, texts, request)

    def align(
        self, sources: Texts, targets: Texts, *, head: Head | None = None, at_blanks: bool = False
    ) -> list[Alignment]:
        """The alignment of each source with the target that is given for it, by one pass of the model over both.

        head: None is the folder's, else see `headway.tasks.alignment.align`. at_blanks: words end at blanks alone.
        Raises UsageError for a model without attention to its source and for lists of different lengths, ContextError
        for a text past the model's context.
        """
        if len(sources) != len(targets):
            raise UsageError(f"align takes one target for each source, but got {len(sources)} and {len(targets)}")
        sides = self.sides
        source_ids = [[*sides.source.encode(text), sides.source_end] for text in sources]
        target_ids = [sides.target.encode(text) for text in targets]
        context = sides.model.context
        longest = max((len(ids) for ids in [*source_ids, *target_ids]), default=0)
        if context is not None and longest > context:
            raise ContextError(
                f"an alignment takes at most {context} tokens (the model's context) on a side, but got {longest}\n"
                "Give one sentence at a time."
            )
        weights = align(sides.traced, source_ids, target_ids, start=sides.start, head=head or sides.head)
        return [
            attention_of(sides.source, sides.target, *pair, at_blanks=at_blanks)
            for pair in zip(source_ids, target_ids, weights, strict=True)
        ]

    def request(
        self,
        *,
        beam: int | None = None,
        n_best: int = 1,
        length_penalty: LengthPenalty | None = None,
        alpha: float | None = None,
        min_ratio: float = 0.0,
        max_ratio: float | None = None,
        max_new_tokens: int | None = None,
        coverage_penalty: float = 0.0,
        prefix: str | None = None,
        temperature: float | None = None,
        seed: int | None = None,
        unknown: Unknown = "keep",
        alignment: bool = False,
        by_sentence: bool = False,
        longest: int | None = None,
        batch_tokens: int = 1600,
    ) -> TranslationRequest:
        """The arguments of `translate`, checked, with the folder's defaults in place of None."""
        if coverage_penalty and self.sides.plain is not None:
            if self._insists:
                raise UsageError(
                    f"coverage_penalty={coverage_penalty} reads the attention, which the engine does not show\n"
                    "Leave it out, or open the model with engine=torch."
                )
            logger.info("a coverage penalty reads the attention: this search runs on PyTorch")
        drawn = temperature is not None
        search = Search(
            beam=beam if beam is not None else 1 if drawn else max(self.defaults.beam, n_best),
            n_best=1 if drawn else n_best,
            length_penalty=length_penalty or "mean",
            # A folder's exponent is that of the mean; another penalty has its own.
            alpha=alpha if alpha is not None else self.defaults.alpha if length_penalty in (None, "mean") else 1.0,
            min_ratio=min_ratio,
            max_ratio=_RATIO if max_ratio is None else max_ratio,
            max_extra=_EXTRA if max_ratio is None else 0,
            max_new_tokens=self.defaults.max_new_tokens if max_new_tokens is None else max_new_tokens,
            coverage_penalty=coverage_penalty,
        )
        return TranslationRequest(
            search=search,
            prefix=prefix or "",
            temperature=temperature,
            samples=n_best if drawn else 1,
            seed=draw_seed() if seed is None else seed,
            unknown=unknown,
            alignment=alignment,
            by_sentence=by_sentence,
            longest=longest,
            batch_tokens=batch_tokens,
        )

    # Six parameters: the two sides, what runs, and what shows how.
    def _join(
        self,
        model: AnyDecoder,
        source: Tokenizer,
        target: Tokenizer,
        generation: Mapping[str, object],
        plain: Callable[[], AnyDecoder] | None = None,
    ) -> None:
        import torch

        if isinstance(model, torch.nn.Module):
            model.eval()
        self.defaults = read_defaults(generation)
        ends = set(self.defaults.ends)
        source_end = source.end_of_text if source.end_of_text is not None else min(ends, default=None)
        if target.end_of_text is not None:
            ends.add(target.end_of_text)
        if source_end is None or not ends:
            raise FormatError(
                "a translator's tokenizers must have an id that ends a text, and this one has none\n"
                "Give eos_token_id in generation_config.json, or a tokenizer with an end-of-text token."
            )
        self.sides = Sides(
            model=model,
            plain=plain,
            source=source,
            target=target,
            source_end=source_end,
            start=min(ends) if self.defaults.start is None else self.defaults.start,
            ends=frozenset(ends),
            barred=self.defaults.barred - ends,
            head=self.defaults.head,
            longest=self.defaults.longest,
        )


def windows(lines: Iterable[str], size: int | None = None) -> Iterator[list[str]]:
    """The lines in groups of `size`; None: of 16, then twice as many each time, and of bounded characters."""
    groups = iter(lines)
    wanted = size or _FIRST_LINES
    while True:
        group: list[str] = []
        characters = 0
        for line in itertools.islice(groups, wanted):
            group.append(line)
            characters += len(line)
            if characters >= _MOST_CHARACTERS:
                break
        if not group:
            return
        yield group
        wanted = size or min(2 * wanted, _MOST_LINES)


def _special_ids(config: Mapping[str, object]) -> dict[str, object]:
    names = ("eos_token_id", "pad_token_id", "decoder_start_token_id")
    return {name: config[name] for name in names if config.get(name) is not None}
