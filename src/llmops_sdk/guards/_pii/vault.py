"""`Vault`: which placeholder stands for which true value."""

from __future__ import annotations

import hmac
import re
import threading
from collections.abc import Iterator
from typing import NoReturn, Self

from llmops_sdk.errors import ConfigurationError

__all__ = ["Vault"]

_DIGEST = 8
_LETTERS = re.compile("[^A-Z0-9]+")
_WORD = re.compile("[A-Za-z0-9]+")
_ENCODED = re.compile("%5[BbDd]|%20")


class Vault:
    """The true values behind placeholders, in memory only.

    A run has a vault of its own, which is dropped when the run ends. Pass one to `PII(vault=...)` to keep the values
    over the runs of one conversation, and `clear` it when that is over. Several threads may use it at once. It shows
    its values to nobody: not in its `repr`, and it refuses to be pickled.

    Args:
        key: Derives the placeholders with HMAC-SHA-256 instead of numbering them.

    Example:
        >>> vault = Vault()
        >>> vault.hide("email", "ana@example.org")
        '[EMAIL_1]'
        >>> vault.reveal("email_1")
        'ana@example.org'
        >>> vault.clear()
        >>> len(vault)
        0
    """

    __slots__ = ("__weakref__", "_key", "_last", "_lock", "_placeholders", "_taken", "_values")

    def __init__(self, *, key: bytes | None = None) -> None:
        self._lock = threading.Lock()
        self._key = key
        self._placeholders: dict[tuple[str, str], str] = {}
        self._values: dict[str, str] = {}
        self._last: dict[str, int] = {}
        self._taken: set[str] = set()

    def copy(self) -> Vault:
        """Another vault with the same values; what is hidden in one of them from now on is not in the other."""
        copied = Vault(key=self._key)
        with self._lock:
            copied._placeholders = self._placeholders.copy()
            copied._values = self._values.copy()
            copied._last = self._last.copy()
            copied._taken = self._taken.copy()
        return copied

    def hide(self, kind: str, value: str, /) -> str:
        """The placeholder of `value`, a new one if it has none yet."""
        known = self._placeholders.get((kind, value))
        if known is not None:
            return known
        label = _LETTERS.sub("_", kind.upper()).strip("_") or "VALUE"
        with self._lock:
            known = self._placeholders.get((kind, value))
            if known is not None:
                return known
            name = self._numbered(label) if self._key is None else self._derived(label, kind, value, self._key)
            self._values[name] = value
            placeholder = self._placeholders[kind, value] = f"[{name}]"
            return placeholder

    def _numbered(self, label: str) -> str:
        number = self._last.get(label, 0) + 1
        while (name := f"{label}_{number}") in self._taken:
            number += 1
        self._last[label] = number
        return name

    def _derived(self, label: str, kind: str, value: str, key: bytes) -> str:
        written = f"{kind}\0{value}".encode("utf-8", "surrogatepass")
        digest = hmac.digest(key, written, "sha256").hex()
        length = _DIGEST
        # Two values of one conversation that begin alike must not be taken for each other.
        while (name := f"{label}_{digest[:length]}") in self._values or name in self._taken:
            length += 2
        return name

    def reserve(self, written: str, /) -> bool:
        """Note a placeholder that a text brings along; whether it means a value already, and so has to be hidden."""
        # What follows may be covered by another finding: `EMAIL_1_ana@...` leaves an `EMAIL_1`.
        beginnings = [*[written[: word.end()] for word in _WORD.finditer(written)][1:], written]
        with self._lock:
            self._taken.update(name for one in beginnings for name, _ in _readings(one))
        return any(self.reveal(one) is not None for one in beginnings)

    def reveal(self, written: str, /) -> str | None:
        """What `written` says when its placeholder is replaced, `None` where it stands for nothing.

        A letter or two that were joined to the number (`EMAIL_1s`) stay behind the value.
        """
        for name, ending in _readings(written):
            value = self._values.get(name)
            if value is not None:
                return value + ending
        return None

    def clear(self) -> None:
        """Forget all values."""
        with self._lock:
            for kept in (self._placeholders, self._values, self._last, self._taken):
                kept.clear()

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"<Vault of {len(self)} values>"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce__(self) -> NoReturn:
        raise ConfigurationError("a Vault holds true values, so it is not pickled: make one where the runs are")


def _readings(written: str) -> Iterator[tuple[str, str]]:
    r"""The names that a placeholder may mean, however a model has written it, each with what follows the name.

    `\[Email\_01]` is `EMAIL_01` or `EMAIL_1`; `EMAIL_1s` may be `EMAIL_1` with an ending. No digit is an ending.
    """
    words = _WORD.findall(_ENCODED.sub(" ", written))
    if not words:
        return
    number = words.pop()
    label = "_".join(words).upper()
    for end in range(len(number), 0, -1):
        digits = number[:end].lower()
        yield f"{label}_{digits}", number[end:]
        if digits[0] == "0":
            yield f"{label}_{digits.lstrip('0')}", number[end:]
        if number[end - 1].isdigit():
            return
