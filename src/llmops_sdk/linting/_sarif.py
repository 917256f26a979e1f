"""Problems as SARIF, which code hosts show beside the lines of a change.

Source: OASIS, Static Analysis Results Interchange Format 2.1.0,
<https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import urllib.parse
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llmops_sdk.linting._problems import Problem, Rule
from llmops_sdk.linting._rules import RULES

__all__ = ["sarif"]

_PAGES = "docs/concepts/prompts/lint"


def sarif(problems: Iterable[Problem], /) -> dict[str, Any]:
    """The problems as a SARIF log, ready for `json.dumps`; paths are relative where they were given so."""
    order = {code: number for number, code in enumerate(RULES)}
    seen: Counter[tuple[str, str, str]] = Counter()
    results = []
    for problem in problems:
        what = (problem.path, problem.code, problem.message)
        results.append(_result(problem, order[problem.code], seen[what]))
        seen[what] += 1
    driver = {
        "name": "llmops lint",
        "semanticVersion": importlib.metadata.version("llmops-sdk"),
        "rules": [_rule(rule) for rule in RULES.values()],
    }
    return {
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.code,
        "name": "".join(word.title() for word in rule.name.split("-")),
        "shortDescription": {"text": rule.title},
        "help": {"text": f"{rule.title} See {_PAGES}/{rule.code}.md. To switch it off: {_off(rule)}."},
        "defaultConfiguration": {"level": rule.severity},
    }


def _off(rule: Rule) -> str:
    return f"`# llmops: ignore[{rule.code}]` in the front matter, `{{# llmops: ignore[{rule.code}] #}}` in the body"


def _result(problem: Problem, index: int, number: int) -> dict[str, Any]:
    path = Path(problem.path)
    uri = path.as_uri() if path.is_absolute() else urllib.parse.quote(path.as_posix())
    place = {
        "artifactLocation": {"uri": uri},
        "region": {"startLine": problem.line, "startColumn": problem.column},
    }
    # What stays the same when lines move: a code host knows the problem again.
    what = "\0".join((path.as_posix(), problem.code, problem.message, str(number)))
    return {
        "ruleId": problem.code,
        "ruleIndex": index,
        "level": problem.severity,
        "message": {"text": problem.message},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {
            "llmopsLint/v1": hashlib.sha256(what.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        },
    }
