"""The suites of an application: from files that are named, or from `[tool.llmops.eval]` in `pyproject.toml`."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from llmops_sdk import evaluation  # its names are loaded when somebody asks for them
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.project_file import project_settings

if TYPE_CHECKING:
    from llmops_sdk.evaluation import Suite

__all__ = ["EvalSettings", "FoundSuite", "Unsure", "eval_settings", "suites_in"]

Unsure: TypeAlias = Literal["fail", "pass"]

_KEYS = ("suites", "against", "max-drop", "max-failures", "unsure", "store")


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalSettings:
    """What `[tool.llmops.eval]` says; paths in it are relative to the folder of its file.

    Attributes:
        suites: Files, each perhaps with the name of a suite in it: `"evals/answer.py:suite"`.
        against: The version that is in production.
        max_drop: What scores may drop by, where a suite does not say it.
        max_failures: Cells that may fail.
        unsure: `"fail"` or `"pass"`.
        store: The file that keeps runs, where a suite does not say it.
    """

    suites: tuple[str, ...] = ()
    against: str | None = None
    max_drop: Any = None
    max_failures: Any = None
    unsure: Unsure = "fail"
    store: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSuite:
    """A suite, and where it stands: the file, and the name in it."""

    suite: Suite
    file: Path
    attribute: str


def eval_settings(start: str | Path = ".", /) -> EvalSettings:
    """What the nearest `pyproject.toml` says.

    Raises:
        ConfigurationError: A setting is wrong.
    """
    found = project_settings("eval", start)
    if found is None:
        return EvalSettings()
    table, file = found
    where = f"{file}: `[tool.llmops.eval]`"
    for key in table:
        if key not in _KEYS:
            raise ConfigurationError(f"{where} has no {key!r}; there are {', '.join(_KEYS)}")
    suites, unsure = table.get("suites", []), table.get("unsure", "fail")
    if not isinstance(suites, list) or not all(isinstance(one, str) for one in suites):
        raise ConfigurationError(f'{where}: `suites` is a list of files, such as `["evals/answer.py"]`')
    if unsure not in ("fail", "pass"):
        raise ConfigurationError(f'{where}: `unsure` is "fail" or "pass", not {unsure!r}')
    for key in ("against", "store"):
        if not isinstance(table.get(key, ""), str):
            raise ConfigurationError(f"{where}: `{key}` is a text, not {table[key]!r}")
    return EvalSettings(
        suites=tuple(str(file.parent / one) for one in suites),
        against=table.get("against"),
        max_drop=table.get("max-drop"),
        max_failures=table.get("max-failures"),
        unsure=unsure,
        store=file.parent / table["store"] if "store" in table else None,
    )


def suites_in(sources: Sequence[str], /) -> list[FoundSuite]:
    """The suites of files, each `FILE` or `FILE:NAME`.

    Raises:
        ConfigurationError: There is no such file or suite, or two suites have one name.
        Exception: Whatever a file raises.
    """
    if not sources:
        raise ConfigurationError(
            'no suite is named: write `llmops eval gate evals/answer.py`, or `suites = ["evals/answer.py"]` under '
            "`[tool.llmops.eval]` in pyproject.toml"
        )
    found: dict[str, FoundSuite] = {}
    for source in sources:
        for one in _in_file(source):
            other = found.setdefault(one.suite.name, one)
            if other.suite is not one.suite:
                raise ConfigurationError(
                    f"two suites are called {one.suite.name!r}, in {other.file} and {one.file}: give one of them "
                    "another `name`"
                )
    return list(found.values())


def _in_file(source: str) -> Iterator[FoundSuite]:
    file, colon, name = source.rpartition(":")
    if not colon or not file.endswith(".py"):
        file, name = source, ""
    path = Path(file).resolve()
    module = _loaded(path)
    suites: Mapping[str, Suite] = {key: one for key, one in vars(module).items() if isinstance(one, evaluation.Suite)}
    if not suites:
        raise ConfigurationError(f"{path} has no suite: `suite = Suite(pipeline, cases, [metrics.Exact()])`")
    if name and name not in suites:
        raise ConfigurationError(f"{path} has no suite {name!r}; it has {', '.join(suites)}")
    for key, one in suites.items():
        if name in ("", key):
            yield FoundSuite(suite=one, file=path, attribute=key)


def _loaded(path: Path) -> Any:
    name = f"llmops_eval_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ConfigurationError(f"there is no Python file {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # so that what it defines can be pickled
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
