"""`Competitors`: names that an answer shall not say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Unpack

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._guard import GuardOptions
from llmops_sdk.guards._phrases.guard import PhraseAction, PhraseGuard
from llmops_sdk.guards._phrases.matcher import words_of

__all__ = ["Competitors"]

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SHORTEST_PLURAL = 4
_SHORTEST_JOINED = 6


class Competitors(PhraseGuard):
    """Finds names of competitors, as they are written by people who write them in their own way.

    Without regard to case, accents, look-alike letters (`\u0410cme` with a Cyrillic letter, `0penAI`), invisible
    characters, hyphens and spaces (`DeepMind`, `Deep Mind`, `deep-mind`); with a genitive or a plural (`Acme's`,
    `Acmes`). Whole words only: `Acme` is not in `acmeist`. A name that is an ordinary word, too (`Apple`, `Meta`) is
    better found with `match_case=True`. It does not know products, tickers or nicknames: list them as variants.

    Args:
        names: The names; or a mapping from names to lists of their variants.
        action: `"rewrite"` (the default), `"block"` or `"flag"`.
        replacement: What stands in place of a name; used as it is. A genitive stays: `[competitor]'s`.
        match_case: Only names that are written with the capitals of one of their variants, or in capitals, count.
        ignore: Phrases in which a name does not count (`"apple pie"`), and compiled patterns of names.
        options: See `GuardOptions`.

    Raises:
        ConfigurationError: There is no name, or one holds no letter.

    Example:
        >>> Competitors(["Acme"], replacement="another company").check("ACME's offer is better.").text
        "another company's offer is better."
    """

    def __init__(
        self,
        names: Sequence[str] | Mapping[str, Sequence[str]],
        *,
        action: PhraseAction = "rewrite",
        replacement: str = "[competitor]",
        match_case: bool = False,
        ignore: Sequence[str | re.Pattern[str]] = (),
        **options: Unpack[GuardOptions],
    ) -> None:
        if isinstance(names, str) or not names:
            raise ConfigurationError(f'Competitors takes a list of names: Competitors(["Acme"]), not {names!r}')
        named: dict[str, tuple[str, ...]] = {}
        for name in names:
            variants = names[name] if isinstance(names, Mapping) else ()
            if isinstance(variants, str):
                raise ConfigurationError(f"write a list of the variants of {name!r}, not {variants!r}")
            named[name] = (name, *variants)
        phrases = [(spelling, name) for name, spelt in named.items() for one in spelt for spelling in _spellings(one)]
        super().__init__(phrases, kind="competitor", inflected=False, action=action, ignore=ignore, **options)
        self._replacement = replacement
        self._cased = {name: tuple(map(_letters, spelt)) for name, spelt in named.items()} if match_case else None

    def replacement(self, written: str, rule: str, /) -> str:
        """The replacement, whatever the name."""
        return self._replacement

    def counts(self, written: str, rule: str, /) -> bool:
        """Whether the capitals are right, where they matter."""
        if self._cased is None:
            return True
        letters = _letters(written)
        singular = letters.removesuffix("s").removesuffix("S")
        return letters.isupper() or any(name in (letters, singular) for name in self._cased[rule])


def _letters(name: str) -> str:
    return "".join(character for character in name if character.isalnum())


def _spellings(name: str) -> Iterator[str]:
    """The ways to put the words of a name together and apart, each with a plural or genitive `s`."""
    words = words_of(name)
    apart = _CAMEL.sub(" ", name)
    ways = [name]
    if apart != name:
        ways.append(apart)
    if len(words) > 1 and len("".join(words)) >= _SHORTEST_JOINED:
        ways.append("".join(words))
    for way in ways:
        yield way
        last = words_of(way)[-1]
        if len(last) >= _SHORTEST_PLURAL and last.isascii() and last.isalpha() and not last.endswith("s"):
            yield way + "s"
