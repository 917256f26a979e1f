"""Evaluations as tests: each case is one, and so is the verdict. Loaded when a test has the marker `llmops_eval`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.evaluation import Dataset, Experiment, GateResult, Suite
from llmops_sdk.testing._evaluated import Evaluated

__all__ = ["evaluated_by", "parametrise"]

_VERDICT = "verdict"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What one test is about: a case, or with `None` the verdict."""

    run: _Run
    case: str | None
    at_least: Mapping[str, float]
    at_most: Mapping[str, float]
    unsure: str


class _Run:
    """A suite that is run once, for the cases of which tests were selected."""

    def __init__(self, suite: Suite, against: str | None, max_drop: Any) -> None:
        self._suite = suite
        self._against = against
        self._max_drop = max_drop
        self._outcomes: dict[str, tuple[Any, Exception | None]] = {}
        self._told: set[str] = set()

    def verdict(self, session: pytest.Session) -> GateResult | None:
        """What the gate found; `None` where there is nothing to compare with."""
        found: GateResult | None = self._once("gate", lambda: self._gate(session))
        return found

    def experiment(self, session: pytest.Session) -> Experiment:
        """What was run: both versions where the verdict is asked for, or else the cases that are."""
        asked = [one for item in session.items if (one := _asked(item)) is not None and one.run is self]
        if self._against is not None and any(one.case is None for one in asked):
            result, _ = self._outcome("gate", lambda: self._gate(session))  # the verdict tells what went wrong
            if result is not None and result.experiment is not None:
                both: Experiment = result.experiment
                return both
        wanted = {one.case for one in asked}
        suite = self._suite
        cases = Dataset(lambda: (one for one in suite.dataset if one.id in wanted), name=suite.dataset.name)
        found: Experiment = self._once("cases", lambda: suite.run(dataset=cases, **self._kept(session)))
        return found

    def _gate(self, session: pytest.Session) -> GateResult | None:
        if self._against is None:
            return None
        return self._suite.gate(self._against, max_drop=self._max_drop, **self._kept(session))

    def _kept(self, session: pytest.Session) -> dict[str, Any]:
        """A file of this session, so that tests that share a suite share its runs."""
        store = Path(_state(session.config).folder.name, "runs.db")
        return {"progress": False} | ({} if "store" in self._suite.options else {"store": store})

    def _once(self, what: str, make: Callable[[], Any]) -> Any:
        value, error = self._outcome(what, make)
        if error is None:
            return value
        if what not in self._told:
            self._told.add(what)
            raise error
        said = str(error).strip().partition("\n")[0]
        pytest.fail(f"{self._suite.name} could not be run: {type(error).__name__}: {said}", pytrace=False)

    def _outcome(self, what: str, make: Callable[[], Any]) -> tuple[Any, Exception | None]:
        if what not in self._outcomes:
            try:
                self._outcomes[what] = make(), None
            except Exception as exc:  # noqa: BLE001  (raised in the first test that asks for it, and said in the others)
                self._outcomes[what] = None, exc
        return self._outcomes[what]


class _State:
    """What a session keeps."""

    def __init__(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="llmops-tests-")
        self.runs: dict[tuple[int, str | None, str], _Run] = {}


_STATE = pytest.StashKey[_State]()


def _state(config: pytest.Config) -> _State:
    if _STATE not in config.stash:
        config.stash[_STATE] = _State()
    return config.stash[_STATE]


def parametrise(metafunc: pytest.Metafunc, mark: pytest.Mark) -> None:
    """Make a test of each case, and one of the verdict."""
    if "evaluated" not in metafunc.fixturenames:
        if mark in metafunc.definition.own_markers:
            pytest.fail(f"write `def {metafunc.function.__name__}(evaluated):`, to be given the case", pytrace=False)
        return
    config = metafunc.config
    suite, asked = _read(mark, config)
    cases = [pytest.param(asked(one.id), id=one.id) for one in suite.dataset]
    metafunc.parametrize("evaluated", [*cases, pytest.param(asked(None), id=_VERDICT)], indirect=True)


def _read(mark: pytest.Mark, config: pytest.Config) -> tuple[Suite, Callable[[str | None], _Asked]]:
    def read(
        suite: Suite,
        *,
        against: str | None = None,
        max_drop: Any = None,
        at_least: Mapping[str, float] | None = None,
        at_most: Mapping[str, float] | None = None,
        unsure: str = "fail",
    ) -> tuple[Suite, Callable[[str | None], _Asked]]:
        if not isinstance(suite, Suite):
            raise ConfigurationError(f"`llmops_eval` takes a Suite, not {suite!r}")
        if unsure not in ("fail", "pass", "skip"):
            raise ConfigurationError(f"`unsure` is 'fail', 'pass' or 'skip', not {unsure!r}")
        limits = dict(at_least or {}), dict(at_most or {})
        for name in (*limits[0], *limits[1]):
            if not any(name == one.name or name.startswith(f"{one.name}.") for one in suite.metrics):
                raise ConfigurationError(f"the suite {suite.name!r} has no metric {name!r}")
        base = config.getoption("--llmops-against") or against
        drop = config.getoption("--llmops-max-drop") or max_drop
        run = _state(config).runs.setdefault((id(suite), base, repr(drop)), _Run(suite, base, drop))
        return suite, lambda case: _Asked(run=run, case=case, at_least=limits[0], at_most=limits[1], unsure=unsure)

    try:
        return read(*mark.args, **mark.kwargs)
    except (TypeError, ConfigurationError) as exc:
        pytest.fail(f"pytest.mark.llmops_eval: {exc}", pytrace=False)


def evaluated_by(request: pytest.FixtureRequest) -> Evaluated | GateResult:
    """What the fixture gives: the case, run and scored with all others; for the verdict what the gate found."""
    asked = _asked(request.node)
    if asked is None:
        pytest.fail("mark the test: `@pytest.mark.llmops_eval(suite)`", pytrace=False)
    if asked.case is not None:
        return Evaluated.of(asked.run.experiment(request.session), asked.case)
    result = asked.run.verdict(request.session)
    if result is None:
        pytest.skip("there is nothing to compare with: `pytest --llmops-against prod`")
    return result


def _asked(item: pytest.Item) -> _Asked | None:
    callspec = getattr(item, "callspec", None)
    found = None if callspec is None else callspec.params.get("evaluated")
    return found if isinstance(found, _Asked) else None


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Judge before the test's own body does; of the verdict there is nothing more to say."""
    asked = _asked(pyfuncitem)
    if asked is None:
        return None
    given: Any = pyfuncitem.funcargs["evaluated"]
    if isinstance(given, GateResult):
        _tell(given, asked.unsure)
        return True
    said = "\n".join(_wrong(given, asked))
    if said:
        pytest.fail(said, pytrace=False)
    return None


def _tell(result: GateResult, unsure: str) -> None:
    if result.verdict == "unsure" and unsure == "skip":
        pytest.skip(str(result))
    if result.verdict == "failed" or (result.verdict == "unsure" and unsure == "fail"):
        pytest.fail(str(result), pytrace=False)


def _wrong(given: Evaluated, asked: _Asked) -> Iterator[str]:
    for error in given.errors:
        yield f"{given.case.id} failed: {error.strip().splitlines()[-1]}"
    for limits, words, sign in ((asked.at_least, "at least", 1), (asked.at_most, "at most", -1)):
        for name, limit in limits.items():
            score = given.scores.get(name)
            if score is not None and sign * score < sign * limit:
                yield f"{given.case.id}: {name} is {score:g}, and has to be {words} {limit:g}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the answer, the expectation and the scores of a case that failed."""
    report = yield
    given = getattr(item, "funcargs", {}).get("evaluated")
    if report.failed and isinstance(given, Evaluated):
        report.sections.append(("the case", str(given)))
    return report


def pytest_unconfigure(config: pytest.Config) -> None:
    """Let go of the runs."""
    if _STATE in config.stash:
        state = config.stash[_STATE]
        state.runs.clear()
        state.folder.cleanup()
