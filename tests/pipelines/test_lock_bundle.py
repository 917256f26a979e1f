"""A lock that brings its prompts along: an application in a wheel or a zip, without git."""

from __future__ import annotations

import importlib
import importlib.resources
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import llmops_sdk
from llmops_sdk import Pipeline
from llmops_sdk.errors import ConfigurationError, LockError
from llmops_sdk.pipelines import Lock

SOURCES = str(Path(llmops_sdk.__file__).parents[1])
PROMPT = "---\nvariables: {question: str}\n---\n[system]\nBe %s.\n\n[user]\n{{ question }}\n"
PIPELINES = """
from llmops_sdk import Prompt, Scripted
support = Prompt.load("support/answer@prod") | Scripted("Hello")
"""
RUN = """
import importlib.resources, sys
from llmops_sdk import Pipeline
pipeline = Pipeline.from_lock("support", importlib.resources.files("packed"))
print(pipeline.prompt.render(question="?").messages[0].text, pipeline.run(question="?").text)
print(pipeline.prompt.ref.version, pipeline.prompt.ref.commit, [name for name in sys.modules if "dulwich" in name])
"""
PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "packed"
version = "1"
"""


@pytest.fixture
def app(tmp_path, monkeypatch):
    """The root of an application whose package `packed` holds its lock and its bundle."""
    root = tmp_path / "app"
    (root / "packed").mkdir(parents=True)
    (root / "packed" / "__init__.py").touch()
    (root / "packed" / "pipelines.py").write_text(PIPELINES)
    (root / "pyproject.toml").write_text(PROJECT)
    monkeypatch.chdir(root)
    monkeypatch.syspath_prepend(root)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    git(root, "init", "-q", "-b", "main")
    release(root, "kind")
    yield root
    forget()


def git(root: Path, *arguments: str) -> str:
    environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    done = subprocess.run(
        ["git", *who, *arguments], cwd=root, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def release(root: Path, how: str) -> None:
    prompt = root / "prompts" / "support" / "answer.prompt.md"
    prompt.parent.mkdir(parents=True, exist_ok=True)
    prompt.write_text(PROMPT % how)
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", how)
    git(root, "update-ref", "refs/llmops/labels/prod", "HEAD")


def forget() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "packed"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    importlib.import_module("llmops_sdk.prompts.repository")._opened.clear()


def locked(root: Path) -> Lock:
    lock = Lock.make("packed.pipelines:support").write("packed/llmops.lock", bundle="packed/prompts")
    forget()
    return lock


def bundled(root: Path) -> list[Path]:
    return sorted(path for path in (root / "packed" / "prompts").rglob("*") if path.is_file())


def run_elsewhere(folder: Path, packed: Path) -> list[str]:
    """What `RUN` prints, with the application at `packed`, in an empty folder that is in no git repository."""
    folder.mkdir()
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([SOURCES, str(packed)]), "GIT_DIR": os.devnull}
    done = subprocess.run(
        [sys.executable, "-c", RUN], cwd=folder, env=environment, check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_wheel_that_is_installed_runs_the_locked_prompt_without_git(app, tmp_path):
    lock = locked(app)
    commit = lock.data["prompts"]["support/answer@prod"]["commit"]
    release(app, "rude")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(build, check=True, capture_output=True, cwd=app)
    (wheel,) = (tmp_path / "dist").iterdir()
    with zipfile.ZipFile(wheel) as file:
        file.extractall(tmp_path / "site")  # as installing it does
    expected = ["Be kind. Hello", f"prod {commit} []"]
    assert run_elsewhere(tmp_path / "elsewhere", tmp_path / "site") == expected
    # A wheel is a zip, and Python imports from those.
    assert run_elsewhere(tmp_path / "elsewhere too", wheel) == expected


def test_the_bundle_holds_the_files_of_the_pinned_commit_alone(app):
    locked(app)
    (first,) = bundled(app)
    assert first.read_text() == PROMPT % "kind"
    assert first.relative_to(app / "packed" / "prompts").parts[2:] == ("support", "answer.prompt.md")
    release(app, "brief")
    locked(app)
    (second,) = bundled(app)
    assert second.read_text() == PROMPT % "brief"
    assert second != first


def test_a_file_of_the_bundle_that_was_changed_or_is_gone_is_an_error(app):
    lock = locked(app)
    (file,) = bundled(app)
    file.write_text(PROMPT % "rude")
    with pytest.raises(LockError, match=r"prompts\.support/answer@prod\.hash: the lock says \w{64}, found is"):
        Pipeline.from_lock("support", "packed")
    forget()
    assert [one.what for one in lock.differences()] == [
        "prompts.support/answer@prod.hash",
        "pipelines.support.prompt.hash",
    ]
    file.unlink()
    forget()
    with pytest.raises(LockError, match=r"the bundle lacks .*answer\.prompt\.md"):
        Pipeline.from_lock("support", "packed")


def test_locks_of_one_folder_may_share_a_bundle(app):
    locked(app)
    (app / "packed" / "llmops.lock").rename(app / "packed" / "staging.lock")
    release(app, "brief")
    locked(app)
    assert len(bundled(app)) == 2
    assert Lock.read(app / "packed" / "staging.lock").differences() == ()
    (app / "packed" / "staging.lock").unlink()
    release(app, "short")
    locked(app)
    (left,) = bundled(app)
    assert left.read_text() == PROMPT % "short"


def test_what_a_killed_process_left_in_the_bundle_is_cleared_away(app):
    locked(app)
    (file,) = bundled(app)
    (file.parent / f".{file.name}.1-ab.making").write_text("half")
    locked(app)
    assert bundled(app) == [file]
    assert [one for one in file.parent.iterdir() if one != file] == []


def test_a_copy_that_is_broken_is_told_as_one_of_the_bundle(app):
    locked(app)
    (file,) = bundled(app)
    file.write_text("---\noutptt: x\n---\n")
    with pytest.raises(LockError, match=r"the copy of 'support/answer@prod' in the bundle is not what was locked \("):
        Pipeline.from_lock("support", "packed")


def test_what_others_have_put_into_the_folder_stays(app):
    locked(app)
    kept = app / "packed" / "prompts" / "readme.md"
    kept.write_text("Ours.")
    release(app, "brief")
    locked(app)
    assert kept.read_text() == "Ours."


def test_a_bundle_elsewhere_is_refused(app):
    lock = Lock.make("packed.pipelines:support")
    for folder in ("prompts_locked", "packed"):
        with pytest.raises(ConfigurationError, match="has to lie below the folder of the lock"):
            lock.write("packed/llmops.lock", bundle=folder)


def test_a_lock_that_was_read_writes_no_bundle(app):
    locked(app)
    with pytest.raises(ConfigurationError, match=r"`Lock\.make` has just made"):
        Lock.read("packed").write("packed/llmops.lock", bundle="packed/prompts")


def test_a_bundle_that_leads_out_of_its_folder_is_not_followed(app):
    lock = locked(app)
    pin = lock.data["prompts"]["support/answer@prod"]
    outside = Lock({**lock.data, "prompts": {"../../answer@prod": pin}}, folder=app / "packed")
    with outside.in_force(), pytest.raises(LockError, match="the bundle lacks"):
        llmops_sdk.Prompt.load("../../answer@prod")


def test_the_bundle_is_read_by_a_lock_that_was_given_its_file_in_the_package(app):
    locked(app)
    release(app, "rude")
    file = importlib.resources.files("packed") / "llmops.lock"
    assert Pipeline.from_lock("support", file).prompt.render(question="?").messages[0].text == "Be kind."


def test_a_prompt_that_is_changed_while_the_lock_is_made_is_an_error(app):
    (app / "packed" / "pipelines.py").write_text(PIPELINES.replace("answer@prod", "answer"))
    forget()
    lock = Lock.make("packed.pipelines:support")
    (app / "prompts" / "support" / "answer.prompt.md").write_text(PROMPT % "rude")
    with pytest.raises(llmops_sdk.errors.PromptError, match="was changed while the lock was written"):
        lock.write("packed/llmops.lock", bundle="packed/prompts")
