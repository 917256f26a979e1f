"""`setup`: tracing for those who have no provider of their own, and a delivery for those who want one."""

from __future__ import annotations

import importlib
import logging
import math
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self
from urllib.parse import urlsplit

from opentelemetry import trace
from opentelemetry._logs import LoggerProvider
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, Sampler, TraceIdRatioBased

from llmops_sdk import environment
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.given import is_number
from llmops_sdk.tracing._content import ContentPolicy
from llmops_sdk.tracing._later import LATER
from llmops_sdk.tracing.opentelemetry._delivery import (
    Carrier,
    Delivery,
    Exporting,
    SpanCounts,
    at_exit,
    at_sigterm,
    forget,
)
from llmops_sdk.tracing.opentelemetry._hook import OpenTelemetry

__all__ = ["Tracing", "setup"]

log = logging.getLogger("llmops_sdk")

_PATH = "/v1/traces"
_GRPC_PORT = 4317
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, "token"


class Tracing(OpenTelemetry):
    """What `setup` returns: a hook, and the delivery of the spans that it makes.

    It is made by `setup`. As a context manager it closes itself at the end.

    Attributes:
        tracer_provider: Where the spans go; spans of your own may go there, too.
    """

    def __init__(
        self, tracer_provider: trace.TracerProvider, delivery: Delivery | None, exit_s: float, **options: Any
    ) -> None:
        super().__init__(tracer_provider, **options)
        self.tracer_provider = tracer_provider
        self._delivery = delivery
        self._exit_s = exit_s

    @property
    def counts(self) -> SpanCounts:
        """What has become of the spans of this process; all zero where your own provider delivers."""
        return SpanCounts() if self._delivery is None else self._delivery.counts

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Write and send all of what has ended by now, in at most `timeout_s`.

        `False` when some still waits then. What was rejected waits no more: `counts` tells. Blocks; in a coroutine
        write `await asyncio.to_thread(tracing.flush)`.
        """
        until = time.monotonic() + _number("timeout_s", timeout_s)
        written = LATER.flush(timeout_s)
        left_s = max(until - time.monotonic(), 0.0)
        if self._delivery is not None:
            return self._delivery.flush(left_s) and written
        if isinstance(self.tracer_provider, TracerProvider):
            return self.tracer_provider.force_flush(int(left_s * 1000)) and written
        return written

    def close(self, timeout_s: float | None = None) -> bool:
        """Flush within `timeout_s` (`exit_s` by default), and stop: what waits then or ends later is dropped, counted.

        A provider of your own stays as it is. Happens at the end of the process by itself. Returns what `flush` does.
        """
        timeout_s = self._exit_s if timeout_s is None else timeout_s
        until = time.monotonic() + _number("timeout_s", timeout_s)
        if self._delivery is None:
            return self.flush(timeout_s)
        written = LATER.flush(timeout_s)
        done = self._delivery.close(max(until - time.monotonic(), 0.0))
        forget(self)  # last: SIGTERM may come in between
        return done and written

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Tracing {self.counts}>"


def setup(
    endpoint: str | None = None,
    *,
    dialects: Sequence[str] = ("gen_ai",),
    service_name: str | None = None,
    headers: Mapping[str, str] | None = None,
    sample: float | Sampler | None = None,
    content: bool | ContentPolicy | None = None,
    logger_provider: LoggerProvider | None = None,
    resource: Mapping[str, Any] | Resource | None = None,
    exporter: SpanExporter | Callable[[], SpanExporter] | None = None,
    tracer_provider: trace.TracerProvider | None = None,
    set_global: bool = False,
    timeout_s: float | None = None,
    queue: int = 16_384,
    queue_bytes: int = 64 * 1024 * 1024,
    every_s: float = 1.0,
    exit_s: float = 5.0,
    sigterm: bool = True,
) -> Tracing:
    """Set tracing up: what it returns goes into `hooks=[...]`, and carries the spans away.

    Where the application has a provider (the global one, or `tracer_provider=`), that is used as it is, and nothing is
    added unless `endpoint` or `exporter` is given: then the spans of that provider, all of them, are sent there, too.

    What is not given is taken from OpenTelemetry's variables: `OTEL_EXPORTER_OTLP_ENDPOINT`,
    `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER` and the others
    that its SDK reads; with `OTEL_SDK_DISABLED=true` there are no spans.

    Args:
        endpoint: Where an OTLP collector listens, `http://` or `https://`; `/v1/traces` is added where it is missing.
        dialects: In which words the spans speak; see `OpenTelemetry`.
        service_name: What the spans are found by.
        headers: Sent with each request, such as `Authorization`.
        sample: Share of the traces that are kept, 0 to 1, where the caller's trace has not decided; or a sampler.
        content: Whether spans hold messages; see `OpenTelemetry`.
        logger_provider: Where log events go; see `OpenTelemetry`.
        resource: More attributes of the process.
        exporter: Takes the place of OTLP over HTTP. A function that makes one is called again in a forked child.
        tracer_provider: Yours, if it is not the global one.
        set_global: Make the new provider the global one, so that spans of other libraries go there, too. It is not
            the default since it can be done once in a process and never undone.
        timeout_s: Seconds that a batch is tried for, with pauses that the exporter makes; 10 unless a variable says so.
        queue: Spans that may wait; what finds no room is dropped, and counted.
        queue_bytes: About as many bytes of memory they may hold.
        every_s: Seconds until what has ended is sent; 512 spans are sent at once.
        exit_s: Seconds that the end of the process waits for what is still to be sent.
        sigterm: Flush when SIGTERM would end the process, for at most `exit_s`, and let it end the process then. Only
            where nothing else handles SIGTERM, and when called from the main thread.

    Raises:
        ConfigurationError: Something cannot be what it is for, or is the business of a provider that you gave.
        MissingDependencyError: There is no OTLP exporter; the extra `otlp` brings it.

    Example:
        >>> from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        >>> from llmops_sdk import Pipeline, Scripted, tracing
        >>> with tracing.setup(exporter=InMemorySpanExporter(), service_name="support") as traced:
        ...     answer = Pipeline("{{ q }}", Scripted("Hello."), hooks=[traced]).run(q="Hi")
        ...     traced.flush(), traced.counts.delivered == traced.counts.made > 0
        (True, True)
    """
    for name, number in (("every_s", every_s), ("exit_s", exit_s), ("timeout_s", timeout_s or 0)):
        _number(name, number)
    for name, most in (("queue", queue), ("queue_bytes", queue_bytes)):
        if not isinstance(most, int) or isinstance(most, bool) or most < 1:
            raise ConfigurationError(f"`{name}` is {most!r}; write how many may wait, 1 or more")
    made_of = {"service_name": service_name, "sample": sample, "resource": resource}
    provider = _found(tracer_provider, [name for name, value in made_of.items() if value is not None])
    wanted = provider is None or endpoint is not None or exporter is not None
    delivery = None
    if wanted:
        make = _maker(endpoint, headers, timeout_s, exporter)
        delivery = Delivery(make, make(), most=queue, most_bytes=queue_bytes, every_s=every_s)
    elif headers is not None or timeout_s is not None:
        raise ConfigurationError("`headers` and `timeout_s` are for an `endpoint`, and none is given")
    if provider is None:
        provider = TracerProvider(
            sampler=_sampler(sample), resource=_resource(service_name, resource), shutdown_on_exit=False
        )
    elif delivery is not None and not isinstance(provider, TracerProvider):
        raise ConfigurationError(
            f"a {type(provider).__name__} takes no exporter: leave out `endpoint` and `exporter`, or give it a "
            "`TracerProvider` of opentelemetry-sdk"
        )
    tracing = Tracing(provider, delivery, exit_s, dialects=dialects, content=content, logger_provider=logger_provider)
    if delivery is not None and isinstance(provider, TracerProvider):
        provider.add_span_processor(delivery)
        at_exit(tracing)
        if sigterm:
            at_sigterm(tracing, lambda: tracing.flush(exit_s))
    if set_global and provider is not trace.get_tracer_provider():
        trace.set_tracer_provider(provider)
    return tracing


def _number(name: str, value: float) -> float:
    if not is_number(value) or not 0 <= value < math.inf:
        raise ConfigurationError(f"`{name}` is {value!r}; write seconds, 0 or more")
    return value


def _found(given: trace.TracerProvider | None, made_of: list[str]) -> trace.TracerProvider | None:
    """The application's provider; `None` where there is none."""
    if given is not None:
        if made_of:
            raise ConfigurationError(f"`{made_of[0]}` belongs to the provider; give it to your `tracer_provider`")
        return given
    found = trace.get_tracer_provider()
    if isinstance(found, trace.ProxyTracerProvider):
        return None
    if made_of:  # no error: who starts the application decides whether there is a global provider
        log.warning("tracing goes through the global provider that is there; of `setup` %s is not used", made_of)
    return found


def _maker(
    endpoint: str | None,
    headers: Mapping[str, str] | None,
    timeout_s: float | None,
    exporter: SpanExporter | Callable[[], SpanExporter] | None,
) -> Callable[[], Carrier]:
    if exporter is not None:
        if endpoint is not None or headers is not None or timeout_s is not None:
            raise ConfigurationError("`exporter` knows its own endpoint, headers and timeout; leave them out here")
        if isinstance(exporter, SpanExporter):
            return lambda: Exporting(exporter)
        if not callable(exporter):
            raise ConfigurationError(f"`exporter` is {exporter!r}; write a `SpanExporter`, or what makes one")
        return lambda: Exporting(exporter())
    if endpoint is None:
        _check_variables()
    url = None if endpoint is None else _url(endpoint)
    sent = None if headers is None else _headers(headers)
    otlp = importlib.import_module("llmops_sdk.tracing.opentelemetry._delivery.otlp")  # only this needs the extra
    return lambda: otlp.Otlp(url, sent, timeout_s)


def _check_variables() -> None:
    # The exporter reads them itself, and of what is no URL it says nothing: every batch would be lost.
    for variable in ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        if (endpoint := environment.named(variable)) is not None:
            _url(endpoint, variable)
            return


def _url(endpoint: str, named: str = "endpoint") -> str:
    try:
        url = urlsplit(endpoint)
        fine = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
        fine = fine and not url.netloc.endswith(":") and not any(map(str.isspace, endpoint))
    except (ValueError, TypeError, AttributeError):
        fine = False
    if not isinstance(endpoint, str) or not fine:
        raise ConfigurationError(
            f'`{named}` is no URL of a collector that takes OTLP over HTTP; write it as "http://localhost:4318"'
        )
    if url.port == _GRPC_PORT:
        log.warning("collectors take gRPC at the port %d of `%s`, and spans go over HTTP: 4318", _GRPC_PORT, named)
    path = url.path.rstrip("/")
    return url._replace(path=path if path.endswith(_PATH) else path + _PATH).geturl()


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    # What is wrong is named, and never shown: these are keys.
    if not isinstance(headers, Mapping):
        raise ConfigurationError('`headers` is no mapping; write {"authorization": "Bearer …"}')
    for name, value in headers.items():
        if not isinstance(name, str) or not isinstance(value, str) or not (name + value).isprintable():
            raise ConfigurationError(f"the header {name!r} has to be one line of text")
        if not value.isascii() or value != value.strip():
            raise ConfigurationError(f"the header {name!r} has to be ASCII, without spaces around it")
        if not _HEADER.fullmatch(name):
            raise ConfigurationError(f"{name!r} is no name of a header; write one like 'authorization'")
    return dict(headers)


def _sampler(sample: float | Sampler | None) -> Sampler | None:
    if sample is None or isinstance(sample, Sampler):
        return sample
    if not is_number(sample) or not 0 <= sample <= 1:
        raise ConfigurationError(f"`sample` is {sample!r}; write a share between 0 and 1, or a sampler")
    return ParentBased(TraceIdRatioBased(sample))


def _resource(service_name: str | None, resource: Mapping[str, Any] | Resource | None) -> Resource:
    if service_name is not None and (not isinstance(service_name, str) or not service_name):
        raise ConfigurationError(f"`service_name` is {service_name!r}; write a name")
    if resource is not None and not isinstance(resource, Mapping | Resource):
        raise ConfigurationError(f"`resource` is {resource!r}; write a mapping of attributes")
    named = {} if service_name is None else {SERVICE_NAME: service_name}
    if isinstance(resource, Resource):
        return Resource.create().merge(resource).merge(Resource(named))
    return Resource.create({**(resource or {}), **named})
