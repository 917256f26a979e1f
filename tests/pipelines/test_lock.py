"""The lock: what it pins, what differs from it, and pipelines that are built by it."""

from __future__ import annotations

import importlib
import json
import os
import pickle
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import llmops_sdk
from llmops_sdk import Pipeline, Prompt, Scripted, tracing
from llmops_sdk.calls import Started
from llmops_sdk.engines import Engine
from llmops_sdk.errors import ConfigurationError, LockError, PromptError
from llmops_sdk.pipelines import Difference, Lock
from llmops_sdk.pipelines._locking.document import as_text, document_hash, parsed
from llmops_sdk.prompts import PromptRepository
from llmops_sdk.tracing._dialects import gen_ai

SOURCES = str(Path(llmops_sdk.__file__).parents[1])
PROMPT = "---\nvariables: {question: str}\n---\n[system]\nBe %s.\n\n[user]\n{{ question }}\n"
PIPELINES = """
import os
from llmops_sdk import Prompt, Router, Scripted
from llmops_sdk.guards import PII, Length
from llmops_sdk.prompts import PromptRepository

answer = Prompt.load("support/answer@prod")
support = answer | PII() | Scripted("Hello", name="main") | Length(most=100)

def make():
    return PromptRepository(".").get("support/answer@prod") | Scripted("Hello " + os.environ["WHOM"])
"""


class App:
    """An application in a git repository of its own: a package `shop` and a prompt with the label `prod`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.prompt = root / "prompts" / "support" / "answer.prompt.md"
        self.module = root / "shop" / "pipelines.py"
        self.lock = root / "llmops.lock"
        for file in (self.prompt, self.module):
            file.parent.mkdir(parents=True)
        (root / "shop" / "__init__.py").touch()
        self.module.write_text(PIPELINES)
        self.git("init", "-q", "-b", "main")
        self.release("kind")

    def git(self, *arguments: str) -> str:
        # No configuration but our own: tests do not depend on who runs them.
        environment = {"PATH": os.environ["PATH"], "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        done = subprocess.run(
            ["git", *who, *arguments], cwd=self.root, env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def release(self, how: str) -> str:
        """Commit the prompt, and move its label there."""
        self.prompt.write_text(PROMPT % how)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", how)
        self.git("update-ref", "refs/llmops/labels/prod", "HEAD")
        return self.git("rev-parse", "HEAD")

    def edit(self, old: str, new: str) -> None:
        self.module.write_text(self.module.read_text().replace(old, new))
        forget()

    def locked(self, *sources: str) -> Lock:
        lock = Lock.make(*(sources or ("shop.pipelines:support",))).write(self.lock)
        forget()
        return lock


def forget() -> None:
    """As if a new process began: the application is not imported, its repository not opened."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "shop"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    importlib.import_module("llmops_sdk.prompts.repository")._opened.clear()


@pytest.fixture
def app(tmp_path, monkeypatch):
    made = App(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield made
    forget()


def system_of(pipeline: Pipeline) -> str:
    return pipeline.prompt.render(question="?").messages[0].text


def whats(differences) -> list[str]:
    return [one.what for one in differences]


def test_a_lock_says_what_a_pipeline_runs(app):
    data = app.locked().data
    commit = app.git("rev-parse", "HEAD")
    prompt = data["prompts"]["support/answer@prod"]
    assert prompt == {"hash": prompt["hash"], "commit": commit, "path": "prompts/support/answer.prompt.md"}
    entry = data["pipelines"]["support"]
    assert entry["source"] == "shop.pipelines:support"
    assert entry["line"] == ["support/answer", "pii", "main", "length"]
    assert entry["prompt"]["hash"] == prompt["hash"]
    assert {name: (one["kind"], one["stage"]) for name, one in entry["guards"].items()} == {
        "pii": ("llmops_sdk.guards:PII", "input"),
        "length": ("llmops_sdk.guards:Length", "output"),
    }
    assert entry["models"]["main"]["kind"] == "llmops_sdk.engines:Scripted"
    assert entry["prices"]["built_in"] >= "2026"
    assert (data["format"], data["sdk"]) == (1, llmops_sdk.__version__)


def test_the_same_release_is_locked_in_the_same_bytes(app):
    app.locked()
    first = app.lock.read_bytes()
    app.locked()
    assert app.lock.read_bytes() == first


def test_other_commits_change_nothing_of_a_lock(app):
    brought = app.git("rev-parse", "HEAD")
    before = app.locked()
    app.git("commit", "-q", "--allow-empty", "-m", "nothing")
    (app.root / "README").write_text("other")
    app.git("add", "README")
    app.git("commit", "-q", "-m", "other")
    app.git("update-ref", "refs/llmops/labels/prod", "HEAD")
    assert before.differences() == ()
    assert before.moved() == {}
    forget()
    text = app.lock.read_text()
    assert app.locked().hash == before.hash
    assert app.lock.read_text() == text
    assert before.data["prompts"]["support/answer@prod"]["commit"] == brought


def test_the_order_of_a_routers_engines_is_pinned(app):
    app.edit('Scripted("Hello", name="main")', "Router([Scripted('a', name='a'), Scripted('b', name='b')])")
    lock = app.locked()
    assert lock.data["pipelines"]["support"]["models"]["router"]["legs"] == ["a", "b"]
    assert lock.differences() == ()
    forget()
    app.edit("Scripted('a', name='a'), Scripted('b', name='b')", "Scripted('b', name='b'), Scripted('a', name='a')")
    assert whats(lock.differences()) == ["pipelines.support.models.router.legs"]


def test_engines_of_one_name_are_both_pinned(app):
    app.edit('Scripted("Hello", name="main")', "Router([Scripted('a'), Scripted('b')])")
    lock = app.locked()
    models = lock.data["pipelines"]["support"]["models"]
    assert list(models) == ["router", "router/scripted", "router/scripted-2"]
    app.edit("Scripted('a')", "Scripted('c')")
    assert whats(lock.differences()) == ["pipelines.support.models.router/scripted.hash"]


def test_versions_can_be_compared_while_a_lock_is_in_force(app):
    first = app.release("rude")
    repository = PromptRepository(app.root)
    with app.locked().in_force():
        assert repository.diff("support/answer", f"{first}", "worktree").compatible


def test_a_file_is_the_lock_that_was_written_however_its_lines_end(app):
    written = app.locked()
    assert Lock.read().data == written.data
    app.lock.write_bytes(b"\xef\xbb\xbf" + app.lock.read_bytes().replace(b"\n", b"\r\n"))
    assert Lock.read(app.lock).hash == written.hash
    assert Lock.read(app.root).hash == written.hash


def test_nothing_differs_in_a_new_process_from_what_was_just_locked(app):
    assert app.locked().differences() == ()


def test_the_locked_prompt_is_used_after_its_label_has_moved(app):
    app.locked()
    later = app.release("rude")
    assert system_of(Pipeline.from_lock("support")) == "Be kind."
    forget()
    assert Lock.read().differences() == ()
    assert Lock.read().moved() == {"support/answer@prod": later}
    assert Prompt.load("support/answer@prod").render(question="?").messages[0].text == "Be rude."


def test_a_repository_that_the_application_opens_gives_the_locked_prompt_too(app, monkeypatch):
    monkeypatch.setenv("WHOM", "Ada")
    app.locked("support=shop.pipelines:make")
    app.release("rude")
    pipeline = Pipeline.from_lock("support")
    assert system_of(pipeline) == "Be kind."
    assert pipeline.prompt.version == "prod"
    assert pipeline.prompt.commit == app.git("rev-parse", "HEAD~1")


def test_a_module_that_was_imported_before_with_another_prompt_is_refused(app):
    app.locked()
    app.release("rude")
    importlib.import_module("shop.pipelines")
    with pytest.raises(LockError, match="imported before the lock was in force") as caught:
        Pipeline.from_lock("support")
    assert whats(caught.value.differences) == ["pipelines.support.prompt.hash"]


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("PII()", "PII(kinds=['email'])", ["pipelines.support.guards.pii.hash"]),
        ("Length(most=100)", "Length(most=99)", ["pipelines.support.guards.length.hash"]),
        ('Scripted("Hello", name', 'Scripted("Bye", name', ["pipelines.support.models.main.hash"]),
        ('name="main"', 'model="other", name="main"', ["pipelines.support.models.main.model"]),
        ("PII() | ", "", ["pipelines.support.line", "pipelines.support.guards.pii"]),
    ],
    ids=["guard", "limit", "engine", "model", "line"],
)
def test_what_was_changed_in_the_application_is_named(app, old, new, what):
    lock = app.locked()
    app.edit(old, new)
    assert whats(lock.differences()) == what
    forget()
    with pytest.raises(LockError) as caught:
        Pipeline.from_lock("support")
    assert whats(caught.value.differences) == what
    assert all(str(one) in str(caught.value) for one in caught.value.differences)


def test_a_prompt_of_the_working_tree_is_pinned_by_its_content(app):
    app.edit("answer@prod", "answer")
    lock = app.locked()
    assert "commit" not in lock.data["prompts"]["support/answer"]
    app.prompt.write_text(PROMPT % "rude")
    forget()
    assert whats(lock.differences()) == ["prompts.support/answer.hash", "pipelines.support.prompt.hash"]


def test_a_prompt_that_the_lock_does_not_have_is_named(app):
    lock = app.locked()
    app.edit("answer@prod", "answer@main")
    assert lock.differences() == (Difference("prompts.support/answer@main", None, "loaded"),)


def test_another_version_of_the_library_is_named(app):
    lock = app.locked()
    other = Lock({**lock.data, "sdk": "0.0.1"})
    assert other.differences() == (Difference("sdk", "0.0.1", llmops_sdk.__version__),)


def test_prices_of_its_own_are_pinned(app):
    app.edit(
        "support = answer", "from llmops_sdk import Pipeline\nfrom llmops_sdk.costs import PriceTable\nline = answer"
    )
    app.edit("def make", 'support = Pipeline(line, prices=PriceTable({"m": {"input": "1", "output": "2"}}))\ndef make')
    lock = app.locked()
    app.edit('"output": "2"', '"output": "3"')
    assert whats(lock.differences()) == ["pipelines.support.prices.own"]


def test_a_guard_that_cannot_be_pinned_is_said_so(app):
    app.edit(
        "support = answer",
        "class Mine:\n def __init__(self, a): self.a = a\n def check(self, text): ...\nsupport = answer | Mine(1)",
    )
    lock = app.locked()
    assert list(lock.unpinned) == ["pipelines.support.guards.mine"]
    assert "shop.pipelines:Mine has no form" in lock.unpinned["pipelines.support.guards.mine"]


def test_a_content_that_is_here_under_another_commit_is_the_same_prompt(app):
    lock = app.locked()
    app.git("commit", "-q", "--amend", "-m", "another commit")
    app.git("update-ref", "-d", "refs/llmops/labels/prod")
    app.git("reflog", "expire", "--expire=now", "--all")
    app.git("gc", "-q", "--prune=now")
    forget()
    assert lock.differences() == ()
    app.prompt.write_text(PROMPT % "rude")
    forget()
    with pytest.raises(LockError, match=r"pinned at the commit \w{12}, which is not here"):
        lock.differences()


def test_a_missing_variable_of_the_environment_passes_through_with_what_was_built(app, monkeypatch):
    monkeypatch.setenv("WHOM", "Ada")
    app.locked("shop.pipelines:make")
    monkeypatch.delenv("WHOM")
    with pytest.raises(KeyError) as caught:
        Pipeline.from_lock("make")
    assert caught.value.__notes__ == ["while the pipeline 'make' of the lock was built from shop.pipelines:make"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("shop.pipelines", "no import path"),
        ("shop.nowhere:support", "there is no module 'shop.nowhere'"),
        ("shop.pipelines:suport", "there is no 'suport' in shop.pipelines"),
        ("shop.pipelines:answer", "which is no Pipeline"),
    ],
)
def test_a_wrong_import_path_says_what_to_write(app, source, said):
    with pytest.raises(ConfigurationError, match=said):
        Lock.make(source)


def test_two_pipelines_of_one_name_and_none_at_all_are_refused(app):
    with pytest.raises(ConfigurationError, match="two pipelines are called 'make'"):
        Lock.make("shop.pipelines:make", "make=shop.pipelines:support")
    with pytest.raises(ConfigurationError, match="a lock needs pipelines"):
        Lock.make()


def test_a_pipeline_that_the_lock_does_not_have_is_refused_with_the_nearest_name(app):
    app.locked()
    with pytest.raises(LockError, match=r"has no pipeline 'suport'; it has support\. Did you mean 'support'\?"):
        Pipeline.from_lock("suport")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("format = 99\n", "reads up to 1: upgrade"),
        ("<<<<<<< HEAD\nformat = 1\n", "conflict markers of git"),
        ("format = \n", "this is not TOML"),
        ("", "there is no `format`"),
        ("format = 1\n", "`sdk` is missing"),
        ("format = 1\nsdk = '1'\nbundle = '../other'\n", "`bundle` is a folder beside the lock"),
        ("format = 1\nsdk = '1'\n[pipelines.a]\nline = []\n", r"`\[pipelines.a\]` lacks source"),
        ("format = 1\nsdk = '1'\nprompts = 3\n", r"`\[prompts.*\]` lacks hash, path"),
        ("format = 1\nsdk = '1'\n[prompts]\n'a@b' = 3\n", "lacks hash, path"),
        ("format = 1\nsdk = '1'\n[prompts.a]\nhash = 3\npath = 'a'\n", r"`\[prompts.a\]` lacks hash;"),
        ("format = 1\nsdk = '1'\n[prompts.a]\nhash = 'h'\npath = 'a'\ncommit = 3\n", r"`commit` in `\[prompts.a\]`"),
    ],
)
def test_a_broken_lock_is_refused_with_its_path(tmp_path, text, said):
    file = tmp_path / "llmops.lock"
    file.write_text(text)
    with pytest.raises(LockError, match=said) as caught:
        Lock.read(file)
    assert caught.value.path == str(file)
    assert str(caught.value).startswith(f"{file}: ")


def test_no_lock_and_one_that_is_no_text_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LockError, match="write it with `llmops lock"):
        Lock.read()
    (tmp_path / "llmops.lock").write_bytes(b"\xff")
    with pytest.raises(LockError, match="cannot be read"):
        Lock.read()


def test_the_nearest_lock_above_is_read(app, monkeypatch):
    written = app.locked()
    monkeypatch.chdir(app.module.parent)
    assert Lock.read().hash == written.hash


def test_while_it_is_in_force_prompts_are_what_it_pins_and_others_are_refused(app):
    lock = app.locked()
    app.release("rude")
    with lock.in_force():
        assert Prompt.load("support/answer@prod").render(question="?").messages[0].text == "Be kind."
        assert Prompt.load("support/answer@prod") is Prompt.load("support/answer@prod")  # read once
        assert PromptRepository(".").get("support/answer@prod").version == "prod"
        with pytest.raises(LockError, match=r"prompts\.support/answer@main: the lock says nothing"):
            Prompt.load("support/answer@main")
    assert Prompt.load("support/answer@main").render(question="?").messages[0].text == "Be rude."


def test_a_prompt_that_is_not_there_is_still_an_error_of_the_prompt(app):
    lock = app.locked()
    app.edit("answer@prod", "answr@prod")
    with pytest.raises(PromptError, match="there is no prompts/support/answr"):
        lock.differences()


def test_runs_carry_the_hash_of_the_lock_and_others_do_not(app):
    lock = app.locked()
    pipeline = Pipeline.from_lock("support")
    seen = tracing.memory()
    runs = [
        pipeline.run(question="?"),
        pickle.loads(pickle.dumps(pipeline)).run(question="?"),
        pipeline.with_hooks(seen).run(question="?"),
    ]
    records = [run.call.to_json()["events"][0] for run in runs]
    assert gen_ai.started(seen.of(Started)[0], runs[2].call)["llmops.lock.hash"] == lock.hash
    assert [record["lock"] for record in records] == [lock.hash] * 3
    assert pipeline.lock == lock.hash
    assert f"lock {lock.hash[:8]}>" in repr(pipeline)
    changed = Pipeline(*pipeline.stations)
    assert "llmops.lock.hash" not in gen_ai.started(changed.run(question="?").call.events[0], runs[2].call)
    assert "lock" not in changed.run(question="?").call.to_json()["events"][0]
    assert changed.lock is (pipeline.prompt | Scripted("a")).lock is None


def test_joining_more_to_a_locked_pipeline_makes_another_one_that_is_not_locked(app):
    app.locked()
    from llmops_sdk.guards import Secrets

    assert (Pipeline.from_lock("support") | Secrets()).lock is None


ADDRESS = "https://ada:{}@host.example:1/v1?api-version=3&key={}"


def test_no_key_comes_into_a_lock(app, monkeypatch):
    keys = ["hunter" + "2" * 8, "sk-" + "a1B2" * 8, "in-query-" + "c3" * 9, "x" * 24]
    url = ADDRESS.format(keys[0], keys[2])
    app.edit(
        "support = answer",
        "from llmops_sdk import Engine\n"
        f"remote = Engine.open({url!r}, model='m', api_key={keys[1]!r}, headers={{'X-Secret': {keys[3]!r}}})\n"
        "support = answer",
    )
    app.edit('Scripted("Hello", name="main")', "Router([remote, Scripted('a')])")
    lock = app.locked()
    text = app.lock.read_text()
    assert not [key for key in keys if key in text]
    assert 'url = "https://host.example:1/v1?api-version=3"' in text
    assert lock.data["pipelines"]["support"]["models"]["router/m@host.example:1"]["model"] == "m"


def test_a_key_of_the_environment_that_would_stand_in_the_lock_is_refused(app, monkeypatch):
    monkeypatch.setenv("MY_API_KEY", "abc" * 9)
    app.edit('name="main"', f'model="{"abc" * 9}", name="main"')
    with pytest.raises(ConfigurationError, match="would stand in the lock, as `model`"):
        app.locked()


def test_models_say_their_revision_and_adapters_are_pinned_by_content(tmp_path):
    from llmops_sdk.pipelines._locking.taking import pins_of

    class Local(Engine):
        in_process = True
        revision = None

        def __init__(self, model, revision=None, adapters=None):
            self.model, self.revision = model, revision

        async def agenerate(self, request): ...

    (tmp_path / "tone").mkdir()
    (tmp_path / "tone" / "adapter_model.safetensors").write_bytes(b"one")

    def pins(revision):
        return pins_of("a" | Local("m", revision, {"tone": tmp_path / "tone"}), "x:y")["models"]["local"]

    assert pins("abc")["revision"] == "abc"
    assert "unpinned" not in pins("abc")
    assert "SHA256SUMS" in pins(None)["unpinned"]
    before = pins("abc")["adapters"]["tone"]
    (tmp_path / "tone" / "adapter_model.safetensors").write_bytes(b"two")
    assert pins("abc")["adapters"]["tone"] != before


def test_a_lock_is_written_whole_or_not_at_all_by_many_processes(app):
    app.locked()
    code = "from llmops_sdk.pipelines import Lock\nlock = Lock.make('shop.pipelines:support')\n"
    code += "print('go', flush=True)\nwhile True: lock.write('llmops.lock', bundle='locked')\n"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([SOURCES, str(app.root)])}
    writers = [
        subprocess.Popen([sys.executable, "-c", code], cwd=app.root, env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    for writer in writers:
        assert writer.stdout is not None
        writer.stdout.readline()
    for number, writer in enumerate(writers):
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            assert Lock.read(app.lock).pipelines == ("support",)
        writer.kill()
        writer.wait()
        assert writer.stdout is not None
        writer.stdout.close()
        assert Lock.read(app.lock).differences() == (), number
        forget()
    app.locked()
    assert not [path.name for path in app.root.iterdir() if path.name.endswith(".making")]


def test_a_lock_that_cannot_be_written_leaves_the_former_one(app):
    lock = app.locked()
    (app.root / "file").touch()
    with pytest.raises(LockError, match="cannot be written"):
        lock.write(app.root / "file" / "llmops.lock")
    assert Lock.read().hash == lock.hash


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
leaves = (
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.integers(0, 2**60)
    | st.lists(st.text(st.characters(exclude_categories=["Cs"])))
)


@given(st.dictionaries(names, leaves | st.dictionaries(names, leaves | st.dictionaries(names, leaves))))
def test_every_document_is_read_as_it_was_written(data):
    assert tomllib.loads(as_text(data)) == data


def test_the_hash_of_a_document_does_not_hang_on_its_order():
    one = {"format": 1, "sdk": "1", "prompts": {"a": {"hash": "1", "path": "a"}}, "pipelines": {}}
    other = dict(reversed(one.items()))
    assert document_hash(one) == document_hash(other) == document_hash(parsed(as_text(other), "here"))
    assert document_hash({**one, "sdk": "2"}) != document_hash(one)


def test_an_error_of_the_lock_survives_pickle():
    error = LockError("no", path="llmops.lock", differences=[Difference("sdk", "1", None)])
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.path, copy.differences) == (error.path, (Difference("sdk", "1", None),))
    assert json.dumps(copy.differences) == '[["sdk", "1", null]]'
