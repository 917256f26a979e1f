"""The life of a prompt, from a file to a release and back: `python examples/prompts_demo.py`.

Runs offline in some seconds, in a git repository of its own that is gone afterwards; needs `git`. With
`--engine embedded:` a small real model answers, where it is installed.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from llmops_sdk import Document, Engine, Pipeline, Prompt, Scripted, guards
from llmops_sdk.cli import main as llmops
from llmops_sdk.prompts import PromptRepository

NAME = "support/answer"
FILE = f"prompts/{NAME}.prompt.md"
TEXT = """\
---
description: Answers a customer of a book shop.
parameters: {temperature: 0, max_tokens: 60}
variables:
  question: {type: str, maxLength: 500, fence: xml}
  sources: documents
---
[system name=rules]
You work for a book shop. Answer in one sentence.

[user name=sources priority=1]
Sources:
{{ sources }}

[user name=question]
{{ question }}
"""
SOURCES = [
    Document(id="shipping", text="Parcels take two days. On Sundays nothing is delivered. " * 12),
    Document(id="returns", text="Books go back within 30 days, unread and with their bill. " * 12),
]
APPLICATION = """\
from llmops_sdk import Engine, Prompt, Scripted, guards

engine = {engine}
support = Prompt.load("support/answer@prod") | guards.PromptInjection() | engine | guards.Secrets()
"""


def title(text: str) -> None:
    """Say what comes."""
    print(f"\n== {text}\n")


def git(*arguments: str) -> None:
    """What people do with git."""
    subprocess.run(["git", *arguments], check=True)  # noqa: S603, S607


def commit(old: str, new: str, message: str) -> None:
    """Change the file of the prompt, and commit it."""
    file = Path(FILE)
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new), "utf-8")
    git("commit", "--quiet", "--all", "--message", message)


def show(command: str) -> int:
    """Do what one would do in a terminal."""
    print(f"$ llmops {command}")
    code = llmops(command.split(" "))
    print(f"(exit code {code})\n")
    return code


def versions(prompts: PromptRepository) -> None:
    """A first version, a label, a better one, and one that breaks its callers."""
    title("A file is a prompt, a commit is a version, a label is a ref")
    prompts.label("prod", "HEAD", why="First release")
    commit("in one sentence", "in one short, kind sentence", "Be kind")
    show(f"prompt log {NAME}")

    title("What changed, and does it break the code around it? (`repo.diff`)")
    print(prompts.diff(NAME, "prod", "main"))
    git("checkout", "--quiet", "-b", "bold")
    commit("  question: {type: str, maxLength: 500, fence: xml}", "  question: {type: str, maxLength: 80}", "Be bold")
    git("checkout", "--quiet", "main")
    print(f"\n{prompts.diff(NAME, 'main', 'bold')}")

    title("Two people change one prompt: sections and keys are merged (`repo.merge`)")
    git("checkout", "--quiet", "-b", "warm")
    commit("temperature: 0,", "temperature: 0.3,", "Warm it up")
    git("checkout", "--quiet", "main")
    commit("for a book shop", "for the book shop Leaf", "Name the shop")
    show(f"prompt merge {NAME} main warm -o {FILE}")
    git("commit", "--quiet", "--all", "--message", "Merge the warm prompt")
    print("\n".join(Path(FILE).read_text("utf-8").splitlines()[2:3]))


def labels(prompts: PromptRepository) -> None:
    """Release, and go back."""
    title("The release, a bad hour, and the way back, with who, when and why (`repo.label`, `rollback`, `moves`)")
    prompts.label("candidate", "main", why="To be tried")
    prompts.label("prod", "main", why="Kinder answers")
    prompts.rollback("prod", why="It says 'dear' to everybody")
    show("prompt labels prod")


def lock() -> None:
    """Pin what a release runs."""
    title("What the release runs, pinned (`llmops lock`, `llmops verify`, `Pipeline.from_lock`)")
    show("lock bookshop:support")
    show("verify")
    shop = Path("bookshop.py")
    shop.write_text(shop.read_text("utf-8").replace("PromptInjection()", "PromptInjection(threshold=0.9)"), "utf-8")
    sys.modules.pop("bookshop")
    print("Somebody sets another threshold:\n")
    show("verify")
    show("lock")
    support = Pipeline.from_lock("support")
    result = support.run(question="When does my parcel come?", sources=SOURCES)
    ref = result.call.prompt
    print(f"{result.text}\nfrom {ref.name}@{ref.version}, commit {ref.commit[:12]}, under the lock {support.lock[:12]}")


def lint() -> None:
    """Find what is likely wrong."""
    title("A stranger's text among the orders of the system (`llmops lint`)")
    Path("prompts/draft.prompt.md").write_text(
        "---\nvariables: {customer: str, name: str}\n---\n[system]\nYou serve {{ customer }}.\n\n[user]\nHello\n",
        "utf-8",
    )
    show("lint")
    Path("prompts/draft.prompt.md").unlink()


def budget(prompt: Prompt) -> None:
    """Cut what is too long."""
    title("Long sources in 200 tokens (`prompt.fit`)")
    print(prompt.fit(200, counter="estimate").report(question="When does it come?", sources=SOURCES))


def split(prompts: PromptRepository, engine: object) -> None:
    """Give a version to some of the callers."""
    title("One caller in ten gets the candidate, always the same ones (`Prompt.split`)")
    arms = Prompt.split({"prod": 0.9, "candidate": 0.1}, of=NAME, key="customer", repository=prompts)
    pipeline = arms | guards.PromptInjection() | engine
    result = pipeline.run(question="When does it come?", sources=SOURCES, customer="c-7")
    print(f"c-7 gets {result.call.prompt.arm}, and again {arms.arm_of('c-7')}")
    print("\n".join(f"{name:<10} {number:>5}" for name, number in Counter(map(arms.arm_of, range(2_000))).items()))


def play(engine: str) -> None:
    """All of it, in the current folder, which is empty."""
    file = Path(FILE)
    file.parent.mkdir(parents=True)
    file.write_text(TEXT, "utf-8")
    opened = f"Engine.open({engine!r})" if engine else 'Scripted("It comes on Friday.")'
    Path("bookshop.py").write_text(APPLICATION.format(engine=opened), "utf-8")
    git("init", "--quiet", "--initial-branch", "main")
    git("config", "user.name", "Ada")
    git("config", "user.email", "ada" + "@" + "example.org")
    git("config", "commit.gpgSign", "false")
    git("add", "--all")
    git("commit", "--quiet", "--message", "Answer customers")
    prompts = PromptRepository()
    versions(prompts)
    labels(prompts)
    lock()
    lint()
    budget(prompts.get(f"{NAME}@main"))
    split(prompts, Engine.open(engine) if engine else Scripted("It comes on Friday."))


def main(*arguments: str) -> int:
    """Make the repository, and play."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--engine", default="", help="what answers, such as embedded:")
    given = options.parse_args(arguments)
    with TemporaryDirectory() as folder, contextlib.chdir(folder):
        try:
            play(given.engine)
        finally:
            sys.modules.pop("bookshop", None)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
