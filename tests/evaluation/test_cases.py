import dataclasses
import datetime as dt
import enum
import json
import pickle
import subprocess
import sys
import uuid
from decimal import Decimal
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk.errors import DatasetError
from llmops_sdk.evaluation import Case
from llmops_sdk.messages import Document, ImagePart, Message, TextPart, ToolCall


class Colour(enum.Enum):
    RED = "red"


class Order(pydantic.BaseModel):
    number: int
    due: dt.date


@dataclasses.dataclass
class Point:
    x: int


class Pair(NamedTuple):
    a: int


def again(case):
    return Case.from_json(json.loads(json.dumps(case.to_json())))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary(max_size=8)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.datetimes(timezones=st.none() | st.just(dt.UTC))
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.builds(Document, id=st.text(max_size=5), text=st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.just("$llmops"), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, deadline=None)
@given(asked=VALUES.filter(lambda value: value is not None), expected=VALUES)
def test_whatever_a_case_may_hold_comes_back_from_json_as_it_was(asked, expected):
    case = Case(input=asked, expected=expected, metadata={"it": expected})
    found = again(case)
    assert found == case
    assert found.hash == case.hash
    assert repr(found) == repr(case)  # types, too: 1 is not True, nor 1.0
    assert pickle.loads(pickle.dumps(case)) == case


@pytest.mark.parametrize(
    ("given", "held"),
    [
        (("a", 1), ["a", 1]),
        (Pair(1), [1]),
        (Colour.RED, "red"),
        (Order(number=1, due=dt.date(2026, 1, 2)), {"number": 1, "due": dt.date(2026, 1, 2)}),
        (Point(3), {"x": 3}),
        (PurePosixPath("a/b"), "a/b"),
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.array([[1, 2]]), [[1, 2]]),
        (bytearray(b"ab"), b"ab"),
        (pd.Timestamp("2026-01-02"), dt.datetime(2026, 1, 2)),  # noqa: DTZ001
        ("a" + chr(0xD800), "a" + chr(0xFFFD)),
        ("a" + chr(0xD83D) + chr(0xDE00), "a" + chr(0x1F600)),
    ],
    ids=repr,
)
def test_what_has_a_plain_form_is_held_in_it(given, held):
    case = Case(input={"it": given}, expected=given)
    assert (case.input["it"], case.expected) == (held, held)
    assert type(case.expected) is type(held)
    assert again(case) == case


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"docs": [object()]}, r"`input\.docs\[0\]` is a object, which a case cannot hold"),
        ({"x": {1, 2}}, r"`input\.x` is a set"),
        ({"x": float("nan")}, r"`input\.x` is nan; write `None`"),
        ({"x": [np.float64("inf")]}, r"`input\.x\[0\]` is inf;"),
        ({1: "x"}, r"`input` has 1 as a key; keys are texts"),
        ({"x": lambda: 1}, r"`input\.x` is a function"),
        ({"x": Order}, r"`input\.x` is a ModelMetaclass"),
        (None, r"a case has an `input`"),
    ],
)
def test_what_has_none_is_refused_with_its_place(given, said):
    with pytest.raises(DatasetError, match=said):
        Case(input=given)


def test_what_holds_itself_is_refused():
    circle = {}
    circle["x"] = circle
    with pytest.raises(DatasetError, match="nested too deeply, or holds itself"):
        Case(input=circle)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"id": 1.5}, "`id` is a text, not 1.5"),
        ({"id": True}, "`id` is a text, not True"),
        ({"cluster": ["a"]}, "`cluster` is a text"),
        ({"tags": [1]}, "`tags` are texts"),
        ({"tags": {"a": 1}}, "`tags` are texts"),
        ({"tags": 7}, "`tags` are texts"),
        ({"metadata": "x"}, "`metadata` is a mapping, not a str"),
    ],
)
def test_names_are_texts(options, said):
    with pytest.raises(DatasetError, match=said):
        Case(input="?", **options)


def test_names_are_made_texts_where_that_is_sure():
    case = Case(input="?", id=7, cluster=3, tags="billing")
    assert (case.id, case.cluster, case.tags) == ("7", "3", ("billing",))
    assert Case(input="?", tags=["b", "a", "b"]).tags == ("b", "a")
    assert Case(input="?", cluster="").cluster is None


def test_a_case_keeps_copies_and_cannot_be_changed():
    asked = {"documents": ["a"]}
    case = Case(input=asked)
    before = case.hash
    asked["documents"].append("b")
    assert case.input == {"documents": ["a"]}
    assert case.hash == before
    with pytest.raises(dataclasses.FrozenInstanceError):
        case.input = "other"


def test_cases_are_equal_by_what_they_hold_and_can_stand_in_sets():
    one, same, other = Case(input="?", id="a"), Case(input="?", id="a"), Case(input="!", id="a")
    assert one == same != other
    assert len({one, same, other}) == 2


def test_empty_answers_and_empty_inputs_are_not_missing_ones():
    for empty in ([], {}, "", 0, False):
        case = Case(input={}, expected=empty)
        assert again(case).expected == empty
        assert again(case).input == {}
    assert Case(input={}, expected="").hash != Case(input={}).hash


def test_messages_and_their_parts_come_back():
    messages = [
        Message.system("Be brief."),
        Message.user((TextPart(text="What is this?"), ImagePart(url="data:image/png;base64,AAAA", detail="low"))),
        Message.assistant(tool_calls=(ToolCall(id="1", name="look", arguments="{}"),)),
        Message.tool("a cat", tool_call_id="1", name="look"),
    ]
    case = Case(input=messages)
    assert case.input == messages
    assert again(case) == case


def test_a_case_of_ten_megabytes_is_held_and_comes_back():
    case = Case(input={"text": "word " * 2_000_000})
    assert again(case) == case


def test_the_hash_is_the_same_in_another_process_and_does_not_depend_on_the_order_of_keys():
    code = (
        "from llmops_sdk.evaluation import Case; import datetime as dt, uuid;"
        "print(Case(input={'b': [1, 2.5, None], 'a': uuid.UUID(int=5)}, expected=dt.date(2026, 1, 2)).hash)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    ours = Case(input={"a": uuid.UUID(int=5), "b": [1, 2.5, None]}, expected=dt.date(2026, 1, 2))
    assert done.stdout.strip() == ours.hash
    assert ours.hash != Case(input=ours.input, expected="2026-01-02").hash
    assert Case(input=Decimal("1.0")).hash != Case(input="1.0").hash


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"expected": "2"}, "a case has no `input`; it is made of 'id', 'input'"),
        ({"input": "?", "answer": "2"}, "a case has 'answer'; it is made of"),
        (["?"], "a case is a mapping with `input`, not a list"),
        ({"input": {"d": {"$llmops": "date", "value": "soon"}}}, r"`input\.d` is no 'date', though it says so"),
        ({"input": {"d": {"$llmops": "Robot", "value": {}}}}, r"`input\.d` is no 'Robot'"),
        ({"input": {"d": {"$llmops": "bytes"}}}, r"`input\.d` is no 'bytes'"),
        ({"input": {"d": {"$llmops": ["x"], "value": 1}}}, r"`input\.d` is no \['x'\]"),
        ({"input": {"d": {"$llmops": "Document", "value": {"id": "1"}}}}, r"`input\.d` is no 'Document'"),
    ],
)
def test_what_is_no_case_is_refused(given, said):
    with pytest.raises(DatasetError, match=said):
        Case.from_json(given)
