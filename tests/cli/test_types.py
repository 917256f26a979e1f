"""`llmops types`: writes a stub, and tells when it is out of date."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from llmops_sdk.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "hello.prompt.md").write_text("---\nvariables: {name: str}\n---\nHi {{ name }}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_stub_is_printed_or_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["types"]) == 0
    printed = capsys.readouterr().out
    assert main(["types", "prompts", "-o", "stub.pyi"]) == 0

    assert "class Hello(_Prompt):" in printed
    assert (folder / "stub.pyi").read_text() == printed
    ast.parse(printed)
    assert main(["types", "--versions", "prod, v1"]) == 0
    assert "_Literal['hello', 'hello@prod', 'hello@v1']" in capsys.readouterr().out


def test_check_tells_a_stub_that_is_out_of_date(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check = ["types", "-o", "stub.pyi", "--check"]
    assert main(check) == 1
    assert not (folder / "stub.pyi").exists()

    main(["types", "-o", "stub.pyi"])
    assert main(check) == 0
    (folder / "stub.pyi").write_bytes((folder / "stub.pyi").read_bytes().replace(b"\n", b"\r\n"))
    assert main(check) == 0

    (folder / "prompts" / "hello.prompt.md").write_text("---\nvariables: {name: int}\n---\nHi {{ name }}")
    assert main(check) == 1
    assert "stub.pyi is out of date" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--check"], "`--check` needs the file"),
        (["nowhere"], "there is no folder 'nowhere'"),
        (["-o", "no/such/stub.pyi"], "cannot be written"),
        (["-o", "prompts", "--check"], "cannot be read"),
    ],
)
def test_what_cannot_be_done_exits_with_2(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(["types", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_a_broken_prompt_and_a_folder_without_any_exit_with_2(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = folder / "prompts" / "hello.prompt.md"
    file.write_text("---\nvariables: {name: strng}\n---\nx")
    assert main(["types"]) == 2
    assert "prompts/hello.prompt.md:2: the variable 'name': unknown type" in capsys.readouterr().err

    file.unlink()
    assert main(["types"]) == 2
    assert "there are no prompts" in capsys.readouterr().err
