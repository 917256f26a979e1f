"""What tells a secret from what only stands where a secret could: placeholders, words, names in code, paths."""

from __future__ import annotations

import math
import re
from collections import Counter

__all__ = [
    "holds_a_key",
    "meant",
    "odd",
    "of_a_command",
    "password_like",
    "random_looking",
    "random_with_digit",
    "strong",
    "unpredictable",
    "url_password",
]

_PLACEHOLDER = re.compile(
    r"""(?:<[^>]*>?|\$[{(].*|\$[A-Z_][A-Z0-9_]*|%[A-Z_(][^%]*%?s?|\[[^\]]*\]?|\{.*|\(.*|[x*.]+|#\{.*)$"""
    r"""|.*(?:x{4}|\*{3}|\.{3}|your[-_]?|example|placeholder|change_?-?(?:me|this|it)|redacted|dummy|fake|insert|replace)"""
    r"""|(?:none|null|nil|undefined|true|false|todo|tbd|string|str|text|secret|password|passwd|passwort|pass|pwd|token"""
    r"""|key|hidden|n/a|required|optional|contraseña|kennwort|mot de passe|username|user"""
    r"""|current-password|new-password)$""",
    re.IGNORECASE | re.DOTALL,
)
_REPEATED = re.compile(r"(.)\1{5}", re.DOTALL)
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE | re.ASCII)
_BASE64_LINE = re.compile(r"[A-Za-z0-9+/=]{24}")
# A name in source code, perhaps called or indexed: `settings.PASSWORD_2`, `get_secret("x")`, `req.body[`.
_IN_CODE = re.compile(r"[A-Za-z_]\w*(?:\??\.\w+)*(?:[(\[].*)?$", re.ASCII | re.DOTALL)
_OF_CODE = re.compile(
    r"\(\)|pass|pwd|secret|token|key|env|config|settings|args|self|this|request|input|getenv|var|data|param|field"
    r"|decrypt|encrypt|hash|read|load|fetch|get",
    re.IGNORECASE | re.ASCII,
)
_LABEL_WORDS = re.compile(
    r"\b(?:must|enter|your|characters?|least|required|forgot|reset|invalid|incorrect|please|wrong|confirm|minimum"
    r"|should|cannot|too|strength|field|mismatch|match|changed|expired|need|hash|the|deine?|votre|ihr)\b",
    re.IGNORECASE | re.ASCII,
)
# Letters that one can say, perhaps with a number after them; a name in camel case is a row of them.
_SAYABLE = re.compile(r"(?:[A-Z]?[a-z]+|[A-Z]+)*[0-9]{0,4}$", re.ASCII)
_CONSONANTS = re.compile(r"[bcdfghjklmnpqrstvwxz]{5}", re.IGNORECASE | re.ASCII)
_PARTS = re.compile(r"[._/:\-=~+]+")
_SIGNS = frozenset("0123456789!@#$%^&*+?~")
_ODD = frozenset("!@#$%^&*()[]{}<>?~|;")
_DIGITS = frozenset("0123456789")


def _entropy(text: str) -> float:
    """Bits a character, from how often each character occurs."""
    size = len(text)
    return -sum(count / size * math.log2(count / size) for count in Counter(text).values())


def _value(match: re.Match[str]) -> str:
    return match.group(match.lastindex or 0)


def _made_of_words(text: str) -> bool:
    """Whether it is a row of words and short numbers, as names, paths and versions are."""
    parts = [part for part in _PARTS.split(text) if part]
    sayable = all(_SAYABLE.match(part) and not _CONSONANTS.search(part) for part in parts)
    return sayable and not (len(parts) == 1 and len(text) > 30)


def _looks_like_code(text: str) -> bool:
    return (
        _IN_CODE.match(text) is not None and _OF_CODE.search(text) is not None and any(sign in text for sign in "._([")
    )


def random_looking(match: re.Match[str]) -> bool:
    """Not `sk-xxxxxxxx`: made of many characters, none of them repeated six times."""
    text = _value(match)
    return len(set(text)) >= 8 and _REPEATED.search(text) is None


def random_with_digit(match: re.Match[str]) -> bool:
    """Also not words joined by hyphens."""
    text = _value(match)
    return not _DIGITS.isdisjoint(text) and random_looking(match) and not _PLACEHOLDER.match(text)


def meant(match: re.Match[str]) -> bool:
    """Not a placeholder such as `${PASSWORD}`, `<your password>`, `********`, and not a label of a form."""
    text = _value(match).strip()
    return (
        len(set(text)) > 2
        and _PLACEHOLDER.match(text) is None
        and any(character.isalnum() for character in text)
        and not (" " in text and _LABEL_WORDS.search(text))
        and not (text.replace("_", "").isalpha() and text.isupper() and "_" in text)
    )


def password_like(match: re.Match[str]) -> bool:
    """An unquoted value: words of prose and names of variables have no digit and no such sign."""
    text = _value(match)
    return not _SIGNS.isdisjoint(text) and meant(match) and not _looks_like_code(text)


def strong(match: re.Match[str]) -> bool:
    """A value after no more than a space: letters and digits that are no word with a number."""
    text = _value(match)
    return password_like(match) and not _DIGITS.isdisjoint(text) and not _made_of_words(text)


def of_a_command(match: re.Match[str]) -> bool:
    """A value on a command line: no number (a port, a user), no path, no name of a file."""
    text = _value(match)
    return not text.isdigit() and password_like(match) and not (_made_of_words(text) and not text.isalnum())


def unpredictable(match: re.Match[str]) -> bool:
    """A value after a name such as `api_key`: letters and digits mixed, at least 2.8 bits a character."""
    text = _value(match)
    return (
        meant(match)
        and (not _DIGITS.isdisjoint(text) or not (text.islower() or text.isupper()))
        and any(character.isalpha() for character in text)
        and _entropy(text) >= 2.8
        and not _made_of_words(text)
        and _UUID.fullmatch(text) is None
    )


def odd(match: re.Match[str]) -> bool:
    """A quoted value after the name of a key that is full of signs, as neither names nor templates are."""
    text = _value(match)
    return len(_ODD & set(text)) >= 3 and not re.search(r"\s|://|\$\{\w*\}|\{\{ ?\w+ ?\}\}", text) and meant(match)


def url_password(match: re.Match[str]) -> bool:
    """What stands before a host; `user:password@localhost` is how documentation writes it."""
    if meant(match):
        return True
    host = match.string[match.end(1) + 1 : match.end()].lower()
    plain = _value(match).isalpha()
    return plain and "." in host and not host.startswith(("example.", "db.", "127.", "host."))


def holds_a_key(match: re.Match[str]) -> bool:
    """A block of base64, not a sentence that mentions the header line."""
    return _BASE64_LINE.search(match.group(1)) is not None
