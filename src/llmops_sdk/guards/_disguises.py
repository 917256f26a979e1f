"""What a text says once its disguises are taken off: look-alike letters, invisible characters, encodings.

`undisguised(text)` yields views of a text in lower case, without accents. Each knows which stretch of the original any
stretch of it came from.
"""

from __future__ import annotations

import base64
import binascii
import bisect
import codecs
import functools
import html
import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

__all__ = ["View", "undisguised"]

_DEPTH = 2  # encodings within encodings
_MOST_STRETCHES = 200  # encoded stretches of one text that are looked into
_ENCODED_LIMIT = 20_000  # characters of one encoded stretch that are looked at

_UNUSUAL = re.compile("[\U000e0020-\U000e007e]+|[^\x00-\x7f]")
# Letters of other scripts, and signs, that look like Latin ones (a selection from Unicode's confusables.txt).
_CONFUSABLE = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u04bb\u0501\u051b\u0442\u043d\u043a\u043c\u0432\u0433"
    "\u03b1\u03b5\u03bf\u03c1\u03c4\u03c5\u03bd\u03b9\u03ba\u03c7\u0131\u0261\u0251\u2018\u2019\u201c\u201d\u2010\u2011\u2013\u2014",
    "aeopcyxijshdwthkmbraeoptuvikxiga''\"\"----",
)
_MOST_LIKE = {
    "\u00df": "ss", "\u00e6": "ae", "\u0153": "oe", "\u00f8": "o", "\u0142": "l", "\u0111": "d",
    # Capitals whose small letters look different.
    "\u0412": "b", "\u041d": "h", "\u0422": "t", "\u041c": "m", "\u041a": "k", "\u0420": "p",
    "\u0421": "c", "\u0425": "x",
    "\u0397": "h", "\u03a1": "p", "\u03a7": "x", "\u039d": "n", "\u0392": "b", "\u03a4": "t", "\u0399": "i",
}  # fmt: skip
_LEET = str.maketrans("0134578@$!|", "oieastbasii")
_LEET_WORD = re.compile(r"[a-z][0134578@$!|]{1,2}[a-z]")
_GAPS = re.compile(r"[ .\-_*][a-z][ .\-_*]{1,3}[a-z][ .\-_*]{1,3}[a-z][ .\-_*]{1,3}")
_SPACED = re.compile(r"(?<![a-z0-9])(?:[a-z](?:[ .\-_*]|[ ]{2,3})){4,200}[a-z](?![a-z0-9])")
_BACKWARDS = ("snoitcurtsni", "tpmorp", "erongi", "dragersid", "selur")
_ROT13 = tuple(codecs.encode(word, "rot13") for word in ("instructions", "prompt", "ignore", "disregard", "system"))
_ENTITIES = re.compile(r"(?:&(?:#[0-9]{2,7}|#x[0-9a-f]{2,6}|[a-z]{2,8});[^&\n]{0,3}){6,2000}", re.IGNORECASE)
_SHORTEST_ENCODED = 16
_PAIRS = re.compile(r"[0-9][0-9a-fA-F][ :,][0-9a-fA-F]{2}[ :,][0-9a-fA-F]{2}[ :,]|[01]{8} ?[01]{8}")
_ENCODED = re.compile(
    r"(?P<binary>(?<![01])(?:[01]{8} ?){8,2000}(?![01]))"
    r"|(?P<hex>(?<![0-9A-Za-z])(?:(?:0x|\\x)?[0-9a-fA-F]{2}[ :,]?){12,10000}(?![0-9A-Za-z]))"
    r"|(?P<percent>(?:%[0-9a-fA-F]{2}[A-Za-z0-9_.~\-]{0,30}){3,2000})"
    r"|(?P<escapes>(?:\\u[0-9a-fA-F]{4}){6,2000})"
    r"|(?P<base32>(?<![A-Z2-7])[A-Z2-7]{32,20000}={0,6}(?![A-Za-z0-9]))"
    r"|(?P<base64>(?<![A-Za-z0-9+/_\-])[A-Za-z0-9+/_\-]{16,20000}={0,2})",
    re.ASCII,
)


@functools.lru_cache(maxsize=4096)
def _plain_letters(character: str) -> str:
    """What one unusual character says in lower-case Latin letters; nothing, if it cannot be seen."""
    if len(character) > 1 or character in "\U000e0020\U000e007e" or "\U000e0020" <= character[0] <= "\U000e007e":
        # Tag characters spell ASCII that no one sees; a few are part of flags.
        return "".join(chr(ord(c) - 0xE0000) for c in character).lower() if len(character) > 6 else ""
    known = _MOST_LIKE.get(character)
    if known is not None:
        return known
    category = unicodedata.category(character)
    if category == "Cf" or "\ufe00" <= character <= "\ufe0f":
        return ""
    if category == "Zs":
        return " "
    letters = unicodedata.normalize("NFKD", character.lower())
    letters = "".join(c for c in letters if not unicodedata.combining(c))
    return letters.translate(_CONFUSABLE).lower()


class View:
    """A text as it is read once one disguise is off.

    Attributes:
        text: What it says.
        disguise: Which one was taken off: `""` for the plain text, `"base64"`, ...
    """

    __slots__ = ("_backwards", "_source", "_stretch", "disguise", "text")

    def __init__(
        self,
        text: str,
        disguise: str = "",
        *,
        source: str | None = None,
        stretch: tuple[int, int] | None = None,
        backwards: bool = False,
    ) -> None:
        self.text = text
        self.disguise = disguise
        self._source = source  # the text that the characters of `text` came from, where not one by one
        self._stretch = stretch  # the whole view came from this stretch
        self._backwards = backwards

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """The stretch of the original that `text[start:end]` came from."""
        if self._stretch is not None:
            return self._stretch
        if self._backwards:
            start, end = len(self.text) - end, len(self.text) - start
        if self._source is None:
            return start, end
        here, there = _breaks(self._source)
        return _original(here, there, start), _original(here, there, end - 1) + 1


def _breaks(source: str) -> tuple[list[int], list[int]]:
    """Where the plain text and its source go different ways: positions in both."""
    here, there = [0], [0]
    shift = 0
    for match in _UNUSUAL.finditer(source):
        width = len(_plain_letters(match.group()))
        length = match.end() - match.start()
        if width != length:
            here.append(match.start() + shift)
            there.append(match.start())
            shift += width - length
            here.append(match.end() + shift)
            there.append(match.end())
    return here, there


def _original(here: list[int], there: list[int], position: int) -> int:
    last = bisect.bisect_right(here, position) - 1
    original = there[last] + position - here[last]
    # Several characters may have come from one: they stay before where the next stretch begins.
    return min(original, there[last + 1] - 1) if last + 1 < len(there) else original


def _plain(text: str) -> View:
    if text.isascii():
        return View(text.lower())
    # `str.lower` changes the length of few characters, and these are unusual ones, so only the ASCII is left to it.
    return View(_UNUSUAL.sub(lambda match: _plain_letters(match.group()), text).lower(), source=text)


def undisguised(text: str) -> Iterator[View]:
    """Views of `text`: the plain one first, then one for each disguise that it seems to wear."""
    plain = _plain(text)
    yield plain
    source = None if text.isascii() else text
    if _LEET_WORD.search(plain.text):
        yield View(plain.text.translate(_LEET), "leetspeak", source=source)
    if any(word in plain.text for word in _BACKWARDS):
        yield View(plain.text[::-1], "backwards", source=source, backwards=True)
    if any(word in plain.text for word in _ROT13):
        yield View(codecs.encode(plain.text, "rot13"), "rot13", source=source)
    for match in _SPACED.finditer(plain.text) if _GAPS.search(plain.text) else ():
        yield View(re.sub("[^a-z]", "", match.group()), "spaced", stretch=plain.origin(*match.span()))
    for stretch, disguise, hidden in _decoded(text):
        yield View(hidden, disguise, stretch=stretch)


def _decoded(text: str, depth: int = 0) -> Iterator[tuple[tuple[int, int], str, str]]:
    stretches = 0
    if "&" in text:
        for match in _ENTITIES.finditer(text):
            yield match.span(), "entities", _plain(html.unescape(match.group())).text
    for match in _encoded(text):
        kind = match.lastgroup or ""
        stretches += 1
        if stretches > _MOST_STRETCHES:
            return
        hidden = _readable(_decode(kind, match.group()[:_ENCODED_LIMIT]))
        if kind == "hex" and hidden is None:  # a long word of hexadecimal digits may be base64 as well
            hidden = _readable(_decode("base64", match.group()[:_ENCODED_LIMIT]))
        if hidden is None:
            continue
        yield match.span(), kind, _plain(hidden).text
        if depth < _DEPTH:
            for _, inner, deeper in _decoded(hidden, depth + 1):
                yield match.span(), f"{kind}+{inner}", deeper


def _encoded(text: str) -> Iterator[re.Match[str]]:
    """Stretches that look encoded. Words that long are rare in prose; the rest of it comes in groups of digits."""
    if _PAIRS.search(text):
        yield from _ENCODED.finditer(text)
        return
    position = 0
    for word in text.split():
        if len(word) >= _SHORTEST_ENCODED:
            position = text.index(word, position)
            yield from _ENCODED.finditer(text, position, position + len(word))
            position += len(word)


def _decode(kind: str, stretch: str) -> bytes:
    try:
        match kind:
            case "hex":
                return bytes.fromhex(re.sub(r"0x|\\x|[^0-9a-fA-F]", "", stretch))
            case "percent":
                return unquote_to_bytes(stretch)
            case "escapes":
                return stretch.encode("ascii").decode("unicode_escape").encode("utf-8", "replace")
            case "binary":
                bits = stretch.replace(" ", "")
                return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits) - 7, 8))
            case "base32":
                core = stretch.rstrip("=")
                return base64.b32decode(core + "=" * (-len(core) % 8))
        core = stretch.rstrip("=").replace("-", "+").replace("_", "/")
        core = core[: len(core) - 1] if len(core) % 4 == 1 else core
        return base64.b64decode(core + "=" * (-len(core) % 4))
    except (ValueError, binascii.Error):
        return b""


def _readable(data: bytes) -> str | None:
    """The text, if nearly all of it is printable."""
    if len(data) < 8:
        return None
    text = data.decode("utf-8", "replace")
    readable = sum(1 for c in text if " " <= c <= "~" or c in "\r\n\t" or (c > "\xa0" and c.isalpha()))
    return text if readable >= 0.9 * len(text) else None
