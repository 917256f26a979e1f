from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts import PromptRepository

PATH = "prompts/support/answer.prompt.md"


def of(repository, version: str = "HEAD") -> str:
    return PromptRepository(repository.root).get(f"support/answer@{version}").sections[0].text


def object_file(repository, what: str) -> Path:
    one = repository.git("rev-parse", what)
    return repository.root / ".git" / "objects" / one[:2] / one[2:]


def pack(repository, suffix: str) -> Path:
    return next((repository.root / ".git" / "objects" / "pack").glob(f"*.{suffix}"))


def change(file: Path, how: Callable[[bytes], bytes]) -> None:
    file.chmod(0o644)
    file.write_bytes(how(file.read_bytes()))


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(255 - one for one in data[middle : middle + 4]) + data[middle + 4 :]


@pytest.mark.parametrize("what", ["HEAD", "HEAD:prompts", f"HEAD:{PATH}"])
@pytest.mark.parametrize("how", [flipped, lambda data: b"", lambda data: data[:20], lambda data: b"not zlib"])
def test_a_damaged_object_is_an_error_that_names_the_repository(repository, what: str, how) -> None:
    first = repository.commit_version("1")
    repository.commit_version("2")
    change(object_file(repository, what), how)

    with pytest.raises(PromptError, match=r"the git repository .* cannot be used .* fsck --full`") as caught:
        of(repository)
    assert str(caught.value).startswith("HEAD: " if what == "HEAD" else f"{PATH}@")
    assert of(repository, first) == "Version 1"


def test_an_object_under_the_id_of_another_is_not_believed(repository) -> None:
    repository.commit_version("1")
    repository.commit_version("2")
    shutil.copy(object_file(repository, f"HEAD~1:{PATH}"), target := object_file(repository, f"HEAD:{PATH}"))

    assert target.exists()
    with pytest.raises(PromptError, match=r"answer\.prompt\.md@.*ChecksumMismatch"):
        of(repository)


def test_an_object_that_is_not_there_is_named(repository) -> None:
    repository.commit_version("1")
    blob = repository.git("rev-parse", f"HEAD:{PATH}")
    object_file(repository, f"HEAD:{PATH}").unlink()

    with pytest.raises(PromptError, match=rf"does not hold the object {blob}; run `git -C .* fsck"):
        of(repository)


@pytest.mark.parametrize("suffix", ["pack", "idx"])
@pytest.mark.parametrize("size", [0, 30, 500])
def test_a_pack_that_was_cut_off_is_an_error(repository, suffix: str, size: int) -> None:
    for version in range(10):
        repository.commit_version(f"{version}\n" + "".join(f"{version} {number}\n" for number in range(50)))
    repository.git("gc", "-q")
    change(pack(repository, suffix), lambda data: data[:size])

    with pytest.raises(PromptError, match=r"the git repository .* (cannot be used|does not hold)"):
        of(repository)


def test_flipped_bytes_in_a_pack_give_an_error_or_the_right_prompt(repository) -> None:
    for version in range(10):
        repository.commit_version(f"{version}\n" + "".join(f"{version} {number}\n" for number in range(50)))
    repository.git("gc", "-q")
    right, whole = of(repository), pack(repository, "pack").read_bytes()
    errors = 0
    for at in range(12, len(whole) - 20, max(1, len(whole) // 60)):
        change(pack(repository, "pack"), lambda _, at=at: whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        try:
            assert of(repository) == right
        except PromptError as exc:
            assert "fsck" in str(exc)  # noqa: PT017  (either is right)
            errors += 1

    assert errors > 0


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("HEAD", "xx\n", r"HEAD holds no commit id .* `git symbolic-ref HEAD refs/heads/main`"),
        ("HEAD", "ref: ../../etc/passwd\n", r"HEAD refers to '../../etc/passwd', which is no ref"),
        ("HEAD", "ref: refs/heads/loop\n", "refers to a ref, more than 5 times"),
        ("refs/heads/main", "", r"main holds no commit id for refs/heads/main, but ''; delete that file"),
        ("refs/heads/main", "0123\n", r"main holds no commit id"),
        ("config", "[[[", "cannot be used"),
        ("objects/info/alternates", "/nowhere\n", "^$"),
    ],
)
def test_a_broken_ref_or_configuration_is_an_error(repository, file: str, content: str, message: str) -> None:
    repository.commit_version("1")
    control = repository.root / ".git"
    (control / "refs" / "heads" / "loop").write_text("ref: refs/heads/loop\n")
    (control / file).write_text(content)

    if message == "^$":
        assert of(repository) == "Version 1"
        return
    with pytest.raises(PromptError, match=message):
        of(repository)


def test_a_broken_line_of_packed_refs_does_not_hide_the_others(repository) -> None:
    repository.commit_version("1")
    repository.git("tag", "v1")
    repository.git("pack-refs", "--all")
    packed = repository.root / ".git" / "packed-refs"
    packed.write_bytes(packed.read_bytes().replace(b"refs/tags/v1", b"refs/tags/v1\n\x00\xff garbage\nzz refs/tags/v2"))

    assert of(repository, "v1") == of(repository, "main") == "Version 1"
    with pytest.raises(PromptError, match=r"packed-refs holds no commit id for refs/tags/v2, but 'zz'"):
        of(repository, "v2")


@pytest.mark.parametrize("what", ["blob:none", "tree:0"])
def test_a_partial_clone_says_how_to_get_what_it_lacks(repository, clone, what: str) -> None:
    first = repository.commit_version("1")
    repository.commit_version("2")
    repository.git("config", "uploadpack.allowFilter", "true")
    partial = clone(repository, "partial", f"--filter={what}")

    assert of(partial) == "Version 2"
    with pytest.raises(PromptError, match=r"partial clone .* archive COMMIT prompts"):
        of(partial, first)
    partial.git("archive", "-o", "../prompts.tar", first, "prompts")
    assert of(partial, first) == "Version 1"


def test_borrowed_objects_are_read_and_missed(repository) -> None:
    first = repository.commit_version("1")
    repository.commit_version("2")
    repository.git("clone", "-q", "--shared", str(repository.root), "../borrowing")
    borrowing = type(repository)(repository.root.parent / "borrowing")
    assert of(borrowing, first) == "Version 1"
    repository.root.rename(repository.root.parent / "elsewhere")

    for version in ("HEAD", first):
        with pytest.raises(PromptError, match=r"borrows objects from .*application/\.git/objects, which is not there"):
            of(borrowing, version)


def test_a_submodule_is_a_repository_of_its_own(repository, make_repository) -> None:
    repository.commit_version("1")
    outer = make_repository("outer")
    outer.git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(repository.root), "sub")
    outer.commit("sub")

    assert PromptRepository(outer.root / "sub").get("support/answer@HEAD").sections[0].text == "Version 1"
    with pytest.raises(PromptError, match=r"lies in a submodule, a repository of its own: open that one"):
        PromptRepository(outer.root, folder="sub/prompts").get("support/answer@HEAD")


def test_a_repository_with_long_ids_is_read_and_labelled(tmp_path: Path, repository) -> None:
    long = type(repository)(tmp_path / "long")
    long.root.mkdir()
    long.git("init", "-q", "-b", "main", "--object-format=sha256")
    long.git("config", "user.name", "Ada")
    long.git("config", "user.email", "ada@example.org")
    first, second = long.commit_version("1"), long.commit_version("2")
    prompts = PromptRepository(long.root)

    assert len(first) == 64
    assert [of(long, version) for version in ("HEAD", first, first[:9])] == ["Version 2", "Version 1", "Version 1"]
    prompts.label("prod", first)
    prompts.label("prod", second)
    assert prompts.rollback("prod").new == first == long.git("rev-parse", "refs/llmops/labels/prod")
    assert [one.commit for one in prompts.log("support/answer")] == [second, first]
    assert {one.commit for one in prompts.blame("support/answer")} == {first, second}
    long.git("fsck", "--full", "--strict")


def test_many_packs_with_one_index_and_a_commit_graph_are_read(repository) -> None:
    commits = []
    for version in range(5):
        commits.append(repository.commit_version(str(version)))
        repository.git("repack", "-q")
    repository.git("multi-pack-index", "write")
    repository.git("commit-graph", "write", "--reachable")

    assert [of(repository, commit) for commit in commits] == [f"Version {version}" for version in range(5)]
    assert [one.commit for one in PromptRepository(repository.root).log("support/answer")] == commits[::-1]


def test_a_repository_that_is_too_new_is_said_so(repository) -> None:
    repository.git("config", "core.repositoryformatversion", "99")

    with pytest.raises(PromptError, match=r"cannot be used .*UnsupportedVersion.* made by a newer git"):
        PromptRepository(repository.root)
