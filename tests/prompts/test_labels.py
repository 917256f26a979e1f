from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from llmops_sdk.errors import PromptError
from llmops_sdk.prompts import LabelMove, PromptRepository
from llmops_sdk.prompts.git import locking

LABEL, AUDIT = "refs/llmops/labels/prod", "refs/llmops/audit/prod"
SPECS = ("refs/llmops/audit/*:refs/llmops/audit/*", "+refs/llmops/labels/*:refs/llmops/labels/*")
FETCH = ("fetch", "-q", "--atomic", "origin", *SPECS)
PUSH = ("push", "-q", "--atomic", "origin", *SPECS)


def told(moves: tuple[LabelMove, ...]) -> list[tuple[str | None, str, bool]]:
    return [(one.old, one.new, one.done) for one in moves]


def assert_sound(repository) -> None:
    """`git fsck` finds nothing; it tells of objects without a ref, which are no damage."""
    done = subprocess.run(
        ["git", "fsck", "--full", "--strict", "--no-dangling"],
        cwd=repository.root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_move_leaves_an_audit_line(repository) -> None:
    first, second = repository.commit_version("1"), repository.commit_version("2")
    prompts = PromptRepository(repository.root)

    created = prompts.label("prod", first[:8])
    moved = prompts.label("prod", "main", who="Grace", why="Better tone", expected=first)
    prompts.label("staging", "main")

    assert (created.old, created.new, created.version, created.who) == (
        None,
        first,
        first[:8],
        "Ada Lovelace <ada@example.org>",
    )
    assert (moved.old, moved.new, moved.who, moved.why) == (first, second, "Grace", "Better tone")
    assert prompts.moves("prod") == (moved, created)
    assert [one.label for one in prompts.moves(limit=2)] == ["staging", "prod"]
    assert prompts.labels() == {"prod": second, "staging": second}


@pytest.mark.parametrize(
    "label", ["", "HEAD", "worktree", "abcdef1", "a b", "a..b", "/a", "a/", "-a", "a.lock", "a@b", "a" * 201]
)
def test_what_cannot_be_a_label_is_refused(repository, label: str) -> None:
    repository.commit_version("1")
    prompts = PromptRepository(repository.root)

    with pytest.raises(PromptError, match="cannot be a label"):
        prompts.label(label, "HEAD")
    assert prompts.labels() == {}


def test_a_label_points_at_commits_that_exist(repository) -> None:
    repository.commit_version("1")
    prompts = PromptRepository(repository.root)

    with pytest.raises(PromptError, match="commit it first"):
        prompts.label("prod", "worktree")
    with pytest.raises(PromptError, match="no version 'v2'"):
        prompts.label("prod", "v2")


def test_a_label_that_was_moved_meanwhile_is_not_overwritten(repository) -> None:
    first, second = repository.commit_version("1"), repository.commit_version("2")
    prompts = PromptRepository(repository.root)
    prompts.label("prod", second)

    with pytest.raises(PromptError, match=f"expected at {first[:12]} and is at {second[:12]}"):
        prompts.label("prod", first, expected=first)
    assert prompts.labels() == {"prod": second}
    assert len(prompts.moves()) == 1


def test_who_moved_a_label_meanwhile_is_said_where_the_audit_knows(repository) -> None:
    first, second = repository.commit_version("1"), repository.commit_version("2")
    prompts = PromptRepository(repository.root)
    repository.git("update-ref", LABEL, second)  # by git, without an entry

    with pytest.raises(PromptError, match="since somebody else moved it"):
        prompts.label("prod", first, expected=first)
    prompts.label("prod", first, who="Grace", why="Better tone")
    with pytest.raises(PromptError, match=r"since Grace \(Better tone\) moved it"):
        prompts.label("prod", first, expected=second)
    repository.git("update-ref", LABEL, second)
    with pytest.raises(PromptError, match="since somebody else moved it"):
        prompts.label("prod", first, expected=first)


def test_what_is_made_is_as_open_to_others_as_the_repository(repository) -> None:
    commit = repository.commit_version("1")
    shared = repository.root / ".git"
    for folder in (shared, *(one for one in shared.rglob("*") if one.is_dir())):
        folder.chmod(0o2770)
    before = os.umask(0o077)
    try:
        PromptRepository(repository.root).label("team/prod", commit)
    finally:
        os.umask(before)

    for folder in ("llmops", "refs/llmops", "refs/llmops/labels", "refs/llmops/labels/team", "refs/llmops/audit/team"):
        assert (shared / folder).stat().st_mode & 0o7777 == 0o2770, folder
    assert (shared / "llmops" / "mover").stat().st_mode & 0o777 == 0o660


def test_labels_come_along_when_they_are_fetched(repository, clone) -> None:
    commit = repository.commit_version("1")
    PromptRepository(repository.root).label("prod", "HEAD")
    cloned = clone(repository, "elsewhere")
    prompts = PromptRepository(cloned.root)
    assert prompts.labels() == {}

    cloned.git("fetch", "-q", "origin", "refs/llmops/*:refs/llmops/*")

    assert prompts.labels() == {"prod": commit}


def test_a_label_is_the_commit_itself_to_git(repository) -> None:
    first, second = repository.commit_version("1"), repository.commit_version("2")
    prompts = PromptRepository(repository.root)
    prompts.label("prod", first)
    moved = prompts.label("prod", second, who="Grace", why="Better tone\n\nand shorter")

    assert repository.git("rev-parse", LABEL) == second
    assert repository.git("rev-parse", AUDIT) == moved.entry
    assert repository.git("rev-parse", f"{AUDIT}^{{tree}}") == repository.git("rev-parse", f"{second}^{{tree}}")
    shown = repository.git("log", "--first-parent", "-2", "--format=%an|%s", AUDIT).splitlines()
    assert shown == [
        f"Grace|prod: {first[:12]} -> {second[:12]} ({second})",
        f"Ada Lovelace|prod: new -> {first[:12]} ({first})",
    ]
    assert "Better tone\n\nand shorter" in repository.git("log", "-1", "--format=%B", AUDIT)
    assert_sound(repository)


def assert_one_follows_the_other(moves: tuple[LabelMove, ...]) -> None:
    """Each move that was carried out began where the one before it had ended."""
    carried_out = [one for one in reversed(moves) if one.done]
    assert [one.old for one in carried_out] == [None, *(one.new for one in carried_out[:-1])]


def test_any_name_and_reason_come_back_and_git_finds_no_fault(repository) -> None:
    repository.commit_version("1")
    prompts = PromptRepository(repository.root)
    names = ("", "Zoë <z@example.org>", "a <b> <c>", "x\ny", " <>", "\0", "<", "名前")
    reasons = (None, "", '{"label": "x"}', "é\n\n\x00\ud800", "x" * 10_000)
    given = [(who, reasons[number % len(reasons)]) for number, who in enumerate(names)]
    for who, why in given:
        prompts.label("prod", "HEAD", who=who, why=why)

    found = [(move.who, move.why) for move in reversed(prompts.moves("prod"))]
    assert found == [(who or "Ada Lovelace <ada@example.org>", why) for who, why in given]
    assert_sound(repository)


def test_what_a_label_pointed_at_outlives_its_branch(repository) -> None:
    repository.commit_version("1")
    repository.git("checkout", "-q", "-b", "side")
    side = repository.commit_version("side")
    prompts = PromptRepository(repository.root)
    prompts.label("prod", side)
    repository.git("checkout", "-q", "main")
    repository.git("branch", "-q", "-D", "side")
    prompts.label("prod", "main")
    repository.git("reflog", "expire", "--expire=now", "--all")
    repository.git("gc", "-q", "--prune=now")

    assert prompts.rollback("prod").new == side
    assert "Version side" in prompts.get("support/answer@prod").sections[0].text


def test_a_rollback_goes_back_and_the_next_one_goes_further_back(repository) -> None:
    one, two, three = (repository.commit_version(version) for version in "123")
    repository.git("tag", "v2", two)
    prompts = PromptRepository(repository.root)
    for version in (one, "v2", three):
        prompts.label("prod", version)

    first = prompts.rollback("prod", why="It is rude", who="Grace", expected=three)
    assert (first.old, first.new, first.version, first.rollback, first.why) == (three, two, "v2", True, "It is rude")
    second = prompts.rollback("prod")
    assert (second.old, second.new) == (two, one)
    with pytest.raises(PromptError, match=r"'prod' cannot be rolled back: .* nothing that it pointed at before"):
        prompts.rollback("prod")

    prompts.label("prod", first.old)
    assert prompts.rollback("prod").new == one
    assert prompts.labels() == {"prod": one}
    assert [move.rollback for move in prompts.moves("prod")] == [True, False, True, True, False, False, False]


def test_a_rollback_undoes_what_git_moved_past_the_audit(repository) -> None:
    one, two, three = (repository.commit_version(version) for version in "123")
    prompts = PromptRepository(repository.root)
    prompts.label("prod", one)
    prompts.label("prod", two)
    prompts.label("prod", two, why="again")
    repository.git("update-ref", LABEL, three)

    assert [prompts.rollback("prod").new, prompts.rollback("prod").new] == [two, one]


def test_what_cannot_be_rolled_back_is_said(repository) -> None:
    repository.commit_version("1")
    prompts = PromptRepository(repository.root)
    first = prompts.label("prod", "HEAD").new
    second = repository.commit_version("2")
    prompts.label("prod", "HEAD")

    with pytest.raises(PromptError, match=r"no label 'prd': there are prod\. Did you mean 'prod'\?"):
        prompts.rollback("prd")
    with pytest.raises(PromptError, match="was not moved"):
        prompts.rollback("prod", expected=first)
    assert prompts.labels() == {"prod": second}
    repository.git("update-ref", "refs/llmops/labels/by-hand", "HEAD")
    with pytest.raises(PromptError, match=r"cannot be rolled back: .* bring its audit here: run `git fetch"):
        prompts.rollback("by-hand")


def test_one_label_cannot_be_a_folder_of_another(repository) -> None:
    repository.commit_version("1")
    prompts = PromptRepository(repository.root)
    prompts.label("eu/prod", "HEAD")
    repository.git("pack-refs", "--all")

    for refused in ("eu", "eu/prod/blue"):
        with pytest.raises(PromptError, match="cannot be a label beside 'eu/prod'"):
            prompts.label(refused, "HEAD")
    assert list(prompts.labels()) == ["eu/prod"]
    repository.git("update-ref", "-d", "refs/llmops/labels/eu/prod")
    repository.git("update-ref", "-d", "refs/llmops/audit/eu/prod")
    prompts.label("eu", "HEAD")
    assert list(prompts.labels()) == ["eu"]
    assert_sound(repository)


def test_packed_labels_are_moved(repository) -> None:
    first, second = repository.commit_version("1"), repository.commit_version("2")
    prompts = PromptRepository(repository.root)
    prompts.label("prod", first)
    repository.git("pack-refs", "--all", "--prune")
    repository.git("gc", "-q")
    prompts.label("prod", second, expected=first)

    assert prompts.labels() == {"prod": second}
    assert told(prompts.moves("prod")) == [(first, second, True), (None, first, True)]
    assert_sound(repository)


def test_a_linked_working_tree_and_a_bare_repository_move_labels(repository, clone) -> None:
    commit = repository.commit_version("1")
    repository.git("worktree", "add", "-q", "-b", "side", "../side")
    bare = clone(repository, "bare.git", "--bare")
    linked = PromptRepository(repository.root.parent / "side")
    linked.label("prod", "HEAD")
    PromptRepository(bare.root).label("prod", "main")

    assert PromptRepository(repository.root).labels() == linked.labels() == {"prod": commit}
    assert len(PromptRepository(bare.root).moves()) == 1
    assert_sound(bare)


def test_moves_that_never_happened_are_marked(repository) -> None:
    first, second = repository.commit_version("1"), repository.commit_version("2")
    prompts = PromptRepository(repository.root)
    prompts.label("prod", first)
    prompts.label("prod", second)
    repository.git("update-ref", LABEL, first)  # as a kill between both renames leaves it

    assert told(prompts.moves("prod")) == [(first, second, False), (None, first, True)]
    prompts.label("prod", second)
    assert told(prompts.moves("prod")) == [(first, second, True), (first, second, False), (None, first, True)]
    assert prompts.rollback("prod").new == first


def test_an_audit_that_holds_something_else_is_an_error(repository) -> None:
    commit = repository.commit_version("1")
    prompts = PromptRepository(repository.root)
    prompts.label("prod", "HEAD")
    repository.git("update-ref", AUDIT, commit)

    with pytest.raises(PromptError, match=rf"the commit {commit} in the audit of the label 'prod' is none"):
        prompts.moves("prod")


def test_the_lock_of_git_is_waited_for_and_named(repository, monkeypatch) -> None:
    monkeypatch.setattr(locking, "_WAIT_S", 0.05)
    commit = repository.commit_version("1")
    prompts = PromptRepository(repository.root)
    lock = repository.root / ".git" / f"{LABEL}.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()

    with pytest.raises(
        PromptError, match=r"another process, git perhaps, is changing refs/llmops/labels/prod .* delete .*prod\.lock"
    ):
        prompts.label("prod", "HEAD")
    assert lock.exists()
    assert prompts.labels() == {}
    assert prompts.moves() == ()
    lock.unlink()
    assert prompts.label("prod", "HEAD").new == commit


def test_a_repository_that_cannot_be_written_is_said_so(repository) -> None:
    repository.commit_version("1")
    prompts = PromptRepository(repository.root)
    (repository.root / ".git" / "llmops").write_text("a file where the folder should be")

    with pytest.raises(PromptError, match=r"refs cannot be written in .* nothing was moved"):
        prompts.label("prod", "HEAD")
    assert prompts.labels() == {}


def test_a_full_disk_moves_nothing(repository) -> None:
    repository.commit_version("1")
    second = repository.commit_version("2")
    PromptRepository(repository.root).label("prod", second)
    limited = (
        "import resource, signal, sys\n"
        "from llmops_sdk.errors import PromptError\n"
        "from llmops_sdk.prompts import PromptRepository\n"
        "prompts = PromptRepository(sys.argv[2])\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))\n"
        "try:\n"
        "    prompts.label('prod', 'HEAD', why='x' * 100)\n"
        "except PromptError as exc:\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "    print(exc)\n"
    )
    for most in ("20", "0"):  # bytes in a file: the entry of the audit is longer
        done = subprocess.run(
            [sys.executable, "-c", limited, most, str(repository.root)], capture_output=True, text=True, check=True
        )
        assert "cannot be written" in done.stdout
        assert "nothing was moved" in done.stdout
    assert PromptRepository(repository.root).labels() == {"prod": second}
    assert len(PromptRepository(repository.root).moves()) == 1
    assert not list((repository.root / ".git").rglob("*.lock"))
    assert_sound(repository)


def test_refs_in_tables_are_not_written(repository) -> None:
    repository.commit_version("1")
    prompts = PromptRepository(repository.root)
    (repository.root / ".git" / "reftable").mkdir()
    tables = PromptRepository(repository.root)

    with pytest.raises(PromptError, match=r"reftable.* refs migrate --ref-format=files"):
        tables._need_labels().move("prod", "0" * 40, old=None, version="x", who=None, why=None)
    assert prompts.labels() == {}


KILLED = """
import json, os, random, select, signal, sys, time
from llmops_sdk.prompts import PromptRepository

os.fsync = lambda handle: None  # it is for a loss of power; a disk that is busy would make this test slow
root, *versions = sys.argv[1:]
prompts = PromptRepository(root)
prompts.label("prod", versions[0], who="survivor")
started = time.monotonic()
prompts.label("prod", versions[1], who="survivor")
takes = time.monotonic() - started
chance = random.Random(7)
told = {}
for kill in range(30):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        number = 0
        while True:
            prompts.label("prod", versions[number % 2], who=f"killed {kill}", why=f"{kill}.{number}")
            os.write(write, f"{kill}.{number} ".encode())
            number += 1
    os.close(write)
    if kill % 3 == 0:  # on a machine that is busy the others may be killed before they have moved anything
        select.select([read], [], [], 30)
    time.sleep(chance.uniform(0, 5 * takes))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with os.fdopen(read) as said:
        told[f"killed {kill}"] = said.read().split()
    assert prompts.get("support/answer@prod").commit in versions
    prompts.label("prod", versions[kill % 2], who="survivor", why=f"after {kill}")  # at once: no lock is in the way
print(json.dumps(told))
"""


def test_kill_9_while_labelling_loses_nothing_and_leaves_no_lock_that_stays(repository) -> None:
    versions = [repository.commit_version(version) for version in "12"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(repository.root), *versions], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    told = json.loads(done.stdout)

    prompts = PromptRepository(repository.root)
    moves = prompts.moves("prod", limit=100_000)
    assert any(told.values())
    for who, said in told.items():
        audited = {one.why for one in moves if one.done and one.who == who}
        assert set(said) <= audited
        assert len(audited - set(said)) <= 1  # done, but killed before it could say so
    assert len([one for one in moves if one.who == "survivor"]) == len(told) + 2
    assert_one_follows_the_other(moves)
    assert repository.git("rev-parse", LABEL) == moves[0].new
    assert not list((repository.root / ".git").rglob("*.lock"))
    assert_sound(repository)


KILLED_AT_EACH_STEP = """
import json, os, signal, sys
from llmops_sdk.prompts import PromptRepository

os.fsync = lambda handle: None
root, *versions = sys.argv[1:]
prompts = PromptRepository(root)
prompts.label("prod", versions[0], who="survivor")
steps = {"open", "os.link", "os.mkdir", "os.remove", "os.rename", "fcntl.flock"}
killed, ended = 0, 0
while ended < 3:  # a move has some steps more or fewer than the one before, by what it finds
    left = killed or 1_000

    def hear(event, arguments):
        global left
        if event in steps:
            # What stands between the audit and the label is one step, which the count alone may leap over.
            at_label = killed == 0 and event == "os.rename" and "labels" in str(arguments[1])
            if left == 0 or at_label:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1

    child = os.fork()
    if child == 0:
        sys.addaudithook(hear)
        prompts.label("prod", versions[1], who=f"killed {killed}")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    moves = prompts.moves("prod", limit=2)
    # The label moved if and only if the newest entry says so.
    assert (prompts.labels()["prod"] == versions[1]) == (moves[0].who == f"killed {killed}" and moves[0].done), killed
    prompts.label("prod", versions[0], who="survivor")  # at once: no lock is in the way
    ended += not os.WIFSIGNALED(status)
    killed += 1
print(killed)
"""


def test_a_kill_before_any_step_of_a_move_leaves_it_done_or_not_and_the_audit_knows(repository) -> None:
    versions = [repository.commit_version(version) for version in "12"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AT_EACH_STEP, str(repository.root), *versions],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stderr == ""
    assert int(done.stdout) > 15
    moves = PromptRepository(repository.root).moves("prod", limit=1_000)
    assert {one.done for one in moves} == {True, False}
    assert_one_follows_the_other(moves)
    assert not list((repository.root / ".git").rglob("*.lock"))
    assert_sound(repository)


RACER = """
import os, sys, time
from llmops_sdk.errors import PromptError
from llmops_sdk.prompts import PromptRepository

os.fsync = lambda handle: None
root, who, start, *versions = sys.argv[1:]
prompts = PromptRepository(root)
print("ready", flush=True)
sys.stdin.readline()
until = time.monotonic() + 0.8
number, moved = 0, False
while time.monotonic() < until or not moved:  # a machine that is busy may let the other one win for a second
    try:
        prompts.label("prod", versions[number % 2], who=who, why=f"{who} {number}", expected=start)
        moved = True
        print(f"moved {who} {number}")
    except PromptError as exc:
        print(f"lost {who} {number}: {exc}")
    start = None  # of the first moves one has to lose; after that all comes as it comes
    number += 1
"""


def test_two_processes_that_move_a_label_at_once_lose_nothing(repository) -> None:
    versions = [repository.commit_version(version) for version in "0123"]
    prompts = PromptRepository(repository.root)
    prompts.label("prod", versions[0], why="start")
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(repository.root), who, versions[0], *pair],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for who, pair in (("one", versions[1:3]), ("two", versions[2:]))
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    lines = []
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        lines += process.communicate(timeout=30)[0].splitlines()

    won = {line.removeprefix("moved ") for line in lines if line.startswith("moved ")}
    lost = [line for line in lines if line.startswith("lost ")]
    assert {name.split()[0] for name in won} == {"one", "two"}
    assert any("was not moved" in line for line in lost)
    assert all("was not moved" in line or "another process" in line for line in lost)
    moves = prompts.moves("prod", limit=100_000)
    assert all(one.done for one in moves)
    assert {one.why for one in moves} == won | {"start"}
    assert len(moves) == len(won) + 1
    assert_one_follows_the_other(moves)
    assert prompts.labels() == {"prod": moves[0].new}
    assert_sound(repository)


def test_labels_and_audit_travel_and_of_two_clones_one_is_told(repository, clone) -> None:
    first, second = repository.commit_version("1"), repository.commit_version("2")
    origin = clone(repository, "origin.git", "--bare")
    here, there = clone(origin, "here"), clone(origin, "there")
    ours, theirs = PromptRepository(here.root), PromptRepository(there.root)
    ours.label("prod", first, why="ours")
    here.git(*PUSH)
    there.git(*FETCH)
    assert theirs.labels() == {"prod": first}
    assert theirs.moves() == ours.moves()

    ours.label("prod", second, why="ours, too")
    here.git(*PUSH)
    theirs.label("prod", second, why="theirs")
    for refused in (PUSH, FETCH):
        with pytest.raises(subprocess.CalledProcessError) as caught:
            there.git(*(word for word in refused if word != "-q"))
        assert "refs/llmops/audit/prod" in caught.value.stderr
    assert theirs.moves()[0].why == "theirs"
    there.git("fetch", "-q", "origin", "+refs/llmops/*:refs/llmops/*")  # theirs never counted at the origin
    assert [one.why for one in theirs.moves()] == ["ours, too", "ours"]

    theirs.rollback("prod", why="back")  # the label goes backwards, its audit forwards
    there.git(*PUSH)
    here.git(*FETCH)
    assert ours.labels() == {"prod": first}
    assert [one.why for one in ours.moves()] == ["back", "ours, too", "ours"]
    for one in (origin, here, there):
        assert_sound(one)


def test_without_a_name_in_gits_configuration_the_system_says_who(repository, monkeypatch) -> None:
    repository.commit_version("1")
    for key in ("user.name", "user.email"):
        repository.git("config", "--unset", key)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME", "EMAIL", "GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(repository.root))
    prompts = PromptRepository(repository.root)

    assert prompts.label("prod", "HEAD").who.endswith(">")
    monkeypatch.setenv("GIT_AUTHOR_NAME", "CI")
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "ci@example.org")
    assert prompts.label("prod", "HEAD").who == "CI <ci@example.org>"
    assert_sound(repository)
