"""The pytest plugin: `pip install llmops-sdk` is enough, pytest finds it by its entry point.

Fixtures:
    * `scripted_engine(*answers, **options)` makes a `Scripted` engine.
    * `fault_server(*behaviours, **options)` starts a `FaultServer` that is stopped after the test.
    * `cassette` is a `Cassette` for this test: `cassettes/<module>.<test>.jsonl` beside the test file, replayed, and
      recorded anew under `--llmops-record`.
    * `memory_trace` is a hook that remembers events: `pipeline.run(..., hooks=[memory_trace])`.
    * `evaluated` is a case of a suite with the pipeline's answer and its scores, in tests that are marked
      `@pytest.mark.llmops_eval(suite)`: each case is a test, and so is the verdict, see `llmops_sdk.testing.Evaluated`.

Tests that use one of these fixtures cannot reach another machine, unless they are marked `@pytest.mark.llmops_network`,
or pytest runs with `--llmops-network`, or a cassette is being recorded. With `llmops_block_network = true` in the ini
file this holds for all tests. Other tests are left alone: the plugin does nothing there.

Python's sockets are blocked and no others: a transport written in Rust or C (pyreqwest, grpc, curl) opens its own. The
default transport of `Engine.open` is asyncio's, so it is blocked; see `llmops_sdk.testing.network_blocked`.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

# The package's names are found on first use, so that a suite which uses no fixture pays for none of them.
import llmops_sdk
from llmops_sdk import testing

if TYPE_CHECKING:
    from llmops_sdk.engines import Scripted
    from llmops_sdk.evaluation import GateResult
    from llmops_sdk.testing import Cassette, Evaluated, FaultServer, MemoryTrace

__all__ = ["cassette", "evaluated", "fault_server", "memory_trace", "scripted_engine"]

_EVALUATIONS = "llmops_sdk.testing.evaluations"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of this plugin."""
    group = parser.getgroup("llmops_sdk")
    group.addoption("--llmops-record", action="store_true", help="ask the real engines and record the cassettes anew")
    group.addoption("--llmops-network", action="store_true", help="let every test use the network")
    group.addoption("--llmops-against", metavar="VERSION", help="compare evaluations with this version of the prompts")
    group.addoption("--llmops-max-drop", metavar="DROP", help="what their scores may drop by: 1%% of the base, or 0.01")
    parser.addini(
        "llmops_block_network",
        "let no test connect to another machine, unless it is marked llmops_network "
        "(otherwise this holds for tests that use fixtures of llmops_sdk)",
        type="bool",
        default=False,
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    config.addinivalue_line("markers", "llmops_network: the test may connect to other machines")
    config.addinivalue_line(
        "markers",
        "llmops_eval(suite, *, against, max_drop, at_least, at_most, unsure): a test for each case of the suite, and "
        "one for the verdict",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make tests of the cases of a suite; only then is anything of evaluations loaded."""
    mark = metafunc.definition.get_closest_marker("llmops_eval")
    if mark is not None:
        evaluations = importlib.import_module(_EVALUATIONS)
        if not metafunc.config.pluginmanager.is_registered(evaluations):
            metafunc.config.pluginmanager.register(evaluations)
        evaluations.parametrise(metafunc, mark)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Block the network while a test and its fixtures run, where the ini file asks for it."""
    with ExitStack() as stack:
        if item.config.getini("llmops_block_network") and not _may_connect(item):
            stack.enter_context(testing.network_blocked())
        return (yield)


def _may_connect(item: pytest.Item) -> bool:
    option = item.config.getoption
    records = option("--llmops-record") and "cassette" in getattr(item, "fixturenames", ())
    return option("--llmops-network") or records or item.get_closest_marker("llmops_network") is not None


@pytest.fixture
def _network_blocked(request: pytest.FixtureRequest) -> Iterator[None]:
    # The other fixtures stand on this one, so that a fixture of another suite which has the name of one of them blocks
    # nothing.
    with ExitStack() as stack:
        if not _may_connect(request.node):
            stack.enter_context(testing.network_blocked())
        yield


@pytest.fixture
def scripted_engine(_network_blocked: None) -> Callable[..., Scripted]:
    """Make engines that answer from a script: `scripted_engine("Hello", delay_s=0.1)`; see `engines.Scripted`."""
    return llmops_sdk.Scripted


@pytest.fixture
def fault_server(_network_blocked: None) -> Iterator[Callable[..., FaultServer]]:
    """Start servers that misbehave: `fault_server(429, Reply(drop_at=17))`; see `testing.FaultServer`."""
    with ExitStack() as stack:

        def start(*behaviours: Any, **options: Any) -> FaultServer:
            return stack.enter_context(testing.FaultServer(*behaviours, **options))

        yield start


@pytest.fixture
def cassette(request: pytest.FixtureRequest, _network_blocked: None) -> Cassette:
    """The cassette of this test, by its name: `engine = cassette.wrap(Engine.open(...))`; see `testing.Cassette`."""
    path = Path(request.path)
    file = path.parent / "cassettes" / _file_name(path.stem, request.node.nodeid)
    return testing.Cassette(file, mode="record" if request.config.getoption("--llmops-record") else "replay")


def _file_name(module: str, node_id: str) -> str:
    full = f"{module}.{node_id.partition('::')[2].replace('::', '.')}"
    name = re.sub(r"[^\w.=-]+", "_", full)[:120].strip("_")
    if name != full.replace("[", "_").rstrip("]"):  # parameters with other characters: keep their files apart
        name += "-" + hashlib.sha256(full.encode()).hexdigest()[:8]
    return f"{name}.jsonl"


@pytest.fixture
def evaluated(request: pytest.FixtureRequest) -> Evaluated | GateResult:
    """A case of the suite with which the test is marked, the answer to it and its scores; see `testing.Evaluated`."""
    found: Evaluated | GateResult = importlib.import_module(_EVALUATIONS).evaluated_by(request)
    return found


@pytest.fixture
def memory_trace(_network_blocked: None) -> MemoryTrace:
    """A hook that remembers the events of runs: `memory_trace.of(GuardChecked)`; see `tracing.memory`."""
    return llmops_sdk.tracing.memory()
