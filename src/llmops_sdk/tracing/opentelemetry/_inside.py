"""What is current inside of a run: where guards, engines and tools are at work."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

from opentelemetry.context import Context, attach, create_key, detach, get_current, get_value, set_value
from opentelemetry.trace import Span, TracerProvider, get_current_span, set_span_in_context

__all__ = ["Surround", "parent_for"]

_EACH = create_key("llmops_sdk: the spans of several hooks")


class Surround:
    """Makes a span the current one for a block: see `Call.surround`.

    Where a run has several hooks the later one's span is current, and each finds its own by its provider: what runs
    inside must not hang below a span that its backend never gets.
    """

    __slots__ = ("_last", "_made", "_spans")

    def __init__(self, provider: TracerProvider | None, span: Span, earlier: object) -> None:
        self._last = span
        self._spans: dict[TracerProvider | None, Span] = {provider: span}
        if isinstance(earlier, Surround):
            self._spans = {**earlier._spans, provider: span}
        self._made: tuple[Context | None, Context] = (None, Context())

    def __call__(self) -> AbstractContextManager[None]:
        """The block."""
        return _Inside(self)

    def context(self) -> Context:
        """The current one with the span; made once, as long as that stays the same."""
        around = get_current()
        known, context = self._made
        if around is not known:
            context = set_span_in_context(self._last, around)
            if len(self._spans) > 1:
                context = set_value(_EACH, self._spans, context)
            self._made = around, context  # at once: guards may be at work in several threads
        return context


class _Inside:
    __slots__ = ("_surround", "_token")

    def __init__(self, surround: Surround) -> None:
        self._surround = surround

    def __enter__(self) -> None:
        self._token = attach(self._surround.context())

    def __exit__(self, *_: object) -> None:
        detach(self._token)


def parent_for(provider: TracerProvider | None) -> Context | None:
    """A context with the parent of a run that begins here, for spans of `provider`; `None`: it is the current span."""
    spans = get_value(_EACH)
    if spans is None:  # nearly always
        return None
    if not isinstance(spans, Mapping) or provider not in spans:
        return None
    *_, last = spans.values()
    # A span of the application's own, or of another run, lies in between: that one is the parent.
    return set_span_in_context(spans[provider]) if get_current_span() is last else None
