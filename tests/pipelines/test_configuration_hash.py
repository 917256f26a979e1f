"""Configurations as hashes: of every guard that is shipped, and of what an application writes itself."""

from __future__ import annotations

import copy
import dataclasses
import functools
import importlib
import json
import os
import pickle
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import llmops_sdk
from llmops_sdk import Engine, Guard, Prompt, Router, Scripted, Verdict, guard, guards
from llmops_sdk.costs import PriceTable
from llmops_sdk.engines.litellm import LiteLLM
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import Rule
from llmops_sdk.pipelines._locking.describing import configuration_hash
from llmops_sdk.routers import Breaker, Leg, Limit
from llmops_sdk.verdicts import ALLOW

SOURCES = str(Path(llmops_sdk.__file__).parents[1])
SHIPPED = {
    "Canary": ("Canary(action='flag')", "Canary()"),
    "Competitors": ("Competitors(['Acme'])", "Competitors(['Acme', 'Bolt'])"),
    "InvisibleText": ("InvisibleText(action='block')", "InvisibleText(action='flag')"),
    "JSONSchema": ("JSONSchema({'type': 'object', 'required': ['a']})", "JSONSchema({'type': 'object'})"),
    "Judge": ("Judge(Scripted('YES'), 'is it polite?')", "Judge(Scripted('YES'), 'is it short?')"),
    "Language": ("Language(allow=['en'])", "Language(allow=['de'])"),
    "Length": ("Length(most=100)", "Length(most=101)"),
    "MaliciousCode": ("MaliciousCode(action='flag')", "MaliciousCode(action='block')"),
    "PII": ("PII(kinds=['email', 'phone'])", "PII(kinds=['email'])"),
    "PatternGuard": (
        "PatternGuard([Rule(kind='number', pattern='[0-9]{9}', accepts=len)], action='flag')",
        "PatternGuard([Rule(kind='number', pattern='[0-9]{9}')], action='flag')",
    ),
    "PromptInjection": ("PromptInjection()", "PromptInjection(threshold=0.9)"),
    "Refusal": ("Refusal()", "Refusal(action='block')"),
    "Regex": ("Regex({'password': 'pass(word)?'})", "Regex({'password': 'pass'})"),
    "Repetition": ("Repetition(times=9)", "Repetition(times=10)"),
    "Secrets": ("Secrets()", "Secrets(action='flag')"),
    "SystemPromptLeak": ("SystemPromptLeak(words=9)", "SystemPromptLeak(words=10)"),
    "Tokens": ("Tokens(most=5, counter=len)", "Tokens(most=6, counter=len)"),
    "Topics": ("Topics({'war': ['guns']})", "Topics({'war': ['bombs']})"),
    "URLs": ("URLs(allow={'example.org', 'example.net', 'a.test'})", "URLs(allow={'example.org'})"),
    "all_of": ("all_of(Secrets(), Length(most=3))", "all_of(Secrets(), Length(most=4))"),
    "any_of": ("any_of(Secrets(), Length(most=3))", "any_of(Length(most=3), Secrets())"),
    "cached": ("cached(Length(most=3))", "cached(Length(most=4))"),
    "cascade": (
        "cascade(PromptInjection(), Judge(Scripted('NO'), 'is it?'))",
        "cascade(PromptInjection(threshold=0.7), Judge(Scripted('NO'), 'is it?'))",
    ),
    "isolated": ("isolated('mine:Guard', requirements=['one==1'])", "isolated('mine:Guard', requirements=['one==2'])"),
    "sample": ("sample(Secrets(), 0.5)", "sample(Secrets(), 0.25)"),
    "shadow": ("shadow(Secrets())", "shadow(Secrets(), name='quiet')"),
    "timed": ("timed(Secrets(), budget_ms=5)", "timed(Secrets(), budget_ms=6)"),
}
"""Guards as they are written: one, and another one of the same kind."""

NO_GUARDS = {
    "Calibration", "Evaluation", "Group", "Guard", "GuardOptions", "IsolatedGuard", "JSONReading", "Mismatch",
    "PII_KINDS", "Recognizer", "Rule", "Segment", "SegmentGuard", "Vault", "acalibrate", "aevaluate", "calibrate",
    "evaluate", "guard", "without_markup",
}  # fmt: skip


def made(text: str):
    return eval(text, {**{name: getattr(guards, name) for name in guards.__all__}, "Scripted": Scripted})


def test_every_guard_that_is_shipped_stands_in_this_test():
    assert set(guards.__all__) == set(SHIPPED) | NO_GUARDS


@pytest.mark.parametrize("name", SHIPPED)
def test_guards_made_alike_have_one_hash_and_another_argument_has_another(name):
    one, other = SHIPPED[name]
    assert configuration_hash(made(one)) == configuration_hash(made(one))
    assert configuration_hash(made(one)) != configuration_hash(made(other))


def test_the_hashes_are_the_same_in_another_process_with_another_seed():
    code = f"""
        import json
        from llmops_sdk import Scripted, guards
        from llmops_sdk.guards import *
        from llmops_sdk.pipelines._locking.describing import configuration_hash
        print(json.dumps([configuration_hash(eval(text)) for text in {[one for one, _ in SHIPPED.values()]!r}]))
    """
    expected = [configuration_hash(made(one)) for one, _ in SHIPPED.values()]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": SOURCES},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == expected


@pytest.mark.parametrize("name", SHIPPED)
def test_a_copy_and_a_pickled_guard_have_the_hash_of_the_guard(name):
    one = made(SHIPPED[name][0])
    assert configuration_hash(copy.copy(one)) == configuration_hash(one)
    assert configuration_hash(pickle.loads(pickle.dumps(one))) == configuration_hash(one)


@pytest.mark.parametrize("options", [{"name": "mine"}, {"on_error": "allow"}, {"mode": "audit"}, {"overlap": True}])
def test_each_option_of_all_guards_counts(options):
    assert configuration_hash(guards.Length(most=3, **options)) != configuration_hash(guards.Length(most=3))


def test_what_is_changed_after_a_guard_was_made_counts():
    before = configuration_hash(guards.PromptInjection())
    assert configuration_hash(guards.PromptInjection().with_threshold(0.9)) != before
    assert configuration_hash(guards.PromptInjection().waive("tool_calls")) != before
    assert configuration_hash(guards.PromptInjection(threshold=0.5, action="block")) == before


def test_positional_and_named_arguments_are_the_same():
    class Words(Guard):
        def __init__(self, words, most=3, **options):
            super().__init__(**options)

        def check(self, text, context=None):
            return ALLOW

    assert configuration_hash(Words(["a"], 3)) == configuration_hash(Words(most=3, words=["a"]))
    assert configuration_hash(Words(["a"], 4)) != configuration_hash(Words(["a"]))


def test_keys_do_not_count_and_neither_does_where_they_lead():
    def hashed(key: bytes):
        return configuration_hash(guards.PII(restore=True, pseudonym_key=key))

    assert hashed(b"k" * 32) == hashed(b"j" * 32)
    assert hashed(b"k" * 32) != configuration_hash(guards.PII(restore=True))


MODULE = """
from llmops_sdk import Guard, Verdict, guard
WORDS = ["bad", "worse"]
def rude(text):
    return any(word in text for word in WORDS)
@guard
def polite(text):
    return Verdict.block("rude") if rude(text) else Verdict.allow()
class Polite(Guard):
    def check(self, text, context=None):
        return Verdict.block("rude") if rude(text) else Verdict.allow()
def limited(most):
    @guard
    def short(text):
        return Verdict.block("long") if len(text) > most else Verdict.allow()
    return short
"""


@pytest.fixture
def module(tmp_path, monkeypatch) -> Callable[[str], object]:
    """Imports a module of this text, in place of the one before."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load(text: str):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        (folder / "written_by_us.py").write_text(text)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.delitem(sys.modules, "written_by_us", raising=False)
        found = importlib.import_module("written_by_us")
        monkeypatch.setitem(sys.modules, "written_by_us", found)
        return found

    return load


@pytest.mark.parametrize("make", [lambda m: m.polite, lambda m: m.Polite()], ids=["function", "class"])
@pytest.mark.parametrize(
    ("old", "new"),
    [('"worse"', '"worst"'), ("word in text", "word in text.lower()"), ('block("rude")', 'flag("rude")')],
    ids=["data", "helper", "code"],
)
def test_the_code_of_a_guard_counts_with_the_data_and_the_functions_that_it_uses(module, make, old, new):
    before = configuration_hash(make(module(MODULE)))
    assert configuration_hash(make(module(MODULE + "\nOTHER = 1\n"))) == before
    assert configuration_hash(make(module(MODULE.replace(old, new)))) != before


def test_what_a_function_closes_over_counts(module):
    loaded = module(MODULE)
    assert configuration_hash(loaded.limited(3)) == configuration_hash(loaded.limited(3))
    assert configuration_hash(loaded.limited(3)) != configuration_hash(loaded.limited(4))


class Plain:
    """A guard that inherits nothing and says nothing of itself."""

    def __init__(self, words):
        self.words = words

    def check(self, text):
        return Verdict.allow()


class Told(Plain):
    def configuration(self):
        return {"words": self.words}


@dataclasses.dataclass
class Record:
    words: list[str]

    def check(self, text):
        return Verdict.allow()


@pytest.mark.parametrize("kind", [Told, Record])
def test_other_objects_count_by_their_configuration_or_their_fields(kind):
    assert configuration_hash(kind(["a"])) == configuration_hash(kind(["a"]))
    assert configuration_hash(kind(["a"])) != configuration_hash(kind(["b"]))


class Bag:
    """A collection of a kind that nobody else has."""

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __contains__(self, one: object) -> bool:
        return False


@pytest.mark.parametrize(
    "value",
    [Plain(["a"]), guards.Tokens(most=1, counter=Plain("x").check), guards.Regex(one for one in ["a"]), Bag()],
    ids=["object", "method of one", "generator", "collection of its own"],
)
def test_what_has_no_form_is_refused_and_says_what_to_write(value):
    with pytest.raises(ConfigurationError, match="give it a method `configuration\\(\\)`"):
        configuration_hash(value)


def test_a_function_without_source_is_refused():
    namespace = {"__name__": "made_up"}
    exec("def check(text): ...", namespace)
    with pytest.raises(ConfigurationError, match="the source of made_up:check is not there"):
        configuration_hash(guard(namespace["check"]))


def test_a_configuration_that_holds_itself_is_refused():
    words: list = []
    words.append(words)
    with pytest.raises(ConfigurationError, match="nested too deeply"):
        configuration_hash(Told(words))


def test_files_count_by_their_content_wherever_they_lie(tmp_path):
    for name, text in (("a", "one"), ("b", "one"), ("c", "two")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "words.txt").write_text(text)
    a, b, c = (configuration_hash(Told(tmp_path / name)) for name in "abc")
    assert a == b != c


class Answer(BaseModel):
    text: str


class Longer(BaseModel):
    text: str
    more: str = ""


def test_classes_of_pydantic_count_by_their_schema():
    assert configuration_hash(Told(Answer)) == configuration_hash(Told(Answer))
    assert configuration_hash(Told(Answer(text="a"))) != configuration_hash(Told(Answer(text="b")))
    assert configuration_hash(Told(Answer)) != configuration_hash(Told(Longer))


plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.binary()
    | st.sampled_from([re.compile("a"), len, ALLOW]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.sets(st.text()).map(frozenset),
)


@given(plain_values)
def test_equal_data_has_one_hash_whatever_the_order_it_was_made_in(value):
    def turned(one):
        if isinstance(one, dict):
            return {name: turned(one[name]) for name in reversed(one)}
        if isinstance(one, frozenset):
            return frozenset(sorted(one, reverse=True))
        return list(map(turned, one)) if isinstance(one, list) else one

    assert configuration_hash(Told(value)) == configuration_hash(Told(turned(value)))


ROUTER = {
    "strategy": {"name": "cascade", "judge": lambda request, response: True, "min_logprob": -1.0},
    "retries": 3,
    "hedge": "p95",
    "breaker": Breaker(failures=9),
    "limits": [Limit(requests_per_minute=3)],
    "fallbacks": {"one": ["two"]},
    "attempt_timeout_s": 3.0,
}


@pytest.mark.parametrize("option", ROUTER)
def test_every_option_of_a_router_counts(option):
    def router(**options):
        return Router([Scripted("a", name="one"), Scripted("b", name="two")], **options)

    assert configuration_hash(router(**ROUTER)) == configuration_hash(router(**ROUTER))
    assert configuration_hash(router(**{option: ROUTER[option]})) != configuration_hash(router())


def test_what_a_leg_was_told_counts():
    def router(weight: float):
        return Router([Leg(Scripted("a", name="one"), weight=weight), Scripted("b", name="two")])

    assert configuration_hash(router(2)) == configuration_hash(router(2)) != configuration_hash(router(3))


@pytest.mark.parametrize(
    "name", ["latency", "least_busy", "round_robin", "weighted", "priority", "cost", "prefix_affinity"]
)
def test_a_strategy_made_anew_has_the_same_hash(name):
    kind = importlib.import_module("llmops_sdk.routers._strategies").STRATEGIES[name]
    engines = [Scripted("a", name="one"), Scripted("b", name="two")]
    options = {"min_logprob": -1} if name == "cascade" else {}
    one, other = (configuration_hash(Router(engines, strategy=kind(**options))) for _ in range(2))
    assert one == other


def test_what_only_says_how_to_reach_an_engine_does_not_count():
    def hashed(user: str, key: str, **options):
        url = f"https://{user}:pass@host:1/v1?api-version=3&key={key}"
        headers = {"X-Team": user}
        return configuration_hash(Engine.open(url, model="m", api_key=key, headers=headers, name=user, **options))

    assert hashed("ada", "one") == hashed("bob", "two")
    assert hashed("ada", "one") != hashed("ada", "one", dimensions=3)


def test_what_only_says_how_to_reach_a_service_through_litellm_does_not_count():
    def hashed(user: str, key: str, place: str = "eu", model: str = "m"):
        headers = {"Authorization": f"Bearer {key}"}
        reached = {"api_key": key, "timeout_s": len(user), "aws_secret_access_key": key, "extra_headers": headers}
        base = f"https://{user}:pass@{place}.example/v1"
        return configuration_hash(LiteLLM(f"openai/{model}", api_base=base, name=user, **reached))

    assert hashed("ada", "one") == hashed("robert", "two")
    assert len({hashed("ada", "one"), hashed("ada", "one", "us"), hashed("ada", "one", model="n")}) == 3


def test_prices_count():
    table = PriceTable({"m": {"input": "1", "output": "2"}})
    assert configuration_hash(table) == configuration_hash(PriceTable({"m": {"input": "1", "output": "2"}}))
    assert configuration_hash(table) != configuration_hash(PriceTable({"m": {"input": "1", "output": "3"}}))
    assert re.match(r"\d{4}-\d\d-\d\d", table.default().configuration()["built_in"])


def test_partials_and_cached_functions_count_by_what_is_within():
    @functools.cache
    def most(a, b):
        return max(a, b)

    assert configuration_hash(functools.partial(most, 1)) == configuration_hash(functools.partial(most, 1))
    assert configuration_hash(functools.partial(most, 1)) != configuration_hash(functools.partial(most, 2))


def test_a_prompt_counts_by_its_content():
    assert configuration_hash(Prompt.from_string("a", name="x")) == configuration_hash(
        Prompt.from_string("a", name="y")
    )
    assert configuration_hash(Prompt.from_string("a")) != configuration_hash(Prompt.from_string("b"))


def test_rules_with_functions_of_the_library_count_by_their_names():
    rule = Rule(kind="a", pattern="a", accepts=re.Match.group)
    assert configuration_hash(rule) == configuration_hash(Rule(kind="a", pattern="a", accepts=re.Match.group))


def test_lambdas_on_one_line_have_hashes_of_their_own():
    less, more = (lambda one: one.size < 5), (lambda one: one.size > 5)
    down, up = (lambda one, other: one - other), (lambda other, one: one - other)
    accented, plain = (lambda one: "é" + one), (lambda one: "e" + one)
    over, lines = (lambda one: [
        one.size]), (lambda one: [
        one.length])  # fmt: skip
    made = [less, more, down, up, accented, plain, over, lines]
    assert len(set(map(configuration_hash, made))) == len(made)
    assert configuration_hash(less) == configuration_hash(less)
