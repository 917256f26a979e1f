from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import pytest

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts.git import GitRepository


def opened(repository) -> GitRepository:
    found = GitRepository.find(repository.root)
    assert found is not None
    return found


def test_a_repository_is_found_from_a_folder_inside_it(repository) -> None:
    inside = repository.root / "a" / "b"
    inside.mkdir(parents=True)

    assert GitRepository.find(inside).root == repository.root.resolve()
    assert GitRepository.find(Path("/")) is None


def test_a_version_is_a_label_before_a_tag_before_a_branch(repository) -> None:
    first, second, third = (repository.commit_version(version) for version in "123")
    git = opened(repository)

    repository.git("branch", "x", first)
    assert git.resolve("x") == first
    repository.git("tag", "x", second)
    assert git.resolve("x") == second
    repository.git("update-ref", "refs/llmops/labels/x", third)
    assert git.resolve("x") == third


def test_names_of_refs_are_resolved(repository) -> None:
    first = repository.commit_version("1")
    repository.git("tag", "light")
    repository.git("tag", "-a", "annotated", "-m", "x")
    repository.git("tag", "-a", "twice", "annotated", "-m", "x")
    second = repository.commit_version("2")
    repository.git("branch", "feature/tone", first)
    git = opened(repository)

    assert [git.resolve(one) for one in ("light", "annotated", "twice", "feature/tone")] == [first] * 4
    assert [git.resolve(one) for one in ("main", "HEAD")] == [second] * 2
    assert git.resolve("feature") is None
    assert git.resolve("main/x") is None
    assert git.resolve("../HEAD") is None
    assert set(git.versions()) == {"light", "annotated", "twice", "feature/tone", "main"}


@pytest.mark.parametrize("packed", [False, True])
def test_commit_ids_may_be_short(repository, packed: bool) -> None:
    commit = repository.commit_version("1")
    repository.git("tag", "-a", "v1", "-m", "x")
    tag = repository.git("rev-parse", "v1")
    blob = repository.git("rev-parse", "HEAD:prompts/support/answer.prompt.md")
    if packed:
        repository.git("gc", "-q")
    git = opened(repository)

    assert [git.resolve(commit[:length]) for length in (7, 8, 13, 40)] == [commit] * 4
    assert git.resolve(tag[:9]) == commit
    assert git.resolve(commit[:6]) is None
    assert git.resolve(blob[:10]) is None
    assert git.resolve("0" * 40) is None


def test_a_short_id_of_two_commits_is_ambiguous(repository) -> None:
    tree = repository.git("rev-parse", f"{repository.commit_version('1')}^{{tree}}")
    who = "A <a@example.org> 1700000000 +0000"
    seen: dict[str, tuple[str, str]] = {}
    for number in itertools.count():  # a birthday: some 20,000 tries for two of 28 equal bits
        body = f"tree {tree}\nauthor {who}\ncommitter {who}\n\n{number}\n"
        commit = hashlib.sha1(f"commit {len(body)}\0{body}".encode()).hexdigest()
        if commit[:7] in seen:
            break
        seen[commit[:7]] = commit, body
    twin, twins_body = seen[commit[:7]]
    for text in (body, twins_body):
        file = repository.root / "commit"
        file.write_text(text)
        repository.git("hash-object", "-t", "commit", "-w", str(file))
    git = opened(repository)

    with pytest.raises(PromptError, match=rf"'{commit[:7]}' is ambiguous: it begins .*{commit[:12]}"):
        git.resolve(commit[:7])
    assert [git.resolve(one[:16]) for one in (commit, twin)] == [commit, twin]


def test_a_detached_head_is_head(repository) -> None:
    first = repository.commit_version("1")
    repository.commit_version("2")
    repository.git("checkout", "-q", first)

    assert opened(repository).resolve("HEAD") == first


def test_packed_refs_are_seen_when_another_process_packs_them(repository) -> None:
    first = repository.commit_version("1")
    repository.git("update-ref", "refs/llmops/labels/prod", first)
    git = opened(repository)
    assert git.resolve("prod") == first

    repository.git("pack-refs", "--all")
    assert git.resolve("prod") == first
    second = repository.commit_version("2")
    repository.git("update-ref", "refs/llmops/labels/prod", second)
    assert git.resolve("prod") == second
    repository.git("pack-refs", "--all")
    assert git.refs("refs/llmops/labels/") == {"prod": second}


def test_objects_are_read_while_another_process_repacks(repository) -> None:
    first = repository.commit_version("1")
    git = opened(repository)
    before = git.read(first, "prompts/support/answer.prompt.md")
    repository.commit_version("2")
    repository.git("gc", "-q", "--prune=now")

    assert git.read(first, "prompts/support/answer.prompt.md") == before


def test_a_tag_of_a_file_is_no_version(repository) -> None:
    repository.commit_version("1")
    repository.git("tag", "file", "HEAD:prompts/support/answer.prompt.md")

    with pytest.raises(PromptError, match="'file' is a blob, not a commit"):
        opened(repository).resolve("file")


def test_a_file_that_is_not_there_is_none(repository) -> None:
    commit = repository.commit_version("1")
    git = opened(repository)

    assert git.read(commit, "prompts/other.prompt.md") is None
    assert git.read(commit, "prompts/support/answer.prompt.md/x") is None
    assert git.read(commit, "prompts/support") is None


def test_a_symbolic_link_is_refused(repository) -> None:
    repository.write("x", "real")
    (repository.root / "prompts" / "link.prompt.md").symlink_to("real.prompt.md")
    commit = repository.commit("link")

    with pytest.raises(PromptError, match="symbolic link"):
        opened(repository).read(commit, "prompts/link.prompt.md")


def test_files_are_listed_with_their_folders(repository) -> None:
    repository.write("x", "b")
    repository.write("x", "a/c")
    (repository.root / "prompts" / "notes.txt").write_text("x")
    commit = repository.commit("files")
    git = opened(repository)

    assert git.files(commit, "prompts", ".prompt.md") == ["a/c.prompt.md", "b.prompt.md"]
    assert git.files(commit, "nowhere", ".prompt.md") == []


def test_a_linked_working_tree_shares_labels(repository) -> None:
    commit = repository.commit_version("1")
    repository.git("update-ref", "refs/llmops/labels/prod", commit)
    repository.git("worktree", "add", "-q", "-b", "side", "../side")
    linked = GitRepository.find(repository.root.parent / "side")

    assert linked.root.name == "side"
    assert linked.resolve("prod") == linked.resolve("HEAD") == commit
    assert linked.shared.resolve() == (repository.root / ".git").resolve()
    assert linked.read(commit, "prompts/support/answer.prompt.md") is not None


def test_a_bare_repository_is_read(repository, clone) -> None:
    commit = repository.commit_version("1")
    bare = clone(repository, "bare.git", "--bare")
    git = opened(bare)

    assert git.bare
    assert git.read(git.resolve("main"), "prompts/support/answer.prompt.md") is not None
    assert git.resolve("HEAD") == commit


def test_a_repository_that_is_gone_is_said_so(repository) -> None:
    commit = repository.commit_version("1")
    git = opened(repository)
    (repository.root / ".git").rename(repository.root / "moved")

    with pytest.raises(PromptError, match=r"no git repository at .* any more"):
        git.read(commit, "prompts/support/answer.prompt.md")


def test_the_identity_is_gits(repository) -> None:
    assert opened(repository).identity() == "Ada Lovelace <ada@example.org>"
