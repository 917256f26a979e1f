import pytest

from llmops_sdk.whole_file import replacing


def test_whoever_has_the_former_file_open_reads_on_in_it(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("former")
    with path.open() as reader:
        with replacing(path) as making:
            making.write_text("new")
            assert path.read_text() == "former"
        assert reader.read() == "former"
    assert path.read_text() == "new"
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]


def test_where_the_work_fails_what_is_there_stays_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("former")
    with pytest.raises(ValueError, match="no"), replacing(path) as making:
        making.write_text("half")
        raise ValueError("no")
    assert path.read_text() == "former"
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]
