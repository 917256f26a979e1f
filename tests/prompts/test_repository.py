from __future__ import annotations

import logging
import multiprocessing
import os
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts import Prompt, PromptRepository


def system(prompt: Prompt) -> str:
    return prompt.render(question="Q").messages[0].text


def test_every_kind_of_version_is_read(repository) -> None:
    first, second = repository.commit_version("1"), repository.commit_version("2")
    repository.write("[system]\nVersion 3\n[user]\n{{ question }}")
    repository.git("tag", "v1", first)
    prompts = PromptRepository(repository.root)
    prompts.label("prod", "v1")

    shown = {
        version: system(prompts.get(f"support/answer{version}"))
        for version in ("@prod", "@v1", "@main", "@HEAD", f"@{first}", f"@{second[:7]}", "@worktree", "")
    }

    assert shown == {
        "@prod": "Version 1",
        "@v1": "Version 1",
        "@main": "Version 2",
        "@HEAD": "Version 2",
        f"@{first}": "Version 1",
        f"@{second[:7]}": "Version 2",
        "@worktree": "Version 3",
        "": "Version 3",
    }


def test_a_prompt_says_where_it_comes_from(repository) -> None:
    commit = repository.commit_version("1")
    prompts = PromptRepository(repository.root)
    at_main, lying = prompts.get("support/answer@main"), prompts.get("support/answer")

    assert (at_main.name, at_main.version, at_main.commit) == ("support/answer", "main", commit)
    assert (lying.name, lying.version, lying.commit) == ("support/answer", "worktree", None)
    assert at_main.hash == lying.hash
    assert at_main.render(question="Q").prompt == at_main.ref


def test_what_was_read_from_a_commit_is_kept(repository) -> None:
    commit = repository.commit_version("1")
    prompts = PromptRepository(repository.root)
    prompt = prompts.get(f"support/answer@{commit}")
    (repository.root / ".git").rename(repository.root / "gone")

    assert prompts.get(f"support/answer@{commit}") is prompt


def test_a_moved_label_counts_at_once(repository) -> None:
    repository.commit_version("1")
    prompts, others = PromptRepository(repository.root), PromptRepository(repository.root)
    prompts.label("prod", "HEAD")
    assert system(prompts.get("support/answer@prod")) == "Version 1"
    repository.commit_version("2")
    others.label("prod", "HEAD")

    assert system(prompts.get("support/answer@prod")) == "Version 2"


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


def test_a_broken_file_in_a_commit_names_the_commit(repository) -> None:
    repository.write("---\nmodel: x\n---\ny")
    commit = repository.commit("broken")

    with pytest.raises(PromptError, match=rf"^prompts/support/answer\.prompt\.md@{commit[:12]}:2: unknown key"):
        PromptRepository(repository.root).get("support/answer@HEAD")


def test_an_unknown_prompt_is_named_with_what_there_is(repository) -> None:
    repository.commit_version("1")
    repository.write("x", "support/new")
    prompts = PromptRepository(repository.root)

    with pytest.raises(PromptError, match=r"at 'main' .*; there are support/answer. Did you mean 'support/answer'"):
        prompts.get("support/anwser@main")
    with pytest.raises(PromptError, match=r"in the working tree .*; there are support/answer, support/new"):
        prompts.get("support/anwser")
    assert prompts.names() == ("support/answer", "support/new")
    assert prompts.names("main") == ("support/answer",)


def test_an_unknown_version_is_named_with_what_there_is(repository) -> None:
    repository.commit_version("1")
    repository.git("tag", "v1")
    prompts = PromptRepository(repository.root)

    with pytest.raises(PromptError, match=r"no version 'prd': it has v1, main.* Labels do not come with a clone"):
        prompts.get("support/answer@prd")
    prompts.label("prod", "HEAD")
    with pytest.raises(
        PromptError, match=r"no version 'prd': it has prod, v1, main\. Did you mean 'prod'\?$"
    ) as caught:
        prompts.get("support/answer@prd")
    assert caught.value.prompt == "support/answer"


@pytest.mark.parametrize(
    "spec", ["", "@main", "../secret", "/etc/passwd", "a//b", "a\\b", ".git/config", "a/../b", "a@", "a b"]
)
def test_what_names_no_prompt_is_refused(repository, spec: str) -> None:
    repository.commit_version("1")

    with pytest.raises(PromptError, match="names no prompt"):
        PromptRepository(repository.root).get(spec)


def test_a_repository_without_commits_has_its_working_tree(repository) -> None:
    repository.write("Hello")
    prompts = PromptRepository(repository.root)

    assert prompts.get("support/answer").render().messages[0].text == "Hello"
    with pytest.raises(PromptError, match="has no commit yet"):
        prompts.get("support/answer@HEAD")


def test_without_git_there_are_files_and_no_versions(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "greet.prompt.md").write_text("Hello")
    (tmp_path / "src").mkdir()
    prompts = PromptRepository(tmp_path / "src")

    assert prompts.root == tmp_path.resolve()
    for spec in ("greet", "greet@worktree"):
        assert (prompts.get(spec).version, prompts.get(spec).commit) == (None, None)
    assert prompts.names() == ("greet",)
    for refused in (
        lambda: prompts.get("greet@prod"),
        lambda: prompts.label("prod", "HEAD"),
        prompts.labels,
        lambda: prompts.log("greet"),
        prompts.moves,
    ):
        with pytest.raises(PromptError, match="is not in a git repository"):
            refused()


def test_a_bare_repository_has_no_working_tree(repository, clone) -> None:
    repository.commit_version("1")
    prompts = PromptRepository(clone(repository, "bare.git", "--bare").root)

    assert system(prompts.get("support/answer@main")) == "Version 1"
    with pytest.raises(PromptError, match="is bare, it has no working tree: write `support/answer@branch`"):
        prompts.get("support/answer")


def test_a_shallow_clone_says_that_it_is_shallow(repository, clone) -> None:
    first = repository.commit_version("1")
    repository.commit_version("2")
    prompts = PromptRepository(clone(repository, "shallow", "--depth", "1").root)

    assert system(prompts.get("support/answer@HEAD")) == "Version 2"
    assert system(prompts.get("support/answer@origin/main")) == "Version 2"
    with pytest.raises(PromptError, match="this clone is shallow"):
        prompts.get(f"support/answer@{first}")


def test_any_commit_renders_byte_identical_requests_after_a_clone(repository, clone) -> None:
    commits = [repository.commit_version(version) for version in ("1", "zwei", "三", "1")]
    here = PromptRepository(repository.root)
    repository.git("gc", "-q")
    there = PromptRepository(clone(repository, "elsewhere").root)

    for commit in commits:
        ours, theirs = here.get(f"support/answer@{commit}"), there.get(f"support/answer@{commit}")
        assert repr(ours.render(question="é?")).encode() == repr(theirs.render(question="é?")).encode()
        assert ours.ref == theirs.ref
    hashes = [there.get(f"support/answer@{commit}").hash for commit in commits]
    assert hashes[0] == hashes[3]
    assert len(set(hashes)) == 3


def test_labels_come_along_when_they_are_fetched(repository, clone) -> None:
    commit = repository.commit_version("1")
    PromptRepository(repository.root).label("prod", "HEAD")
    cloned = clone(repository, "elsewhere")
    prompts = PromptRepository(cloned.root)
    assert prompts.labels() == {}

    cloned.git("fetch", "-q", "origin", "refs/llmops/*:refs/llmops/*")

    assert prompts.labels() == {"prod": commit}


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


def test_a_move_leaves_an_audit_line(repository) -> None:
    first, second = repository.commit_version("1"), repository.commit_version("2")
    prompts = PromptRepository(repository.root)

    created = prompts.label("prod", first[:8])
    moved = prompts.label("prod", "main", who="Grace", why="Better tone", expected=first)
    prompts.label("staging", "main")

    assert (created.old, created.new, created.version, created.who) == (
        None,
        first,
        first[:8],
        "Ada Lovelace <ada@example.org>",
    )
    assert (moved.old, moved.new, moved.who, moved.why) == (first, second, "Grace", "Better tone")
    assert prompts.moves("prod") == (moved, created)
    assert [one.label for one in prompts.moves(limit=2)] == ["staging", "prod"]
    assert prompts.labels() == {"prod": second, "staging": second}


def test_a_torn_audit_line_hides_no_other(repository) -> None:
    repository.commit_version("1")
    prompts = PromptRepository(repository.root)
    prompts.label("prod", "HEAD")
    with prompts._audit_file().open("a") as file:
        file.write('{"label": "pr\n[]\n')
    prompts.label("staging", "HEAD")

    assert [one.label for one in prompts.moves()] == ["staging", "prod"]


@pytest.mark.parametrize("label", ["", "HEAD", "worktree", "abcdef1", "a b", "a..b", "/a", "a/", "-a", "a.lock", "a@b"])
def test_what_cannot_be_a_label_is_refused(repository, label: str) -> None:
    repository.commit_version("1")
    prompts = PromptRepository(repository.root)

    with pytest.raises(PromptError, match="cannot be a label"):
        prompts.label(label, "HEAD")
    assert prompts.labels() == {}


def test_a_label_points_at_commits_that_exist(repository) -> None:
    repository.commit_version("1")
    prompts = PromptRepository(repository.root)

    with pytest.raises(PromptError, match="commit it first"):
        prompts.label("prod", "worktree")
    with pytest.raises(PromptError, match="no version 'v2'"):
        prompts.label("prod", "v2")


def test_a_label_that_was_moved_meanwhile_is_not_overwritten(repository) -> None:
    first, second = repository.commit_version("1"), repository.commit_version("2")
    prompts = PromptRepository(repository.root)
    prompts.label("prod", second)

    with pytest.raises(PromptError, match=f"expected at {first[:12]} and is at {second[:12]}"):
        prompts.label("prod", first, expected=first)
    assert prompts.labels() == {"prod": second}
    assert len(prompts.moves()) == 1


def _move(root: str, barrier: Barrier, version: str, expected: str, told: multiprocessing.Queue) -> None:
    prompts = PromptRepository(root)
    barrier.wait()
    try:
        prompts.label("prod", version, expected=expected, who=version)
        told.put((version, None))
    except PromptError as exc:
        told.put((version, str(exc)))


def test_of_two_processes_that_move_a_label_at_once_one_wins_and_the_other_is_told(repository) -> None:
    start, first, second = (repository.commit_version(version) for version in "012")
    prompts = PromptRepository(repository.root)
    prompts.label("prod", start)
    context = multiprocessing.get_context("spawn")
    barrier, told = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=_move, args=(str(repository.root), barrier, version, start, told))
        for version in (first, second)
    ]
    for process in processes:
        process.start()
    answers = dict(told.get(timeout=30) for _ in processes)
    for process in processes:
        process.join(30)

    won = [version for version, error in answers.items() if error is None]
    lost = [error for error in answers.values() if error is not None]
    assert (len(won), len(lost)) == (1, 1)
    assert "was not moved" in lost[0] or "another process is moving" in lost[0]
    assert prompts.labels() == {"prod": won[0]}
    assert [one.new for one in prompts.moves("prod")] == [won[0], start]


def test_load_finds_the_repository_of_the_current_folder(repository, monkeypatch) -> None:
    repository.commit_version("1")
    (repository.root / "src").mkdir()
    monkeypatch.chdir(repository.root / "src")

    assert system(Prompt.load("support/answer@main")) == "Version 1"
    assert Prompt.load("support/answer@main") is Prompt.load("support/answer@main")


def test_load_takes_a_repository(repository) -> None:
    repository.commit_version("1")

    assert system(Prompt.load("support/answer", repository=PromptRepository(repository.root))) == "Version 1"


def test_the_prompts_may_lie_in_another_folder(repository) -> None:
    file = repository.root / "apps" / "shop" / "greet.prompt.md"
    file.parent.mkdir(parents=True)
    file.write_text("Hello")
    (repository.root / "top.prompt.md").write_text("Top")
    repository.commit("x")

    for spec in ("greet", "greet@main"):
        assert PromptRepository(repository.root, folder="apps/shop/").get(spec).render().messages[0].text == "Hello"
    assert PromptRepository(repository.root, folder="").get("top@main").render().messages[0].text == "Top"
    assert PromptRepository(repository.root, folder="").names("main") == ("apps/shop/greet", "top")


def test_the_projects_own_prompt_renders() -> None:
    prompt = PromptRepository(Path(__file__).parent).get("support/answer")
    request = prompt.render(question="Where is my parcel?", customer="Ada")

    assert (request.temperature, request.max_tokens) == (0, 48)
    assert [one.role for one in request.messages] == ["system", "user"]
    assert [(one.source, one.trusted) for one in request.messages[1].origins] == [
        ("variable:customer", False),
        ("variable:question", False),
    ]


@pytest.mark.parametrize("version", ["", "@HEAD", "@prod"])
def test_the_source_of_a_prompt_comes_with_what_reads_its_siblings(repository, version: str) -> None:
    repository.write("tone", "shared/x").rename(repository.root / "prompts" / "shared" / "tone.md")
    repository.write("\ufeffa\r\nb")
    repository.commit("x")
    prompts = PromptRepository(repository.root)
    prompts.label("prod", "HEAD")

    text, read = prompts.source(f"support/answer{version}")

    assert text == "a\nb"
    assert read("shared/tone.md") == b"tone"
    for outside in ("../.git/config", "/etc/passwd", "shared/../../x", "a\0b", "..\\x", "", "shared", "shared/none"):
        assert read(outside) is None
    with pytest.raises(PromptError, match="there is no prompts/other"):
        prompts.source(f"other{version}")
