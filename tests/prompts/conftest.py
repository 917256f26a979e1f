from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ANSWER = """---
parameters: {temperature: 0}
variables:
  question: str
---
[system]
Version %s

[user]
{{ question }}
"""


class Repository:
    """A git repository in a temporary folder, worked on with the git command."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def git(self, *arguments: str) -> str:
        # No configuration but the repository's own: tests do not depend on who runs them.
        environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        done = subprocess.run(
            ["git", *arguments], cwd=self.root, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def write(self, text: str, name: str = "support/answer") -> Path:
        file = self.root / "prompts" / f"{name}.prompt.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def commit(self, subject: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", subject)
        return self.git("rev-parse", "HEAD")

    def commit_version(self, version: str) -> str:
        self.write(ANSWER % version)
        return self.commit(f"Version {version}")


def identify(root: Path) -> Repository:
    repository = Repository(root)
    repository.git("config", "user.name", "Ada Lovelace")
    repository.git("config", "user.email", "ada@example.org")
    return repository


@pytest.fixture
def make_repository(tmp_path: Path) -> Callable[[str], Repository]:
    """Make an empty repository with a name."""

    def make(name: str) -> Repository:
        root = tmp_path / name
        root.mkdir()
        Repository(root).git("init", "-q", "-b", "main")
        return identify(root)

    return make


@pytest.fixture
def clone(tmp_path: Path) -> Callable[..., Repository]:
    """Clone a repository under a name, with options of `git clone`."""

    def clone(source: Repository, name: str, *options: str) -> Repository:
        source.git("clone", "-q", *options, f"file://{source.root}", str(tmp_path / name))
        return identify(tmp_path / name)

    return clone


@pytest.fixture
def repository(make_repository: Callable[[str], Repository]) -> Repository:
    """An empty repository."""
    return make_repository("application")
