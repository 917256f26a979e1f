"""What CI shows of a gate: JUnit XML and Markdown."""

import re
from xml.etree import ElementTree as Xml

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk.evaluation import Case, GateCheck, GateResult, gate_junit, gate_markdown
from llmops_sdk.evaluation._experiment import Contrast
from llmops_sdk.evaluation._gate.drops import Limit, shown
from llmops_sdk.evaluation._gate.result import CaseDrop
from llmops_sdk.evaluation._running.reading import Failure
from llmops_sdk.evaluation.statistics import compare

HOSTILE = "</pre></details><script>alert(1)</script>\n| a | b |\n@everyone `x` ![x](http://evil) \x1b[2J\x00 \u202e ]]>"


def check(score="exact", allowed="1%", drops=10, cases=60):
    base, new = dict.fromkeys(range(cases), 1.0), {n: float(n % drops > 0) for n in range(cases)}
    found = compare(base, new)
    limit = Limit.of(allowed)
    said = shown(found, limit)
    contrast = Contrast(
        score=score,
        base="prod",
        new="worktree",
        comparison=found,
        unit="",
        bounds=(0.0, 1.0),
        cells=2 * cases,
        failed=0,
        inapplicable=0,
        missing=0,
    )
    return GateCheck(score=score, verdict=said.verdict, limit=limit, shown=said, contrast=contrast)


def result(*checks, text="wrong", number=6, **options):
    case = Case(input={"n": text}, expected=text, id=f"case {text[:200]}")
    drop = CaseDrop(case=case, scores={"exact": (1.0, 0.0)}, answers={"prod": text, "worktree": text})
    given = {
        "suite": "answers",
        "base": "prod",
        "candidate": "worktree",
        "checks": checks,
        "cases": 60,
        "cells": 120,
        "failed": 0,
        "allowed_failures": 0,
        "failures": (),
        "dropped": number,
        "worst": (drop,) * number,
        "experiment": object(),
    }
    return GateResult(**given | options)


FAILED = Failure(case="case-1", arm="worktree", repeat=0, metric=None, error=HOSTILE)
XSD = """
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <xs:element name="testsuites"><xs:complexType><xs:sequence>
    <xs:element name="testsuite" minOccurs="0" maxOccurs="unbounded"><xs:complexType><xs:sequence>
      <xs:element name="properties"><xs:complexType><xs:sequence>
        <xs:element name="property" minOccurs="0" maxOccurs="unbounded"><xs:complexType>
          <xs:attribute name="name" type="xs:token" use="required"/>
          <xs:attribute name="value" type="xs:string" use="required"/>
        </xs:complexType></xs:element>
      </xs:sequence></xs:complexType></xs:element>
      <xs:element name="testcase" minOccurs="0" maxOccurs="unbounded"><xs:complexType><xs:choice minOccurs="0">
        <xs:element name="skipped"><xs:complexType><xs:simpleContent><xs:extension base="xs:string">
          <xs:attribute name="message" type="xs:string"/>
        </xs:extension></xs:simpleContent></xs:complexType></xs:element>
        <xs:element name="error" type="problem"/>
        <xs:element name="failure" type="problem"/>
      </xs:choice>
        <xs:attribute name="name" type="xs:token" use="required"/>
        <xs:attribute name="classname" type="xs:token" use="required"/>
        <xs:attribute name="time" type="xs:decimal" use="required"/>
      </xs:complexType></xs:element>
      <xs:element name="system-out" type="xs:string"/>
      <xs:element name="system-err" type="xs:string"/>
    </xs:sequence>
      <xs:attribute name="name" type="xs:token" use="required"/>
      <xs:attribute name="package" type="xs:token" use="required"/>
      <xs:attribute name="id" type="xs:int" use="required"/>
      <xs:attribute name="timestamp" type="xs:dateTime" use="required"/>
      <xs:attribute name="hostname" type="xs:token" use="required"/>
      <xs:attribute name="tests" type="xs:int" use="required"/>
      <xs:attribute name="failures" type="xs:int" use="required"/>
      <xs:attribute name="errors" type="xs:int" use="required"/>
      <xs:attribute name="skipped" type="xs:int"/>
      <xs:attribute name="time" type="xs:decimal" use="required"/>
    </xs:complexType></xs:element>
  </xs:sequence></xs:complexType></xs:element>
  <xs:complexType name="problem"><xs:simpleContent><xs:extension base="xs:string">
    <xs:attribute name="message" type="xs:string"/><xs:attribute name="type" type="xs:string" use="required"/>
  </xs:extension></xs:simpleContent></xs:complexType>
</xs:schema>
"""


def outcomes(text):
    return {
        case.get("name"): next((one.tag for one in case), "passed")
        for suite in Xml.fromstring(text.encode())
        for case in suite.iter("testcase")
    }


def test_each_score_is_a_test_in_junit_xml():
    checks = check("good", "90%"), check("bad"), check("open", "12%"), check("free")
    free = GateCheck(score="free", verdict="reported", limit=None, shown=None, contrast=checks[3].contrast)
    given = result(*checks[:3], free, failed=2, failures=(FAILED,))
    text = gate_junit([given], errors={"other": "it broke\nthere"})
    expected = {"good": "passed", "bad": "failure", "open": "failure", "free": "skipped", "cells": "failure"}
    assert outcomes(text) == expected | {"gate": "error"}
    assert outcomes(gate_junit([given], unsure="pass"))["open"] == "skipped"
    first, second = Xml.fromstring(text.encode())
    assert [first.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["5", "3", "0", "1"]
    assert [second.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["1", "0", "1", "0"]
    assert "may drop by 1.0 points (1%)" in first.find("testcase[@name='bad']/failure").text


@pytest.mark.parametrize("text", ["plain", HOSTILE])
def test_the_xml_is_what_the_usual_schema_allows(text):
    etree = pytest.importorskip("lxml.etree")
    schema = etree.XMLSchema(etree.fromstring(XSD))
    given = result(check(text), failed=1, failures=(FAILED,), suite=text)
    said = gate_junit([given, result()], errors={text: text})
    schema.assertValid(etree.fromstring(said.encode()))


@given(st.text(st.characters(codec=None), max_size=50))
def test_no_text_breaks_the_xml(text):
    Xml.fromstring(gate_junit([], errors={text: text}).encode())


def test_markdown_says_the_verdict_first_and_folds_the_cases():
    text = gate_markdown([result(check())])
    assert text.startswith("## ❌ failed: <code>answers</code>, <code>worktree</code> against <code>prod</code>\n")
    assert "| ❌ failed | <code>exact</code> | 100.0 % | 90.0 % | ▼ -10.0 points |" in text
    assert text.count("<details>") == text.count("</details>") == 6
    assert gate_markdown([result(check(allowed="90%"))]).startswith("## ✅ passed")
    assert gate_markdown([result(check(allowed="12%"))]).startswith("## ❔ cannot tell")
    assert "nothing was run" in gate_markdown([result(experiment=None)])


def test_hostile_answers_are_text_in_markdown():
    text = gate_markdown(
        [result(check(HOSTILE), text=HOSTILE, failed=1, failures=(FAILED,), suite=HOSTILE, base=HOSTILE)],
        errors={HOSTILE: HOSTILE},
    )
    assert "<script" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert text.count("<details>") == text.count("</details>")
    assert text.count("<pre>") == text.count("</pre>")
    outside = re.sub(r"<(pre|code)>.*?</\1>", "", text, flags=re.DOTALL)
    assert "@" not in outside
    assert "evil" not in outside
    assert "`" not in outside
    for line in text.splitlines():
        if line.startswith("| ❌"):
            assert line.count("|") == 8


ONE = check()


@settings(max_examples=30)
@given(st.integers(0, 60), st.integers(1, 40), st.text(max_size=3))
def test_markdown_is_as_long_as_github_takes(number, checks, text):
    given = result(*[ONE] * checks, text=(text + "&") * 600, number=number)
    said = gate_markdown([given] * 3)
    assert len(said) <= 65_536
    assert said.count("<details>") == said.count("</details>")
    assert said.count("## ") == 3


def test_what_does_not_fit_is_counted():
    said = gate_markdown([result(check(), text="&" * 600, number=60)])
    assert re.search(r"[1-9]\d* more parts do not fit", said)
    assert "(2,400 more characters)" in gate_markdown([result(check(), text="a" * 3_000)])
