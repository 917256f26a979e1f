"""Versions of a prompt for shares of the callers."""

import json
import math
import pickle
import subprocess
import sys
import uuid
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_sdk import Pipeline, Prompt, Scripted, tracing
from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.prompts import PromptRepository

OLD = Prompt.from_string("old {{ q }}", name="answer")
NEW = Prompt.from_string("new {{ q }}", name="answer")


def split(shares, **options):
    options = {"key": "customer_id", **options}
    return Prompt.split([(OLD, share, name) for name, share in shares.items()], **options)


def chi_square(found, expected):
    return sum((found[name] - count) ** 2 / count for name, count in expected.items())


@pytest.mark.parametrize(
    ("shares", "most"),
    [({"prod": 0.9, "candidate": 0.1}, 15.1), ({"a": 0.5, "b": 0.3, "c": 0.15, "d": 0.05}, 21.1)],
)
def test_the_shares_are_right_over_many_keys(shares, most):
    one = split(shares)
    found = Counter(one.arm_of(f"customer-{number}") for number in range(30_000))
    assert chi_square(found, {name: share * 30_000 for name, share in shares.items()}) < most  # p = 0.0001


def test_two_splits_are_independent_where_their_salts_differ():
    one, other = split({"a": 0.5, "b": 0.5}, salt="one"), split({"a": 0.5, "b": 0.5}, salt="other")
    both = Counter((one.arm_of(number), other.arm_of(number)) for number in range(20_000))
    assert chi_square(both, {(x, y): 5000 for x in "ab" for y in "ab"}) < 21.1
    assert split({"a": 0.5, "b": 0.5}).salt == "answer"


def test_an_arm_is_the_same_in_every_process_and_version():
    one = split({"prod": 0.9, "candidate": 0.1}, salt="s")
    assert [number for number in range(60) if one.arm_of(number) == "candidate"] == PINNED
    code = (
        "from llmops_sdk import Prompt\n"
        "arms = [(Prompt.from_string('x'), 0.9, 'prod'), (Prompt.from_string('x'), 0.1, 'candidate')]\n"
        "one = Prompt.split(arms, key='k', salt='s')\n"
        "print([number for number in range(60) if one.arm_of(str(number)) == 'candidate'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == PINNED


PINNED = [17, 21, 42, 46, 59]

keys = st.text(min_size=1) | st.integers() | st.uuids()
weights = st.dictionaries(st.sampled_from("abcdef"), st.floats(0.01, 1), min_size=2)


def shares_of(given_weights):
    total = math.fsum(given_weights.values())
    return {name: weight / total for name, weight in given_weights.items()}


@given(keys, weights, st.randoms())
def test_an_arm_depends_on_no_order_and_no_other_key(key, given_weights, random):
    shares = shares_of(given_weights)
    shuffled = dict(random.sample(list(shares.items()), len(shares)))
    assert split(shares).arm_of(key) == split(shuffled).arm_of(str(key))


@given(keys, weights, st.floats(1, 20), st.data())
def test_growing_an_arm_moves_keys_only_into_it(key, given_weights, factor, data):
    grown = data.draw(st.sampled_from(sorted(given_weights)))
    before = split(shares_of(given_weights)).arm_of(key)
    after = split(shares_of({**given_weights, grown: given_weights[grown] * factor})).arm_of(key)
    assert after in (before, grown)


@given(keys, weights)
def test_a_new_arm_takes_keys_and_moves_none_between_the_others(key, given_weights):
    before = split(shares_of(given_weights)).arm_of(key)
    assert split(shares_of({**given_weights, "new": 0.5})).arm_of(key) in (before, "new")


def test_an_arm_without_a_share_gets_nobody():
    one = split({"prod": 1, "candidate": 0})
    assert {one.arm_of(number) for number in range(1000)} == {"prod"}


def test_the_request_says_which_arm_it_is_of():
    one = Prompt.split([(OLD, 0.5, "old"), (NEW, 0.5, "new")], key="customer_id")
    for customer in range(20):
        request = one.render(customer_id=customer, q="?")
        assert request.prompt.arm == one.arm_of(customer)
        assert request.messages[0].text == f"{request.prompt.arm} ?"
        assert request.prompt.split == one.name == "answer"
        assert request.prompt.hash == {"old": OLD, "new": NEW}[request.prompt.arm].hash


def test_the_key_is_a_variable_of_the_prompt_or_not_or_a_tag_of_the_run():
    named = Prompt.from_string("{{ customer_id }} {{ q }}")
    both = Prompt.split([(named, 0.5, "a"), (OLD, 0.5, "b")], key="customer_id")
    texts = {both.render(customer_id=str(n), q="?").messages[0].text.split()[0] for n in range(20)}
    assert "old" in texts
    assert len(texts) > 2
    pipeline = split({"prod": 0.5, "candidate": 0.5}) | Scripted("ok")
    result = pipeline.run(q="?", tags={"customer_id": "c-1"})
    assert result.call.prompt.arm == pipeline.prompt.arm_of("c-1")
    assert pipeline.run(q="?", customer_id="c-2", tags={"customer_id": "c-1"}).call.prompt.arm == (
        pipeline.prompt.arm_of("c-2")
    )


@pytest.mark.parametrize("value", [None, "", 1.5, True, b"x", ["a"]])
def test_a_key_that_is_missing_or_makes_no_sense_is_an_error(value):
    with pytest.raises(PromptError, match="customer_id") as failed:
        split({"a": 1}).render(q="?", customer_id=value)
    assert failed.value.variable == "customer_id"
    with pytest.raises(PromptError, match="as a tag of the run"):
        split({"a": 1}).render(q="?")


def test_a_uuid_and_its_text_are_the_same_customer():
    customer = uuid.UUID(int=7)
    one = split({"a": 0.5, "b": 0.5})
    assert one.arm_of(customer) == one.arm_of(str(customer))


def test_arms_may_differ_in_their_variables_and_all_that_any_needs_is_asked_for():
    tone = Prompt.from_string("{{ q }} {{ tone }}", name="answer", variables={"tone": {"default": "kind"}})
    both = Prompt.split([(OLD, 0.5, "old"), (tone, 0.5, "tone")], key="k")
    assert both.variables == ("q", "tone", "k")
    texts = {both.render(q="?", tone="dry", k=n).messages[0].text for n in range(20)}
    assert texts == {"old ?", "? dry"}
    needs = Prompt.split([(OLD, 0.5, "old"), (Prompt.from_string("{{ q }} {{ tone }}"), 0.5, "tone")], key="k")
    for number in range(20):
        with pytest.raises(PromptError, match="misses the variable 'tone'"):
            needs.render(q="?", k=number)
        with pytest.raises(PromptError, match=r"no arm .* has the variable 'ton'.*'tone'"):
            needs.render(q="?", tone="x", ton="x", k=number)


def test_arms_that_no_value_suits_are_refused():
    arms = [
        (Prompt.from_string("{{ q }}", variables={"q": "str"}), 0.5, "a"),
        (Prompt.from_string("{{ q }}", variables={"q": "int"}), 0.5, "b"),
    ]
    with pytest.raises(PromptError, match="'a' as str and 'b' as int"):
        Prompt.split(arms, key="k")


@pytest.mark.parametrize(
    ("arms", "says"),
    [
        ({}, "sum to 1"),
        ([(OLD, 0.5, "a")], "sum to 1, and these to 0.5"),
        ([(OLD, 0.5, "a"), (NEW, 0.5, "a")], "two arms of the split have the name 'a'"),
        ([(OLD, 0.5), (NEW, 0.5)], "two arms of the split have the name 'answer'"),
        ([(OLD, -1, "a")], "a number from 0 to 1"),
        ([(OLD, math.nan, "a")], "a number from 0 to 1"),
        ([(OLD, "1", "a")], "a number from 0 to 1"),
        ([(OLD, 1, "")], "the name of an arm"),
        ([(3, 1)], "an arm of a split is a prompt"),
        ([OLD], "are a mapping"),
        ("prod", "are a mapping"),
        (7, "are a mapping"),
    ],
)
def test_what_makes_no_split_is_refused(arms, says):
    with pytest.raises(ConfigurationError, match=says):
        Prompt.split(arms, key="k")
    with pytest.raises(ConfigurationError, match="`key` is the name"):
        Prompt.split([(OLD, 1)], key="")


def test_labels_of_a_repository_are_arms_and_count_at_once_when_they_move(repository):
    first, second = repository.commit_version("1"), repository.commit_version("2")
    found = PromptRepository(repository.root)
    found.label("prod", first)
    found.label("candidate", first)
    shares = {"prod": 0.5, "candidate": 0.5}
    one = Prompt.split(shares, of="support/answer", key="k", repository=found)
    same = found.get("support/answer@prod").split(shares, key="k", repository=found)
    assert (same.name, same.arms, same.hash) == (one.name, one.arms, one.hash)
    whole = Prompt.split(
        {f"support/answer@{label}": share for label, share in shares.items()}, key="k", repository=found
    )
    assert [arm.name for arm in whole.arms] == ["support/answer@prod", "support/answer@candidate"]
    before = one.hash
    found.label("candidate", second)
    assert one.hash != before
    for number in range(10):
        request = one.render(question="?", k=number)
        version = {"prod": "1", "candidate": "2"}[request.prompt.arm]
        assert request.messages[0].text == f"Version {version}"
        assert request.prompt.version == request.prompt.arm == one.arm_of(number)
    with pytest.raises(PromptError) as failed:
        Prompt.split(shares, key="k", repository=found)
    assert "of='folder/name'" in failed.value.__notes__[0]


def test_a_variable_that_a_moved_label_brings_is_taken_at_once(repository):
    first = repository.commit_version("1")
    repository.write("{{ question }} {{ tone }}")
    second = repository.commit("Another variable")
    found = PromptRepository(repository.root)
    found.label("prod", first)
    found.label("candidate", first)
    one = Prompt.split({"prod": 0.5, "candidate": 0.5}, of="support/answer", key="k", repository=found)
    found.label("candidate", second)
    for number in range(10):
        one.render(question="?", tone="dry", k=number)
    found.label("prod", second)
    repository.write("{{ tone }}")
    found.label("prod", repository.commit("Fewer"))
    found.label("candidate", "prod")
    assert one.render(tone="dry", k=1).messages[0].text == "dry"


def test_traces_records_and_outputs_tell_the_arm():
    typed = NEW.with_output({"n": "int"})
    one = Prompt.split([(OLD, 0, "old"), (typed, 1, "new")], key="k")
    seen = tracing.memory()
    result = Pipeline(one, Scripted('{"n": 1}'), hooks=[seen]).run(q="?", k="a")
    assert result.output == {"n": 1}
    (rendered,) = [event for event in result.call.to_json()["events"] if event["event"] == "rendered"]
    assert (rendered["prompt"]["arm"], rendered["prompt"]["split"]) == ("new", "answer")
    assert pickle.loads(pickle.dumps(one)).render(q="?", k="a") == one.render(q="?", k="a")


def test_an_arm_is_no_split_and_no_prompt_with_a_budget():
    prompt = Prompt.from_string("Hi {{ name }}")
    split = Prompt.split([(prompt, 1.0, "a")], key="k")
    for arm in (split, prompt.fit(100, counter=len)):
        with pytest.raises(ConfigurationError, match="an arm of a split is a prompt"):
            Prompt.split([(arm, 1.0, "a")], key="k")
