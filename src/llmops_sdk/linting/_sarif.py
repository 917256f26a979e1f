"""Problems as SARIF, which code hosts show beside the lines of a change.

Source: OASIS, Static Analysis Results Interchange Format 2.1.0,
<https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.
"""

from __future__ import annotations

import importlib.metadata
import urllib.parse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llmops_sdk.linting._problems import Problem
from llmops_sdk.linting._rules import RULES

__all__ = ["sarif"]


def sarif(problems: Iterable[Problem], /) -> dict[str, Any]:
    """The problems as a SARIF log, ready for `json.dumps`; paths are relative where they were given so."""
    order = {code: number for number, code in enumerate(RULES)}
    driver = {
        "name": "llmops lint",
        "semanticVersion": importlib.metadata.version("llmops-sdk"),
        "rules": [
            {
                "id": rule.code,
                "name": "".join(word.title() for word in rule.name.split("-")),
                "shortDescription": {"text": rule.title},
                "defaultConfiguration": {"level": rule.severity},
            }
            for rule in RULES.values()
        ],
    }
    return {
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": driver},
                "columnKind": "unicodeCodePoints",
                "results": [_result(problem, order[problem.code]) for problem in problems],
            }
        ],
    }


def _result(problem: Problem, index: int) -> dict[str, Any]:
    path = Path(problem.path)
    place = {
        "artifactLocation": {"uri": path.as_uri() if path.is_absolute() else urllib.parse.quote(path.as_posix())},
        "region": {"startLine": problem.line, "startColumn": problem.column},
    }
    return {
        "ruleId": problem.code,
        "ruleIndex": index,
        "level": problem.severity,
        "message": {"text": problem.message},
        "locations": [{"physicalLocation": place}],
    }
