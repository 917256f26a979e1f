from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

import pytest

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts import Prompt, PromptRepository
from llmops_sdk.prompts._files import parse_prompt
from llmops_sdk.prompts._repository import worktree as _worktree

GOOD = "[system]\nVersion %s\n[user]\n{{ question }}"


def system(prompt: Prompt) -> str:
    return prompt.render(question="Q").messages[0].text


@pytest.fixture
def including(monkeypatch) -> None:
    """Prompts that include the file `shared/tone.md`, whatever the syntax for that is."""

    def parse(data: bytes, /, *, read, where: str, **given):
        tone = read("shared/tone.md")
        if tone is not None and b"broken" in tone:
            raise PromptError("shared/tone.md:1: it is broken")
        return parse_prompt(data.replace(b"TONE", tone or b"no tone"), read=read, where=where, **given)

    monkeypatch.setattr(_worktree, "parse_prompt", parse)


def test_the_working_tree_is_read_anew_when_the_file_changes(repository) -> None:
    file = repository.write("[system]\nVersion 1\n[user]\n{{ question }}")
    prompts = PromptRepository(repository.root)
    first = prompts.get("support/answer")
    assert prompts.get("support/answer") is first

    file.write_text("[system]\nVersion 2\n[user]\n{{ question }}")
    os.utime(file, ns=(1, 1))

    assert system(prompts.get("support/answer")) == "Version 2"


def test_a_file_that_breaks_leaves_the_last_good_version_and_says_so_once(repository, caplog) -> None:
    file = repository.write("[system]\nVersion 1\n[user]\n{{ question }}")
    prompts = PromptRepository(repository.root)
    good = prompts.get("support/answer")
    file.write_text("[system]\n[user]\nx")

    with caplog.at_level(logging.WARNING, "llmops_sdk"):
        assert [prompts.get("support/answer") for _ in range(3)] == [good] * 3
    assert len(caplog.records) == 1
    assert "prompts/support/answer.prompt.md:1: the section `[system]` is empty" in caplog.text

    file.write_text("[system]\nVersion 3\n[user]\n{{ question }}")
    assert system(prompts.get("support/answer")) == "Version 3"


def test_a_file_that_was_never_good_is_an_error(repository) -> None:
    repository.write("")

    with pytest.raises(PromptError, match=r"^prompts/support/answer\.prompt\.md:1: the body is empty"):
        PromptRepository(repository.root).get("support/answer")


def settle(*files: Path) -> None:
    """Make files look as if they had been written long ago, as far as a program can."""
    for file in files:
        os.utime(file, ns=(1, 1))
    time.sleep(_worktree._SETTLED_NS / 1e9 + 0.02)


def test_a_change_that_keeps_size_and_time_is_seen(repository) -> None:
    file = repository.write(GOOD % 1)
    prompts = PromptRepository(repository.root)
    settle(file)
    assert system(prompts.get("support/answer")) == "Version 1"
    file.write_text(GOOD % 2)
    os.utime(file, ns=(1, 1))

    assert system(prompts.get("support/answer")) == "Version 2"


def test_each_of_many_writes_within_one_tick_of_the_clock_is_seen(repository, monkeypatch) -> None:
    exact = _worktree.WorkingTree._state

    def coarse(tree: _worktree.WorkingTree, path: str) -> _worktree.State | None:
        """As a file system tells whose clock ticks every ten seconds."""
        state = exact(tree, path)
        tick = 10_000_000_000
        return state and (state[0] // tick * tick, state[1] // tick * tick, *state[2:])

    monkeypatch.setattr(_worktree.WorkingTree, "_state", coarse)
    monkeypatch.setattr(_worktree, "_SETTLED_NS", 20_000_000_000)
    file = repository.write(GOOD % 0)
    prompts = PromptRepository(repository.root)
    for number in range(20):
        file.write_text(GOOD % (number % 10))
        assert system(prompts.get("support/answer")) == f"Version {number % 10}"


def test_a_file_that_an_editor_replaces_is_seen(repository) -> None:
    file = repository.write(GOOD % 1)
    prompts = PromptRepository(repository.root)
    prompts.get("support/answer")
    for number in (2, 3):
        new = file.with_name("answer.tmp")
        new.write_text(GOOD % number)
        new.replace(file)
        assert system(prompts.get("support/answer")) == f"Version {number}"


def test_an_unchanged_file_is_neither_opened_nor_parsed_again(repository) -> None:
    file = repository.write(GOOD % 1)
    prompts = PromptRepository(repository.root)
    settle(file)
    prompt = prompts.get("support/answer")
    file.chmod(0)  # a change of the state alone: it is read again, and is the same file no longer
    file.chmod(0o644)
    time.sleep(_worktree._SETTLED_NS / 1e9 + 0.02)
    again = prompts.get("support/answer")

    assert again == prompts.get("support/answer")
    assert again.hash == prompt.hash
    assert prompts.get("support/answer") is prompts.get("support/answer")


@pytest.mark.usefixtures("including")
def test_what_a_prompt_includes_is_watched_too(repository, caplog) -> None:
    repository.write("[system]\nTONE\n[user]\n{{ question }}")
    prompts = PromptRepository(repository.root)
    tone = repository.root / "prompts" / "shared" / "tone.md"
    assert system(prompts.get("support/answer")) == "no tone"
    tone.parent.mkdir()
    tone.write_text("Be kind.")
    assert system(prompts.get("support/answer")) == "Be kind."
    tone.write_text("broken")

    with caplog.at_level(logging.WARNING, "llmops_sdk"):
        assert [system(prompts.get("support/answer")) for _ in range(3)] == ["Be kind."] * 3
    assert [one.getMessage() for one in caplog.records] == [
        "shared/tone.md:1: it is broken; the last good version of 'support/answer' stays in use"
    ]
    tone.write_text("Be brief.")
    assert system(prompts.get("support/answer")) == "Be brief."
    tone.unlink()
    assert system(prompts.get("support/answer")) == "no tone"


def test_a_file_that_goes_leaves_its_last_version_and_is_said(repository, caplog) -> None:
    file = repository.write(GOOD % 1)
    prompts = PromptRepository(repository.root)
    good = prompts.get("support/answer")
    file.unlink()

    with caplog.at_level(logging.WARNING, "llmops_sdk"):
        assert [prompts.get("support/answer") for _ in range(3)] == [good] * 3
    assert [one.getMessage() for one in caplog.records] == [
        "prompts/support/answer.prompt.md is gone; the last good version of 'support/answer' stays in use"
    ]
    file.write_text(GOOD % 2)
    assert system(prompts.get("support/answer")) == "Version 2"
    with pytest.raises(PromptError, match="there is no"):
        PromptRepository(repository.root).get("support/other")


def test_what_is_no_file_is_no_prompt(repository) -> None:
    folder = repository.root / "prompts" / "a.prompt.md"
    folder.mkdir(parents=True)
    os.mkfifo(repository.root / "prompts" / "b.prompt.md")
    prompts = PromptRepository(repository.root)

    for name in ("a", "b"):  # the second would wait for ever for somebody who writes
        with pytest.raises(PromptError, match=f"there is no prompts/{name}"):
            prompts.get(name)


def test_threads_see_whole_versions_and_a_problem_is_said_once(repository, caplog) -> None:
    file = repository.write(GOOD % 0)
    prompts = PromptRepository(repository.root)
    seen: set[str] = set()
    wrong: list[Exception] = []
    over = threading.Event()

    def read() -> None:
        try:
            while not over.is_set():
                seen.add(system(prompts.get("support/answer")))
        except Exception as exc:  # noqa: BLE001  (told below)
            wrong.append(exc)

    threads = [threading.Thread(target=read) for _ in range(4)]
    with caplog.at_level(logging.WARNING, "llmops_sdk"):
        for thread in threads:
            thread.start()
        for number in range(30):
            new = file.with_name("answer.tmp")
            new.write_text(GOOD % (number % 10))
            new.replace(file)
            time.sleep(0.002)
        new.write_text("[system]\n[user]\nx")
        new.replace(file)
        prompts.get("support/answer")  # so that it is said, however late the threads come to it
        time.sleep(0.1)
        over.set()
        for thread in threads:
            thread.join()

    assert wrong == []
    assert seen <= {f"Version {number}" for number in range(10)}
    assert len(caplog.records) == 1
