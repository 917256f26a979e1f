"""Letters that look like others: what a word says to the eye, whichever script its characters are from.

The table is a selection from Unicode's `confusables.txt` (UTS 39, version 16): what is drawn like a small Latin letter
or a digit. NFKD has taken care of accents, full-width and mathematical letters before.
"""

# ruff: noqa: RUF001, RUF003  (such letters are what this is about)

from __future__ import annotations

import functools
import unicodedata

__all__ = ["LOOKALIKES", "skeleton", "unaccented"]

LOOKALIKES: dict[str, str] = {
    # Cyrillic
    "а": "a", "в": "b", "с": "c", "ԁ": "d", "е": "e", "ҽ": "e", "һ": "h", "і": "i", "ӏ": "l", "ј": "j", "к": "k",
    "м": "m", "н": "h", "о": "o", "р": "p", "ԛ": "q", "г": "r", "ѕ": "s", "т": "t", "у": "y", "ү": "y", "ѵ": "v",
    "ԝ": "w", "х": "x", "ҳ": "x", "п": "n", "ь": "b", "з": "3",
    # Greek
    "α": "a", "β": "b", "ε": "e", "η": "n", "ι": "i", "κ": "k", "ν": "v", "ο": "o", "ρ": "p", "σ": "o", "τ": "t",
    "υ": "u", "χ": "x", "ω": "w", "γ": "y", "ϲ": "c", "ϳ": "j",
    # Armenian, Latin with strokes and hooks, and others
    "օ": "o", "ո": "n", "ս": "u", "հ": "h", "ց": "g", "զ": "q", "ա": "w", "ı": "i", "ɩ": "i", "ɑ": "a", "ɡ": "g",
    "ɢ": "g", "ʀ": "r", "ɴ": "n", "ʏ": "y", "ʙ": "b", "ʟ": "l", "ł": "l", "ƚ": "l", "ø": "o", "đ": "d", "ɗ": "d",
    "ħ": "h", "ŧ": "t", "ß": "ss", "æ": "ae", "œ": "oe", "þ": "p", "ᴀ": "a", "ᴄ": "c", "ᴅ": "d", "ᴇ": "e", "ᴊ": "j",
    "ᴋ": "k", "ᴍ": "m", "ᴏ": "o", "ᴘ": "p", "ᴛ": "t", "ᴜ": "u", "ᴠ": "v", "ᴡ": "w", "ᴢ": "z", "ꜱ": "s", "ᴦ": "r",
    "ⅼ": "l", "ǀ": "l", "ꭵ": "i", "ᎥᏂ": "ih", "𐐬": "o",
}  # fmt: skip
_TO_LATIN = str.maketrans({letter: latin for letter, latin in LOOKALIKES.items() if len(letter) == 1})
# Within a name these are taken for one another, too; longer ones first.
_ALIKE = (("rn", "m"), ("vv", "w"), ("cl", "d"), ("0", "o"), ("1", "l"), ("i", "l"), ("5", "s"), ("3", "e"), ("-", ""))


@functools.lru_cache(maxsize=4096)
def unaccented(word: str) -> str:
    """`word` in small Latin letters as far as it looks like them, without accents and invisible characters."""
    if word.isascii():
        return word.lower()
    # Capitals look different from small letters of their script: "В" is a Latin B in either case.
    letters = unicodedata.normalize("NFKD", word).casefold()
    return "".join(c for c in letters if unicodedata.category(c) not in ("Mn", "Cf")).translate(_TO_LATIN)


@functools.lru_cache(maxsize=4096)
def skeleton(name: str) -> str:
    """What two names have in common that people take for each other: `rn` and `m`, `l`, `1` and `i`."""
    name = unaccented(name)
    for one, other in _ALIKE:
        name = name.replace(one, other)
    return name
