"""What came of a simulation: a row of figures for each policy, as a table, as data, and as plots."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.routers._simulation.engine import SimulatedEngine
from llmops_sdk.routers._simulation.page import fragment, page, svg
from llmops_sdk.routers._simulation.table import HEADINGS, cells
from llmops_sdk.routers._simulation.tally import Tally

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.table import Table

__all__ = ["Outcome", "Simulation", "outcome"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the traffic under one policy. Times are virtual seconds, not a number where nothing was answered.

    Attributes:
        policy: Its name.
        sent: Requests that came.
        answered: Those that got an answer.
        failures: The others, by the name of their error.
        mean_s: Mean time to the whole answer.
        p50_s: Half of the answers took at most so long; this and the following are within 0.5 %.
        p99_s: The same for 99 of 100.
        first_token_p50_s: Time to the first token.
        first_token_p99_s: The same for 99 of 100.
        attempts_per_answer: How often an engine was asked for each answer.
        hedges: How often a second engine was asked beside a slow one.
        too_many: Attempts that were answered by a 429.
        wasted_tokens: Tokens that engines worked for attempts that lost or were cancelled.
        prefix_hit_rate: Share of the tokens of prompts that the engines' caches knew.
        imbalance: The most attempts that an engine got, divided by the mean.
        spread: The coefficient of variation of the attempts of the engines: standard deviation / mean.
        busy: Share of the time in which the engines worked, in the mean.
        cost_usd: What the answers cost, `None` where no engine has a price.
        virtual_s: Seconds from the first request to the last answer.
        asked: Attempts by engine.
        took_s: Real seconds that the simulation took.
    """

    policy: str
    sent: int
    answered: int
    failures: Mapping[str, int]
    mean_s: float
    p50_s: float
    p99_s: float
    first_token_p50_s: float
    first_token_p99_s: float
    attempts_per_answer: float
    hedges: int
    too_many: int
    wasted_tokens: int
    prefix_hit_rate: float
    imbalance: float
    spread: float
    busy: float
    cost_usd: Decimal | None
    virtual_s: float
    asked: Mapping[str, int]
    took_s: float

    @property
    def failed(self) -> int:
        """Requests without an answer."""
        return sum(self.failures.values())

    @property
    def requests_per_s(self) -> float:
        """Answers in a virtual second."""
        return self.answered / self.virtual_s if self.virtual_s else math.nan


def outcome(policy: str, tally: Tally, engines: Sequence[SimulatedEngine], virtual_s: float, took_s: float) -> Outcome:
    """The figures of what was counted."""
    asked = [engine.asked for engine in engines]
    mean = sum(asked) / len(asked)
    spread = math.sqrt(sum((one - mean) ** 2 for one in asked) / len(asked)) / mean if mean else math.nan
    prompt_tokens = sum(engine.prompt_tokens for engine in engines)
    answered = tally.latency.count
    return Outcome(
        policy=policy,
        sent=tally.sent,
        answered=answered,
        failures=dict(sorted(tally.failures.items())),
        mean_s=tally.latency.mean,
        p50_s=tally.latency.at(0.5),
        p99_s=tally.latency.at(0.99),
        first_token_p50_s=tally.first_token.at(0.5),
        first_token_p99_s=tally.first_token.at(0.99),
        attempts_per_answer=tally.attempts / answered if answered else math.nan,
        hedges=tally.hedges,
        too_many=sum(engine.refused for engine in engines),
        wasted_tokens=round(sum(engine.wasted_tokens for engine in engines)),
        prefix_hit_rate=sum(engine.cached_tokens for engine in engines) / prompt_tokens if prompt_tokens else 0.0,
        imbalance=max(asked) / mean if mean else math.nan,
        spread=spread,
        busy=sum(engine.busy_s for engine in engines) / len(engines) / virtual_s if virtual_s else 0.0,
        cost_usd=tally.cost_usd if any(engine.model is not None for engine in engines) else None,
        virtual_s=virtual_s,
        asked={engine.name: engine.asked for engine in engines},
        took_s=took_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Simulation:
    """What would have become of one traffic under several policies. Print it; in a notebook it shows itself with plots.

    Iterating gives an `Outcome` for each policy; `simulation["latency"]` gives the one of that name.

    Attributes:
        outcomes: One for each policy, in the order in which they were given.
        engines: How many engines there were.
        seed: The seed.
    """

    outcomes: tuple[Outcome, ...]
    engines: int
    seed: int

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self.outcomes)

    def __len__(self) -> int:
        return len(self.outcomes)

    def __getitem__(self, policy: str) -> Outcome:
        for one in self.outcomes:
            if one.policy == policy:
                return one
        raise KeyError(f"no policy was called {policy!r}: there are {', '.join(one.policy for one in self.outcomes)}")

    @property
    def title(self) -> str:
        """What was simulated, in a line."""
        engines = "1 engine" if self.engines == 1 else f"{self.engines:,} engines"
        return f"{self.outcomes[0].sent:,} requests to {engines}, seed {self.seed}"

    def to_json(self) -> dict[str, Any]:
        """All of it as a dict that `json.dumps` takes; what is not a number is `None`, money is decimal text."""
        rows = [{one.name: _plain(getattr(row, one.name)) for one in fields(row)} for row in self.outcomes]
        return {"engines": self.engines, "seed": self.seed, "outcomes": rows}

    def save(self, path: str | Path) -> None:
        """Write a page (`.html`), the plots alone (`.svg`), the data (`.json`) or the table (`.md`, `.txt`).

        Raises:
            ConfigurationError: The name ends otherwise.
        """
        path = Path(path)
        makers: dict[str, Callable[[], str]] = {
            ".html": lambda: page(self),
            ".svg": lambda: svg(self),
            ".json": lambda: json.dumps(self.to_json(), indent=1) + "\n",
            ".md": self.to_markdown,
            ".txt": lambda: f"{self}\n",
        }
        if path.suffix not in makers:
            raise ConfigurationError(
                f"a simulation is written as {', '.join(makers)}, not {path.suffix or path.name!r}"
            )
        path.write_text(makers[path.suffix](), encoding="utf-8")

    def to_markdown(self) -> str:
        """The table as Markdown."""
        rows = [cells(row) for row in self.outcomes]
        lines = [HEADINGS, ["---", *["---:"] * (len(HEADINGS) - 1)], *rows]
        return "".join("| " + " | ".join(line) + " |\n" for line in lines)

    def __str__(self) -> str:
        lines = [list(HEADINGS), *(cells(row) for row in self.outcomes)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
        text = [
            "  ".join(
                cell.rjust(width) if column else cell.ljust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        return "\n".join([self.title, *text])

    def __repr__(self) -> str:
        return f"<Simulation of {self.title}>"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table]:
        from rich.table import Table  # noqa: PLC0415  (rich calls this, so it is there; nobody else pays for it)

        table = Table(title=self.title, title_justify="left")
        for number, heading in enumerate(HEADINGS):
            table.add_column(heading, justify="right" if number else "left")
        for row in self.outcomes:
            table.add_row(*cells(row))
        yield table

    def _repr_html_(self) -> str:
        return fragment(self)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return dict(value) if isinstance(value, Mapping) else value
