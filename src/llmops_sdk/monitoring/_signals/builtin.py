"""The signals that come with the library, and how people choose among them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.monitoring._signals import answer, documents, record
from llmops_sdk.monitoring._signals.signal import Signal

__all__ = ["SIGNALS", "chosen"]

_MOMENT_S = 0.01
"""Below that a time says how busy this machine was just now, from one run to the next: not what a provider does."""

_ALL = (
    Signal(name="error", kind="rate", of=record.failed, reads_text=False),
    Signal(name="blocked", kind="rate", of=record.blocked, reads_text=False),
    Signal(name="latency_s", kind="value", of=record.latency_s, reads_text=False, step=_MOMENT_S),
    Signal(name="first_chunk_s", kind="value", of=record.first_chunk_s, reads_text=False, step=_MOMENT_S),
    Signal(name="cost_usd", kind="value", of=record.cost_usd, reads_text=False),
    Signal(name="input_tokens", kind="value", of=record.input_tokens, reads_text=False),
    Signal(name="output_tokens", kind="value", of=record.output_tokens, reads_text=False),
    Signal(name="failover", kind="rate", of=record.failover, reads_text=False),
    Signal(name="retries", kind="value", of=record.retries, reads_text=False),
    Signal(name="cache_hit", kind="rate", of=record.cache_hit, reads_text=False),
    Signal(name="length", kind="value", of=answer.length, reads_text=False),
    Signal(name="refusal", kind="rate", of=answer.refusal),
    Signal(name="repetition", kind="rate", of=answer.repetition),
    Signal(name="other_language", kind="rate", of=answer.other_language),
    Signal(name="documents_unused", kind="rate", of=documents.documents_unused),
)
SIGNALS: Mapping[str, Signal] = {signal.name: signal for signal in _ALL}
"""By name."""


def chosen(given: Sequence[str | Signal] | None) -> tuple[Signal, ...]:
    """The signals that people name, and their own; all that come with the library for `None`.

    Raises:
        ConfigurationError: A name is not known, or there twice.
    """
    if given is None:
        return _ALL
    if isinstance(given, str | Signal) or not isinstance(given, Sequence):
        raise ConfigurationError(f"`signals` is a list of names and of `Signal(...)`, not {given!r}")
    signals = [one if isinstance(one, Signal) else _named(one) for one in given]
    names = [signal.name for signal in signals]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ConfigurationError(f"the signal {min(twice)!r} is there twice; give one of them another name")
    return tuple(signals)


def _named(name: object) -> Signal:
    if not isinstance(name, str) or name not in SIGNALS:
        raise ConfigurationError(
            f"no signal is called {name!r}; there are {', '.join(SIGNALS)}, "
            "or write `Signal(name=..., kind=..., of=...)`"
        )
    return SIGNALS[name]
