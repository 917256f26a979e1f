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


def test_a_damaged_object_is_said_with_what_to_do(repository) -> None:
    commit = repository.commit_version("1")
    blob = repository.git("rev-parse", "HEAD:prompts/support/answer.prompt.md")
    file = repository.root / ".git" / "objects" / blob[:2] / blob[2:]
    file.chmod(0o644)
    file.write_bytes(b"not zlib")

    with pytest.raises(PromptError, match=r"cannot be used .* run `git fsck`"):
        opened(repository).read(commit, "prompts/support/answer.prompt.md")


def test_a_swap_is_refused_when_the_ref_has_moved(repository) -> None:
    first, second = repository.commit_version("1"), repository.commit_version("2")
    git = opened(repository)
    ref = "refs/llmops/labels/prod"

    assert git.swap(ref, None, first)
    assert not git.swap(ref, None, second)
    assert not git.swap(ref, second, first)
    assert git.swap(ref, first, second)
    repository.git("pack-refs", "--all")
    assert not git.swap(ref, first, second[:39] + "0")
    assert git.swap(ref, second, first)
    assert repository.git("rev-parse", ref) == first


def test_the_lock_of_a_dead_process_is_named(repository) -> None:
    commit = repository.commit_version("1")
    git = opened(repository)
    lock = git.shared / "refs" / "llmops" / "labels" / "prod.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()

    with pytest.raises(PromptError, match=r"another process is moving .* delete .*prod\.lock"):
        git.swap("refs/llmops/labels/prod", None, commit)
    assert git.resolve("main") == commit
    assert git.refs("refs/llmops/labels/") == {}


def test_a_ref_below_another_ref_cannot_be_written(repository) -> None:
    commit = repository.commit_version("1")
    git = opened(repository)
    git.swap("refs/llmops/labels/prod", None, commit)

    with pytest.raises(PromptError, match="cannot be used"):
        git.swap("refs/llmops/labels/prod/eu", None, commit)


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

    assert [one.commit for one in changes] == repository.git("log", "--format=%H", "--", path).split()
    assert [one.subject for one in changes] == ["Version 3", "Version 2", "Version 1"]
    assert changes[0].who == "Ada Lovelace <ada@example.org>"
    assert changes[0].when.timestamp() == int(repository.git("log", "-1", "--format=%ct"))
    assert b"Version 3" in changes[0].data
    assert git.history(git.resolve("HEAD"), path, 2) == changes[:2]
    assert git.history(git.resolve("HEAD"), "prompts/none.prompt.md", 5) == []


def test_a_file_that_was_deleted_and_came_back_has_its_whole_history(repository) -> None:
    repository.commit_version("1")
    (repository.root / "prompts" / "support" / "answer.prompt.md").unlink()
    repository.commit("deleted")
    repository.commit_version("2")
    git = opened(repository)

    changes = git.history(git.resolve("HEAD"), "prompts/support/answer.prompt.md", 100)

    assert [one.subject for one in changes] == ["Version 2", "Version 1"]


def test_a_shallow_clone_has_the_history_that_it_holds(repository, clone) -> None:
    for version in "123":
        repository.commit_version(version)
    first = repository.git("rev-parse", "HEAD~2")
    shallow = clone(repository, "shallow", "--depth", "2")
    git = opened(shallow)

    changes = git.history(git.resolve("HEAD"), "prompts/support/answer.prompt.md", 100)

    assert [one.subject for one in changes] == ["Version 3", "Version 2"]
    assert git.resolve(first) is None
    assert "git fetch --unshallow" in git.shallow_hint()


def test_a_linked_working_tree_shares_labels(repository) -> None:
    commit = repository.commit_version("1")
    opened(repository).swap("refs/llmops/labels/prod", None, commit)
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


def test_a_repository_that_is_too_new_is_said_so(repository) -> None:
    repository.git("config", "core.repositoryformatversion", "99")

    with pytest.raises(PromptError, match=r"cannot be used .*UnsupportedVersion"):
        opened(repository)
