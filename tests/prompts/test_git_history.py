from __future__ import annotations

import datetime as dt

import pytest

from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.prompts import PromptRepository
from llmops_sdk.prompts.git import GitRepository

PATH = "prompts/support/answer.prompt.md"


def opened(repository) -> GitRepository:
    found = GitRepository.find(repository.root)
    assert found is not None
    return found


def blamed_by_git(repository, version: str = "HEAD") -> list[tuple[str, str]]:
    """Commit and text of each line, as `git blame` says."""
    lines = repository.git("blame", "--line-porcelain", "-s", version, "--", PATH).split("\n")
    found, commit = [], ""
    for line in lines:
        if line.startswith("\t"):
            found.append((commit, line[1:]))
        elif len(line.split(" ")[0]) == 40:
            commit = line.split(" ")[0]
    return found


def blamed(repository, version: str = "HEAD") -> list[tuple[str, str]]:
    return [
        (one.commit, one.text) for one in PromptRepository(repository.root).blame("support/answer", version=version)
    ]


def test_history_names_the_commits_that_changed_the_file_as_git_does(repository) -> None:
    repository.commit("empty")
    repository.commit_version("1")
    (repository.root / "other").write_text("x")
    repository.commit("other file")
    repository.git("checkout", "-q", "-b", "feature")
    repository.commit_version("2")
    repository.git("checkout", "-q", "main")
    (repository.root / "other").write_text("y")
    repository.commit("other file again")
    repository.git("merge", "-q", "--no-ff", "-m", "merge", "feature")
    repository.commit_version("3")
    path = "prompts/support/answer.prompt.md"
    git = opened(repository)

    changes = git.history(git.resolve("HEAD"), path, 100)

    assert [one.commit for one, _ in changes] == repository.git("log", "--format=%H", "--", path).split()
    assert [one.subject for one, _ in changes] == ["Version 3", "Version 2", "Version 1"]
    assert changes[0][0].who == "Ada Lovelace <ada@example.org>"
    assert changes[0][0].when.timestamp() == int(repository.git("log", "-1", "--format=%ct"))
    assert b"Version 3" in changes[0][1]
    assert git.history(git.resolve("HEAD"), path, 2) == changes[:2]
    assert git.history(git.resolve("HEAD"), "prompts/none.prompt.md", 5) == []


def test_a_file_that_was_deleted_and_came_back_has_its_whole_history(repository) -> None:
    repository.commit_version("1")
    (repository.root / "prompts" / "support" / "answer.prompt.md").unlink()
    repository.commit("deleted")
    repository.commit_version("2")
    git = opened(repository)

    changes = git.history(git.resolve("HEAD"), "prompts/support/answer.prompt.md", 100)

    assert [one.subject for one, _ in changes] == ["Version 2", "Version 1"]


def test_a_shallow_clone_has_the_history_that_it_holds(repository, clone) -> None:
    for version in "123":
        repository.commit_version(version)
    first = repository.git("rev-parse", "HEAD~2")
    shallow = clone(repository, "shallow", "--depth", "2")
    git = opened(shallow)

    changes = git.history(git.resolve("HEAD"), "prompts/support/answer.prompt.md", 100)

    assert [one.subject for one, _ in changes] == ["Version 3", "Version 2"]
    assert git.resolve(first) is None
    assert "git fetch --unshallow" in git.missing_hint()


@pytest.mark.parametrize("limit", [0, -1])
def test_a_history_of_no_entries_is_refused(repository, limit: int) -> None:
    repository.commit_version("1")
    prompts = PromptRepository(repository.root)

    with pytest.raises(ConfigurationError, match=f"`limit` is 1 or more, not {limit}"):
        prompts.log("support/answer", limit=limit)
    with pytest.raises(ConfigurationError, match=f"`limit` is 1 or more, not {limit}"):
        prompts.moves("prod", limit=limit)


def test_the_log_lists_versions_with_their_hashes(repository) -> None:
    first, second = repository.commit_version("1"), repository.commit_version("2")
    repository.write("---\nmodel: x\n---\ny")
    broken = repository.commit("broken")
    third = repository.commit_version("1")
    prompts = PromptRepository(repository.root)

    versions = prompts.log("support/answer")

    assert [one.commit for one in versions] == [third, broken, second, first]
    assert [one.hash for one in versions] == [
        prompts.get(f"support/answer@{third}").hash,
        None,
        prompts.get(f"support/answer@{second}").hash,
        prompts.get(f"support/answer@{first}").hash,
    ]
    assert prompts.log("support/answer", limit=1) == versions[:1]
    assert prompts.log("support/answer", version=second) == versions[2:]
    with pytest.raises(PromptError, match=r"there is no prompts/other.prompt.md at 'HEAD'"):
        prompts.log("other")


def test_the_log_shows_what_changed_in_the_files_that_a_prompt_includes(repository) -> None:
    def write(path: str, text: str) -> None:
        file = repository.root / "prompts" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    write("shared/tone.md", "Be kind.")
    write("shared/other.md", "None of its business.")
    repository.commit("before it was there")
    write("examples/two.jsonl", '{"question": "a", "answer": "b"}')
    write("shared/answer.json", '{"type": "object", "properties": {"topic": {"type": "string"}}}')
    own = "---\nexamples: examples/two.jsonl\noutput: shared/answer.json\n---\n%s[examples]\n{{ question }}\n"
    repository.write(own % "")
    repository.commit("file")
    repository.write(own % '[system]\n{% include "shared/tone.md" %}\n')
    repository.commit("includes")
    write("shared/other.md", "Still none.")
    repository.commit("other")
    for path, text in (
        ("shared/tone.md", "Be brief."),
        ("examples/two.jsonl", '{"question": "a", "answer": "c"}'),
        ("shared/answer.json", '{"type": "object"}'),
    ):
        write(path, text)
        repository.commit(path)
    prompts = PromptRepository(repository.root)

    versions = prompts.log("support/answer")

    paths = ["support/answer.prompt.md", "shared/tone.md", "examples/two.jsonl", "shared/answer.json"]
    listed = repository.git("log", "--format=%H", "--", *(f"prompts/{path}" for path in paths)).splitlines()
    assert [one.commit for one in versions] == listed[:-1]  # the last one is from before the prompt
    assert [one.subject for one in versions] == [*reversed(paths[1:]), "includes", "file"]
    assert [one.hash for one in versions] == [prompts.get(f"support/answer@{one.commit}").hash for one in versions]
    assert len({one.hash for one in versions}) == len(versions)


def test_blame_names_the_commit_of_each_line_as_git_does(repository) -> None:
    repository.write("[system]\nBe kind.\nBe brief.\n\n[user]\n{{ question }}\n")
    first = repository.commit("first")
    repository.write("[system]\nBe kind.\nAnswer in German.\nBe brief.\n\n[user]\n{{ question }}\n")
    second = repository.commit("second")
    (repository.root / "other").write_text("x")
    repository.commit("another file")
    repository.write("[system]\nBe very kind.\nAnswer in German.\nBe brief.\n\n[user]\n{{ question }}\nBe kind.\n")
    third = repository.commit("third")

    lines = PromptRepository(repository.root).blame("support/answer")

    assert [(one.number, one.commit, one.text) for one in lines][:4] == [
        (1, first, "[system]"),
        (2, third, "Be very kind."),
        (3, second, "Answer in German."),
        (4, first, "Be brief."),
    ]
    assert blamed(repository) == blamed_by_git(repository)
    assert blamed(repository, second) == blamed_by_git(repository, second)
    assert (lines[1].who, lines[1].subject) == ("Ada Lovelace <ada@example.org>", "third")
    assert lines[1].when.timestamp() == int(repository.git("log", "-1", "--format=%ct"))


def test_blame_takes_lines_from_both_sides_of_a_merge(repository) -> None:
    middle = "".join(f"line {number}\n" for number in range(8))
    repository.write(f"top\n{middle}bottom\n")
    repository.commit("both")
    repository.git("checkout", "-q", "-b", "side")
    repository.write(f"top of side\n{middle}bottom\n")
    repository.commit("side")
    repository.git("checkout", "-q", "main")
    repository.write(f"top\n{middle}bottom of main\n")
    repository.commit("main")
    repository.git("merge", "-q", "--no-ff", "-m", "merge", "side")

    assert len({commit for commit, _ in blamed(repository)}) == 3
    assert blamed(repository) == blamed_by_git(repository)


def test_blame_reads_any_line_ends_and_a_shallow_clone(repository, clone) -> None:
    repository.write("\ufeffa\r\nb\r\n")
    repository.commit("windows")
    repository.write("a\nb\nc")
    second = repository.commit("unix")

    assert [text for _, text in blamed(repository)] == ["a", "b", "c"]
    assert {commit for commit, _ in blamed(clone(repository, "shallow", "--depth", "1"))} == {second}


def test_log_and_blame_begin_at_a_rename(repository) -> None:
    old = repository.write("Hello", "old")
    repository.commit("old")
    old.rename(repository.root / "prompts" / "new.prompt.md")
    renamed = repository.commit("renamed")
    prompts = PromptRepository(repository.root)

    assert [one.commit for one in prompts.log("new")] == [renamed]
    assert [one.commit for one in prompts.blame("new")] == [renamed]
    assert [one.subject for one in prompts.log("old")] == ["old"]
    with pytest.raises(PromptError, match=r"there is no prompts/old.prompt.md at 'HEAD'"):
        prompts.blame("old")


def test_times_have_the_zone_of_their_commit(repository) -> None:
    repository.write("x")
    repository.git("add", "-A")
    repository.git("-c", "user.name=Ada", "commit", "-q", "-m", "x", "--date=2024-01-02T03:04:05+0530")
    repository.git("commit", "-q", "--amend", "--no-edit")

    assert PromptRepository(repository.root).log("support/answer")[0].when.utcoffset() is not None
    assert PromptRepository(repository.root).log("support/answer")[0].when <= dt.datetime.now(dt.UTC)


def test_the_log_knows_the_hash_of_prompts_that_include_other_files(repository) -> None:
    (repository.root / "prompts" / "support").mkdir(parents=True)
    (repository.root / "prompts" / "tone.md").write_text("Be kind.")
    repository.write('{% include "tone.md" %} {{ question }}')
    commit = repository.commit("first")
    prompts = PromptRepository(repository.root)

    (version,) = prompts.log("support/answer")
    assert version.hash == prompts.get(f"support/answer@{commit}").hash
