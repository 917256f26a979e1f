"""What is current inside of a run: where guards, engines and tools are at work."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager

from opentelemetry.context import Context, attach, create_key, detach, get_value, set_value
from opentelemetry.trace import Span, TracerProvider, get_current_span, set_span_in_context

__all__ = ["Surround", "parent_for"]

_EACH = create_key("llmops_sdk: the spans of several hooks")


class Surround:
    """Makes a span the current one for a block: see `Call.surround`.

    Where a run has several hooks the later one's span is current, and each finds its own by its provider: what runs
    inside must not hang below a span that its backend never gets.
    """

    __slots__ = ("spans",)

    def __init__(self, provider: TracerProvider | None, span: Span, earlier: object) -> None:
        self.spans = {provider: span}
        if isinstance(earlier, Surround):
            self.spans = {**earlier.spans, provider: span}

    def __call__(self) -> AbstractContextManager[None]:
        """The block."""
        return _Inside(self.spans)


class _Inside(AbstractContextManager[None]):
    __slots__ = ("_spans", "_token")

    def __init__(self, spans: Mapping[TracerProvider | None, Span]) -> None:
        self._spans = spans

    def __enter__(self) -> None:
        *_, last = self._spans.values()
        context = set_span_in_context(last)
        if len(self._spans) > 1:
            context = set_value(_EACH, self._spans, context)
        self._token = attach(context)

    def __exit__(self, *_: object) -> None:
        detach(self._token)


def parent_for(provider: TracerProvider | None) -> Context | None:
    """A context with the parent of a run that begins here, for spans of `provider`; `None`: it is the current span."""
    spans = get_value(_EACH)
    if not isinstance(spans, Mapping) or provider not in spans:
        return None
    *_, last = spans.values()
    # A span of the application's own, or of another run, lies in between: that one is the parent.
    return set_span_in_context(spans[provider]) if get_current_span() is last else None
