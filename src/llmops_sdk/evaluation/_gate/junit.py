"""JUnit XML, as CI systems read it: one test for each score, and one for the cells that failed."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Literal
from xml.etree import ElementTree as Xml

from llmops_sdk.evaluation._gate.result import GateResult

__all__ = ["Unsure", "gate_junit"]

Unsure = Literal["fail", "pass"]

_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def gate_junit(
    results: Sequence[GateResult], /, *, unsure: Unsure = "fail", errors: Mapping[str, str] | None = None
) -> str:
    """The verdicts as JUnit XML.

    Args:
        results: What gates found.
        unsure: Whether a score of which nobody can tell is a failure, or skipped.
        errors: Name of a suite that could not be judged -> why.
    """
    top = Xml.Element("testsuites")
    for result in results:
        suite = _suite(top, result.suite)
        properties = suite[0]
        for name in ("base", "candidate", "cases"):
            Xml.SubElement(properties, "property", name=name, value=_clean(str(getattr(result, name))))
        for check in result.checks:
            skipped = check.verdict == "reported" or (check.verdict == "unsure" and unsure == "pass")
            outcome = "passed" if check.verdict == "passed" else "skipped" if skipped else "failure"
            _case(suite, result, check.score, outcome, check.said, str(check))
        outcome = "failure" if result.too_many_failures else "passed"
        said = "\n".join((result.cells_said, *(f"{one.case}: {one.error}" for one in result.failures)))
        _case(suite, result, "cells", outcome, "failed", result.summary if result.same else said)
        _finish(suite)
    for name, error in (errors or {}).items():
        suite = _suite(top, name)
        case = Xml.SubElement(suite, "testcase", classname=_clean(name), name="gate", time="0")
        Xml.SubElement(case, "error", message=_clean(error.partition("\n")[0]), type="error").text = _clean(error)
        _finish(suite)
    Xml.indent(top)
    return Xml.tostring(top, encoding="unicode", xml_declaration=True) + "\n"


def _suite(top: Xml.Element, name: str) -> Xml.Element:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    given = {"name": _clean(name), "package": _clean(name), "id": str(len(top)), "timestamp": now}
    suite = Xml.SubElement(top, "testsuite", {**given, "hostname": "localhost", "time": "0"})
    Xml.SubElement(suite, "properties")
    return suite


def _case(suite: Xml.Element, result: GateResult, name: str, outcome: str, verdict: str, words: str) -> None:
    classname = f"{result.suite}.{result.candidate} against {result.base}"
    case = Xml.SubElement(suite, "testcase", classname=_clean(classname), name=_clean(name), time="0")
    first = _clean(words.partition("\n")[0])
    if outcome == "failure":
        Xml.SubElement(case, "failure", message=first, type=verdict).text = _clean(words)
    elif outcome == "skipped":
        Xml.SubElement(case, "skipped", message=first)


def _finish(suite: Xml.Element) -> None:
    """The counts, and what was said of tests that passed, which has its place at the end."""
    for attribute, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(1 for _ in suite.iter(tag))))
    Xml.SubElement(suite, "system-out")
    Xml.SubElement(suite, "system-err")


def _clean(text: str) -> str:
    """What no XML may hold, such as control characters in answers, in words."""
    return _NO_XML.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
