"""Branches: where two of them come from, and commits of one file to them, without a working tree or an index."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path

from dulwich.diff_tree import tree_changes
from dulwich.graph import find_merge_base
from dulwich.objects import Blob, Commit, ObjectID, ShaFile, Tree
from dulwich.repo import Repo

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts.git.objects import checked

__all__ = ["checked_out_in", "merge_bases", "only_changed", "tree_with"]

_HEADS = "refs/heads/"
_PLAIN_FILE = 0o100644


def merge_bases(repo: Repo, one: str, other: str) -> list[str]:
    """The best common ancestors of two commits: none, one, or several where branches were merged crosswise."""
    return [base.decode() for base in find_merge_base(repo, [ObjectID(one.encode()), ObjectID(other.encode())])]


def only_changed(repo: Repo, old: str, new: str, path: str) -> bool:
    """Whether nothing but the file `path` differs between two commits."""
    trees = [checked(repo, ObjectID(one.encode()), Commit).tree for one in (old, new)]
    for change in tree_changes(repo.object_store, *trees):
        for entry in (change.old, change.new):
            if entry is not None and entry.path is not None and entry.path != path.encode():
                return False
    return True


def tree_with(repo: Repo, commit: str, path: str, data: bytes) -> Iterator[ShaFile]:
    """The objects that make the tree of a commit hold `data` at `path`, the tree itself last."""
    steps = path.encode().split(b"/")
    trees = [checked(repo, checked(repo, ObjectID(commit.encode()), Commit).tree, Tree)]
    for step in steps[:-1]:
        if step not in trees[-1]:
            trees.append(Tree())
            continue
        mode, below = trees[-1][step]
        if not stat.S_ISDIR(mode):
            raise PromptError(f"{path}: {step.decode('utf-8', 'replace')} is no folder at {commit[:12]}")
        trees.append(checked(repo, below, Tree))
    mode = trees[-1][steps[-1]][0] if steps[-1] in trees[-1] else _PLAIN_FILE
    if not stat.S_ISREG(mode):
        raise PromptError(f"{path} is no plain file at {commit[:12]}")
    made: ShaFile = Blob.from_string(data)
    yield made
    for tree, step in zip(reversed(trees), reversed(steps), strict=True):
        tree[step] = (mode, ObjectID(made.get_id(repo.object_format)))
        made, mode = tree, stat.S_IFDIR
        yield made


def checked_out_in(shared: Path, branch: str) -> Path | None:
    """The working tree in which a branch is checked out; `None` where it is in none.

    Args:
        shared: The folder that all working trees share (`.git`), of a repository that is not bare.
        branch: Its name.
    """
    for head in (shared / "HEAD", *sorted(shared.glob("worktrees/*/HEAD"))):
        with contextlib.suppress(OSError):
            if head.read_text("utf-8", "replace").strip() != f"ref: {_HEADS}{branch}":
                continue
            if head.parent == shared:
                return shared.parent
            return Path((head.parent / "gitdir").read_text("utf-8", "replace").strip()).parent
    return None
