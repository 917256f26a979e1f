"""The log events of the conventions: what came of a guard, of a judgement, of an attempt that failed."""

from __future__ import annotations

from opentelemetry._logs import LoggerProvider, NoOpLoggerProvider, SeverityNumber, get_logger, get_logger_provider
from opentelemetry.context import Context

from llmops_sdk.tracing._dialects import Attributes

__all__ = ["LogEvents"]


class LogEvents:
    """Emits events through OpenTelemetry's logs, where the application has set them up.

    Args:
        provider: Where events go; the global provider by default.
    """

    def __init__(self, provider: LoggerProvider | None) -> None:
        self._provider = provider
        self._logger = get_logger("llmops_sdk", logger_provider=provider)

    @property
    def wanted(self) -> bool:
        """Whether anybody gets them: else nothing has to be made."""
        provider = self._provider if self._provider is not None else get_logger_provider()
        # Before a provider is set there is one that stands for it, which the API keeps to itself.
        return not (isinstance(provider, NoOpLoggerProvider) or type(provider).__name__ == "ProxyLoggerProvider")

    def emit(
        self,
        name: str,
        attributes: Attributes,
        at_ns: int,
        context: Context,
        severity: SeverityNumber = SeverityNumber.INFO,
    ) -> None:
        """Emit the event `name` of the span in `context`."""
        self._logger.emit(
            event_name=name, attributes=attributes, timestamp=at_ns, context=context, severity_number=severity
        )
