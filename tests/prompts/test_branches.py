from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from llmops_sdk.cli import main
from llmops_sdk.errors import PromptError
from llmops_sdk.prompts import PromptRepository
from llmops_sdk.prompts.git import repository as git_repository

BASE = "---\nparameters: {temperature: 0}  # exact\n---\n[system]\nBe brief.\n\n[user]\n{{ question }}\n"
ADA = "Ada Lovelace <ada@example.org>"


@pytest.fixture
def forked(repository):
    """`main` is checked out; `prod` and `feature` come from it."""
    repository.write(BASE)
    repository.commit("Begin")
    repository.git("branch", "prod")
    repository.git("branch", "feature")
    return repository


def put(prompts: PromptRepository, branch: str, *replaced: tuple[str, str]) -> str:
    text = prompts.source(f"support/answer@{branch}")[0]
    for old, new in replaced:
        assert old in text
        text = text.replace(old, new)
    return prompts.commit("support/answer", text, branch=branch, message=f"Edit {branch}", who=ADA)


def test_a_commit_moves_a_branch_and_nothing_else(forked) -> None:
    prompts = PromptRepository(forked.root)
    before = forked.git("rev-parse", "prod")
    made = put(prompts, "prod", ("brief", "short"))

    assert forked.git("rev-parse", "prod") == made
    assert forked.git("log", "-1", "--format=%P %an <%ae> %s", "prod") == f"{before} {ADA} Edit prod"
    assert forked.git("show", "--stat", "--format=", "prod").startswith("prompts/support/answer.prompt.md")
    assert forked.git("status", "--porcelain") == ""
    assert forked.git("fsck", "--strict", "--full") == ""


def test_a_commit_can_add_a_prompt_in_a_new_folder(forked) -> None:
    PromptRepository(forked.root).commit("deep/down/new", "Hello", branch="prod", message="Add", who=ADA)

    assert forked.git("show", "prod:prompts/deep/down/new.prompt.md") == "Hello"
    assert "prompts/support/answer.prompt.md" in forked.git("ls-tree", "-r", "--name-only", "prod")
    assert forked.git("fsck", "--strict", "--full") == ""


def test_a_text_that_is_there_already_makes_no_commit(forked) -> None:
    assert PromptRepository(forked.root).commit(
        "support/answer", BASE, branch="prod", message="x", who=ADA
    ) == forked.git("rev-parse", "prod")


def test_a_branch_that_is_checked_out_is_not_moved(forked, tmp_path) -> None:
    prompts = PromptRepository(forked.root)
    forked.git("worktree", "add", "-q", str(tmp_path / "other"), "prod")

    with pytest.raises(PromptError, match="'main' is checked out in") as main_error:
        put(prompts, "main", ("brief", "short"))
    with pytest.raises(PromptError, match="'prod' is checked out in") as prod_error:
        put(prompts, "prod", ("brief", "short"))
    assert str(forked.root) in str(main_error.value)
    assert str(tmp_path / "other") in str(prod_error.value)


def test_the_branch_of_a_bare_repository_is_moved(forked, clone) -> None:
    bare = clone(forked, "bare.git", "--bare")

    assert put(PromptRepository(bare.root), "main", ("brief", "short")) == bare.git("rev-parse", "main")


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"text": "[usr]\nHi"}, r"prompts/support/answer.prompt.md:1: unknown role"),
        ({"branch": "prods"}, "there is no branch 'prods' to commit to; there are feature, main, prod"),
        ({"branch": "a..b"}, "there is no branch 'a..b'"),
        ({"message": " "}, "give it a `message`"),
        ({"who": "Ada"}, "names nobody as git does"),
    ],
)
def test_what_cannot_be_committed_says_why(forked, given, problem) -> None:
    wanted = {"text": "Hi", "branch": "prod", "message": "Why", "who": ADA, **given}

    with pytest.raises(PromptError, match=problem):
        PromptRepository(forked.root).commit("support/answer", wanted.pop("text"), **wanted)


def _commit(root: Path, word: str, barrier: Barrier, results) -> None:
    prompts = PromptRepository(root)
    text = prompts.source("support/answer@prod")[0].replace("brief", word)
    barrier.wait()
    try:
        results.put(prompts.commit("support/answer", text, branch="prod", message=word, who=ADA))
    except PromptError as exc:
        results.put(str(exc))


def test_of_commits_at_once_none_is_lost_in_silence(forked) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    process = context.Process(target=_commit, args=(forked.root, "other", barrier, results))
    process.start()
    _commit(forked.root, "word", barrier, results)
    said = [results.get(timeout=40) for _ in range(2)]
    process.join(20)

    made = [one for one in said if len(one) == 40]
    assert forked.git("rev-list", "--count", "main..prod") == str(len(made))
    assert made
    assert all("somebody else moved it" in one for one in said if one not in made)


KILLED_AT_EACH_STEP = """
import os, signal, sys
from llmops_sdk.prompts import PromptRepository

os.fsync = lambda handle: None
prompts = PromptRepository(sys.argv[1])
steps = {"open", "os.link", "os.mkdir", "os.remove", "os.rename", "fcntl.flock"}
killed = 0
while True:
    left = killed

    def hear(event, arguments):
        global left
        if event in steps:
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    before = prompts.log("support/answer", version="feature", limit=1)[0].commit
    child = os.fork()
    if child == 0:
        sys.addaudithook(hear)
        prompts.commit("support/answer", f"Killed {killed}", branch="feature", message=f"killed {killed}")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    now = prompts.log("support/answer", version="feature", limit=1)[0]
    assert now.commit == before or now.subject == f"killed {killed}", killed
    prompts.commit("support/answer", f"After {killed}", branch="feature", message="after")  # no lock is in the way
    if not os.WIFSIGNALED(status):
        break
    killed += 1
print(killed)
"""


def test_a_kill_before_any_step_of_a_commit_leaves_the_branch_before_or_after_it(forked) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT_EACH_STEP, str(forked.root)], capture_output=True, text=True, check=False
    )

    assert done.stderr == ""
    assert int(done.stdout) > 15
    assert not list((forked.root / ".git").rglob("*.lock"))
    found = forked.git("fsck", "--full", "--strict").splitlines()
    assert [line for line in found if not line.startswith("dangling")] == []


def test_a_folder_of_objects_that_gc_deletes_meanwhile_is_made_again(forked, monkeypatch) -> None:
    make_folder = git_repository.make_folder
    made = []

    def deleted_once(folder: Path) -> None:
        make_folder(folder)
        if folder not in made and not any(folder.iterdir()):
            made.append(folder)
            folder.rmdir()

    monkeypatch.setattr(git_repository, "make_folder", deleted_once)
    commit = PromptRepository(forked.root).commit("support/answer", "New", branch="feature", message="new")

    assert made
    assert forked.git("rev-parse", "feature") == commit


def test_a_merge_of_branches_brings_both_sides_together(forked) -> None:
    prompts = PromptRepository(forked.root)
    ours, theirs = put(prompts, "prod", ("brief", "short")), put(prompts, "feature", ("0}", "1}"))
    result = prompts.merge("support/answer", "prod", "feature", into="prod", who=ADA)

    assert result.text == BASE.replace("brief", "short").replace("0}", "1}")
    assert forked.git("log", "-1", "--format=%H %P", "prod") == f"{result.commit} {ours} {theirs}"
    assert prompts.source("support/answer@prod")[0] == result.text


def test_a_branch_that_changed_more_is_no_parent(forked) -> None:
    prompts = PromptRepository(forked.root)
    ours = put(prompts, "prod", ("brief", "short"))
    put(prompts, "feature", ("0}", "1}"))
    prompts.commit("other", "Hello", branch="feature", message="Add", who=ADA)
    result = prompts.merge("support/answer", "prod", "feature", into="prod", who=ADA)

    assert forked.git("log", "-1", "--format=%P", "prod") == ours
    assert prompts.names(result.commit) == ("support/answer",)


def test_a_merge_with_conflicts_is_not_committed(forked) -> None:
    prompts = PromptRepository(forked.root)
    ours = put(prompts, "prod", ("brief", "short"))
    put(prompts, "feature", ("brief", "curt"))
    result = prompts.merge("support/answer", "prod", "feature", into="prod", who=ADA)

    assert (result.clean, result.commit) == (False, None)
    assert forked.git("rev-parse", "prod") == ours


def test_a_branch_that_holds_another_version_is_not_overwritten(forked) -> None:
    prompts = PromptRepository(forked.root)
    put(prompts, "feature", ("0}", "1}"))
    forked.git("branch", "old", "prod")
    put(prompts, "prod", ("brief", "short"))

    with pytest.raises(PromptError, match="'prod' holds another version"):
        prompts.merge("support/answer", "old", "feature", into="prod", who=ADA)


def test_branches_that_were_merged_crosswise_come_from_the_merge_of_their_bases(forked) -> None:
    prompts = PromptRepository(forked.root)
    ours, theirs = put(prompts, "prod", ("brief", "short")), put(prompts, "feature", ("0}", "1}"))
    prompts.merge("support/answer", "prod", theirs, into="prod", who=ADA)
    prompts.merge("support/answer", "feature", ours, into="feature", who=ADA)
    put(prompts, "prod", ("1}", "2}"))
    put(prompts, "feature", ("short", "curt"))

    result = prompts.merge("support/answer", "prod", "feature")

    assert len(forked.git("merge-base", "--all", "prod", "feature").split()) == 2
    assert result.clean
    assert result.text == BASE.replace("brief", "curt").replace("0}", "2}")


def test_without_a_base_one_is_asked_for(forked, make_repository) -> None:
    prompts = PromptRepository(forked.root)
    forked.write(BASE.replace("brief", "short"))
    with pytest.raises(PromptError, match="`base=`"):
        prompts.merge("support/answer", "worktree", "feature")
    assert prompts.merge("support/answer", "worktree", "feature", base="main").clean

    forked.git("checkout", "-q", "-f", "--orphan", "alone")
    forked.commit("Alone")
    with pytest.raises(PromptError, match="no commit in common"):
        prompts.merge("support/answer", "alone", "feature")


def test_a_prompt_that_one_side_deleted_is_no_merge(forked) -> None:
    forked.git("checkout", "-q", "feature")
    forked.git("rm", "-q", "prompts/support/answer.prompt.md")
    forked.commit("Delete")

    with pytest.raises(PromptError, match="feature does not hold the prompt"):
        PromptRepository(forked.root).merge("support/answer", "prod", "feature")


def run(repository, *arguments: str) -> int:
    return main(["prompt", arguments[0], "-C", str(repository.root), *arguments[1:]])


def test_the_command_tells_what_changed(forked, capsys) -> None:
    forked.write(BASE.replace("{{ question }}", "{{ question }} {{ tone }}"))

    assert run(forked, "diff", "support/answer", "prod") == 0
    assert "variable-added-required" in capsys.readouterr().out
    assert run(forked, "diff", "support/answer", "prod", "worktree", "--exit-code") == 1
    capsys.readouterr()
    waived = ("--waive", "variable-added-required", "--format", "json")
    assert run(forked, "diff", "support/answer", "prod", "worktree", "--exit-code", *waived) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "compatible"
    assert run(forked, "diff", "support/answer", "prod", "--format", "markdown") == 0
    assert capsys.readouterr().out.startswith("### `support/answer`: breaking")
    assert run(forked, "diff", "support/answer", "gone") == 2


def test_the_command_merges(forked, capsys, tmp_path) -> None:
    prompts = PromptRepository(forked.root)
    put(prompts, "prod", ("brief", "short"))
    put(prompts, "feature", ("0}", "1}"))

    assert run(forked, "merge", "support/answer", "prod", "feature") == 0
    assert capsys.readouterr().out == BASE.replace("brief", "short").replace("0}", "1}")
    assert run(forked, "merge", "support/answer", "prod", "feature", "--into", "prod", "--who", ADA) == 0
    assert "clean, commit" in capsys.readouterr().out
    put(prompts, "feature", ("brief", "curt"))
    assert run(forked, "merge", "support/answer", "prod", "feature", "--format", "json", "--base", "main") == 1
    assert json.loads(capsys.readouterr().out)["conflicts"][0]["where"] == "sections.system"
    assert run(forked, "merge", "support/answer", "prod", "feature", "--base", "main", "-o", str(tmp_path / "x")) == 1
    assert "<<<<<<< prod" in (tmp_path / "x").read_text()
