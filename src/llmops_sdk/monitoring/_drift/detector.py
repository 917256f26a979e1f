"""`Detector`: notices that a signal has changed, with no more false alarms than are stated."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Any, Literal, TypeAlias, get_args

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.given import is_number
from llmops_sdk.monitoring._alarms import Alarm, alarm_of
from llmops_sdk.monitoring._drift.bets import bets_for
from llmops_sdk.monitoring._drift.chance import Chance
from llmops_sdk.monitoring._drift.reference import Reference, Shares, Values
from llmops_sdk.monitoring._drift.timeline import Timeline, Turn

__all__ = ["Detector", "Direction", "Kind", "Season"]

Kind: TypeAlias = Literal["rate", "value"]
Direction: TypeAlias = Literal["both", "up", "down"]
Season: TypeAlias = Literal["day", "week"]

_DAY_S, _HOUR_S = 86_400.0, 3_600.0
_HOURS = {"day": 24, "week": 168}
_MOST_PLACES = 1_000
_VERSION = 1


class Detector:
    """A sequential test for a change of one signal.

    As long as the observations come from one distribution, whichever it is, the mean time to a false alarm is at least
    `1 / false_alarms_per_day` days, however many observations there are in a day. Each observation's p-value (its rank
    among all before it, `reference.py`) pays the factor of each bet (`bets.py`) on what was staked so far; the stakes
    are the false alarms that may be spent since the observation before. What the bets are worth, less all stakes, is a
    supermartingale without a change; an alarm is raised when it reaches 1. This is an e-detector of the kind of
    Shiryaev and Roberts (Shin, Ramdas, Rinaldo, "E-detectors: a nonparametric framework for sequential change
    detection", 2022) on conformal p-values (Vovk, "Testing randomness online", 2021).

    After an alarm it starts again: what comes now is its new reference.

    Args:
        signal: A name for the alarms.
        false_alarms_per_day: The most false alarms in a day, on average, `> 0`. Several detectors at once together
            have the sum of their rates.
        kind: `"rate"`: the observations are 0 or 1. `"value"`: any finite numbers.
        direction: Which changes are of interest. With one of them changes in it are found a little earlier.
        warm_up: Observations that are only a reference and are not tested, `>= 5`; with a `season` in each hour.
        season: `"day"` compares observations with those of the same hour of the day (UTC), `"week"` of the week: for
            signals with a daily or weekly cycle, which without it look like changes.
        unit: Stands behind the figures of alarms; `"%"` (of rates, by default) shows 0.05 as 5 %.
        seed: Ties are broken by chance; the same seed breaks them in the same way.

    Attributes:
        observed: Observations so far.
        refused: Those that were not used, as they were no finite numbers (or, for a rate, neither 0 nor 1).

    Example:
        >>> detector = Detector("refusals", false_alarms_per_day=0.01, kind="rate")
        >>> for second in range(20_000):
        ...     alarm = detector.observe(second % (50 if second < 10_000 else 10) == 0, at=1.8e9 + second)
        ...     if alarm:
        ...         print(alarm)
        refusals rose from 2.0 % to 9.7 % since 10:46 UTC (257 observations); at most 1 false alarm in 100 days
    """

    __slots__ = (
        "_arguments",
        "_bets",
        "_chance",
        "_latest",
        "_rate",
        "_references",
        "_season",
        "_timeline",
        "_warm_up",
        "_worth",
        "observed",
        "refused",
    )

    def __init__(
        self,
        signal: str = "signal",
        *,
        false_alarms_per_day: float = 0.01,
        kind: Kind = "value",
        direction: Direction = "both",
        warm_up: int = 100,
        season: Season | None = None,
        unit: str | None = None,
        seed: int = 0,
    ) -> None:
        _check(false_alarms_per_day, kind, direction, warm_up, season)
        self._arguments: dict[str, Any] = {
            "signal": signal,
            "false_alarms_per_day": false_alarms_per_day,
            "kind": kind,
            "direction": direction,
            "warm_up": warm_up,
            "season": season,
            "unit": unit,
            "seed": seed,
        }
        self._rate = kind == "rate"
        self._season = season
        self._warm_up = warm_up
        self._chance = Chance(seed)
        self._bets = bets_for(kind, direction)
        self._latest: float | None = None
        self.observed = 0
        self.refused = 0
        self._begin()

    def _begin(self) -> None:
        """With no reference and nothing staked."""
        self._references: dict[str, Reference] = {}
        self._worth = [0.0] * len(self._bets.upwards)
        self._timeline = Timeline(is_rate=self._rate)

    @property
    def signal(self) -> str:
        """Its name."""
        return str(self._arguments["signal"])

    @property
    def evidence(self) -> float:
        """How much now speaks for a change, `>= 0`; an alarm is raised at 1."""
        return sum(self._worth)

    def observe(self, value: float, at: float, *, among: str = "") -> Alarm | None:
        """Take the next observation; returns an alarm if the signal has changed.

        Args:
            value: What was observed.
            at: When, in seconds since the epoch. Clocks may jump: more than an hour counts as an hour, and back as 0.
            among: It is compared only with observations that were given the same word, so that what is observed under
                different words may have different distributions. At most 1,000 words; the rest is refused.
        """
        if not (math.isfinite(value) and math.isfinite(at)) or (self._rate and value not in {0, 1}):
            self.refused += 1
            return None
        reference = self._reference(self.place_of(at, among))
        if reference is None:
            self.refused += 1
            return None
        self.observed += 1
        expected = reference.middle if self._rate and len(self._references) > 1 else 0.0
        tested = len(reference) >= self._warm_up
        p = reference.place(value, self._chance)
        stake = self._stake(at) / len(self._worth)
        surprise = value - expected if self._rate else p - 0.5 if tested else 0.0
        if tested or self._season is None:  # with a season the references say what was before
            self._timeline.add(at, float(value), surprise)
        if not tested:
            return None
        bets = self._bets
        factors = bets.factors[bisect_right(bets.edges, p)]
        self._worth = worth = [(old + stake) * factor for old, factor in zip(self._worth, factors, strict=True)]
        return self._alarm(at) if sum(worth) >= 1 else None

    def place_of(self, at: float, among: str = "") -> str:
        """The key of the reference that an observation is compared with: the word, and the hour where that matters."""
        if self._season is None:
            return among
        # 1970 began on a Thursday; which day a week begins with does not matter.
        return f"{int(at // _HOUR_S) % _HOURS[self._season]} {among}"

    def _reference(self, place: str) -> Reference | None:
        reference = self._references.get(place)
        if reference is None and len(self._references) < _MOST_PLACES:
            reference = self._references[place] = Shares() if self._rate else Values(self._warm_up)
        return reference

    def _stake(self, at: float) -> float:
        """The false alarms that may be spent since the observation before, which was at most an hour ago."""
        latest = self._latest
        if latest is None or not latest - _HOUR_S <= at <= latest:
            self._latest = at
        if latest is None or at <= latest:
            return 0.0
        rate: float = self._arguments["false_alarms_per_day"]
        return rate * min(at - latest, _HOUR_S) / _DAY_S

    def _alarm(self, at: float) -> Alarm:
        up = sum(worth for worth, upwards in zip(self._worth, self._bets.upwards, strict=True) if upwards)
        upwards = up >= self.evidence / 2
        turn = self._timeline.turn(upwards=upwards)
        alarm = alarm_of(
            signal=self.signal,
            at=at,
            upwards=upwards,
            before=turn.before if self._season is None else self._usual(turn),
            now=turn.now,
            since=turn.since,
            observations=turn.observations,
            evidence=self.evidence,
            unit=self._unit,
            false_alarms_per_day=self._arguments["false_alarms_per_day"],
        )
        self._begin()
        return alarm

    @property
    def _unit(self) -> str:
        unit = self._arguments["unit"]
        return unit if unit is not None else "%" if self._rate else ""

    def _usual(self, turn: Turn) -> float:
        """What is usual at the hours of the observations since the turn."""
        usual = [(self._references.get(self.place_of(at)), count) for at, count in turn.hours]
        known = [(reference.middle, count) for reference, count in usual if reference is not None]
        return (
            sum(middle * count for middle, count in known) / sum(count for _, count in known) if known else turn.before
        )

    def state(self) -> dict[str, Any]:
        """All that it knows, as JSON: `Detector.from_state` continues exactly from here."""
        return {
            "version": _VERSION,
            "arguments": dict(self._arguments),
            "observed": self.observed,
            "refused": self.refused,
            "latest": self._latest,
            "chance": self._chance.state,
            "worth": list(self._worth),
            "references": {place: reference.state() for place, reference in self._references.items()},
            "timeline": self._timeline.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Detector:
        """A detector that continues where another one was. Raises `ConfigurationError` for what is no state."""
        if not isinstance(state, dict) or state.get("version") != _VERSION:
            raise ConfigurationError(
                "this is not the state of a detector of this version; make a new Detector, which learns a new reference"
            )
        made = cls(**state["arguments"])
        made.observed, made.refused, made._latest = state["observed"], state["refused"], state["latest"]
        made._chance = Chance(state["chance"])
        made._worth = list(state["worth"])
        if made._rate:
            made._references = {place: Shares(**one) for place, one in state["references"].items()}
        else:
            made._references = {place: Values(made._warm_up, **one) for place, one in state["references"].items()}
        made._timeline = Timeline(is_rate=made._rate, state=state["timeline"])
        return made


def _check(rate: object, kind: object, direction: object, warm_up: object, season: object) -> None:
    if not is_number(rate) or not 0 < rate < math.inf:
        raise ConfigurationError(
            f"false_alarms_per_day={rate!r}: write the most false alarms in a day, such as 0.01 for one in 100 days"
        )
    for name, given, known in (("kind", kind, Kind), ("direction", direction, Direction)):
        if given not in get_args(known):
            raise ConfigurationError(f"{name}={given!r}: write one of {', '.join(map(repr, get_args(known)))}")
    if not is_number(warm_up) or warm_up != int(warm_up) or warm_up < 5:
        raise ConfigurationError(f"warm_up={warm_up!r}: write how many observations are a first reference, 5 or more")
    if season is not None and season not in get_args(Season):
        raise ConfigurationError(f'season={season!r}: write "day", "week" or None')
