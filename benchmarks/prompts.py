"""What prompts cost: rendering beside `str.format` and bare Jinja, and loading from repositories of any length.

Rendering: a text of 1,000 characters with three variables, and a list of ten items with Jinja. The faces take turns;
each figure is the best of the rounds, each ratio the median of the ratios in the same round. Loading: a prompt at the
tip of a packed repository of 1,000 and of 10,000 commits, each of which changed a file beside it; cold is a new
`PromptRepository`, warm the second `get` of the same one.

    python benchmarks/prompts.py [--rounds 9] [--calls 20000] [--out FILE]
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from jinja2.sandbox import ImmutableSandboxedEnvironment

from llmops_sdk.prompts import Prompt, PromptRepository
from llmops_sdk.prompts._templates import compile_template

BODY = "You are a helpful agent. " * 38
TEXT = f"{BODY[:300]}{{{{ a }}}}{BODY[300:600]}{{{{ b }}}}{BODY[600:]}{{{{ c }}}}"
VALUES = {"a": "x" * 20, "b": "y" * 30, "c": "z" * 10}
LIST = "{% for x in items %}{{ loop.index }}. {{ x | upper }}\n{% endfor %}{% if a %}{{ a }}{% endif %}"
ITEMS = {"items": ["some text"] * 10, "a": "x"}


def best_us(faces: dict[str, Callable[[], object]], rounds: int, calls: int) -> dict[str, list[float]]:
    """Microseconds a call of each face, round by round."""
    found: dict[str, list[float]] = {name: [] for name in faces}
    for turn in range(rounds):
        for name, face in faces.items() if turn % 2 else reversed(faces.items()):
            began = time.perf_counter()
            for _ in range(calls):
                face()
            found[name].append((time.perf_counter() - began) / calls * 1e6)
    return found


def table(found: dict[str, list[float]], over: str) -> str:
    lines = [f"| | us, best | times {over} |", "|---|---:|---:|"]
    for name, taken in found.items():
        ratio = statistics.median(one / other for one, other in zip(taken, found[over], strict=True))
        lines.append(f"| {name} | {min(taken):.2f} | {ratio:.2f} |")
    return "\n".join(lines)


def rendering(rounds: int, calls: int) -> str:
    bare = ImmutableSandboxedEnvironment()
    formatted = TEXT.replace("{{ ", "{").replace(" }}", "}")
    plain, prompt = compile_template(TEXT), Prompt.from_string(TEXT)
    ours, theirs = compile_template(TEXT + "{# Jinja #}"), bare.from_string(TEXT)
    names = {
        "str.format": lambda: formatted.format(**VALUES),
        "plain template": lambda: plain.render(VALUES),
        "prompt.render, to the request": lambda: prompt.render(**VALUES),
        "the same text by our Jinja": lambda: ours.render(VALUES),
        "the same text by bare Jinja, sandboxed": lambda: theirs.render(VALUES),
    }
    listing, listed = compile_template(LIST), bare.from_string(LIST)
    loops = {
        "bare Jinja, sandboxed": lambda: listed.render(ITEMS),
        "our Jinja, with origins and limits": lambda: listing.render(ITEMS),
    }
    first = table(best_us(names, rounds, calls), "str.format")
    second = table(best_us(loops, rounds, max(calls // 10, 1)), "bare Jinja, sandboxed")
    return f"## Three variables in 1,000 characters\n\n{first}\n\n## A loop over ten items\n\n{second}"


PLAIN = "---\nparameters: {temperature: 0}\n---\n[user]\n{{ question }}\n"
INCLUDING = "".join(f'{{% include "notes/{n}.txt" %}}' for n in (1, 2, 3)) + "\n{{ question }}\n"


def repository_of(commits: int, root: Path, prompt: str = PLAIN, tags: int = 0, *, packed: bool = True) -> Path:
    """A packed repository whose tip holds a prompt, and that has many tags."""
    root.mkdir()
    stream = [f"blob\nmark :1\ndata {len(prompt)}\n{prompt}"]
    for number in range(commits):
        text = f"note {number}\n"
        stream.append(
            f"commit refs/heads/main\ncommitter A <a@example.org> {1_700_000_000 + number} +0000\ndata 1\nc\n"
            + ("M 100644 :1 prompts/support/answer.prompt.md\n" if not number else "")
            + f"M 100644 inline prompts/notes/{number % 100}.txt\ndata {len(text)}\n{text}"
        )
    stream += [f"reset refs/tags/v{number}\nfrom refs/heads/main\n" for number in range(tags)]
    git = ["git", "-C", str(root)]
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    subprocess.run([*git, "fast-import", "--quiet"], input="\n".join(stream).encode(), check=True)
    subprocess.run([*git, "repack", "-adq"], check=True)
    if packed:
        subprocess.run([*git, "pack-refs", "--all"], check=True)
    return root


def loading(rounds: int) -> str:
    lines = ["| repository | cold, ms | warm by branch, us | warm by commit, us |", "|---|---:|---:|---:|"]
    cases = {
        "1,000 commits": {"commits": 1_000},
        "10,000 commits": {"commits": 10_000},
        "10,000 commits, a prompt with three partials": {"commits": 10_000, "prompt": INCLUDING},
        "10,000 commits, 10,000 tags, packed": {"commits": 10_000, "tags": 10_000},
        "10,000 commits, 10,000 tags, a file each": {"commits": 10_000, "tags": 10_000, "packed": False},
    }
    with tempfile.TemporaryDirectory() as folder:
        for number, (what, case) in enumerate(cases.items()):
            root = repository_of(root=Path(folder) / str(number), **case)
            cold, warm, fixed = [], [], []
            for _ in range(rounds):
                began = time.process_time()
                repository = PromptRepository(root)
                prompt = repository.get("support/answer@main")
                cold.append(time.process_time() - began)
                began = time.process_time()
                repository.get("support/answer@main")
                warm.append(time.process_time() - began)
                spec = f"support/answer@{prompt.commit}"
                repository.get(spec)
                began = time.process_time()
                repository.get(spec)
                fixed.append(time.process_time() - began)
            us = [statistics.median(taken) * 1e6 for taken in (cold, warm, fixed)]
            lines.append(f"| {what} | {us[0] / 1e3:.1f} | {us[1]:.0f} | {us[2]:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "prompts.md")
    options = parser.parse_args()
    text = f"""# What prompts cost

{date.today()}; {os.cpu_count()} cores; Python {platform.python_version()}; load average of the machine when it began:
{os.getloadavg()[0]:.1f}. {options.rounds} rounds of {options.calls:,} calls in turns.

{rendering(options.rounds, options.calls)}

## Loading a prompt at the tip of a branch

Processor time, the median; cold: a new `PromptRepository`, with the libraries imported.

{loading(options.rounds)}
"""
    options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
