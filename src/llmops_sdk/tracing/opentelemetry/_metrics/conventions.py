"""What an attempt is in the metrics of the GenAI conventions, of the generation that is asked for.

`OTEL_SEMCONV_STABILITY_OPT_IN` decides, as the conventions say: without it the names are written that released packages
and dashboards know (v1.41.0); with `gen_ai_latest_experimental` the newest ones; with `gen_ai_latest_experimental/dup`
both, while dashboards move from the one to the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final, Protocol, TypeAlias

from opentelemetry.metrics import Counter, Histogram, Meter

from llmops_sdk.messages import Usage
from llmops_sdk.tracing.opentelemetry._metrics import names

__all__ = ["SECONDS", "Attributes", "Generation", "generations", "histogram"]

Attributes: TypeAlias = "dict[str, str | bool | int | float]"

_LATEST: Final = "gen_ai_latest_experimental"

# The boundaries that the conventions advise.
SECONDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_TOKENS: Final = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)


class Generation(Protocol):
    """The metrics of attempts, in the names of one generation of the conventions."""

    def duration(self, seconds: float, attributes: Attributes, /) -> None:
        """How long an attempt took."""
        ...

    def first_chunk(self, seconds: float, attributes: Attributes, /) -> None:
        """How long it took until the first chunk came."""
        ...

    def chunks(self, intervals: Iterable[float], attributes: Attributes, /) -> None:
        """Seconds from one chunk to the next."""
        ...

    def tokens(self, usage: Usage, attributes: Attributes, /) -> None:
        """What the provider counted, and bills."""
        ...


def generations(meter: Meter, opted_in: Collection[str]) -> Sequence[Generation]:
    """Those that `OTEL_SEMCONV_STABILITY_OPT_IN` asks for."""
    if f"{_LATEST}/dup" in opted_in:
        return (_Released(meter), _Latest(meter))
    return (_Latest(meter),) if _LATEST in opted_in else (_Released(meter),)


class _Timed:
    def __init__(self, meter: Meter, duration: str, first_chunk: str, per_chunk: str) -> None:
        self._duration = histogram(meter, duration, "s", SECONDS, "How long an engine took for its answer")
        self._first_chunk = histogram(meter, first_chunk, "s", SECONDS, "Time until a stream's first chunk came")
        self._per_chunk = histogram(meter, per_chunk, "s", SECONDS, "Time from one chunk of a stream to the next")

    def duration(self, seconds: float, attributes: Attributes, /) -> None:
        self._duration.record(seconds, attributes)

    def first_chunk(self, seconds: float, attributes: Attributes, /) -> None:
        self._first_chunk.record(seconds, attributes)

    def chunks(self, intervals: Iterable[float], attributes: Attributes, /) -> None:
        record = self._per_chunk.record
        for interval in intervals:
            record(interval, attributes)


class _Released(_Timed):
    def __init__(self, meter: Meter) -> None:
        super().__init__(
            meter,
            names.CLIENT_OPERATION_DURATION,
            names.CLIENT_TIME_TO_FIRST_CHUNK,
            names.CLIENT_TIME_PER_OUTPUT_CHUNK,
        )
        self._tokens = histogram(
            meter, names.CLIENT_TOKEN_USAGE, "{token}", _TOKENS, "Tokens of input and of output, as they were counted"
        )

    def tokens(self, usage: Usage, attributes: Attributes, /) -> None:
        self._tokens.record(usage.input_tokens, {**attributes, names.TOKEN_TYPE: "input"})
        self._tokens.record(usage.output_tokens, {**attributes, names.TOKEN_TYPE: "output"})


class _Latest(_Timed):
    def __init__(self, meter: Meter) -> None:
        super().__init__(
            meter,
            names.INFERENCE_DURATION,
            names.INFERENCE_TIME_TO_FIRST_CHUNK,
            names.INFERENCE_TIME_PER_OUTPUT_CHUNK,
        )

        self._input = _counter(meter, names.INFERENCE_INPUT_TOKENS, "Tokens of input, those of the cache included")
        self._output = _counter(meter, names.INFERENCE_OUTPUT_TOKENS, "Tokens of output, those of reasoning included")
        self._cache_read = _counter(meter, names.INFERENCE_CACHE_READ_TOKENS, "Those read from the provider's cache")
        self._cache_write = _counter(meter, names.INFERENCE_CACHE_WRITE_TOKENS, "Those written to it")
        self._reasoning = _counter(meter, names.INFERENCE_REASONING_TOKENS, "Those that the model thought with")
        self._each_input = histogram(
            meter, names.INFERENCE_OPERATION_INPUT_TOKENS, "{token}", _TOKENS, "Tokens of input of one answer"
        )
        self._each_output = histogram(
            meter, names.INFERENCE_OPERATION_OUTPUT_TOKENS, "{token}", _TOKENS, "Tokens of output of one answer"
        )

    def tokens(self, usage: Usage, attributes: Attributes, /) -> None:
        self._each_input.record(usage.input_tokens, attributes)
        self._each_output.record(usage.output_tokens, attributes)
        # Providers take out sound alone; the rest may be text or pictures, which is called unknown.
        sound = {**attributes, names.TOKEN_MODALITY: "audio"}
        rest = {**attributes, names.TOKEN_MODALITY: "unknown"}
        heard = usage.audio_input_tokens + usage.cached_audio_tokens
        for instrument, all_tokens, audio_tokens in (
            (self._input, usage.input_tokens, heard),
            (self._output, usage.output_tokens, usage.audio_output_tokens),
            (self._cache_read, usage.cached_input_tokens, usage.cached_audio_tokens),
            (self._cache_write, usage.cache_write_tokens, 0),
            (self._reasoning, usage.reasoning_tokens, 0),
        ):
            if audio_tokens:
                instrument.add(audio_tokens, sound)
            if all_tokens > audio_tokens:
                instrument.add(all_tokens - audio_tokens, rest)


def histogram(meter: Meter, name: str, unit: str, boundaries: Sequence[float], description: str) -> Histogram:
    """A histogram with these boundaries, where no view of the application has others."""
    return meter.create_histogram(
        name, unit=unit, description=description, explicit_bucket_boundaries_advisory=boundaries
    )


def _counter(meter: Meter, name: str, description: str) -> Counter:
    return meter.create_counter(name, unit="{token}", description=description)
