"""Uses the installed wheel, outside the tree: `nox -s wheel` copies this file to where no source lies."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.resources
import pkgutil
import sys
from pathlib import Path

import llmops_sdk
from llmops_sdk import Pipeline, Prompt, Scripted, guards
from llmops_sdk.errors import MissingDependencyError
from llmops_sdk.evaluation import Case, evaluate, metrics


def main() -> None:
    package = Path(llmops_sdk.__file__).parent
    assert package.is_relative_to(sys.prefix), package
    assert importlib.metadata.version("llmops-sdk") == llmops_sdk.__version__
    assert importlib.resources.files("llmops_sdk").joinpath("py.typed").is_file()
    for module in pkgutil.walk_packages(llmops_sdk.__path__, "llmops_sdk."):
        if module.name.startswith("llmops_sdk.testing"):
            continue  # needs pytest, which this environment does not have
        try:
            importlib.import_module(module.name)
        except MissingDependencyError as missing:
            print(f"{module.name} needs the extra {missing.extra}")

    engine = Scripted("Hello Ada, mail me: ada@example.com")
    line = Prompt.from_string("Say hello to {{ name }}") | engine | guards.PII()
    result = line.run(name="Ada")
    assert result.text.startswith("Hello Ada")
    assert "ada@example.com" not in result.text
    evaluated(line)
    print(f"llmops-sdk {llmops_sdk.__version__} works from its wheel: {result.text!r}")


def evaluated(line: Pipeline) -> None:
    """One pipeline needs no extra; two are compared by numpy and scipy, which the error names where they lack."""
    report = Path("report.html")
    evaluate({"only": line}, [Case(input={"name": "Ada"})], [], progress=False).report(report)
    assert "One pipeline" in report.read_text("utf-8")
    try:
        print(evaluate({"a": line, "b": line}, [Case(input={"name": "Ada"})], [metrics.Latency()], progress=False))
    except MissingDependencyError as missing:
        if missing.extra != "evaluation":
            raise
        print(f"Verdicts need the extra {missing.extra}")


if __name__ == "__main__":
    main()
