"""What tests of several parts of evaluations need: an application whose prompt is kept in git."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

# A program that tests also start as a process; they find it here: `sys.modules["optimising_task"]`.
_spec = importlib.util.spec_from_file_location("optimising_task", Path(__file__).with_name("optimising_task.py"))
assert _spec is not None
assert _spec.loader is not None
sys.modules["optimising_task"] = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(sys.modules["optimising_task"])

SUITE = """
import re
from llmops_sdk import Prompt, Scripted
from llmops_sdk.evaluation import Case, Suite, metrics

def answer(request):
    \"\"\"Right, but the prompt may ask for mistakes: `Miss every 10`.\"\"\"
    number = int(re.search(r"\\d+", request.messages[-1].text).group())
    every = re.search(r"Miss every (\\d+)", request.messages[0].text)
    return "wrong" if every and number % int(every.group(1)) == 0 else str(number)

cases = [Case(input={"n": n}, expected=str(n), id=f"case-{n}") for n in range(60)]

def build():
    return Prompt.load("answer") | Scripted(answer, name="scripted")

suite = Suite(build, cases, [metrics.Exact()], name="answers", max_drop="1%", progress=False)
"""


class Application:
    """A git repository with a prompt `answer`, released as `prod`, and a suite in `evals/answer.py`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "-q", "-b", "main")
        self.prompt("Be careful.")
        (root / "evals").mkdir()
        (root / "evals" / "answer.py").write_text(SUITE)
        self.commit("First")
        self.git("update-ref", "refs/llmops/labels/prod", "HEAD")

    def git(self, *arguments: str) -> str:
        settings = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        who = ("-c", "user.name=Ada Lovelace", "-c", "user.email=ada@example.org")
        done = subprocess.run(
            ["git", *who, *arguments], cwd=self.root, env=settings, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def prompt(self, system: str) -> None:
        """Write the prompt's file anew."""
        file = self.root / "prompts" / "answer.prompt.md"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"[system]\n{system}\n\n[user]\nSay {{{{ n }}}}\n")

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)


@pytest.fixture
def application(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Application:
    """The application; its folder is the current one."""
    monkeypatch.chdir(tmp_path)
    return Application(tmp_path)
