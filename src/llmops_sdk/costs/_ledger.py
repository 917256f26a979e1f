"""What was spent, summed by engine, model, prompt and tag."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from llmops_sdk.costs._ledger_rows import LedgerRow, Sums
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import PromptRef, Usage

__all__ = ["Ledger"]

_NONE, _OTHER = "(none)", "(other)"
_MOST_ROWS = 1_000
_MOST_TAGS = 50
_COMMIT = re.compile(r"[0-9a-f]{13,64}")
_AROUND: ContextVar[tuple[Ledger, ...]] = ContextVar("llmops_sdk_ledgers", default=())


_Key: TypeAlias = tuple[str, str | None, str | None, str | None, str | None]
"""Engine, model, and of the prompt its name, the version that was asked for, and the commit."""
_Entry: TypeAlias = tuple[Usage | None, Decimal | None, bool, bool, Decimal | None]
"""Usage, cost, failed, unpriced, estimate: what `Sums.add` takes."""


def _prompt(key: _Key) -> str:
    """The prompt by name, as `answer@prod (1f0c9e5d7a3b)`: a label moves, so its commit is shown with it."""
    _, _, name, version, commit = key
    if name is None:
        return _NONE
    commit = None if commit is None else _shortened(commit)
    version = commit if version is None else _shortened(version)
    if version is None:
        return name
    return f"{name}@{version}" if commit is None or commit == version else f"{name}@{version} ({commit})"


def _shortened(version: str) -> str:
    return version[:12] if _COMMIT.fullmatch(version) else version


_PLACES: Mapping[str, Callable[[_Key], str]] = {
    "engine": lambda key: key[0],
    "model": lambda key: key[1] or _NONE,
    "prompt": _prompt,
}


class Ledger:
    """Sums of all attempts: calls, tokens and money, by engine, model, prompt and tag.

    Several threads may book at once. Memory is bounded: 1,000 combinations of engine, model and prompt are kept apart,
    and 1,000 values of each of 50 tags; what comes after those is summed as `"(other)"`, and never lost.

    Example:
        >>> ledger = Ledger()
        >>> ledger.book("openai", "gpt-5-mini", Usage(input_tokens=10, output_tokens=5), Decimal("0.0000125"))
        >>> ledger.total.input_tokens, ledger.cost_usd
        (10, Decimal('0.0000125'))
        >>> [row.name for row in ledger.by("model")]
        ['gpt-5-mini']
    """

    __slots__ = ("_lock", "_sums", "_tags")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self._sums: dict[_Key, Sums] = {}
        self._tags: dict[str, dict[str, Sums]] = {}

    def book(
        self,
        engine: str,
        model: str | None,
        usage: Usage | None,
        cost_usd: Decimal | None,
        *,
        prompt: PromptRef | None = None,
        tags: Mapping[str, Any] | None = None,
        failed: bool = False,
        unpriced: bool = False,
        estimated_usd: Decimal | None = None,
    ) -> None:
        """Add one attempt, here and in every ledger around.

        Args:
            engine: Name of the engine.
            model: The model that answered.
            usage: Tokens as the engine counted them.
            cost_usd: US dollars, `None` where nothing had to be paid or nobody knows how much.
            prompt: The prompt that was asked.
            tags: The run's tags.
            failed: Whether it gave no whole answer.
            unpriced: Whether it has to be paid for, or may have to, and nobody knows how much.
            estimated_usd: What it may have cost then.
        """
        if prompt is None:
            key: _Key = (engine, model, None, None, None)
        else:
            key = (engine, model, prompt.name, prompt.version, prompt.commit)
        entry = (usage, cost_usd, failed, unpriced, estimated_usd)
        self._book(key, entry, tags)
        around = _AROUND.get()
        if around:
            for ledger in around:
                if ledger is not self:
                    ledger._book(key, entry, tags)

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """Whatever other ledgers book inside of this block is booked here, too, once."""
        ledgers = _AROUND.get()
        token = _AROUND.set(ledgers if self in ledgers else (*ledgers, self))
        try:
            yield
        finally:
            _AROUND.reset(token)

    def _book(self, key: _Key, entry: _Entry, tags: Mapping[str, Any] | None) -> None:
        with self._lock:
            sums = self._sums.get(key)
            if sums is None:
                sums = self._kept(key)
            sums.add(*entry)
            if tags:
                for name, value in tags.items():
                    self._tagged(name, str(value)).add(*entry)

    def _kept(self, key: _Key) -> Sums:
        if len(self._sums) >= _MOST_ROWS:
            key = (key[0], key[1], _OTHER, None, None)  # engines and models are few, and say most
            if key not in self._sums and len(self._sums) >= 2 * _MOST_ROWS:
                key = (_OTHER, _OTHER, _OTHER, None, None)
        return self._sums.setdefault(key, Sums())

    def _tagged(self, name: str, value: str) -> Sums:
        values = self._tags.get(name)
        if values is None:
            values = self._tags.setdefault(name if len(self._tags) < _MOST_TAGS else _OTHER, {})
        if value not in values and len(values) >= _MOST_ROWS:
            value = _OTHER
        return values.setdefault(value, Sums())

    @property
    def total(self) -> LedgerRow:
        """All attempts."""
        with self._lock:
            return self._summed().row("total")

    def _summed(self) -> Sums:
        total = Sums()
        for sums in self._sums.values():
            total.merge(sums)
        return total

    @property
    def calls(self) -> int:
        """Attempts that were booked."""
        return self.total.calls

    @property
    def unpriced(self) -> int:
        """Attempts that took tokens, or may have, without anybody knowing what they cost."""
        return self.total.unpriced

    @property
    def cost_usd(self) -> Decimal:
        """US dollars of all attempts whose cost is known, exact."""
        return self.total.cost_usd

    @property
    def estimated_usd(self) -> Decimal:
        """US dollars, estimated, of attempts that were cut off or came without a count; not part of `cost_usd`."""
        return self.total.estimated_usd

    def by(self, what: str, /) -> list[LedgerRow]:
        """Sums by `"engine"`, `"model"`, `"prompt"` (as `name@version (commit)`) or `"tag:NAME"`, the dearest first.

        By a tag: runs without it are in the row `"(none)"`. The rows add up to `total`.

        Raises:
            ConfigurationError: `what` is something else.
        """
        kind, _, tag = what.partition(":")
        if what not in _PLACES and not (kind == "tag" and tag):
            raise ConfigurationError(f"a ledger sums by 'engine', 'model', 'prompt' or 'tag:NAME', not by {what!r}")
        sums: dict[str, Sums] = {}
        with self._lock:
            if tag:
                rest = self._summed()
                for value, some in self._tags.get(tag, {}).items():
                    sums[value] = some
                    rest.merge(some, sign=-1)
                if rest.calls:
                    sums[_NONE] = rest
            else:
                for key, some in self._sums.items():
                    sums.setdefault(_PLACES[what](key), Sums()).merge(some)
            rows = [some.row(name) for name, some in sums.items()]
        return sorted(rows, key=lambda row: (-row.cost_usd, -row.estimated_usd, -row.calls, row.name))

    def to_rows(self) -> list[dict[str, Any]]:
        """One mapping for each combination of engine, model and prompt, for `pandas.DataFrame(ledger.to_rows())`."""
        with self._lock:
            return [
                {**{name: shown(key) for name, shown in _PLACES.items()}, **sums.as_dict()}
                for key, sums in self._sums.items()
            ]

    def copy(self) -> Ledger:
        """What has been booked until now, as a ledger of its own."""
        taken = Ledger()
        taken.merge(self)
        return taken

    def reset(self) -> Ledger:
        """Begin again at nothing; returns what had been booked, of which no attempt is lost or seen twice."""
        taken = Ledger()
        with self._lock:
            taken._sums, taken._tags = self._sums, self._tags
            self._clear()
        return taken

    def since(self, earlier: Ledger) -> Ledger:
        """What was booked after `earlier`, a copy of this ledger, was made."""
        after = self.copy()
        after._put(earlier, sign=-1)
        # What has not moved since is not part of it.
        after._sums = {key: some for key, some in after._sums.items() if some.calls}
        for tag, values in after._tags.items():
            after._tags[tag] = {value: some for value, some in values.items() if some.calls}
        return after

    def merge(self, other: Ledger) -> None:
        """Add all that `other` has booked: of another router, or of another process."""
        self._put(other, sign=1)

    def _put(self, other: Ledger, *, sign: Literal[1, -1]) -> None:
        sums, tags = other._frozen()
        with self._lock:
            for key, theirs in sums.items():
                (self._sums.get(key) or self._kept(key)).merge(theirs, sign=sign)
            for name, values in tags.items():
                for value, theirs in values.items():
                    self._tagged(name, value).merge(theirs, sign=sign)

    def _frozen(self) -> tuple[dict[_Key, Sums], dict[str, dict[str, Sums]]]:
        with self._lock:
            return (
                {key: sums.copy() for key, sums in self._sums.items()},
                {name: {value: sums.copy() for value, sums in values.items()} for name, values in self._tags.items()},
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return _ledger_again, self._frozen()

    def __str__(self) -> str:
        lines = [_HEAD, *map(_cells, [*self.by("engine"), self.total])]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(
            "  ".join((line[0].ljust(widths[0]), *map(str.rjust, line[1:-1], widths[1:-1]), line[-1])) for line in lines
        )

    def __repr__(self) -> str:
        return f"<Ledger of {self.calls:,} calls, {self.cost_usd:f} USD>"


def _ledger_again(sums: dict[_Key, Sums], tags: dict[str, dict[str, Sums]]) -> Ledger:
    ledger = Ledger()
    ledger._sums, ledger._tags = sums, tags
    return ledger


_HEAD = ("engine", "calls", "failed", "tokens in", "cached", "tokens out", "USD", "without a price")


def _cells(row: LedgerRow) -> tuple[str, ...]:
    about = f" (about {row.estimated_usd:f} USD)" if row.estimated else ""
    counts = (row.calls, row.failed, row.input_tokens, row.cached_input_tokens, row.output_tokens)
    return (row.name, *(f"{count:,}" for count in counts), f"{row.cost_usd:f}", f"{row.unpriced:,}{about}")
