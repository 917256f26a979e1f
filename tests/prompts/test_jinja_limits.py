"""Templates that loop for ever or build gigabytes are stopped, soon and with an error."""

# ruff: noqa: E501  (tables read better in one line each)
from __future__ import annotations

import contextlib
import itertools
import time

import pytest

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts._templates import compile_template, reader_of
from llmops_sdk.prompts.jinja import limits

BIG = "10 ** 9"
DOUBLED = "{% set a = ['x'] %}" + "{% set a = [a, a] %}" * 60


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in range(1000000000) %}x{% endfor %}",
        "{% for i in range(0, 10 ** 18, 1) %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(900) %}{% for b in range(900) %}{% for c in range(900) %}x{% endfor %}{% endfor %}{% endfor %}",
        "{% for a in range(90000) %}" + "{% if a %}{% endif %}" * 500 + "{% endfor %}",
        "{% for a in range(90000) %}" + "x" * 5000 + "{% endfor %}",
        "{% set t %}{% for a in range(90000) %}" + "x" * 5000 + "{% endfor %}{% endset %}",
        "{% for i in endless %}{% endfor %}",
        "{{ endless | list | length }}",
        "{{ endless | join }}",
        "{{ endless | map('string') | list }}",
        "{{ endless | sum }}",
        "{{ endless | batch(2) | list }}",
        "{{ endless | unique | list }}",
        "{{ endless | max }}",
        "{{ endless | groupby('x') }}",
        "{{ endless | select('odd') | list }}",
        "{{ range(10 ** 9) | list }}",
        "{{ range(10 ** 9) | join }}",
        f"{{{{ 'a' | string * ({BIG}) }}}}",
        f"{{{{ q * ({BIG}) }}}}",
        f"{{{{ ({BIG}) * q | string }}}}",
        f"{{% set a = [q] * ({BIG}) %}}",
        "{{ (10 ** (10 ** 10)) | string }}",
        "{% set n = namespace(x=10) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=q) %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=q) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=[q]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
        "{% set n = namespace(x=[q]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
        "{% set n = namespace(x=q) %}{% for i in range(60) %}{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}{% endfor %}",
        "{% set n = namespace(x=q) %}{% for i in range(60) %}{% set n.x = n.x | replace('', n.x) %}{% endfor %}",
        "{% set n = namespace(x=q) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] | join %}{% endfor %}",
        DOUBLED + "{{ a | string }}",
        DOUBLED + "{{ a }}",
        DOUBLED + "{{ a | json }}",
        DOUBLED + "{{ a ~ '' }}",
        DOUBLED + "{{ a == a }}",
        DOUBLED + "{% if 'y' in a %}{% endif %}",
        DOUBLED + "{% set d = {(a | string): 1} %}",
        "{% set a = (1,) %}" + "{% set a = (a, a) %}" * 60 + "{% set d = [a] | unique | list %}",
        "{% set a = (1,) %}" + "{% set a = (a, a) %}" * 60 + "{% set d = {}[a] %}",
        "{% set a = (1,) %}" + "{% set a = (a, a) %}" * 60 + "{% set d = {a: 1} %}",
        f"{{{{ q | center({BIG}) }}}}",
        f"{{{{ q | indent({BIG}, true) }}}}",
        f"{{{{ [q] | batch({BIG}, q) | list }}}}",
        f"{{{{ [q] | slice({BIG}) | list }}}}",
        "{{ big | wordwrap(1, true, big) }}",
        "{{ big | replace('x', big) }}",
        "{{ [big] | batch(1000, big) | first | join }}",
        "{{ big | wordwrap(0) }}",
        f"{{{{ 1.5 | round({BIG}) }}}}".replace("{{ 1.5", "{{ number"),
        f"{{{{ number | round({BIG}, 'ceil') }}}}",
        f"{{{{ [q] | json(indent={BIG}) }}}}",
        f"{{{{ [q] | tojson({BIG}) }}}}",
        "{{ [[q]] | sum(start=[]) }}",
        "{{ q % 10 ** 9 }}",
        "{{ q | format('%999999999d') }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
        "{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}",
        "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(40) }}",
        "{% macro a() %}{{ caller() }}{% endmacro %}{% macro b() %}{% call a() %}{{ b() }}{% endcall %}{% endmacro %}{{ b() }}",
        "{% include 'self.md' %}",
        "{% include 'one.md' %}",
        "{% from 'self.md' import x %}",
        "{% include 'deep0.md' %}",
        "{% for x in range(99999) %}{% include 'wide.md' %}{% endfor %}",
        "{% for x in many %}{% if x in many %}{% endif %}{% endfor %}",
        "{% for x in many %}{% if many == other %}{% endif %}{% endfor %}",
        "{% for x in range(99999) %}{% if big == same %}{% endif %}{% endfor %}",
        "{% for x in range(99999) %}{{ big | upper | length }}{% endfor %}",
        "{% for x in range(99999) %}{{ big.upper() | length }}{% endfor %}",
        "{% for x in range(99999) %}{{ big[1:] | length }}{% endfor %}",
        "{% for x in range(99999) %}{{ many | sort | length }}{% endfor %}",
        "{% for x in range(99999) recursive %}{{ loop([1]) }}{% endfor %}",
    ],
)
def test_a_template_is_stopped(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Whoever goes on for ever comes to a tenth of the steps as well, and sooner.
    monkeypatch.setattr(limits, "MAX_STEPS", limits.MAX_STEPS // 10)
    partials = {
        "self.md": "{% include 'self.md' %}",
        "one.md": "{% include 'two.md' %}",
        "two.md": "{% include 'one.md' %}",
        "wide.md": "{% if x %}y{% endif %}" * 1000,
        **{f"deep{n}.md": f"{{% include 'deep{n + 1}.md' %}}" * 2 for n in range(40)},
        "deep40.md": "x",
    }
    values = {
        "q": "x",
        "big": "x" * 1_000_000,
        "same": "".join(["x"] * 1_000_000),
        "many": list(range(20_000)),
        "other": list(range(20_000)),
        "number": 1.5,
        "endless": itertools.count(),
    }
    began = time.process_time()
    with pytest.raises(PromptError) as caught:
        template = compile_template(text, partials=reader_of(partials))
        template.render({name: values[name] for name in template.variables})
    taken = time.process_time() - began

    assert ":1: " in str(caught.value)
    assert "Error" not in str(caught.value), "stopped by chance"
    assert taken < 3


def test_all_the_steps_take_a_second_or_two() -> None:
    began = time.process_time()
    with pytest.raises(PromptError, match="more than the 1,000,000 steps"):
        compile_template(
            "{% for a in range(999) %}{% for b in range(999) %}{{ a ~ b }}{% endfor %}{% endfor %}"
        ).render({})
    assert time.process_time() - began < 10


_LONG = 300_000  # a third of one, to be quick


@pytest.mark.parametrize(
    "part",
    ["{", "{{ ", "{{x", "{#", "{# ", "{#x", "{%", "{% if ", "{% word ", "{% raw %}", "{% raw %}{% endraw %}", "{{ x | upper }}",
     r"\frac{{a}}", r"\frac{", "\\aa", '{{ "', "{{ (", "{{ x '\\'", "{{ a ~", "{{\t", "{% if x %}{% endif %}", "{{ x.a", "{#a}",
     "{% for a in x %}{{ a }}{% endfor %}", "{% set a = x %}", "{% macro a() %}{% endmacro %}"],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("end", ["%} #} }}"])
def test_a_long_text_of_what_looks_like_templates_is_read_at_once(part: str, end: str) -> None:
    began = time.process_time()
    with contextlib.suppress(PromptError):
        compile_template(part * (_LONG // len(part)) + end)
    assert time.process_time() - began < 2  # quadratic a megabyte took two minutes


@pytest.mark.parametrize(
    "text",
    ["{{ x" + " ~ 1" * 50_000 + " }}", "{{ x ~ " + "9" * _LONG + " }}", "{{ x ~ " + "9" * 50_000 + " }}",
     "{{ x" + ".a" * 100_000 + " | upper }}", "{{ x" + " | upper" * 10_000 + " }}", "{{ x ~ '" + "\\'" * 100_000 + " }}",
     "".join(f"{{% set a{n} = a{n + 1} %}}" for n in range(2_000))],
    ids=range(7),
)  # fmt: skip
def test_a_long_expression_is_refused_or_compiled_soon(text: str) -> None:
    began = time.process_time()
    with contextlib.suppress(PromptError):
        compile_template(text)
    assert time.process_time() - began < 5


def test_a_number_has_ten_thousand_bits_at_most() -> None:
    assert compile_template("{% if 2 ** 4_999 > q %}yes{% endif %}").render({"q": 1})[0] == "yes"
    for number in ("2 ** 5_001", "2 ** 4_999 * 2 ** 4_999 * 2 ** 4_999"):
        with pytest.raises(PromptError, match=r"bits, more than 10,000"):
            compile_template(f"{{% if {number} > q %}}yes{{% endif %}}").render({"q": 1})


def test_a_call_of_a_macro_is_as_many_steps_as_it_takes_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_STEPS", 2_000)
    template = compile_template("{% macro m() %}{% endmacro %}{% for a in all %}{{ m() }}{% endfor %}")

    assert template.render({"all": range(10)})[0] == ""
    with pytest.raises(PromptError, match="more than the 2,000 steps"):
        template.render({"all": range(100)})


def test_a_text_over_the_limit_is_refused() -> None:
    template = compile_template("{% for x in all %}{{ x }}{% endfor %}", max_chars=10)

    assert template.render({"all": ["x"] * 10})[0] == "x" * 10
    with pytest.raises(PromptError, match="10 are allowed"):
        template.render({"all": ["x"] * 11})


def test_what_prompts_do_is_far_below_the_limits() -> None:
    template = compile_template("{% for x in all | sort %}{{ loop.index }}. {{ x | upper | trim }}\n{% endfor %}")

    assert template.render({"all": ["text " * 20] * 5_000})[0].count("\n") == 5_000


def test_a_template_that_is_nested_too_deeply_is_refused() -> None:
    for text in (
        "{% set x = " + "(" * 5_000 + "q" + ")" * 5_000 + " %}",
        "{% if q %}" * 3_000 + "{% endif %}" * 3_000,
        "{% for x in q %}" * 50 + "{% endfor %}" * 50,
        "{% set x = " + "[" * 5_000 + "]" * 5_000 + " %}",
        "{{ q" + " | upper" * 5_000 + " }}",
        "{{ not " + "not " * 5_000 + "q }}",
    ):
        with pytest.raises(PromptError):
            compile_template(text).render({"q": ["x"]})


def test_rendering_in_a_rendering_has_limits_of_its_own() -> None:
    inner = compile_template("{% for x in range(50000) %}y{% endfor %}")

    class Nested:
        def __str__(self) -> str:
            return inner.render({})[0]

    outer = compile_template("{% for n in all %}{{ n }}{% endfor %}")

    assert len(outer.render({"all": [Nested()] * 3})[0]) == 150_000
