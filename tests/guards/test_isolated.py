"""Guards in another interpreter: real processes, a real environment with a package made here."""

from __future__ import annotations

import asyncio
import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zipfile
from pathlib import Path

import pytest

from llmops_sdk import Scripted, guards
from llmops_sdk.errors import ClosedError, ConfigurationError, GuardFailed
from llmops_sdk.guards._isolation.environments import environment_folder, environment_python
from llmops_sdk.testing import GuardContract

GUARD = '''
import os, sys, time

class Words:
    """Blocks, rewrites, and does what no guard should."""

    def __init__(self, banned=("badger",), slow=0.0):
        self.banned, self.slow = banned, slow

    def check(self, text, context):
        if text == "hang": time.sleep(60)
        if text == "die": os._exit(3)
        if text == "raise": raise RuntimeError("it broke")
        if text == "nonsense": return {"action": "perhaps"}
        if text == "no json": return {"action": "allow", "findings": [object()]}
        if text == "pid": return {"action": "flag", "reason": str(os.getpid())}
        if text == "stage": return {"action": "flag", "reason": context.stage + " " + context.prompt}
        if text == "print": print("to the standard output", flush=True)
        if text == "shout": sys.stderr.write("x" * 10_000_000)
        if text.startswith("slow"): time.sleep(self.slow)
        for word in self.banned:
            at = text.find(word)
            if at >= 0:
                finding = {"kind": "word", "start": at, "end": at + len(word)}
                return {"action": "rewrite", "text": text.replace(word, "***"), "findings": [finding]}
        return None

class Batches:
    def __init__(self):
        self.sizes = []
    def check_all(self, texts):
        self.sizes.append(len(texts))
        time.sleep(0.05)
        return [{"action": "flag", "reason": str(len(texts))} for _ in texts]

class Broken:
    def __init__(self):
        raise ValueError("no such model")

class ByPackage:
    def check(self, text):
        import tiny_words
        return text not in tiny_words.BANNED

async def later(text):
    return "no" not in text
'''


@pytest.fixture
def make(tmp_path):
    (tmp_path / "wordy.py").write_text(GUARD)
    made = []

    def make(name="Words", **settings):
        guard = guards.isolated(f"wordy:{name}", **({"path": tmp_path, "restarts": 5} | settings))
        made.append(guard)
        return guard

    yield make
    for guard in made:
        guard.close()


def check(guard, text):
    return asyncio.run(guard.acheck(text))


def gone(pid):
    """Whether the process has ended and was collected."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


class TestContract(GuardContract):
    examples_allowed = ("hello",)
    examples_caught = ("a badger",)

    @pytest.fixture(autouse=True)
    def _made(self, make):
        self.make_guard = make

    def test_examples_are_caught(self):
        super().test_examples_are_caught()


def test_rewrites_in_a_pipeline_and_knows_the_question(make):
    guard = make()
    line = "Where?" | Scripted("a badger", "stage") | guard
    assert line.run().text == "a ***"
    assert line.run().verdicts[0].reason == "output Where?"


def test_odd_and_big_texts_come_through(make):
    guard = make()
    assert check(guard, "\ud800 badger \x00").text == "\ud800 *** \x00"
    big = "é" * 5_000_000 + "badger"
    verdict = check(guard, big)
    assert (verdict.findings[0].start, len(verdict.text or "")) == (5_000_000, 5_000_003)


def test_what_the_guard_prints_does_not_come_between(make):
    guard = make()
    assert check(guard, "print").action == "allow"
    assert check(guard, "shout").action == "allow"  # ten megabytes on the standard error


@pytest.mark.parametrize(("text", "why"), [("raise", "it broke"), ("nonsense", "perhaps"), ("no json", "object")])
def test_a_guard_that_breaks_fails_that_check_only(make, text, why):
    guard = make()
    with pytest.raises(GuardFailed, match=why):
        check(guard, text)
    assert check(guard, "badger").action == "rewrite"


def test_on_error_rules_what_a_failure_means(make):
    for on_error, blocked in (("block", True), ("allow", False)):
        result = ("Where?" | Scripted("raise") | make(on_error=on_error)).run()
        assert result.blocked is blocked
        assert "it broke" in result.verdicts[0].error


def test_a_hanging_worker_is_ended_and_the_checks_behind_it_are_done_again(make):
    guard = make(timeout_s=0.3)

    async def all_at_once():
        return await asyncio.gather(*(guard.check(text) for text in ("hang", "badger")), return_exceptions=True)

    before = check(guard, "pid")
    hung, after = asyncio.run(all_at_once())
    assert isinstance(hung, GuardFailed)
    assert "timeout_s=0.3" in str(hung)
    assert after.text == "***"
    assert gone(int(before.reason))


def test_a_worker_that_dies_is_started_again_and_the_check_is_tried_twice(make):
    guard = make()
    first = int(check(guard, "pid").reason)
    os.kill(first, signal.SIGKILL)
    second = int(check(guard, "pid").reason)
    assert second != first

    async def with_a_neighbour():
        return await asyncio.gather(guard.check("die"), guard.check("badger"), return_exceptions=True)

    died, neighbour = asyncio.run(with_a_neighbour())
    assert isinstance(died, GuardFailed)
    assert "exit status 3" in str(died)
    assert neighbour.text == "***"


def test_one_that_dies_and_dies_rests(make):
    guard = make(restarts=1)
    with pytest.raises(GuardFailed):
        check(guard, "die")
    started = time.monotonic()
    with pytest.raises(GuardFailed, match="within a minute"):
        check(guard, "hello")
    assert time.monotonic() - started < 5


def test_waiting_checks_go_together(make):
    guard = make("Batches")

    async def many():
        return await asyncio.gather(*(guard.check(str(number)) for number in range(20)))

    sizes = [int(verdict.reason) for verdict in asyncio.run(many())]
    assert max(sizes) >= 10


def test_threads_and_loops_share_one_worker(make):
    guard = make()
    wrong = []

    def many():
        async def loop():
            return await asyncio.gather(*(guard.check(f"{n} badger" if n % 2 else f"{n}") for n in range(100)))

        for n, verdict in enumerate(asyncio.run(loop())):
            if verdict.text != (f"{n} ***" if n % 2 else None):
                wrong.append(n)

    threads = [threading.Thread(target=many) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_check_that_is_cancelled_leaves_the_others_alone(make):
    guard = make(arguments={"slow": 0.1})

    async def cancel_one():
        first = asyncio.create_task(guard.check("slow"))
        second = asyncio.create_task(guard.check("slow badger"))
        await asyncio.sleep(0.02)
        first.cancel()
        return await second

    assert asyncio.run(cancel_one()).text == "slow ***"


def test_async_functions_and_bools_are_guards_too(make):
    guard = make("later")
    assert check(guard, "yes").action == "allow"
    assert check(guard, "no").action == "block"


def test_what_cannot_be_loaded_is_told_when_it_is_prepared(make):
    with pytest.raises(ConfigurationError, match="ValueError: no such model"):
        make("Broken").prepare()
    with pytest.raises(ConfigurationError, match="Nowhere"):
        make("Nowhere").prepare()
    with pytest.raises(ConfigurationError, match="module:Class"):
        guards.isolated("wordy")
    with pytest.raises(ConfigurationError, match="values of JSON"):
        guards.isolated("wordy:Words", arguments={"banned": {"a set"}})
    with pytest.raises(ConfigurationError, match="not there"):
        guards.isolated("wordy:Words", python="python0.1").prepare()


def test_close_ends_the_worker_and_the_last_copy_does_too(make):
    guard = make()
    pid = int(check(guard, "pid").reason)
    guard.close()
    guard.close()
    assert gone(pid)
    with pytest.raises(ClosedError):
        check(guard, "hello")
    other = guards.isolated("wordy:Words", path=guard._settings.path)
    pid = int(check(other, "pid").reason)
    copied = copy.copy(other)
    assert int(check(copied, "pid").reason) == pid
    del other
    gc.collect()
    assert check(copied, "hello").action == "allow"
    del copied
    gc.collect()
    assert gone(pid)


def test_a_pickle_starts_a_worker_of_its_own(make):
    guard = make(arguments={"banned": ["fox"]})
    pid = check(guard, "pid").reason
    with pickle.loads(pickle.dumps(guard)) as other:
        assert check(other, "a fox").text == "a ***"
        assert check(other, "pid").reason != pid


SCRIPT = """
import asyncio, os, sys, time
from llmops_sdk import guards
guard = guards.isolated("wordy:Words", path=sys.argv[1])
print(asyncio.run(guard.acheck("pid")).reason, flush=True)
if sys.argv[2] == "fork":
    child = os.fork()
    if child == 0:
        print(asyncio.run(guard.acheck("pid")).reason, flush=True)
        guard.close()
        time.sleep(60)
time.sleep(60 if sys.argv[2] != "end" else 0)
"""


@pytest.mark.parametrize("how", ["end", "fork"])
def test_the_worker_ends_with_its_parent(make, tmp_path, how):
    make()
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path), how], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        if how == "fork":  # the child has a worker of its own, and does not keep the parent's alive
            assert int(parent.stdout.readline()) != pid
        if how != "end":
            child = _child_of(parent.pid, but=pid)
            parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert gone(pid)
        if how == "fork":
            os.kill(child, signal.SIGKILL)


def _child_of(parent, but):
    for status in Path("/proc").glob("[0-9]*/stat"):
        pid, rest = status.parent.name, status.read_text().rpartition(")")[2].split()
        if rest[1] == str(parent) and int(pid) != but:
            return int(pid)
    return None


# Environments.


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """A package that holds one list."""
    path = tmp_path_factory.mktemp("wheels") / "tiny_words-1.0-py3-none-any.whl"
    info = "tiny_words-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tiny_words.py", "BANNED = ['badger']\n")
        file.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-words\nVersion: 1.0\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", "")
    return path


OFFLINE = ("--no-deps", "--no-index")


def test_an_environment_is_made_once_and_by_one_process(make, wheel, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LLMOPS_CACHE", str(tmp_path / "cache"))
    script = textwrap.dedent(f"""
        from llmops_sdk.guards._isolation.environments import environment_python
        print(environment_python([{str(wheel)!r}], pip_options={OFFLINE!r}))
    """)
    with subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True) as other:
        guard = make("ByPackage", requirements=[str(wheel)], pip_options=OFFLINE)
        assert check(guard, "badger").blocked
        assert check(guard, "fox").action == "allow"
        assert other.stderr is not None
        shown = other.stderr.read() + capsys.readouterr().err
    assert shown.count("making an environment, once") == 1
    assert shown.count("made the environment") == 1
    (made,) = [one for one in (tmp_path / "cache" / "environments").iterdir() if one.is_dir()]
    assert made == environment_folder([str(wheel)], sys.executable, OFFLINE)
    started = time.monotonic()
    environment_python([str(wheel)], pip_options=OFFLINE)
    assert time.monotonic() - started < 2
    assert not capsys.readouterr().err


@pytest.fixture
def quick_python(tmp_path):
    """An interpreter whose environments use the pip that it has, which spares them some seconds."""
    path = tmp_path / "quick-python"
    path.write_text(f"""#!/bin/sh
if [ "$3" = venv ]; then exec {sys.executable} -I -m venv --without-pip --system-site-packages "$4"; fi
exec {sys.executable} "$@"
""")
    path.chmod(0o755)
    return str(path)


def test_one_without_its_marker_is_made_again_and_pip_says_why_it_failed(tmp_path, monkeypatch, capsys, quick_python):
    monkeypatch.setenv("LLMOPS_CACHE", str(tmp_path / "cache"))
    folder = environment_folder(["no-such-package"], quick_python, OFFLINE)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").write_text("an interrupted one")
    with pytest.raises(
        ConfigurationError, match=r"pip could not install no-such-package(.|\n)*No matching distribution"
    ):
        environment_python(["no-such-package"], quick_python, pip_options=OFFLINE)
    assert [one.suffix for one in folder.parent.iterdir()] == [".lock"]  # nothing half made is left


# LLM-Guard itself: 1.5 GB, so only where somebody asks for it.


@pytest.mark.heavy
@pytest.mark.timeout(900)
@pytest.mark.skipif(
    not os.environ.get("LLMOPS_SDK_TEST_LLM_GUARD"),
    reason="installs LLM-Guard 0.3.16 (1.5 GB) into the cache folder: set LLMOPS_SDK_TEST_LLM_GUARD=1 to run it",
)
def test_llm_guard_itself_in_its_own_environment():
    own = {"requirements": ["torch==2.13.0", "llm-guard==0.3.16"], "python": "python3.11"}
    key = "AK" + "IA" + "Q7WERTYU2OP3ASDF"
    with guards.isolated("llm_guard:input.Secrets", **own) as secrets:
        verdict = check(secrets, f"first {key} and again {key}")
        assert (verdict.action, len(verdict.findings)) == ("rewrite", 2)
        assert key[:8] not in verdict.text
        assert not check(secrets, "").findings
    with guards.isolated("llm_guard:input.BanSubstrings", arguments={"substrings": ["badger"]}, **own) as banned:
        assert check(banned, "a badger").blocked
    with guards.isolated("llm_guard:output.NoRefusalLight", **own) as refusals:
        assert check(refusals, "I'm sorry, but I cannot help.").blocked
