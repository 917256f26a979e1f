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

from llmops_sdk.guards._injection.hidden_text import hidden_stretches
from llmops_sdk.guards._injection.lexical import words_of

__all__ = ["View", "disguised_views", "plain_view", "undisguised"]

_ASCII = frozenset(map(chr, range(128)))
_FEW = 48  # unusual characters, up to which replacing one after the other is faster than looking at each
_DEPTH = 2  # encodings within encodings
_MOST_DECODED = 200_000  # characters that one text may decode to
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
_LEET_SIGNS = ("@", "$", "!", "|")
_GAPS = re.compile(r"[ .\-_*|/][a-z][ .\-_*|/]{1,3}[a-z][ .\-_*|/]{1,3}[a-z][ .\-_*|/]{1,3}")
_SPACED = re.compile(r"(?<![a-z0-9])(?:[a-z](?:[ .\-_*|/]|[ ]{2,3})){4,200}[a-z](?![a-z0-9])")
_SINGLE_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyz")
_TELLTALE = (
    "instructions", "instruction", "prompt", "ignore", "disregard", "system", "previous", "reveal", "anweisungen",
    "instrucciones", "forget", "rules", "guidelines", "override",
)  # fmt: skip
_BACKWARDS = frozenset(word[::-1] for word in _TELLTALE)
_ROT13 = frozenset(codecs.encode(word, "rot13") for word in _TELLTALE)
_OVERRIDING = re.compile("\u202e([^\u202a-\u202e\u2066-\u2069\n]{4,4000})")
_SMUGGLED = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{8,}")
_BITS = re.compile("[\u200b\u200c\u200d\u2060\u2061\u2062\u2063\ufeff]{64,}")
_ANY_SMUGGLED = re.compile("[\ufe00-\ufe0f\u200b-\u200d\u202e\u2060-\u2063\U000e0100-\U000e01ef]")
_ENTITIES = re.compile(r"(?:&(?:#[0-9]{2,7}|#x[0-9a-f]{2,6}|[a-z]{2,8});[^&\n]{0,3}){6,2000}", re.IGNORECASE)
_SHORTEST_ENCODED = 16
_HIDING = 1.5  # honest writers seldom disguise what they say
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
        weight: How much more an instruction weighs here than in plain sight.
    """

    __slots__ = ("_backwards", "_breaks", "_source", "_stretch", "disguise", "text", "weight")

    @property
    def reads_on(self) -> bool:
        """Whether it is a text of its own, and not what a word or two may be by chance."""
        return self.disguise not in ("spaced", "leetspeak", "backwards", "rot13") and len(self.text) >= 20

    def __init__(
        self,
        text: str,
        disguise: str = "",
        *,
        source: str | None = None,
        stretch: tuple[int, int] | None = None,
        backwards: bool = False,
        weight: float | None = None,
    ) -> None:
        self.text = text
        self.weight = weight if weight is not None else (_HIDING if disguise else 1.0)
        self.disguise = disguise
        self._source = source  # the text that the characters of `text` came from, where not one by one
        self._stretch = stretch  # the whole view came from this stretch
        self._backwards = backwards
        self._breaks: tuple[list[int], list[int]] | None = None  # found when first asked for

    def origin(self, start: int, end: int) -> tuple[int, int]:
        """The stretch of the original that `text[start:end]` came from."""
        if self._stretch is not None:
            return self._stretch
        if self._backwards:
            start, end = len(self.text) - end, len(self.text) - start
        if self._source is None:
            return start, end
        if self._breaks is None:
            self._breaks = _breaks(self._source)
        here, there = self._breaks
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


def _latin(text: str) -> str:
    """The text with `_plain_letters` for what is unusual: letter by letter where it has few different ones."""
    letters = set(text) - _ASCII
    if len(letters) <= _FEW and max(letters) < "\U000e0000":
        said = {letter: _plain_letters(letter) for letter in letters}
        # What is put in must not be taken for a letter of the text.
        if "".join(said.values()).isascii():
            for letter, plain in said.items():
                text = text.replace(letter, plain)
            return text
    return _UNUSUAL.sub(lambda match: _plain_letters(match.group()), text)


_WRAPPED = re.compile(r"(?<=[a-z,])\n(?=[a-z])")


def plain_view(text: str) -> View:
    """The text in lower case, without accents and invisible characters, look-alikes made Latin, lines unwrapped."""
    if text.isascii():
        lowered, source = text.lower(), None
    else:
        # `str.lower` changes the length of few characters, and these are unusual ones: only the ASCII is left to it.
        lowered, source = _latin(text).lower(), text
    return View(_WRAPPED.sub(" ", lowered) if "\n" in lowered else lowered, source=source)


def undisguised(text: str) -> Iterator[View]:
    """Views of `text`: the plain one first, then one for each disguise that it seems to wear."""
    plain = plain_view(text)
    yield plain
    yield from disguised_views(text, plain, frozenset(words_of(plain.text)))


def disguised_views(text: str, plain: View, words: frozenset[str] | set[str]) -> Iterator[View]:
    """A view for each disguise that `text` seems to wear.

    `words` is the set of words of the plain view. Prose is known by it: words of letters only, none of them very long,
    few of a single letter; then nothing more is looked at.
    """
    source = None if text.isascii() else text
    odd = [word for word in words if not word.isalpha()]
    mixed = any(not word.isdigit() for word in odd)
    if (mixed or any(sign in text for sign in _LEET_SIGNS)) and _LEET_WORD.search(plain.text):
        yield View(plain.text.translate(_LEET), "leetspeak", source=source)
    if not _BACKWARDS.isdisjoint(words):
        yield View(plain.text[::-1], "backwards", source=source, backwards=True)
    if not _ROT13.isdisjoint(words):
        yield View(codecs.encode(plain.text, "rot13"), "rot13", source=source)
    if len(words & _SINGLE_LETTERS) >= 3 and _GAPS.search(f" {plain.text} "):
        for match in _SPACED.finditer(plain.text):
            yield View(re.sub("[^a-z]", "", match.group()), "spaced", stretch=plain.origin(*match.span()))
    if source is not None and _ANY_SMUGGLED.search(text):
        yield from _smuggled(text)
    if "<" in text or "](" in text or "]:" in text:
        for start, end, how, weight in hidden_stretches(text):
            said = text[start:end]
            said = plain_view(html.unescape(said) if "&" in said else said).text
            yield View(said, how, stretch=(start, end), weight=weight)
    if mixed or "%" in text or "&" in text or len(odd) > 5 or max(map(len, words), default=0) >= _SHORTEST_ENCODED:
        decoded = 0
        for stretch, disguise, hidden in _decoded(text):
            yield View(hidden, disguise, stretch=stretch)
            decoded += len(hidden)
            if decoded > _MOST_DECODED:
                return


def _smuggled(text: str) -> Iterator[View]:
    """What bidirectional overrides show, and what runs of characters that no one sees spell byte by byte."""
    for match in _OVERRIDING.finditer(text):
        yield View(plain_view(match[1][::-1]).text, "bidi", stretch=match.span())
    for match in _SMUGGLED.finditer(text):
        run = match.group()[:_ENCODED_LIMIT]
        data = bytes(ord(c) - 0xFE00 if c <= "\ufe0f" else ord(c) - 0xE0100 + 16 for c in run)
        hidden = _readable(data)
        if hidden is not None:
            yield View(plain_view(hidden).text, "variation selectors", stretch=match.span())
    for match in _BITS.finditer(text):
        run = match.group()[: 8 * _ENCODED_LIMIT]
        signs = sorted(set(run))
        for zero in signs[:2] if len(signs) == 2 else ():
            bits = "".join("0" if c == zero else "1" for c in run)
            hidden = _readable(bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits) - 7, 8)))
            if hidden is not None:
                yield View(plain_view(hidden).text, "zero-width bits", stretch=match.span())


def _decoded(text: str, depth: int = 0) -> Iterator[tuple[tuple[int, int], str, str]]:
    stretches = 0
    if "&" in text:
        for match in _ENTITIES.finditer(text):
            yield match.span(), "entities", plain_view(html.unescape(match.group())).text
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
        yield match.span(), kind, plain_view(hidden).text
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
