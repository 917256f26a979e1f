"""`llmops eval`: suites of evaluations, run, compared, and as a gate for what is merged."""

from __future__ import annotations

import argparse
import json
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from llmops_sdk import environment, evaluation
from llmops_sdk.cli._application import guarded
from llmops_sdk.cli._arguments import Commands
from llmops_sdk.cli._suites import EvalSettings, FoundSuite, eval_settings, suites_in
from llmops_sdk.cli._terminal import plain, print_table
from llmops_sdk.errors import ConfigurationError, LlmopsError

if TYPE_CHECKING:
    from llmops_sdk.cli._suites import Unsure
    from llmops_sdk.evaluation import Experiment, GateResult, Suite

__all__ = ["add_evaluation"]

_COLOURS = {"passed": "green", "failed": "bold red", "unsure": "yellow", "reported": "dim"}
_UNSURE = 3


def add_evaluation(rooms: Commands) -> None:
    """Add `llmops eval` and its commands."""
    room = rooms.add_parser("eval", description="Run evaluations; say whether a prompt is as good as production's.")
    commands = room.add_subparsers(required=True, metavar="COMMAND")

    command = _add(commands, "list", _list, "the suites, or the experiments that a file keeps")
    command.add_argument("--store", type=Path, metavar="DB", help="list the experiments of this file")
    command.add_argument("--format", choices=("table", "json"), default="table")

    command = _add(commands, "run", _run, "run suites at a version, and print the scores")
    command.add_argument("--at", metavar="VERSION", help="a label, tag, branch or commit (default: the working tree)")
    _running(command)

    command = _add(commands, "gate", _gate, "whether a candidate is as good as what is in production")
    command.add_argument("--against", metavar="VERSION", help="the base: a label, tag, branch, commit or llmops.lock")
    command.add_argument("--candidate", metavar="VERSION", help="what may take its place (default: the working tree)")
    command.add_argument("--max-drop", metavar="DROP", help="what scores may drop by: 1%% of the base, or 0.01")
    command.add_argument(
        "--metric", action="append", default=[], metavar="NAME=DROP", help="the same for one metric; NAME=none: any"
    )
    command.add_argument("--max-failures", metavar="N", help="runs that may fail: a number, or a share such as 2%%")
    command.add_argument("--unsure", choices=("fail", "pass"), help="what to do where nobody can tell (default: fail)")
    command.add_argument("--junit", type=Path, metavar="XML", help="write the verdicts as JUnit XML")
    command.add_argument("--markdown", type=Path, metavar="FILE", help="write a summary (default: GitHub's, in its CI)")
    command.add_argument("--format", choices=("table", "json"), default="table")
    _running(command)
    command.epilog = "Exit code 0: passed, 1: failed, 2: could not be done, 3: cannot tell (0 with --unsure pass)."

    about = "run suites at two versions, and print the verdicts"
    command = commands.add_parser("compare", help=about, description=f"{about[0].upper()}{about[1:]}.")
    command.add_argument("base", metavar="BASE", help="a label, tag, branch, commit or llmops.lock")
    command.add_argument("new", metavar="NEW", help="the same; `worktree` for what lies there")
    _suites(command)
    _running(command)
    command.set_defaults(run=lambda given: guarded(lambda: _compare(given)))

    about = "print what an experiment found, or write it as a page"
    command = commands.add_parser("report", help=about, description=f"{about[0].upper()}{about[1:]}.")
    command.add_argument("store", type=Path, metavar="DB", help="the file that keeps experiments")
    command.add_argument("experiment", nargs="?", metavar="ID", help="its id or name (default: the latest)")
    command.add_argument("-o", "--output", type=Path, metavar="HTML", help="write a page instead of printing lines")
    command.set_defaults(run=_report)


def _place(*files: Path | None) -> None:
    """Make the folders of files before anything is paid for, not find out afterwards that they are not there."""
    for file in files:
        try:
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ConfigurationError(f"the folder of {file} cannot be made: {exc}") from exc


def _add(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], about: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
    _suites(command)
    command.set_defaults(run=lambda given: guarded(lambda: run(given)))
    return command


def _suites(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "suites", nargs="*", metavar="FILE[:SUITE]", help="a Python file (default: as pyproject.toml says)"
    )


def _running(command: argparse.ArgumentParser) -> None:
    command.add_argument("--store", type=Path, metavar="DB", help="keep runs in this file, and do not run them again")
    command.add_argument("--repeats", type=int, metavar="N", help="runs of each case")
    command.add_argument("--budget-usd", metavar="USD", help="US dollars that one experiment may spend")
    command.add_argument("--report", type=Path, metavar="HTML", help="write the experiment as a page")


def _list(given: argparse.Namespace) -> int:
    if given.store is not None:
        kept = evaluation.experiments_in(given.store)
        if given.format == "json":
            print(json.dumps([asdict(one) for one in kept], indent=2))
        else:
            rows = ((one.id[:12], one.name, ", ".join(one.arms), f"{one.cells:,}") for one in kept)
            print_table(("id", "name", "pipelines", "cells"), rows)
        return 0
    found = suites_in(given.suites or eval_settings().suites)
    said = [
        {
            "suite": one.suite.name,
            "file": str(one.file),
            "attribute": one.attribute,
            "metrics": [metric.name for metric in one.suite.metrics],
            "max_drop": {name: limit and str(limit) for name, limit in one.suite.limits.drops.items()},
        }
        for one in found
    ]
    if given.format == "json":
        print(json.dumps(said, indent=2))
    else:
        print_table(("suite", "metrics", "file"), ((one.suite.name, _names(one.suite), str(one.file)) for one in found))
    return 0


def _names(suite: Suite) -> str:
    return ", ".join(one.name for one in suite.metrics)


def _run(given: argparse.Namespace) -> int:
    return _experiments(given, [given.at])


def _compare(given: argparse.Namespace) -> int:
    return _experiments(given, [None if one == "worktree" else one for one in (given.base, given.new)])


def _experiments(given: argparse.Namespace, versions: Sequence[str | None]) -> int:
    settings = eval_settings()
    found = suites_in(given.suites or settings.suites)
    _place(given.report)
    for one in found:
        experiment = one.suite.run(versions, **_options(given, one.suite, settings))
        print(plain(str(experiment), keep="\n"))
        _write_report(given.report, experiment, one.suite.name, several=len(found) > 1)
    return 0


def _options(given: argparse.Namespace, suite: Suite, settings: EvalSettings) -> dict[str, Any]:
    store = given.store or (settings.store if "store" not in suite.options else None)
    return {"store": store, "repeats": given.repeats, "budget_usd": given.budget_usd}


class _Outcomes(NamedTuple):
    results: list[GateResult]
    errors: dict[str, str]


def _gate(given: argparse.Namespace) -> int:
    settings = eval_settings()
    against = given.against or settings.against
    unsure: Unsure = given.unsure or settings.unsure
    if against is None:
        raise ConfigurationError("nothing says what to compare with: write `--against prod`")
    found = suites_in(given.suites or settings.suites)
    drops = _drops(given, found)
    general = _general_drops(settings, found)
    _place(given.junit, given.markdown, given.report)
    done = _Outcomes([], {})
    for one in found:
        suite = one.suite
        own = {name: drop for name, drop in drops.items() if _is_for(name, suite)}
        if not suite.limits.drops:
            own = {name: drop for name, drop in general.items() if _is_for(name, suite)} | own
        failures = settings.max_failures if given.max_failures is None else given.max_failures
        try:
            result = suite.gate(
                against,
                candidate=given.candidate,
                max_drop=own or None,
                max_failures=failures,
                **_options(given, suite, settings),
            )
        except LlmopsError as exc:  # the other suites are judged all the same
            done.errors[suite.name] = str(exc)
            continue
        except Exception as exc:  # noqa: BLE001  (the application's own code raises whatever it likes)
            done.errors[suite.name] = "".join(["the application raised:\n", *traceback.format_exception(exc)]).rstrip()
            continue
        done.results.append(result)
        if result.experiment is not None:
            _write_report(given.report, result.experiment, suite.name, several=len(found) > 1)
    _show(given, done, unsure)
    return _exit_code(done, unsure)


def _exit_code(done: _Outcomes, unsure: str) -> int:
    verdicts = {one.verdict for one in done.results}
    if done.errors:
        return 2
    if "failed" in verdicts:
        return 1
    return _UNSURE if "unsure" in verdicts and unsure == "fail" else 0


def _drops(given: argparse.Namespace, found: Sequence[FoundSuite]) -> dict[str, str | None]:
    drops: dict[str, str | None] = {} if given.max_drop is None else {"*": given.max_drop}
    for one in given.metric:
        name, equals, drop = one.rpartition("=")
        if not equals:
            raise ConfigurationError(f"`--metric` is a name and what it may drop by, `exact=1%`, not {one!r}")
        _check_known(name, found)
        drops[name] = None if drop == "none" else drop
    return drops


def _general_drops(settings: EvalSettings, found: Sequence[FoundSuite]) -> Mapping[str, Any]:
    """What pyproject.toml says, for suites that say nothing."""
    said = settings.max_drop
    if said is None:
        return {}
    if not isinstance(said, Mapping):
        return {"*": said}
    for name in said:
        _check_known(name, suites_in(settings.suites) if settings.suites else found)
    return {name: None if drop == "none" else drop for name, drop in said.items()}


def _check_known(name: str, found: Sequence[FoundSuite]) -> None:
    if not any(_is_for(name, each.suite) for each in found):
        known = ", ".join(dict.fromkeys(_names(each.suite) for each in found))
        raise ConfigurationError(f"no suite has a metric {name!r}; there are {known}")


def _is_for(name: str, suite: Suite) -> bool:
    return name == "*" or any(name == one.name or name.startswith(f"{one.name}.") for one in suite.metrics)


def _show(given: argparse.Namespace, done: _Outcomes, unsure: Unsure) -> None:
    if given.junit is not None:
        given.junit.write_text(evaluation.gate_junit(done.results, errors=done.errors, unsure=unsure), encoding="utf-8")
    page = environment.github_step_summary() if given.markdown is None else None
    if given.markdown is not None:
        given.markdown.write_text(evaluation.gate_markdown(done.results, errors=done.errors), encoding="utf-8")
    elif page is not None:
        with page.open("a", encoding="utf-8") as file:
            file.write(evaluation.gate_markdown(done.results, errors=done.errors))
    if given.format == "json":
        errors = [{"suite": name, "verdict": "error", "error": error} for name, error in done.errors.items()]
        print(json.dumps([one.to_dict() for one in done.results] + errors, indent=2))
        return
    for result in done.results:
        _print(result)
    for name, error in done.errors.items():
        print(f"llmops: {plain(name)}: {plain(error, keep=chr(10))}", file=sys.stderr)


def _print(result: GateResult) -> None:
    print(plain(result.summary))
    if result.same:
        return
    print_table(
        ("", "score", result.base, result.candidate, "change", "interval", "allowed"),
        (
            (
                (one.said, _COLOURS[one.verdict]),
                one.score,
                one.before,
                one.after,
                one.change,
                one.interval,
                one.allowed,
            )
            for one in result.checks
        ),
    )
    for line in str(result).splitlines()[1:]:
        if not line.startswith(("passed", "not judged")):
            print(plain(line))


def _write_report(file: Path | None, experiment: Experiment, suite: str, *, several: bool) -> None:
    if file is None:
        return
    if several:
        file = file.with_stem(f"{file.stem}-{re.sub(r'[^A-Za-z0-9_-]+', '-', suite)}")
    experiment.report(file)
    print(f"{file}: {plain(suite)}", file=sys.stderr)


def _report(given: argparse.Namespace) -> int:
    experiment = evaluation.Experiment.load(given.store, given.experiment)
    if given.output is None:
        print(plain(str(experiment), keep="\n"))
    else:
        experiment.report(given.output)
        print(given.output)
    return 0
