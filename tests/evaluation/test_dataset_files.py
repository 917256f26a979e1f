import csv
import datetime as dt
import gzip
import json
import os
import subprocess
import sys
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pydantic
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmops_sdk.errors import ConfigurationError, DatasetError
from llmops_sdk.evaluation import Case, Dataset

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".jsonl.gz", ".json.gz", ".csv.gz", ".tsv.gz")


def written(path, content):
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


# There and back.

NAMES = st.text(min_size=1, max_size=6)
TEXTS = st.text(max_size=12) | st.sampled_from(
    ["", " ", "\r", "\n", "a\r\nb", '"', ",", ";", "\t", "\0", "null", "0", "{}"]
)
ANY = TEXTS | st.integers(-9, 9) | st.none() | st.lists(TEXTS, max_size=2) | st.dates()
INPUTS = st.one_of(
    st.fixed_dictionaries({"q": TEXTS, "r": TEXTS}),
    st.fixed_dictionaries({"q": TEXTS, "r": ANY}),
    st.dictionaries(NAMES, ANY, max_size=3),
    TEXTS,
)


@st.composite
def data_sets(draw):
    several = st.lists(
        draw(st.sampled_from([INPUTS, st.fixed_dictionaries({"q": TEXTS, "id:json": TEXTS}), TEXTS])), max_size=4
    )
    return [
        Case(
            id=f"case {n}",
            input=one,
            expected=draw(st.none() | ANY),
            tags=draw(st.lists(NAMES, max_size=2)),
            cluster=draw(st.none() | NAMES),
            metadata=draw(st.dictionaries(NAMES, ANY, max_size=2)),
        )
        for n, one in enumerate(draw(several))
    ]


@settings(max_examples=40, deadline=None)
@given(cases=data_sets(), suffix=st.sampled_from(SUFFIXES))
@example(cases=[Case(input={"q": "", "id:json": ""}, expected="")], suffix=".csv")
def test_what_is_saved_is_loaded_as_it_was(cases, suffix, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / f"cases{suffix}"
    assert Dataset(cases).save(path) == len(cases)
    loaded = Dataset.load(path)
    assert list(loaded) == cases
    assert loaded.name == "cases"
    if cases:
        assert loaded.hash == Dataset(cases).hash


def test_the_same_rows_have_the_same_hash_in_every_format(tmp_path):
    rows = [{"question": f"{n} + 1?", "expected": str(n + 1), "cluster": f"c{n // 2}"} for n in range(5)]
    text = "\n".join(map(json.dumps, rows))
    table = [list(rows[0]), *(list(row.values()) for row in rows)]
    written(tmp_path / "a.jsonl", text + "\n\n")
    written(tmp_path / "a.json", json.dumps(rows[::-1], indent=2))
    written(tmp_path / "a.jsonl.gz", text)
    written(tmp_path / "a.csv", b"\xef\xbb\xbf" + "\r\n".join(map(",".join, table)).encode())
    written(tmp_path / "a.tsv.gz", "\n".join(map("\t".join, table)))
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")

    hashes = {path.name: Dataset.load(path).hash for path in tmp_path.iterdir()}

    assert len(hashes) == 6
    assert set(hashes.values()) == {Dataset.from_rows(rows).hash}


def test_a_file_that_exists_is_replaced_only_when_all_is_written(tmp_path):
    path = written(tmp_path / "cases.csv", "old")

    def broken():
        yield Case(input="?")
        raise ValueError("the source is gone")

    with pytest.raises(ValueError, match="the source is gone"):
        Dataset(broken).save(path)
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["cases.csv"]
    Dataset([Case(input="?")]).save(path)
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_where_nothing_can_be_written_the_error_says_so(tmp_path):
    with pytest.raises(DatasetError, match="cannot be written: No such file"):
        Dataset([Case(input="?")]).save(tmp_path / "missing" / "cases.csv")
    with pytest.raises(DatasetError, match="its suffix says what it is"):
        Dataset([Case(input="?")]).save(tmp_path / "cases.xlsx")


# Columns.

ROWS = [
    {"key": 7, "question": "1 + 1?", "lang": "de", "answer": "2", "kind": "sum, easy", "page": 3, "by": "ada"},
    {"key": 8, "question": "2 + 2?", "lang": "en", "answer": "4", "kind": "sum", "page": 3, "by": None},
]


def test_without_options_all_columns_that_are_nothing_else_are_variables():
    (first, _) = Dataset.from_rows([{"id": "a", "expected": "2", "tags": ["x"], "question": "?", "lang": "de"}] * 2)
    assert first == Case(id="a", input={"question": "?", "lang": "de"}, expected="2", tags=["x"])


def test_with_an_input_column_what_is_nothing_else_is_metadata():
    (case,) = Dataset.from_rows(
        [{"input": "?", "expected": None, "source": "wiki", "empty": None, "metadata": {"a": 1}}]
    )
    assert case == Case(input="?", metadata={"source": "wiki", "a": 1})


def test_options_say_what_is_in_the_columns():
    first, second = Dataset.from_rows(
        ROWS, id="key", input=["question", "lang"], expected="answer", tags="kind", cluster="page"
    )
    assert first == Case(
        id="7",
        input={"question": "1 + 1?", "lang": "de"},
        expected="2",
        tags=["sum", "easy"],
        cluster="3",
        metadata={"by": "ada"},
    )
    assert second.metadata == {}
    (first, _) = Dataset.from_rows(
        ROWS, input="question", expected=["answer", "page"], tags=["lang", "page"], metadata=["by"]
    )
    assert first == Case(
        input="1 + 1?", expected={"answer": "2", "page": 3}, tags=["lang:de", "page:3"], metadata={"by": "ada"}
    )
    (first, _) = Dataset.from_rows(ROWS, input="question", metadata=[])
    assert first.metadata == {}


def test_a_column_that_an_option_names_for_the_input_is_nothing_else():
    (case,) = Dataset.from_rows([{"id": "5", "tags": "none", "expected": "x"}], input=["id", "tags"])
    assert (case.input, case.tags, case.expected) == ({"id": "5", "tags": "none"}, (), "x")
    assert case.id == case.hash[:16]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"input": "q"}, "row 1 has no column 'q' for the input; it has key, question"),
        ({"input": ["question", "q"]}, "row 1 has no column 'q' for the input"),
        ({"id": "no"}, "row 1 has no column 'no'; it has key"),
        ({"expected": "anser"}, "row 2 like all others has no column 'anser'; it has key, question"),
        ({"tags": ["lang", "x"], "cluster": "y"}, "no column 'x', 'y'"),
    ],
)
def test_a_column_that_is_not_there_is_an_error(options, said):
    with pytest.raises(DatasetError, match=said):
        list(Dataset.from_rows(ROWS, **options))


@pytest.mark.parametrize(
    "options", [{"input": 3}, {"input": []}, {"id": ["a", "b"]}, {"tags": [""]}, {"expected": {"a": 1}}]
)
def test_what_names_no_column_is_refused(options):
    with pytest.raises(ConfigurationError, match="the name of a column"):
        Dataset.from_rows(ROWS, **options)


def test_some_rows_may_lack_what_others_have():
    first, second = Dataset.from_rows([{"q": "1"}, {"q": "2", "right": "x"}], input="q", expected="right")
    assert (first.expected, second.expected) == (None, "x")


def test_rows_may_come_from_a_generator_and_must_not_be_something_else():
    data = Dataset.from_rows({"q": str(n)} for n in range(3))
    assert [case.input for case in data] == [case.input for case in data] == [{"q": "0"}, {"q": "1"}, {"q": "2"}]
    for wrong in ({"q": "?"}, "q", None):
        with pytest.raises(ConfigurationError, match="`from_rows` takes mappings"):
            Dataset.from_rows(wrong)
    with pytest.raises(DatasetError, match="row 2 is a list, not a mapping"):
        list(Dataset.from_rows([{"q": "1"}, ["q"]]))


# Types.


class Question(pydantic.BaseModel):
    text: str
    pages: int = 1
    asked: dt.date


class Answer(pydantic.BaseModel):
    kind: Literal["yes", "no"]


def test_rows_are_validated_and_become_plain_values(tmp_path):
    path = written(tmp_path / "q.csv", "text,asked,pages,expected,note\nwhy?,2026-01-02,3,7,x\n")
    (case,) = Dataset.load(path, input_type=Question, expected_type=int)
    assert case.input == {"text": "why?", "pages": 3, "asked": dt.date(2026, 1, 2)}
    assert case.expected == 7
    assert case.metadata == {"note": "x"}


def test_what_does_not_fit_its_type_is_refused_with_path_row_and_place(tmp_path):
    path = written(
        tmp_path / "q.jsonl", '{"text": "a", "asked": "2026-01-02"}\n{"text": "b", "asked": "soon", "pages": "x"}'
    )
    with pytest.raises(DatasetError) as raised:
        list(Dataset.load(path, input_type=Question))
    assert str(raised.value).startswith(f"row 2 of {str(path)!r}: `input.pages`: Input should be a valid integer")
    assert "`input.asked`: Input should be a valid date" in str(raised.value)
    assert (raised.value.path, raised.value.row) == (str(path), 2)
    rows = [{"q": "?", "expected": {"kind": "maybe"}}]
    with pytest.raises(DatasetError, match=r"row 1: `expected\.kind`: Input should be 'yes' or 'no'"):
        list(Dataset.from_rows(rows, expected_type=Answer))


def test_a_missing_expected_output_is_not_validated():
    (case,) = Dataset.from_rows([{"q": "?", "expected": None}], expected_type=int)
    assert case.expected is None


def test_a_type_that_nobody_can_validate_is_refused():
    with pytest.raises(ConfigurationError, match="`input_type` is no type that pydantic can validate"):
        Dataset.from_rows([{"q": "?"}], input_type=object())


# Broken files.

LONG = json.dumps([{"input": "x" * 70_000}, {"input": "y"}])


@pytest.mark.parametrize(
    ("name", "content", "row", "said"),
    [
        ("a.jsonl", '{"q": 1}\n\n{"q": ', 2, r"row 2 of '.*a\.jsonl' \(line 3\) is no JSON: Expecting value"),
        ("a.jsonl", '{"q": 1}\n[1]\n', 2, r"row 2 of '.*' is a list, not a mapping"),
        ("a.jsonl", '{"q": NaN}', 1, r"row 1 of '.*': `input\.q` is nan"),
        ("a.jsonl", '{"q": "\xe9"}\n'.encode("latin-1"), 1, r"is no utf-8: .*; say what it is: .*encoding='cp1252'"),
        ("a.jsonl", "[" * 100_000, 1, r"row 1 of '.*' \(line 1\) is no JSON"),
        ("a.csv", "q,r\n1,2\n3\n", 2, r"row 2 of '.*' \(line 3\) has 1 cells, and there are 2 columns: q, r"),
        ("a.csv", 'q,r\n1,2\n3,4,"5\n6"\n', 2, r"has 3 cells"),
        ("a.csv", 'q,r\n1,"2\n', 1, r"cannot be read: unexpected end of data"),
        ("a.csv", "q,q\n1,2\n", None, r"has two columns of one name in its first line: q, q"),
        ("a.csv", "q,\n1,2\n", None, r"has a column without a name"),
        ("a.csv", "q,x:json\n1,{\n", 1, r"row 1 of '.*' has no JSON in the column 'x:json'"),
        ("a.csv", "q\n1\n".encode("utf-16"), 1, r"is no utf-8"),
        ("a.json", '{"q": 1}', 1, r"is no row: a \.json file holds a list of rows"),
        ("a.json", '[{"q": 1}, {"q" 2}]', 2, r"row 2 of '.*' is no JSON: Expecting ':'"),
        ("a.json", '[{"q": 1}, {"q": 2}', 2, r"row 2 of '.*' is followed by 'the end', not by a comma"),
        ("a.json", '[{"q": 1}, {"q": ', 2, r"row 2 of '.*' is no JSON"),
        ("a.json", '[{"q": 1}] {"q": 2}', 1, r"is the last one, and '\{' follows the end of the list"),
        ("a.json", '[{"q": 1},]', 2, r"row 2 of '.*' is no JSON"),
        ("a.json", "", 1, r"is no row"),
        ("a.json", LONG[:-1] + ' {"q" ' + "x" * 200_000, 2, r"row 2 of '.*' is followed by '\{'"),
        ("a.jsonl.gz", gzip.compress(b'{"q": 1}\n' * 9)[:-9], 10, r"after row \d+ .* cannot be read"),
        ("a.parquet", "PAR1 or so", 1, r"row 1 of '.*' cannot be read"),
        ("a.jsonl", '{"q": {"$llmops": "date", "value": "x"}}', 1, r"row 1 of '.*': `q` is no 'date'"),
    ],
)
def test_a_broken_file_is_refused_with_path_and_row(tmp_path, name, content, row, said):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(DatasetError, match=said) as raised:
        list(Dataset.load(path))
    assert raised.value.path == str(path)
    if row is not None and name != "a.jsonl.gz":
        assert raised.value.row == row


def test_rows_before_a_broken_one_have_been_read(tmp_path):
    path = written(tmp_path / "a.json", '[{"q": "1"}, {"q": "2"}, oops]')
    reading = iter(Dataset.load(path))
    assert [next(reading).input["q"], next(reading).input["q"]] == ["1", "2"]
    with pytest.raises(DatasetError, match="row 3"):
        next(reading)


def test_a_json_list_is_read_in_parts_wherever_they_end(tmp_path, monkeypatch):
    from llmops_sdk.evaluation._datasets import json_lists

    rows = [{"q": 'é"\\\U0001f600' * n, "n": [n, -1.5e-7, True, None]} for n in range(12)]
    path = written(tmp_path / "a.json", json.dumps(rows, indent=1))
    for size in (1, 2, 3, 7, 64):
        monkeypatch.setattr(json_lists, "_CHUNK", size)
        assert [case.input for case in Dataset.load(path)] == rows


def test_other_encodings_are_read_when_they_are_named(tmp_path):
    path = written(tmp_path / "a.csv", "q\nné\n".encode("utf-16"))
    (case,) = Dataset.load(path, encoding="utf-16")
    assert case.input == {"q": "né"}


def test_cells_longer_than_pythons_limit_are_read(tmp_path):
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["q"], ["x" * 500_000]])
    (case,) = Dataset.load(path)
    assert len(case.input["q"]) == 500_000


def test_an_empty_cell_is_missing_except_in_the_input(tmp_path):
    path = written(tmp_path / "a.csv", "id,q,expected,tags,cluster,note\n,,,,,\n")
    (case,) = Dataset.load(path, input=["q"])
    assert case == Case(input={"q": ""})


@pytest.mark.parametrize("name", ["missing.csv", "folder.csv", "cases.xlsx", "cases.parquet.gz", "cases"])
def test_a_file_that_nobody_can_read_is_refused_at_once(tmp_path, name):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DatasetError) as raised:
        Dataset.load(tmp_path / name)
    assert raised.value.path == str(tmp_path / name)


@pytest.mark.parametrize("how", ["appended", "replaced", "rewritten", "gone"])
def test_a_file_that_changed_since_it_was_loaded_is_refused(tmp_path, how):
    path = written(tmp_path / "a.jsonl", '{"q": "1"}\n')
    data = Dataset.load(path)
    assert len(list(data)) == 1
    if how == "appended":
        with path.open("a") as file:
            file.write('{"q": "2"}\n')
    elif how == "replaced":
        written(tmp_path / "b.jsonl", '{"q": "9"}\n').replace(path)
    elif how == "rewritten":
        written(path, '{"q": "9"}\n')
        os.utime(path, ns=(1, 1))
    else:
        path.unlink()
    with pytest.raises(DatasetError, match="has changed since it was loaded" if how != "gone" else "cannot be read"):
        list(data)


def test_a_file_that_changes_while_it_is_read_is_refused_at_the_end(tmp_path):
    path = written(tmp_path / "a.jsonl", '{"q": "1"}\n{"q": "2"}\n')
    reading = iter(Dataset.load(path))
    next(reading)
    with path.open("a") as file:
        file.write('{"q": "3"}\n')
    with pytest.raises(DatasetError, match="has changed since it was loaded"):
        list(reading)


def test_who_stops_reading_leaves_no_file_open(tmp_path):
    for suffix in SUFFIXES:
        path = tmp_path / f"a{suffix}"
        Dataset([Case(input={"q": str(n)}) for n in range(600)]).save(path)
        for _ in Dataset.load(path):
            break
        assert len(Dataset.load(path).head(1)) == 1


def test_without_pyarrow_a_parquet_file_says_which_extra_it_needs(tmp_path):
    path = written(tmp_path / "a.parquet", "PAR1")
    code = (
        "import sys; sys.modules['pyarrow'] = None; from llmops_sdk.evaluation import Dataset\n"
        f"try: list(Dataset.load({str(path)!r}))\nexcept ImportError as exc: print(exc)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (
        "a .parquet file needs the package 'pyarrow', which is not installed; run `pip install \"llmops-sdk[parquet]\"`"
        in done.stdout
    )
