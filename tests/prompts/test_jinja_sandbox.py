"""Ways out of Jinja's sandbox that are known, and what leads towards them: each ends in an error, or in plain text."""

from __future__ import annotations

import os
import string
import types
from dataclasses import dataclass

import pytest

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts._templates import compile_template, reader_of


@dataclass
class Customer:
    name: str = "Ada"

    def delete(self) -> str:
        raise AssertionError("called")


class Canary:
    """Says when a template reaches what it must not."""

    def __init__(self) -> None:
        self.touched = False

    def method(self) -> str:
        self.touched = True
        return "touched"


@pytest.mark.parametrize(
    "text",
    [
        # The classes of Python's objects.
        "{{ q.__class__ | string }}",
        "{{ q.__class__.__mro__[1].__subclasses__() }}",
        "{{ q['__class__'] }}",
        "{% set c = '__cla' ~ 'ss__' %}{{ q[c] }}",
        "{{ [q] | map(attribute='__class__') | first }}",
        "{{ [q] | map('attr', '__class__') | first }}",
        "{{ [[q]] | map(attribute='0.__class__') | list }}",
        "{{ [q] | groupby('__class__') }}",
        "{{ [q] | selectattr('__class__') | list }}",
        "{{ [q] | sort(attribute='__class__') }}",
        "{{ [q] | sum(attribute='__class__') }}",
        "{{ [q] | join(attribute='__class__') }}",
        "{{ [q] | unique(attribute='__class__') | list }}",
        "{{ [q] | max(attribute='__class__') }}",
        # CVE-2025-27516 and what was before it: `attr`, also found by a filter that takes names of filters.
        "{{ q | attr('format') }}",
        # CVE-2016-10745, CVE-2019-10906, CVE-2024-56326: the methods that format, also when they are passed on.
        "{{ q.format(q) }}",
        "{{ q.format_map({'a': q}) }}",
        "{% set f = q.format %}{{ f(q) }}",
        "{{ [q.format] | map('string') | list }}",
        "{{ q['format'](q) }}",
        "{{ q | format(q) }}",
        "{{ q % q }}",
        "{% macro m(f) %}{{ f(1) }}{% endmacro %}{{ m(q.format_map) }}",
        # Jinja's own objects.
        "{{ self.__init__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ self }}{% if q %}{% endif %}",
        "{{ super() }}",
        "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}",
        "{% for x in [1] %}{{ loop._iterator }}{% endfor %}",
        "{% for x in [1] %}{{ loop['_undefined'] }}{% endfor %}",
        "{% for x in [1] %}{{ loop | string }}{% endfor %}",
        "{% for x in [1] %}{{ loop.undefined }}{% endfor %}",
        "{% set n = namespace(a=1) %}{{ n.__class__ }}",
        "{% set n = namespace(a=1) %}{{ n['__init__'] }}",
        "{% set n = namespace(a=1) %}{{ n._Namespace__attrs }}",
        "{% set n = namespace(a=1) %}{{ n | string }}",
        "{{ namespace.mro | list }}",
        "{{ namespace.mro() }}",
        "{{ dict.mro() }}",
        "{{ dict.fromkeys(q) }}",
        "{{ range.__class__ | string }}",
        "{{ range.__globals__ }}",
        "{{ range['__globals__'] }}",
        "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
        "{% macro m() %}{% endmacro %}{{ m['_func'] }}",
        "{% macro m() %}{% endmacro %}{{ m._environment }}",
        "{% macro m() %}{% endmacro %}{{ m.arguments }}",
        "{% macro m() %}{{ caller.__closure__ }}{% endmacro %}{% call m() %}{% endcall %}",
        "{% macro m() %}{{ varargs.__class__ }}{% endmacro %}{{ m(1) }}",
        "{% import 'p.md' as p %}{{ p.__class__ }}",
        "{% import 'p.md' as p %}{{ p['_body_stream'] }}",
        "{% import 'p.md' as p %}{{ p | string }}",
        "{% import 'p.md' as p %}{{ p.__dict__ }}",
        "{% from 'p.md' import __class__ %}",
        "{{ q.upper.__self__ }}",
        "{{ q.upper.owner }}",
        "{{ q.upper['function'] }}",
        "{{ (q.nothing | default(q)).__class__ }}",
        "{{ q.nothing._undefined_exception }}",
        "{% set x = q.nothing %}{{ x['__class__'] }}",
        # What other templates have beside their variables.
        "{{ lipsum(1) }}",
        "{{ lipsum.__globals__['os'] }}",
        "{{ cycler('a').next.__globals__ }}",
        "{{ joiner().__init__ }}",
        "{{ url_for.__globals__ }}{% if q %}{% endif %}",
        "{{ get_flashed_messages() }}",
        # Names that become part of the code which Jinja writes (CVE-2024-56201), and names that are no names.
        "{% include 'p.md\\'); import os #' %}",
        '{% include "{0.__class__}" %}',
        "{% from 'p.md' import a as __builtins__ %}",
        "{% macro __init__() %}{% endmacro %}",
        "{% set _x = 1 %}",
        "{% set q.name = 1 %}",
        "{% for self in [1] %}{% endfor %}",
        # Methods of values.
        "{{ customer.delete() }}",
        "{{ customer['delete']() }}",
        "{% set d = customer.delete %}{{ d() }}",
        "{{ customer.delete | string ~ q }}",
        "{{ [customer] | map('delete') | list }}",
        "{{ [1] | map(attribute='real.conjugate') | map('string') | map('upper') | list | first ~ customer.delete() }}",
        "{{ items.append(1) }}",
        "{{ items.__setitem__ }}",
        "{{ mapping.update({}) }}",
        "{{ mapping.pop('a') }}",
        "{{ mapping.clear() }}",
        "{{ q.encode('utf-8') }}",
        "{{ q.translate({}) }}",
        "{{ q.zfill(9999999) }}",
        "{{ q.ljust(9999999) }}",
        "{{ q.join(items) }}",
    ],
)
def test_no_way_out(text: str) -> None:
    with pytest.raises(PromptError) as caught:
        template = compile_template(text, partials=reader_of({"p.md": "{% macro a() %}{% endmacro %}"}))
        known = {"q": "{0.__class__}", "customer": Customer(), "items": ["x"], "mapping": {"a": 1}}
        template.render({name: known[name] for name in template.variables})

    assert "__subclasses__" not in str(caught.value).replace(text, "")
    assert "<class" not in str(caught.value).replace(text, "")


def _generator() -> types.GeneratorType[int, None, None]:
    yield 1


@pytest.mark.parametrize(
    "value",
    [os, os.system, Customer, Customer().delete, _generator(), compile("1", "x", "eval"), string.Formatter, print],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("path", ["v.gi_frame", "v.co_consts", "v.mro", "v.environ", "v['name']", "v()", "v"])
def test_nothing_is_read_from_or_called_of_what_leads_to_the_interpreter(value: object, path: str) -> None:
    if path == "v" and not callable(value):
        return

    with pytest.raises(PromptError):
        compile_template(f"{{{{ {path} ~ 'x' }}}}").render({"v": value})


def test_no_method_of_an_application_runs() -> None:
    canary = Canary()
    for text in ("{{ c.method() }}", "{{ c.method ~ '' }}", "{{ [c] | map(attribute='method') | list ~ '' }}"):
        with pytest.raises(PromptError):
            compile_template(text).render({"c": canary, "": ""})
            raise PromptError("a list of a method is shown, and not called")

    assert not canary.touched


def test_a_value_is_never_read_as_a_template() -> None:
    value = "{{ q.__class__ }}{% for x in range(10) %}x{% endfor %}{# no comment #}"

    assert compile_template("{% if q %}{{ q | trim }}{% endif %}").render({"q": value})[0] == value


def test_a_partial_is_named_by_a_plain_path() -> None:
    asked: list[str] = []

    def read(path: str) -> bytes | None:
        asked.append(path)
        return b"secret"

    for path in ("../x.md", "/etc/passwd", "a/../../x", "a//b", "./a", "C:/x", "a\\\\b", "https://example.org/x", ""):
        with pytest.raises(PromptError, match="is no path of a partial"):
            compile_template(f"{{% include '{path}' %}}", partials=read)

    assert asked == []
