from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts import Prompt, PromptRepository, prompts_from


def system(prompt: Prompt) -> str:
    return prompt.render(question="Q").messages[0].text


def test_every_kind_of_version_is_read(repository) -> None:
    first, second = repository.commit_version("1"), repository.commit_version("2")
    repository.write("[system]\nVersion 3\n[user]\n{{ question }}")
    repository.git("tag", "v1", first)
    prompts = PromptRepository(repository.root)
    prompts.label("prod", "v1")

    shown = {
        version: system(prompts.get(f"support/answer{version}"))
        for version in ("@prod", "@v1", "@main", "@HEAD", f"@{first}", f"@{second[:7]}", "@worktree", "")
    }

    assert shown == {
        "@prod": "Version 1",
        "@v1": "Version 1",
        "@main": "Version 2",
        "@HEAD": "Version 2",
        f"@{first}": "Version 1",
        f"@{second[:7]}": "Version 2",
        "@worktree": "Version 3",
        "": "Version 3",
    }


def test_a_prompt_says_where_it_comes_from(repository) -> None:
    commit = repository.commit_version("1")
    prompts = PromptRepository(repository.root)
    at_main, lying = prompts.get("support/answer@main"), prompts.get("support/answer")

    assert (at_main.name, at_main.version, at_main.commit) == ("support/answer", "main", commit)
    assert (lying.name, lying.version, lying.commit) == ("support/answer", "worktree", None)
    assert at_main.hash == lying.hash
    assert at_main.render(question="Q").prompt == at_main.ref


def test_what_was_read_from_a_commit_is_kept(repository) -> None:
    commit = repository.commit_version("1")
    prompts = PromptRepository(repository.root)
    prompt = prompts.get(f"support/answer@{commit}")
    (repository.root / ".git").rename(repository.root / "gone")

    assert prompts.get(f"support/answer@{commit}") is prompt


def test_a_moved_label_counts_at_once(repository) -> None:
    repository.commit_version("1")
    prompts, others = PromptRepository(repository.root), PromptRepository(repository.root)
    prompts.label("prod", "HEAD")
    assert system(prompts.get("support/answer@prod")) == "Version 1"
    repository.commit_version("2")
    others.label("prod", "HEAD")

    assert system(prompts.get("support/answer@prod")) == "Version 2"


def test_a_broken_file_in_a_commit_names_the_commit(repository) -> None:
    repository.write("---\nmodel: x\n---\ny")
    commit = repository.commit("broken")

    with pytest.raises(PromptError, match=rf"^prompts/support/answer\.prompt\.md@{commit[:12]}:2: unknown key"):
        PromptRepository(repository.root).get("support/answer@HEAD")


def test_an_unknown_prompt_is_named_with_what_there_is(repository) -> None:
    repository.commit_version("1")
    repository.write("x", "support/new")
    prompts = PromptRepository(repository.root)

    with pytest.raises(PromptError, match=r"at 'main' .*; there are support/answer. Did you mean 'support/answer'"):
        prompts.get("support/anwser@main")
    with pytest.raises(PromptError, match=r"in the working tree .*; there are support/answer, support/new"):
        prompts.get("support/anwser")
    assert prompts.names() == ("support/answer", "support/new")
    assert prompts.names("main") == ("support/answer",)


def test_an_unknown_version_is_named_with_what_there_is(repository) -> None:
    repository.commit_version("1")
    repository.git("tag", "v1")
    prompts = PromptRepository(repository.root)

    with pytest.raises(PromptError, match=r"no version 'prd': it has v1, main.* Labels do not come with a clone"):
        prompts.get("support/answer@prd")
    with pytest.raises(PromptError, match="no label yet: `llmops prompt label prod HEAD` makes one"):
        prompts.get("support/answer@prod")
    with pytest.raises(PromptError, match="git rev-parse HEAD~1"):
        prompts.log("support/answer", version="HEAD~1")
    prompts.label("prod", "HEAD")
    with pytest.raises(
        PromptError, match=r"no version 'prd': it has prod, v1, main\. Did you mean 'prod'\?$"
    ) as caught:
        prompts.get("support/answer@prd")
    assert caught.value.prompt == "support/answer"


@pytest.mark.parametrize("version", ["x" * 5_000, "\ud800", "a\0b", "main\n", "../../HEAD", "prod@x", "HEAD~1", "-1"])
def test_what_can_be_no_version_is_none(repository, version: str) -> None:
    repository.commit_version("1")

    with pytest.raises(PromptError, match=r"has no version .* it has main\."):
        PromptRepository(repository.root).get(f"support/answer@{version}")


@pytest.mark.parametrize(
    "spec", ["", "@main", "../secret", "/etc/passwd", "a//b", "a\\b", ".git/config", "a/../b", "a@", "a b"]
)
def test_what_names_no_prompt_is_refused(repository, spec: str) -> None:
    repository.commit_version("1")

    with pytest.raises(PromptError, match="names no prompt"):
        PromptRepository(repository.root).get(spec)


def test_a_repository_without_commits_has_its_working_tree(repository) -> None:
    repository.write("Hello")
    prompts = PromptRepository(repository.root)

    assert prompts.get("support/answer").render().messages[0].text == "Hello"
    with pytest.raises(PromptError, match="has no commit yet"):
        prompts.get("support/answer@HEAD")


def test_without_git_there_are_files_and_no_versions(tmp_path: Path) -> None:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "greet.prompt.md").write_text("Hello")
    (tmp_path / "src").mkdir()
    prompts = PromptRepository(tmp_path / "src")

    assert prompts.root == tmp_path.resolve()
    for spec in ("greet", "greet@worktree"):
        assert (prompts.get(spec).version, prompts.get(spec).commit) == (None, None)
    assert prompts.names() == ("greet",)
    for refused in (
        lambda: prompts.get("greet@prod"),
        lambda: prompts.label("prod", "HEAD"),
        prompts.labels,
        lambda: prompts.log("greet"),
        prompts.moves,
    ):
        with pytest.raises(PromptError, match="is not in a git repository"):
            refused()


def test_a_bare_repository_has_no_working_tree(repository, clone) -> None:
    repository.commit_version("1")
    prompts = PromptRepository(clone(repository, "bare.git", "--bare").root)

    assert system(prompts.get("support/answer@main")) == "Version 1"
    with pytest.raises(PromptError, match="is bare, it has no working tree: write `support/answer@branch`"):
        prompts.get("support/answer")


def test_a_shallow_clone_says_that_it_is_shallow(repository, clone) -> None:
    first = repository.commit_version("1")
    repository.commit_version("2")
    prompts = PromptRepository(clone(repository, "shallow", "--depth", "1").root)

    assert system(prompts.get("support/answer@HEAD")) == "Version 2"
    assert system(prompts.get("support/answer@origin/main")) == "Version 2"
    with pytest.raises(PromptError, match="this clone is shallow"):
        prompts.get(f"support/answer@{first}")


def test_any_commit_renders_byte_identical_requests_after_a_clone(repository, clone) -> None:
    commits = [repository.commit_version(version) for version in ("1", "zwei", "三", "1")]
    here = PromptRepository(repository.root)
    repository.git("gc", "-q")
    there = PromptRepository(clone(repository, "elsewhere").root)

    for commit in commits:
        ours, theirs = here.get(f"support/answer@{commit}"), there.get(f"support/answer@{commit}")
        assert repr(ours.render(question="é?")).encode() == repr(theirs.render(question="é?")).encode()
        assert ours.ref == theirs.ref
    hashes = [there.get(f"support/answer@{commit}").hash for commit in commits]
    assert hashes[0] == hashes[3]
    assert len(set(hashes)) == 3


def test_load_finds_the_repository_of_the_current_folder(repository, monkeypatch) -> None:
    repository.commit_version("1")
    (repository.root / "src").mkdir()
    monkeypatch.chdir(repository.root / "src")

    assert system(Prompt.load("support/answer@main")) == "Version 1"
    assert Prompt.load("support/answer@main") is Prompt.load("support/answer@main")


def test_load_takes_a_repository(repository) -> None:
    repository.commit_version("1")

    assert system(Prompt.load("support/answer", repository=PromptRepository(repository.root))) == "Version 1"


def test_the_prompts_may_lie_in_another_folder(repository) -> None:
    file = repository.root / "apps" / "shop" / "greet.prompt.md"
    file.parent.mkdir(parents=True)
    file.write_text("Hello")
    (repository.root / "top.prompt.md").write_text("Top")
    repository.commit("x")

    for spec in ("greet", "greet@main"):
        assert PromptRepository(repository.root, folder="apps/shop/").get(spec).render().messages[0].text == "Hello"
    assert PromptRepository(repository.root, folder="").get("top@main").render().messages[0].text == "Top"
    assert PromptRepository(repository.root, folder="").names("main") == ("apps/shop/greet", "top")


def test_the_projects_own_prompt_renders() -> None:
    prompt = PromptRepository(Path(__file__).parent).get("support/answer")
    request = prompt.render(question="Where is my parcel?", customer="Ada")

    assert (request.temperature, request.max_tokens) == (0, 48)
    assert [one.role for one in request.messages] == ["system", "user"]
    assert [(one.source, one.trusted) for one in request.messages[1].origins] == [
        ("variable:customer", False),
        ("variable:question", False),
    ]


@pytest.mark.parametrize("version", ["", "@HEAD", "@prod"])
def test_the_source_of_a_prompt_comes_with_what_reads_its_siblings(repository, version: str) -> None:
    repository.write("tone", "shared/x").rename(repository.root / "prompts" / "shared" / "tone.md")
    repository.write("\ufeffa\r\nb")
    repository.commit("x")
    prompts = PromptRepository(repository.root)
    prompts.label("prod", "HEAD")

    text, read = prompts.source(f"support/answer{version}")

    assert text == "a\nb"
    assert read("shared/tone.md") == b"tone"
    for outside in ("../.git/config", "/etc/passwd", "shared/../../x", "a\0b", "..\\x", "", "shared", "shared/none"):
        assert read(outside) is None
    with pytest.raises(PromptError, match="there is no prompts/other"):
        prompts.source(f"other{version}")


class Opens:
    """Counts what this process opens and lists. An audit hook stays for ever, so there is one."""

    def __init__(self) -> None:
        self.paths: list[str] | None = None
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.paths is not None and event in ("open", "os.listdir", "os.scandir"):
            self.paths.append(str(arguments[0]))

    @contextlib.contextmanager
    def counted(self) -> Iterator[list[str]]:
        self.paths = paths = []
        yield paths
        self.paths = None


OPENS = Opens()


@pytest.mark.parametrize("packed", [False, True])
def test_a_warm_load_opens_nothing_for_a_commit_and_one_file_for_a_label(repository, packed: bool) -> None:
    commit = repository.commit_version("1")
    prompts = PromptRepository(repository.root)
    prompts.label("prod", commit)
    if packed:
        repository.git("pack-refs", "--all")
    for version in (commit, "prod"):
        prompts.get(f"support/answer@{version}")

    with OPENS.counted() as of_commit:
        prompts.get(f"support/answer@{commit}")
    with OPENS.counted() as of_label:
        prompts.get("support/answer@prod")

    assert of_commit == []
    assert of_label == [
        str(repository.root / ".git" / "refs" / "llmops" / "labels" / "prod")
    ]  # packed: it is not there


def test_a_cold_load_opens_as_many_files_however_long_the_history_is(make_repository) -> None:
    opened = []
    for length in (1, 2, 20):  # the first one also opens modules that dulwich imports late
        repository = make_repository(f"of-{length}")
        for version in range(length):
            commit = repository.commit_version(str(version))
        repository.git("gc", "-q")
        with OPENS.counted() as paths:
            PromptRepository(repository.root).get(f"support/answer@{commit}")
        opened.append([Path(path).name for path in paths if str(repository.root) in path])

    assert len(opened[1]) == len(opened[2]) < 40


def test_what_stands_in_for_a_repository_is_asked_in_a_thread_too(repository) -> None:
    repository.commit_version("1")
    prompts = PromptRepository(repository.root)
    asked: list[int] = []

    class Lock:
        def get(self, spec: str, repository: PromptRepository | None, /) -> Prompt:
            asked.append(threading.get_ident())
            return prompts.get(spec)

    async def load() -> None:
        with prompts_from(Lock()):
            assert system(await prompts.aget("support/answer")) == "Version 1"
            assert system(await Prompt.aload("support/answer")) == "Version 1"

    asyncio.run(load())
    assert len(asked) == 2
    assert threading.get_ident() not in asked


def test_a_load_for_the_event_loop_reads_in_a_thread_unless_it_knows_the_prompt(repository) -> None:
    commit = repository.commit_version("1")
    prompts = PromptRepository(repository.root)

    async def load() -> tuple[Prompt, Prompt, int]:
        first = await prompts.aget(f"support/answer@{commit}")
        threads = threading.active_count()
        with OPENS.counted() as paths:
            again = await prompts.aget(f"support/answer@{commit}")
        assert paths == []
        assert system(await prompts.aget("support/answer")) == "Version 1"
        assert (await Prompt.aload("support/answer@HEAD", repository=prompts)).commit == commit
        return first, again, threads

    first, again, threads = asyncio.run(load())
    assert first is again
    assert threads > 1
    with pytest.raises(PromptError, match="no version 'prd'"):
        asyncio.run(prompts.aget("support/answer@prd"))
