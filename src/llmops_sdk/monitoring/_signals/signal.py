"""What a signal is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.given import is_number
from llmops_sdk.monitoring._observed import Observed
from llmops_sdk.monitoring._records import Kind, StoredSignal

__all__ = ["Signal"]

_Value: TypeAlias = "float | bool | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """A number that is read off every run, and watched for changes.

    Attributes:
        name: What it is called in the store, in alarms and in the report; no two may share one.
        kind: `"rate"`: something happens or does not. `"value"`: any number.
        of: Reads it off an `Observed`: a number, for a rate also a bool; or a pair of that and a label (a short text,
            such as the language); `None` where the run does not have it. Called in a thread of the monitor's own, so it
            may take a while, but the next run waits for it.
        reads_text: Whether it reads the answer, which takes longer: when runs come faster than they can be read, such
            signals are left out, and that is counted.
        step: Detectors see it in whole steps of this size, `>= 0`, as smaller changes are of no interest: 0.01 for
            hundredths. The store keeps it as it is.

    Raises:
        ConfigurationError: The name is empty, the kind is unknown, `of` cannot be called, or the step is negative.

    Example:
        >>> Signal(name="apologies", kind="rate", of=lambda run: "sorry" in run.answer.lower()).name
        'apologies'
    """

    name: str
    kind: Kind
    of: Callable[[Observed], _Value | tuple[_Value, str | None]]
    reads_text: bool = True
    step: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip():
            raise ConfigurationError(f"a signal needs a name, such as 'apologies', not {self.name!r}")
        if self.kind not in ("rate", "value"):
            raise ConfigurationError(
                f"the signal {self.name!r} has kind={self.kind!r}; write 'rate' (it happens or not) or 'value'"
            )
        if not callable(self.of):
            raise ConfigurationError(f"the signal {self.name!r}: `of` is a function of an observed run")
        if not is_number(self.step) or not 0 <= self.step < math.inf:
            raise ConfigurationError(f"the signal {self.name!r} has step={self.step!r}; write a number from 0 on")

    def read(self, run: Observed) -> StoredSignal | None:
        """What it is in this run; `None` where the run does not have it.

        Raises:
            ValueError: `of` gave no finite number.
            Exception: Whatever `of` raises.
        """
        read = self.of(run)
        value, label = read if isinstance(read, tuple) else (read, None)
        if value is None:
            return None
        number = float(value)
        if not math.isfinite(number) or (self.kind == "rate" and number not in (0.0, 1.0)):
            raise ValueError(f"the signal {self.name!r} is {number}; a rate is 0 or 1, a value any finite number")
        return StoredSignal(
            run=run.id,
            at=run.at,
            name=self.name,
            kind=self.kind,
            value=number,
            label=None if label is None else str(label),
        )
