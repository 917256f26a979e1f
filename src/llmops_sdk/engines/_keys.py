"""Takes an engine's own keys out of what is shown: servers like to say which key they were given."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

__all__ = ["Keys", "fingerprint", "keys_in"]

_SHORTEST = 8
"""Fewest letters of a key. What is shorter is none ("EMPTY", "none"), and taking it out would garble messages."""

_SHOWN = "[scrubbed]"
_PUBLIC_HEADERS = frozenset({"accept", "accept-encoding", "content-type", "user-agent", "anthropic-version"})

_WITH_SCHEME = frozenset({"authorization", "proxy-authorization"})


class Keys:
    """Knows texts that must not be seen.

    Example:
        >>> Keys(["abcdefgh-12345"]).hidden("no such key: abcdefgh-12345")
        'no such key: [scrubbed]'
    """

    def __init__(self, keys: Iterable[str]) -> None:
        # The longest first: one key may be a part of another.
        self._keys = sorted({key for key in keys if len(key) >= _SHORTEST}, key=len, reverse=True)

    def hidden(self, text: str) -> str:
        """`text` without the keys, and without the beginning of one at its end, where a text has been cut."""
        for key in self._keys:
            text = text.replace(key, _SHOWN)
            for length in range(len(key) - 1, 3, -1):
                if text.endswith(key[:length]):
                    text = text[:-length] + _SHOWN
                    break
        return text

    def hidden_bytes(self, data: bytes) -> bytes:
        """The same for bytes."""
        return self.hidden(data.decode("latin-1")).encode("latin-1")

    def __repr__(self) -> str:
        return f"<Keys: {len(self._keys)}>"


def keys_in(headers: Mapping[str, str]) -> list[str]:
    """What must not be seen of an engine's headers: all values but those of headers that everybody sends.

    Example:
        >>> keys_in({"authorization": "Bearer abc", "accept": "*/*"})
        ['abc']
    """
    found: list[str] = []
    for name, value in headers.items():
        _, space, key = value.partition(" ")
        if name.lower() in _WITH_SCHEME and space:
            found.append(key.strip())
        elif name.lower() not in _PUBLIC_HEADERS:
            found.append(value)
    return found


def fingerprint(key: str) -> str:
    """What tells keys apart without telling them: 16 hexadecimal digits of a hash.

    Example:
        >>> fingerprint("one key") == fingerprint("one key") != fingerprint("another key")
        True
    """
    return hashlib.blake2b(key.encode(), digest_size=8, person=b"llmops-sdk key").hexdigest()
