"""`llmops lock` and `llmops verify`."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import llmops_sdk
from llmops_sdk.cli import main

SOURCES = str(Path(llmops_sdk.__file__).parents[1])
MODULE = """
import os
from llmops_sdk import Prompt, Scripted
from llmops_sdk.guards import Length
support = Prompt.load("answer") | Length(most=100) | Scripted("Hello")
def make():
    return "Hi" | Scripted(os.environ["WHOM"])
"""


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def llmops(tmp_path, monkeypatch, capsys):
    """Runs the command where there is a module `shop` and a prompt `answer`; the module is imported anew each time."""
    (tmp_path / "shop.py").write_text(MODULE)
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "answer.prompt.md").write_text("Answer {{ question }}")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delenv("WHOM", raising=False)

    def run(*arguments):
        importlib.invalidate_caches()
        code = main(list(arguments))
        sys.modules.pop("shop", None)
        return Done(code, *capsys.readouterr())

    return run


def test_the_command_finds_the_application_in_the_folder_where_it_is_run(llmops, tmp_path):
    command = [sys.executable, "-B", "-m", "llmops_sdk.cli", "lock", "shop:support"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": SOURCES, "PYTHONSAFEPATH": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert llmops("verify").returncode == 0


def test_what_was_locked_is_verified_and_what_was_changed_is_told(llmops, tmp_path):
    done = llmops("lock", "shop:support")
    assert (done.returncode, done.stderr) == (0, "")
    assert llmops("verify").returncode == 0
    (tmp_path / "shop.py").write_text(MODULE.replace("most=100", "most=99"))
    done = llmops("verify")
    assert done.returncode == 1
    assert "pipelines.support.guards.length.hash" in done.stdout
    done = llmops("verify", "--format", "json")
    assert done.returncode == 1
    (told,) = json.loads(done.stdout)["differences"]
    assert told["what"] == "pipelines.support.guards.length.hash"
    assert llmops("lock").returncode == 0  # those that it has
    assert llmops("verify").returncode == 0


def test_what_cannot_be_done_has_its_exit_code_and_says_why(llmops, tmp_path, monkeypatch):
    done = llmops("verify")
    assert done.returncode == 2
    assert "write it with `llmops lock" in done.stderr
    monkeypatch.setenv("WHOM", "Ada")
    assert llmops("lock", "make=shop:make").returncode == 0
    monkeypatch.delenv("WHOM")
    done = llmops("verify")
    assert done.returncode == 2
    assert "KeyError: 'WHOM'" in done.stderr
    assert "while the pipeline 'make' of the lock was built from shop:make" in done.stderr
    (tmp_path / "llmops.lock").write_text("<<<<<<< ours\n")
    assert "conflict markers of git" in llmops("verify").stderr
    assert llmops("lock").returncode == 2
    assert llmops("lock", "shop:support").returncode == 0  # a broken one is written anew


def test_a_bundle_stays_one_until_it_is_declined(llmops, tmp_path):
    assert llmops("lock", "shop:support", "--bundle", "locked").returncode == 0
    (tmp_path / "prompts" / "answer.prompt.md").write_text("Say {{ question }}")
    assert llmops("verify").returncode == 0  # the release has its own copy
    assert llmops("lock").returncode == 0
    (file,) = (tmp_path / "locked").rglob("*.prompt.md")
    assert file.read_text() == "Say {{ question }}"
    assert llmops("lock", "--no-bundle").returncode == 0
    assert "bundle" not in (tmp_path / "llmops.lock").read_text()


def test_what_cannot_be_pinned_is_told_and_refused_if_one_asks_for_that(llmops, tmp_path):
    guard = "class Mine:\n def __init__(self, a): self.a = a\n def check(self, text): ...\n"
    (tmp_path / "shop.py").write_text(guard + MODULE.replace("Length(most=100)", "Mine(1)"))
    done = llmops("lock", "shop:support")
    assert done.returncode == 0
    assert "not pinned: pipelines.support.guards.mine: shop:Mine has no form" in done.stderr
    assert llmops("verify").returncode == 0
    assert llmops("verify", "--strict").returncode == 1
