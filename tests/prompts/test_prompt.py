from __future__ import annotations

import pickle
import subprocess
import sys
from types import MappingProxyType

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.messages import Message, Origin, PromptRef
from llmops_sdk.prompts import Prompt, Section, Variable


def test_a_text_is_a_user_message_after_the_systems() -> None:
    request = Prompt.from_string("Hello {{ name }}", system="Be {{ tone }}.").render(name="Ada", tone="kind")

    assert request.messages == (
        Message(
            role="system", content="Be kind.", origins=(Origin(start=3, end=7, source="variable:tone", trusted=False),)
        ),
        Message(
            role="user", content="Hello Ada", origins=(Origin(start=6, end=9, source="variable:name", trusted=False),)
        ),
    )


def test_parameters_travel_with_the_request() -> None:
    prompt = Prompt.from_string("x", temperature=0, max_tokens=5, stop="END", top_p=None)
    request = prompt.render()

    assert (request.temperature, request.max_tokens, request.stop, request.top_p, request.n) == (
        0,
        5,
        ("END",),
        None,
        1,
    )
    assert prompt.parameters == {"temperature": 0, "max_tokens": 5, "stop": ("END",)}


def test_a_request_says_which_prompt_it_comes_from() -> None:
    prompt = Prompt([Section("user", "Hello")], name="greet", version="prod", commit="c" * 40)

    assert prompt.render().prompt == PromptRef(name="greet", version="prod", commit="c" * 40, hash=prompt.hash)
    assert prompt.ref == prompt.render().prompt
    assert Prompt.from_string("Hello").render().prompt == PromptRef(
        name="inline", hash=Prompt.from_string("Hello").hash
    )


def test_variables_are_listed_declared_ones_first() -> None:
    prompt = Prompt.from_string("{{ b }} {{ a.x }} {{ b }}", system="{{ c }}", variables={"a": {"trusted": True}})

    assert prompt.variables == ("a", "c", "b")


def test_only_a_declared_variable_is_trusted() -> None:
    prompt = Prompt.from_string("{{ a }}{{ b }}", variables={"a": {"trusted": True}})

    assert [one.trusted for one in prompt.render(a="x", b="y").messages[0].origins] == [True, False]


def test_render_refuses_what_is_missing_unknown_or_of_the_wrong_type() -> None:
    prompt = Prompt.from_string("{{ question }}", name="ask", variables={"question": "str"})

    with pytest.raises(PromptError, match="'ask' misses the variable 'question'"):
        prompt.render()
    with pytest.raises(PromptError, match=r"'ask' has no variable 'questions'.* Did you mean 'question'"):
        prompt.render(question="x", questions="y")
    with pytest.raises(PromptError, match="'ask' takes 'question' as str, and got int"):
        prompt.render(question=1)


def test_an_optional_variable_may_be_left_out() -> None:
    prompt = Prompt.from_string(
        "{{ a }}|{{ b }}|{{ c }}", variables={"b": {"optional": True}, "c": {"type": "int", "default": 3}}
    )

    assert prompt.render(a="x").messages[0].text == "x||3"
    assert prompt.render(a="x", b=None, c=4).messages[0].text == "x||4"


def test_a_variable_may_be_called_self_or_variables() -> None:
    assert Prompt.from_string("{{ self }}{{ variables }}").render(self="a", variables="b").messages[0].text == "ab"


def test_a_mapping_renders_as_keywords_do() -> None:
    prompt = Prompt.from_string("{{ a }}")

    assert prompt.render_from({"a": "x"}) == prompt.render(a="x")


@pytest.mark.parametrize(
    "build",
    [
        lambda: Prompt.from_string("x", temperature=-1),
        lambda: Prompt.from_string("x", question="Where?"),
        lambda: Prompt.from_string("x", variables={"a": "strong"}),
        lambda: Prompt.from_string(None),  # type: ignore[arg-type]
        lambda: Prompt.from_string("x", system=3),  # type: ignore[arg-type]
    ],
)
def test_wrong_wiring_is_refused_when_the_prompt_is_built(build: object) -> None:
    with pytest.raises(ConfigurationError):
        build()  # type: ignore[operator]


def test_a_broken_template_is_refused_when_the_prompt_is_built() -> None:
    with pytest.raises(PromptError, match=r"ask:1: there is no filter 'uper'"):
        Prompt.from_string("{{ a | uper }}", name="ask")


def test_a_message_of_many_sections_knows_where_each_value_stands() -> None:
    more = [Section("system", "{{ word }}, {{ photo }}{{ end }}", kind="more") for _ in range(3)]
    prompt = Prompt([Section("user", "{{ word }}"), *more], variables={"photo": Variable(name="photo", type="image")})

    message = prompt.render(word="a word", end="é", photo="https://example.org/x.png").messages[0]

    assert (message.role, message.text) == ("user", "a word" + "\n\na word, é" * 3)
    said = [(one.source, message.text[one.start : one.end]) for one in message.origins]
    each = [("variable:word", "a word"), ("variable:photo", ""), ("variable:end", "é")]
    assert said == each[:1] + each * 3
    assert [getattr(part, "text", None) for part in message.content] == [
        *("a word\n\na word, ", None, "é\n\na word, ", None, "é\n\na word, ", None, "é"),
    ]


def test_the_hash_is_that_of_what_renders() -> None:
    def build(
        *, text: str = "x {{ a }}", name: str = "p", commit: str = "c", trusted: bool = False, t: float = 0
    ) -> str:
        variable = Variable(name="a", trusted=trusted)
        return Prompt(
            [Section("user", text)], name=name, commit=commit, variables={"a": variable}, parameters={"temperature": t}
        ).hash

    assert build() == build(name="q", commit="d")
    assert len({build(), build(text="y {{ a }}"), build(trusted=True), build(t=1)}) == 4
    assert Prompt.from_string("x").hash != Prompt([Section("system", "x")]).hash


def test_the_hash_is_the_same_on_every_machine() -> None:
    assert Prompt.from_string("Hi {{ a }}", temperature=0).hash == (
        "9598504cef58fd102058b4a0af51795f501c70653d22dd9b6902563b874f7417"
    )


def test_the_hash_knows_mappings_of_any_kind_and_keys_of_several() -> None:
    def hashed(given: object) -> str:
        return Prompt.from_string("x", extra={"bias": given}).hash

    assert hashed(MappingProxyType({"a": 1})) == hashed({"a": 1}) != hashed(MappingProxyType({"a": 2}))
    assert hashed({1: "a", "b": [{None: 2}]}) == hashed({"b": [{None: 2}], 1: "a"})
    differ = ({1: "a", "b": 2}, {1: "a", "b": 3}, {"1": "a", "b": 2}, {(1, 2): "a", "b": 2}, {1: "a", "1": "b"})
    assert len({hashed(one) for one in differ}) == len(differ)


def test_an_engines_own_objects_do_not_make_the_hash_random() -> None:
    class Grammar:
        pass

    assert Prompt.from_string("x", extra={"g": Grammar()}).hash == Prompt.from_string("x", extra={"g": Grammar()}).hash


def test_a_prompt_survives_pickle() -> None:
    prompt = Prompt.from_string("Hi {{ a }}", system="Be kind", name="p", temperature=0)

    assert pickle.loads(pickle.dumps(prompt)).render(a="x") == prompt.render(a="x")


def test_what_a_prompt_holds_cannot_be_changed() -> None:
    prompt = Prompt.from_string("x", temperature=0)
    prompt.parameters["temperature"] = 1  # type: ignore[index]

    assert prompt.render().temperature == 0
    with pytest.raises(AttributeError):
        prompt.name = "other"  # type: ignore[misc]


def test_a_fixed_message_is_made_once() -> None:
    prompt = Prompt.from_string("{{ a }}", system="Be kind")

    assert prompt.render(a=1).messages[0] is prompt.render(a=2).messages[0]


@given(st.text())
def test_the_notebook_shows_text_not_markup(text: str) -> None:
    shown = Prompt([Section("user", text.replace("{", "("))])._repr_html_()

    assert shown.count("<tr>") == 1
    assert "<script" not in Prompt.from_string("<script>alert(1)</script>")._repr_html_()


def test_the_repr_is_short() -> None:
    prompt = Prompt([Section("user", "{{ a }}" + "x" * 500)], name="support/answer", version="prod")

    assert repr(prompt) == f"<Prompt support/answer@prod (a) {prompt.hash[:8]}>"


def test_importing_prompts_loads_no_third_party_module() -> None:
    code = (
        "import sys; before = set(sys.modules); import llmops_sdk.prompts, llmops_sdk.costs; "
        "print(sorted({m.partition('.')[0] for m in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert found.stdout.strip() == "['llmops_sdk']"


def test_names_that_do_not_exist_are_said_so() -> None:
    import llmops_sdk.prompts

    with pytest.raises(AttributeError, match="no attribute 'Propmt'"):
        llmops_sdk.prompts.Propmt  # noqa: B018


def test_a_prompt_and_an_engine_are_a_pipeline() -> None:
    from llmops_sdk.engines import Scripted

    with Prompt.from_string("Say {{ word }}") | Scripted("done") as pipeline:
        assert pipeline.run(word="hello").text == "done"


def test_a_text_in_place_of_sections_is_told_the_other_way() -> None:
    with pytest.raises(ConfigurationError, match=r"Prompt\.from_string"):
        Prompt("Say hello")


_SIGNS = ("{{", "}}", '"', "'", '{{"', '"a"', "'a'", " ", "a", "1", "~ a", "| a", "(", "-", "\n", "\\ab", ": 1")
_PIECES = st.text("{}%#\"'a1 \n|~(-") | st.lists(st.sampled_from(_SIGNS)).map("".join)


@given(st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), _PIECES, max_size=3), st.lists(_PIECES))
@example({}, ['{{"Dear " ~ name}}'])
@example({"a": "x"}, ["{{'b", "' if b}}"])
def test_an_f_string_says_what_python_makes_of_it(values: dict[str, str], texts: list[str]) -> None:
    parts = [text.replace("{", "{{").replace("}", "}}") for text in texts]
    text = "x" + "".join(part + "".join(f"{{{name}}}" for name in values) for part in parts)
    used = {name: value for name, value in values.items() if f"{{{name}}}" in text and texts}
    prompt = Prompt.from_string(text, style="f-string")
    assert prompt.render(**used).messages[0].text == text.format(**values)


@pytest.mark.parametrize("text", ["{", "}", "{a!r}", "{a:>9}", "{}", "{0}", "{a[0]}", "{a.__class__}", "{a b}"])
def test_what_is_no_plain_f_string_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="brace that is text is written twice"):
        Prompt.from_string(text, style="f-string")


def test_a_style_that_there_is_not_is_refused() -> None:
    with pytest.raises(ConfigurationError, match='"template" or "f-string"'):
        Prompt.from_string("x", style="mustache")  # type: ignore[arg-type]
    system = Prompt.from_string("{a}", system="{{b}} {a.real}", style="f-string").render(a=3).messages[0]
    assert system.text == "{b} 3"


def test_bytes_in_a_parameter_are_part_of_the_hash() -> None:
    one, same, other = (Prompt.from_string("x", extra={"key": value}).hash for value in (b"1", b"1", b"2"))
    assert one == same != other
