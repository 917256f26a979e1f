import datetime as dt

import numpy as np
import pandas as pd
import pytest

from llmops_sdk.errors import ConfigurationError, DatasetError
from llmops_sdk.evaluation import Case, Dataset


def test_a_frame_becomes_cases_and_what_is_missing_is_none():
    frame = pd.DataFrame(
        {
            "q": ["a", "b", "c"],
            "n": pd.array([1, None, 3], dtype="Int64"),
            "at": pd.to_datetime(["2026-01-02", None, "2026-01-04"]),
            "right": ["x", np.nan, None],
            "page": [1.0, np.nan, 3.0],
        }
    )
    first, second, third = data = Dataset.from_pandas(frame, expected="right", cluster="page", name="frame")
    assert first.input == {"q": "a", "n": 1, "at": dt.datetime(2026, 1, 2)}  # noqa: DTZ001  (as pandas has it)
    assert second.input == {"q": "b", "n": None, "at": None}
    assert [case.expected for case in data] == ["x", None, None]
    assert [case.cluster for case in data] == ["1", None, "3"]
    assert third.input["n"] == 3
    assert data.name == "frame"


def test_a_frame_that_is_changed_later_does_not_change_the_data_set():
    frame = pd.DataFrame({"q": ["a"] * 600, "id": range(600)})
    data = Dataset.from_pandas(frame, input=["q"])
    before = data.hash
    frame.loc[0, "q"] = "b"
    assert Dataset.from_pandas(frame, input=["q"]).hash != before
    assert {case.input["q"] for case in data} == {"a"}
    assert len(data) == 600


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ([{"q": 1}], "takes a `pandas.DataFrame`, not a list"),
        (pd.Series([1]), "takes a `pandas.DataFrame`, not a Series"),
        (pd.DataFrame([[1, 2]]), r"columns of a frame need names, each its own.*\[0, 1\]"),
        (pd.DataFrame([[1, 2]], columns=["q", "q"]), "columns of a frame need names, each its own"),
    ],
)
def test_what_is_no_frame_with_names_is_refused(frame, said):
    with pytest.raises(ConfigurationError, match=said):
        Dataset.from_pandas(frame)


def test_an_infinite_number_in_a_frame_is_refused_with_its_row():
    with pytest.raises(DatasetError, match=r"row 2: `input\.x` is inf"):
        list(Dataset.from_pandas(pd.DataFrame({"x": [1.0, np.inf]})))


@pytest.mark.parametrize("given", [[{"q": 1}], pd.DataFrame({"q": [1]})])
def test_what_is_no_data_set_of_hugging_face_is_refused(given):
    with pytest.raises(ConfigurationError, match=r"takes a `datasets\.Dataset` or `IterableDataset`"):
        Dataset.from_huggingface(given)


def test_one_of_several_data_sets_has_to_be_named():
    with pytest.raises(ConfigurationError, match=r"several data sets \('train', 'test'\).*`data\[name\]`"):
        Dataset.from_huggingface({"train": [], "test": []})


@pytest.fixture
def hub():
    return pytest.importorskip("datasets")


@pytest.mark.heavy
def test_data_sets_of_hugging_face_become_cases(hub):
    features = hub.Features({"q": hub.Value("string"), "label": hub.ClassLabel(names=["no", "yes"])})
    made = hub.Dataset.from_dict({"q": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)

    data = Dataset.from_huggingface(made.with_format("numpy"), expected="label")
    assert list(data) == [
        Case(input={"q": "a"}, expected="yes"),
        Case(input={"q": "b"}, expected="no"),
        Case(input={"q": "c"}, expected=-1),
    ]
    streamed = Dataset.from_huggingface(made.to_iterable_dataset(), expected="label")
    assert list(streamed) == list(streamed) == list(data)
    assert streamed.hash == data.hash

    with pytest.raises(ConfigurationError, match="several data sets"):
        Dataset.from_huggingface(hub.DatasetDict({"train": made}))


@pytest.mark.heavy
def test_a_generator_of_hugging_face_without_features_is_read_again_and_again(hub):
    made = hub.IterableDataset.from_generator(lambda: ({"q": str(n)} for n in range(3)))
    data = Dataset.from_huggingface(made)
    assert [case.input["q"] for case in data] == [case.input["q"] for case in data] == ["0", "1", "2"]
