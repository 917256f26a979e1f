"""Optimising: the outcome as a commit with evidence, and runs that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from llmops_sdk import Prompt, Scripted
from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.evaluation import Optimisation, metrics, optimise
from llmops_sdk.prompts import PromptRepository

pytestmark = pytest.mark.timeout(240)  # some start and kill processes

_PROGRAM = Path(__file__).with_name("optimising_task.py")
task = sys.modules["optimising_task"]
WHO = "Ada Lovelace <ada@example.org>"


def git(root: Path, *arguments: str) -> str:
    options = ["-c", "user.name=Ada Lovelace", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(root), *options, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "app"
    (folder / "prompts" / "sums").mkdir(parents=True)
    (folder / "prompts" / "sums" / "number.prompt.md").write_text(task.PROMPT.to_text())
    git(tmp_path, "init", "-q", "-b", "main", str(folder))
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "Begin")
    (folder / "notes.txt").write_text("not committed")
    return folder


def optimised(root: Path, *, answer: Any = task.skilled, cases: int = 120, **options: Any) -> Optimisation:
    repository = PromptRepository(root)
    prompt = Prompt.load("sums/number@HEAD", repository=repository)
    options = {"proposer": Scripted(task.writing), "candidates": 3, "who": WHO, **options}
    return optimise(prompt, task.numbers(cases), metrics.Exact(), Scripted(answer), repository=repository, **options)


def state(root: Path) -> tuple[str, ...]:
    lying = (root / "prompts/sums/number.prompt.md").read_text()
    return (git(root, "rev-parse", "HEAD"), git(root, "symbolic-ref", "HEAD"), git(root, "status", "--short"), lying)


def test_a_better_prompt_is_committed_with_the_evidence_and_nothing_else_moves(root: Path) -> None:
    before = state(root)
    found = optimised(root)
    assert found.verdict == "better"
    assert state(root) == before
    assert found.branch is not None
    assert found.branch.startswith("optimise/sums/number-")
    assert git(root, "rev-parse", found.branch) == found.commit
    assert git(root, "rev-parse", f"{found.branch}^") == before[0]
    assert git(root, "diff", "--name-only", "main", found.branch) == "prompts/sums/number.prompt.md"
    message = git(root, "log", "-1", "--format=%B", found.branch)
    assert found.contrast is not None
    comparison = found.contrast.comparison
    assert comparison is not None
    assert found.experiment is not None
    for evidence in (
        "Verdict: better",
        f"{comparison.low:+.6g} to {comparison.high:+.6g}",
        f"Cases: {comparison.cases} ",
        f"Split: {found.split}",
        f"Experiment: {found.experiment.id}",
        "Seed: 0",
        "Candidates: 3 tried",
        "Cost: ",
    ):
        assert evidence in message
    git(root, "fsck", "--strict")


def test_the_committed_file_is_the_prompt_that_was_judged(root: Path) -> None:
    found = optimised(root)
    again = Prompt.load(f"sums/number@{found.commit}", repository=PromptRepository(root))
    assert again.hash == found.prompt.hash


def test_nothing_is_committed_where_it_cannot_be_told(root: Path) -> None:
    before = git(root, "for-each-ref")
    found = optimised(root, answer=task.indifferent, cases=60)
    assert found.verdict != "better"
    assert found.commit is None
    assert git(root, "for-each-ref") == before


def test_always_commits_whatever_won_and_says_so(root: Path) -> None:
    # Of so few cases nobody can tell.
    found = optimised(root, cases=24, commit="always", branch="tries/one", seed=3)
    assert found.verdict == "cannot tell"
    assert found.winner is not None
    assert found.branch == "tries/one"
    assert "Verdict: cannot tell" in git(root, "log", "-1", "--format=%B", "tries/one")


def test_a_branch_that_is_there_gets_one_commit_more(root: Path) -> None:
    git(root, "branch", "better")
    found = optimised(root, branch="better")
    assert git(root, "rev-list", "--count", "main..better") == "1"
    again = optimised(root, branch="better")
    assert again.commit == found.commit


def test_a_branch_that_is_checked_out_is_refused(root: Path) -> None:
    before = state(root)
    with pytest.raises(PromptError, match="checked out"):
        optimised(root, branch="main")
    assert state(root) == before


def test_a_prompt_that_no_file_can_hold_is_refused_before_anything_is_paid(root: Path) -> None:
    engine = Scripted("1")
    inline = Prompt.from_string("What is {{ q }}?")
    with pytest.raises(ConfigurationError, match="no name"):
        optimise(inline, task.numbers(60), metrics.Exact(), engine, repository=PromptRepository(root))
    typed = Prompt.from_string("What is {{ q }}?", name="sums/number", output=int)
    with pytest.raises(ConfigurationError, match="is a type"):
        optimise(typed, task.numbers(60), metrics.Exact(), engine, repository=PromptRepository(root))
    assert not engine.requests


# --------------------------------------------------------------------------------------------------------------- kills
def start(store: Path, log: Path, delay_s: float) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(_PROGRAM), str(store), str(log), str(delay_s)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.once
def test_killed_and_called_again_it_has_the_same_outcome_and_pays_hardly_anything_twice(tmp_path: Path) -> None:
    whole = start(tmp_path / "whole.db", tmp_path / "whole", 0.0)
    store, log = tmp_path / "store.db", tmp_path / "asked"
    for calls in (5, 50):  # among the training cases, and in the midst of the trials
        process = start(store, log, 0.005)
        end = time.monotonic() + 40
        while not log.exists() or len(log.read_text().split()) < calls:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    last = start(store, log, 0.0)
    resumed, error = last.communicate(timeout=50)
    assert last.returncode == 0, error
    unbroken, error = whole.communicate(timeout=50)
    assert whole.returncode == 0, error
    assert resumed == unbroken
    asked = log.read_text().split()
    assert set(asked) == set((tmp_path / "whole").read_text().split())
    assert len(asked) - len(set(asked)) <= 2 * 2, "more than what was under way at the two kills was paid twice"


def test_what_a_killed_process_has_paid_counts_against_the_budget(tmp_path: Path) -> None:
    store, log = tmp_path / "store.db", tmp_path / "asked"
    outcome = task.main(str(store), str(log), 0.0)
    paid = len(log.read_text().split())
    again = task.main(str(store), str(log), 0.0, budget_usd=outcome.cost_usd + Decimal("0.0001"))
    assert again.cost_usd <= outcome.cost_usd
    assert len(log.read_text().split()) == paid


def test_a_head_that_is_detached_stays_where_it_is(root: Path) -> None:
    git(root, "checkout", "-q", "--detach")
    before = (git(root, "rev-parse", "HEAD"), git(root, "status", "--short"))
    found = optimised(root, branch="tries/one")
    assert found.commit == git(root, "rev-parse", "tries/one")
    assert (git(root, "rev-parse", "HEAD"), git(root, "status", "--short")) == before


def test_a_bare_repository_gets_a_branch(root: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(root), str(tmp_path / "bare.git"))
    found = optimised(tmp_path / "bare.git", branch="tries/one")
    assert found.commit == git(tmp_path / "bare.git", "rev-parse", "tries/one")
