import gc
import itertools
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk.errors import ConfigurationError, DatasetError
from llmops_sdk.evaluation import Case, Dataset
from llmops_sdk.evaluation._datasets import sources


def cases(number, **options):
    return [Case(input={"q": f"q{n}"}, expected=str(n), **options) for n in range(number)]


def ids(data):
    return [case.id for case in data]


# Where cases come from.


def test_a_data_set_is_read_from_the_start_each_time():
    data = Dataset(cases(3))
    assert list(data) == list(data) == cases(3)
    assert len(data) == 3
    assert next(iter(data)).expected == "0"


def test_a_function_begins_to_read_each_time():
    begun = []

    def begin():
        begun.append(1)
        return iter(cases(3))

    data = Dataset(begin)
    assert begun == []
    assert list(data) == list(data) == cases(3)


def test_a_generator_is_read_once_and_its_file_goes_away_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sources.tempfile, "tempdir", str(tmp_path))
    data = Dataset(case for case in cases(5))

    assert list(data) == list(data) == cases(5)
    assert list(zip(data, data, strict=True)) == list(zip(cases(5), cases(5), strict=True))  # two readings at once
    assert len(data) == 5
    assert len(list(tmp_path.iterdir())) == 1
    del data
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_generator_that_fails_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(sources.tempfile, "tempdir", str(tmp_path))

    def broken():
        yield Case(input="?")
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        Dataset(broken())
    gc.collect()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["cases.jsonl", {"input": "?"}, 7, None, Path("cases.jsonl")])
def test_what_has_no_cases_is_refused(given):
    with pytest.raises(ConfigurationError, match=r"`Dataset\.load\(path\)` or `Dataset\.from_rows\(rows\)`"):
        Dataset(given)


def test_what_is_no_case_is_refused_with_its_row():
    given = [Case(input="?"), {"input": "?"}]
    for make in (lambda: Dataset(given), lambda: Dataset(iter(given)), lambda: list(Dataset(lambda: iter(given)))):
        with pytest.raises(DatasetError, match="row 2 is a dict, not a case: write") as raised:
            make()
        assert raised.value.row == 2


# The hash, and what is found in the same reading.


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.integers(1, 30))
def test_the_hash_does_not_depend_on_the_order_and_on_everything_else_that_counts(seed, size):
    given = [Case(input={"q": f"q{n}"}, expected=str(n), cluster=f"c{n % 3}") for n in range(size)]
    shuffled = random.Random(seed).sample(given, size)
    assert Dataset(shuffled).hash == Dataset(given).hash
    first, *others = given
    for changed in (
        Case(input={"q": "other"}, expected="0", cluster="c0", id=first.id),
        Case(input=first.input, expected="other", cluster="c0", id=first.id),
        Case(input=first.input, expected="0", cluster="c1", id=first.id),
        Case(input=first.input, expected="0", cluster="c0", id="other"),
    ):
        assert Dataset([changed, *others]).hash != Dataset(given).hash
    labelled = Case(input=first.input, expected="0", cluster="c0", id=first.id, tags="new", metadata={"seen": 1})
    assert Dataset([labelled, *others]).hash == Dataset(given).hash


def test_what_belongs_to_the_id_is_not_taken_for_the_cluster():
    assert (
        Dataset([Case(input="?", id="ab", cluster="c")]).hash != Dataset([Case(input="?", id="a", cluster="bc")]).hash
    )


def test_one_reading_finds_all_there_is_to_know():
    readings = []

    def begin():
        readings.append(1)
        yield Case(input={"q": "1", "lang": "de"}, expected="1", tags=["a", "b"], cluster="x")
        yield Case(input={"q": "2"}, tags=["a"], cluster="x")
        yield Case(input="text")

    data = Dataset(begin, name="demo")
    found = data.describe()

    assert (found.cases, found.expected, found.clusters) == (3, 1, 2)
    assert data.tags == found.tags == {"a": 2, "b": 1}
    assert found.variables == {"q": 2, "lang": 1}
    assert data.hash == found.hash
    assert readings == [1]
    assert str(found).splitlines()[0] == "demo: 3 cases, 1 with an expected output"
    assert "tags: a (2), b (1)" in str(found)


def test_no_cases_is_an_error():
    with pytest.raises(DatasetError, match="'data' has no cases"):
        Dataset([]).hash  # noqa: B018
    assert not Dataset([])


def test_the_same_id_twice_is_an_error_that_names_both():
    with pytest.raises(DatasetError, match="cases 1 and 3 of 'data' both have the id 'a'; give each its own") as raised:
        Dataset([Case(input="1", id="a"), Case(input="2"), Case(input="3", id="a")]).hash  # noqa: B018
    assert raised.value.row == 3


def test_the_same_content_twice_without_ids_is_an_error_that_says_why():
    with pytest.raises(DatasetError, match=r"cases 1 and 2 of 'data' ask and expect the same.*would count twice"):
        Dataset([Case(input="?"), Case(input="?")]).hash  # noqa: B018
    assert (
        Dataset([Case(input="?", id="a", cluster="x"), Case(input="?", id="b", cluster="x")]).describe().clusters == 1
    )


# Parts.


def test_a_split_has_about_the_shares_and_every_case_once():
    data = Dataset(cases(2000))
    parts = data.split({"train": 0.7, "dev": 0.1, "test": 0.2})
    assert {name: part.name for name, part in parts.items()} == {
        "train": "data/train",
        "dev": "data/dev",
        "test": "data/test",
    }
    assert sorted(itertools.chain.from_iterable(map(ids, parts.values()))) == sorted(ids(data))
    for name, share in (("train", 0.7), ("dev", 0.1), ("test", 0.2)):
        assert abs(len(parts[name]) / 2000 - share) < 0.05


@settings(max_examples=12, deadline=None)
@given(grown=st.integers(1, 80), seed=st.text(max_size=5), clustered=st.booleans())
def test_no_case_wanders_when_the_data_set_grows_or_is_shuffled(grown, seed, clustered):
    def made(number):
        return [Case(input={"q": str(n)}, cluster=f"c{n // 4}" if clustered else None) for n in range(number)]

    before = Dataset(made(40)).split({"a": 0.5, "b": 0.5}, seed=seed)
    after = Dataset(random.Random(0).sample(made(40 + grown), 40 + grown)).split({"a": 0.5, "b": 0.5}, seed=seed)
    for name in "ab":
        assert set(ids(before[name])) <= set(ids(after[name]))
        if clustered:
            other = {case.cluster for case in after["b" if name == "a" else "a"]}
            assert not other & {case.cluster for case in after[name]}


def test_another_seed_is_another_split_and_the_order_of_shares_counts():
    data = Dataset(cases(100))
    one = ids(data.split({"a": 0.5, "b": 0.5})["a"])
    assert one != ids(data.split({"a": 0.5, "b": 0.5}, seed="2")["a"])
    assert one == ids(data.split({"x": 0.5, "y": 0.5})["x"])


@pytest.mark.parametrize(
    "parts", [{}, {"a": 0.5}, {"a": 1.5, "b": -0.5}, {"a": True}, {1: 1.0}, {"a": "1"}, [0.8, 0.2]]
)
def test_shares_that_make_no_whole_are_refused(parts):
    with pytest.raises(ConfigurationError, match="shares over 0 that add up to 1"):
        Dataset(cases(3)).split(parts)


def test_shares_that_are_not_exact_in_binary_add_up_all_the_same():
    data = Dataset(cases(300))
    parts = data.split({str(n): 0.1 for n in range(10)})
    assert sum(map(len, parts.values())) == 300


def test_filter_takes_cases_with_all_tags_for_which_the_function_is_true():
    data = Dataset([*cases(4, tags=["a"]), *(Case(input=str(n), tags=["a", "b"]) for n in range(3))])
    assert len(data.filter(tags="b")) == 3
    assert len(data.filter(tags=["a", "b"], where=lambda case: case.input != "1")) == 2
    assert len(data.filter(where=lambda case: case.expected is not None)) == 4
    assert list(data.filter()) == list(data)
    with pytest.raises(ConfigurationError, match="`where` is a function"):
        data.filter(where="expected")


def test_a_sample_is_the_same_for_the_same_seed_whatever_the_order_and_grows_with_its_size():
    data, backwards = Dataset(cases(50)), Dataset(cases(50)[::-1])
    few = data.sample(5)
    assert len(few) == 5
    assert ids(few) == sorted(ids(few), key=ids(data).index)
    assert set(ids(few)) == set(ids(backwards.sample(5))) < set(ids(data.sample(10)))
    assert set(ids(few)) != set(ids(data.sample(5, seed="2")))
    with pytest.raises(DatasetError, match="has 50 cases, so that there is no sample of 51"):
        list(data.sample(51))


def test_each_case_is_as_likely_to_be_sampled_as_any_other():
    data = Dataset(cases(20))
    drawn = [one for seed in range(300) for one in ids(data.sample(5, seed=str(seed)))]
    counts = [drawn.count(one) for one in ids(data)]
    assert all(45 < count < 110 for count in counts)  # 75 expected, standard deviation 7.5


def test_head_and_sum():
    data = Dataset(cases(5), name="one") + Dataset([Case(input="x")], name="two")
    assert data.name == "one + two"
    assert len(data) == 6
    assert ids(data.head(2)) == ids(data)[:2]
    assert len(data.head(100)) == 6
    for wrong in (0, -1, True, 2.0):
        with pytest.raises(ConfigurationError, match="`n` is a number of cases"):
            data.head(wrong)
        with pytest.raises(ConfigurationError, match="`n` is a number of cases"):
            data.sample(wrong)
    with pytest.raises(TypeError):
        data + [Case(input="y")]  # noqa: RUF005
    with pytest.raises(DatasetError, match="ask and expect the same"):
        (data + data).hash  # noqa: B018


# What people see.


def test_it_shows_its_first_cases_as_a_table():
    data = Dataset([Case(input={"q": f"line\n{n} " + "x" * 60}, tags=["a"], id=str(n)) for n in range(7)], name="demo")
    lines = str(data).splitlines()
    assert lines[1].split() == ["id", "q", "tags"]
    assert lines[2].startswith("0   line 0 xxx")
    assert max(map(len, lines)) < 60
    assert lines[-1] == "..."
    assert str(Dataset([Case(input="?", id="a", expected={"n": 1})])).splitlines() == [
        "data: 1 case",
        "id  input  expected",
        'a   ?      {"n": 1}',
    ]
    assert repr(data) == "<Dataset 'demo'>"


def test_in_a_notebook_nothing_of_a_case_is_taken_for_html():
    shown = Dataset([Case(input={"<b>": "<script>alert(1)</script>"}, id="<i>")], name="<u>")._repr_html_()
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    for tag in ("<th style='text-align:left'><b>", "<i>", "<u>"):
        assert tag not in shown


def test_a_large_file_is_read_in_flat_memory(tmp_path):
    path = tmp_path / "large.jsonl"
    with path.open("w") as file:
        for number in range(4_000):
            file.write(f'{{"id": "{number}", "input": {{"q": "{"x" * 5000}"}}}}\n')
    code = f"""
import resource
from llmops_sdk.evaluation import Dataset
data = Dataset.load({str(path)!r})
next(iter(data))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
train = data.split({{"train": 0.9, "test": 0.1}})["train"]
assert data.describe().cases == 4_000 and len(train) > 3_400
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown_kib = int(done.stdout) // (1 if sys.platform != "darwin" else 1024)
    assert path.stat().st_size > 20_000_000
    assert grown_kib < 8_000
