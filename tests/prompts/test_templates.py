from __future__ import annotations

import json
import types
from dataclasses import dataclass, field
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk.errors import PromptError
from llmops_sdk.messages import Document, ImagePart, Origin
from llmops_sdk.prompts._templates import compile_template
from llmops_sdk.prompts._variables import Variable

# Braces of all kinds, but no opening of a template, and no brace that would join with a variable beside it.
_LITERALS = st.text(st.sampled_from('ab{}"%|\n é😀'), max_size=12).filter(
    lambda text: "{%" not in text and "{{" not in text and not text.endswith("{") and not text.startswith("}")
)
_NAMES = st.sampled_from(["a", "bc", "name_2", "naïve"])
_SEGMENTS = st.lists(st.tuples(_NAMES, _LITERALS), max_size=6)
_VALUES = st.text(max_size=20)


@dataclass
class Customer:
    name: str
    address: dict[str, object] = field(default_factory=dict)

    def secret(self) -> str:
        return "secret"

    @property
    def broken(self) -> str:
        raise RuntimeError("no database")


def rendered(text: str, **values: object) -> str:
    return compile_template(text).render(values)[0]


@given(first=_LITERALS, segments=_SEGMENTS, data=st.data())
def test_the_text_is_the_literals_with_the_values_between_and_origins_slice_to_the_values(
    first: str, segments: list[tuple[str, str]], data: st.DataObject
) -> None:
    template = compile_template(first + "".join(f"{{{{ {name} }}}}{after}" for name, after in segments))
    values = {name: data.draw(_VALUES) for name in template.variables}

    text, origins, _ = template.render(values)

    assert [text[one.start : one.end] for one in origins] == [values[name] for name, _ in segments]
    assert [one.source for one in origins] == [f"variable:{name}" for name, _ in segments]
    outside, position = [], 0
    for one in origins:
        outside.append(text[position : one.start])
        position = one.end
    outside.append(text[position:])
    assert outside == [first, *(after for _, after in segments)]


@given(value=st.text())
def test_a_value_is_never_read_as_a_template(value: str) -> None:
    assert rendered("{{ a }}|{{ b }}", a=value, b="{{ a }}{% if %}") == value + "|{{ a }}{% if %}"


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"a": {"b": [{"c": {}}]}}),
        "{single} {0} {} }} { { x } }",
        '{{"escaped": "for other templates"}}',
        "{{}} {{ }} {{1}}",
        "{#1} and {#sec:intro}",
        "{{ (x) }} {{ 1 }} {{ [1, 2] }}",
        "100 {% and {%5%} {%",
        r"\frac{{a}}{b} \sum{{n}}{{m}}",
        "100 % {",
    ],
)
def test_every_other_brace_is_text(text: str) -> None:
    assert rendered(text) == text
    assert rendered(text + "\n{{ a }}", a="x") == text + "\nx"


def test_a_brace_may_stand_right_before_and_behind_a_variable() -> None:
    assert rendered('{"city":{{{ city }}}}', city="Bern") == '{"city":{Bern}}'


def test_a_variable_needs_no_spaces() -> None:
    assert rendered("{{a}}{{\ta }}", a=1) == "11"


def test_origins_are_equal_to_origins_that_are_made_elsewhere() -> None:
    template = compile_template("é {{ a }}", variables={"a": Variable(name="a", trusted=True)})

    assert template.render({"a": "😀!"})[1] == (Origin(start=2, end=4, source="variable:a", trusted=True),)


def test_variables_are_untrusted_unless_they_are_declared_as_trusted() -> None:
    assert compile_template("{{ a }}").render({"a": "x"})[1][0].trusted is False


def test_attributes_and_keys_are_read() -> None:
    customer = Customer("Ada", {"city": {"zip": 3000}})

    text, origins, _ = compile_template("{{ customer.name }}, {{ customer.address.city.zip }}").render(
        {"customer": customer}
    )

    assert text == "Ada, 3000"
    assert origins[1].source == "variable:customer.address.city.zip"


def test_a_key_that_is_a_method_of_mappings_is_a_key() -> None:
    assert rendered("{{ order.items }}", order={"items": "two books"}) == "two books"


def test_values_become_text_by_str() -> None:
    class Colour(StrEnum):
        RED = "red"

    assert rendered("{{ a }} {{ b }} {{ c }} {{ d }}", a=1.5, b=True, c=[1], d=Colour.RED) == "1.5 True [1] red"


def test_an_optional_variable_that_is_none_is_empty() -> None:
    template = compile_template("<{{ a }}{{ a.b }}>", variables={"a": Variable(name="a", optional=True)})

    assert template.render({"a": None})[0] == "<>"
    assert template.render({"a": {"b": None}})[0] == "<{'b': None}>"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a\n\n{% if x %}", "inline:3: Unexpected end of template"),
        ("a\n\n{% if x", "inline:3: `{% if x` is not closed"),
        ("{% fro x in y %}", "there is no statement 'fro'. Did you mean 'from' or 'for'"),
        ("a\n{% fi x %}", "inline:2: `{% fi x %}` is not part of the syntax: there is no statement 'fi'"),
        ("{% block x %}{% endblock %}", "a prompt has no blocks"),
        ("{% raw %}{{ x", "`{% raw %}` is not closed"),
        ("{% endraw %}", "closes nothing"),
        ("{# note", "the comment `{# note` is not closed"),
        ("{{ name | uper }}", "inline:1: there is no filter 'uper'. Did you mean 'upper'"),
        ("{{ name is strin }}", "there is no test 'strin'. Did you mean 'string'"),
        ("\n{{ f(x) }}", "inline:2: 'f' is not called, it is no macro"),
        ("{{ name", "is not closed"),
        ("{{ name }", "is not closed"),
        ("{{ first name }}", "expected token 'end of print statement', got 'name'"),
        ("{{#each items}}", "is not part of the syntax"),
        ("{{ _a }}", "no name may begin with an underscore"),
        ("{{ a.__class__ }}", "no name may begin with an underscore"),
    ],
)
def test_what_looks_like_a_template_and_is_none_is_an_error_with_its_line(text: str, says: str) -> None:
    with pytest.raises(PromptError) as caught:
        compile_template(text)

    assert says in str(caught.value)
    assert str(caught.value).startswith("inline:")


def test_an_error_names_the_file_and_counts_from_its_line() -> None:
    with pytest.raises(PromptError, match=r"^prompts/a\.prompt\.md:11: "):
        compile_template("\n{% x %}", prompt="a", where="prompts/a.prompt.md", line=10)


@pytest.mark.parametrize(
    ("text", "value", "says"),
    [
        ("{{ a }}", None, "'a' is None; give it a value"),
        ("{{ a.name }}", None, "'a' is None"),
        ("{{ a.name }}", {"name": None}, "'a.name' is None"),
        ("{{ a.nam }}", {"name": "x"}, "'a' has no key 'nam'. Did you mean 'name'?"),
        ("{{ a.nam }}", Customer("x"), "'a' (Customer) has no attribute 'nam'. Did you mean 'name'?"),
        ("{{ a.name.first }}", Customer("x"), "'a.name' (str) has no attribute 'first'"),
        ("{{ a.secret }}", Customer("x"), "'a.secret' is a method; templates call nothing"),
        ("{{ a.broken }}", Customer("x"), "'a.broken' cannot become text: RuntimeError: no database"),
        ("{{ a }}", len, "templates call nothing"),
        ("{{ a }}", b"x", "'a' is bytes; decode it"),
        pytest.param("{{ a }}", 10**5000, "'a' cannot become text: ValueError", id="a huge integer"),
    ],
)
def test_a_value_that_cannot_be_text_is_named(text: str, value: object, says: str) -> None:
    template = compile_template(text, prompt="greeting")

    with pytest.raises(PromptError) as caught:
        template.render({"a": value})

    assert says in str(caught.value)
    assert "'greeting'" in str(caught.value)
    assert (caught.value.prompt, caught.value.variable) == ("greeting", "a")


def _frame() -> types.FrameType:
    def generate() -> object:
        yield generator.gi_frame

    generator = generate()
    return next(generator)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{{ a.gi_frame }}", (one for one in "x")),
        ("{{ a.gi_frame.f_globals }}", (one for one in "x")),
        ("{{ a.f_globals }}", _frame()),
        ("{{ a.co_consts }}", compile("1", "x", "eval")),
        ("{{ a.environ }}", __import__("os")),
        ("{{ a.mro }}", Customer),
        ("{{ a.upper.real }}", "text"),
    ],
)
def test_no_path_leads_to_the_interpreters_insides(text: str, value: object) -> None:
    with pytest.raises(PromptError, match=r"read nothing from those|call nothing"):
        compile_template(text).render({"a": value})


def test_a_text_over_the_limit_is_refused_before_it_is_built() -> None:
    template = compile_template("{{ a }}" * 10, max_chars=99)

    assert len(template.render({"a": "x" * 9})[0]) == 90
    with pytest.raises(PromptError, match="100 characters, more than the 99"):
        template.render({"a": "x" * 10})
    with pytest.raises(PromptError, match="10,000,001 characters"):
        compile_template("{{ a }}").render({"a": "x" * 10_000_001})


def test_many_braces_take_linear_time() -> None:
    text = "{" * 200_000 + " " * 200_000 + "}" * 200_000

    assert rendered(text) == text


def test_documents_stand_with_the_names_that_their_store_gives_them() -> None:
    documents = [Document(id="a/1", text="Zürich"), Document(id="b", text="", trusted=True)]
    text, origins, _ = compile_template("[{{ found }}|{{ one }}|{{ q }}]").render(
        {"found": documents, "one": Document(id="c", text="x"), "q": "?"}
    )

    assert text == "[Zürich\n\n|x|?]"
    assert [(text[o.start : o.end], o.source, o.trusted) for o in origins] == [
        ("Zürich", "document:a/1", False),
        ("", "document:b", True),
        ("x", "document:c", False),
        ("?", "variable:q", False),
    ]


_DOCUMENT = Document(id="a", text="T")
_IMAGE = ImagePart(url="https://example.org/x.png")


@pytest.mark.parametrize("fence", [None, "xml"])
@pytest.mark.parametrize(
    ("path", "value", "text", "source"),
    [
        ("x.text", _DOCUMENT, "T", "document:a"),
        ("x.one", {"one": _DOCUMENT}, "T", "document:a"),
        ("x.one.text", {"one": _DOCUMENT}, "T", "document:a"),
        ("x.all", {"all": [_DOCUMENT, _DOCUMENT]}, "T\n\nT", "document:a"),
        ("x.all", {"all": []}, "[]", "variable:x.all"),
        ("x.photo", {"photo": _IMAGE}, "", "variable:x.photo"),
    ],
)
def test_documents_and_images_within_a_value_stand_as_they_do_alone(
    path: str, value: object, text: str, source: str, fence: str | None
) -> None:
    known = {"x": Variable(name="x", trusted=True, fence=fence)}
    plain = compile_template(f"[{{{{ {path} }}}}]", variables=known).render({"x": value})
    jinja = compile_template(f"[{{{{ {path} }}}}]{{% if x %}}{{% endif %}}", variables=known).render({"x": value})

    assert plain == jinja
    assert plain[1][0].source == source
    assert plain[1][0].trusted is (source != "document:a")
    assert len(plain[2]) == (value == {"photo": _IMAGE})
    if fence is None:
        assert plain[0] == f"[{text}]"


def test_documents_in_the_attribute_of_an_object_are_refused() -> None:
    hit = types.SimpleNamespace(document=_DOCUMENT, all=[_DOCUMENT], id="a")

    assert rendered("{{ hit.id }}", hit=hit) == "a"
    for path in ("hit.document", "hit.document.text", "hit.all"):
        with pytest.raises(PromptError, match="holds documents: pass them as a variable of their own"):
            rendered(f"{{{{ {path} }}}}", hit=hit)
    with pytest.raises(PromptError, match=r"'x.text'.*has no attribute 'text'"):
        rendered("{{ x.text.text }}", x=_DOCUMENT)
