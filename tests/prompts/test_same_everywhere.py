"""The same file renders the same request, whatever the machine, its Python, its locale and its hash seed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import dulwich
import jinja2
import markupsafe
import pytest
import typing_extensions
import urllib3
import yaml

import llmops_sdk

PROMPT = """---
description: Sorts mails, é.
parameters: {temperature: 0.1, stop: [END], extra: {b: 1.0e-5, a: [true, null, "ü"]}}
tools: [tools/now.json]
variables:
  mail: {type: str}
  history: {type: messages, optional: true}
  photo: image
examples: {file: examples/mails.jsonl, count: 4, select: %s, seed: 3}
output: {type: object, properties: {topic: {enum: [delivery, billing]}}}
---
[system]
Sort “fast”.

[examples]
{{ mail }}

[history last=2]

[user]
{{ mail }}{{ photo }}
[+]
Ω
"""

PROGRAM = """
import dataclasses, json, pathlib, sys
from llmops_sdk.prompts._files import parse_prompt
root = pathlib.Path(sys.argv[1])
prompt = parse_prompt((root / "sort.prompt.md").read_bytes(), name="sort", where="prompts/sort.prompt.md",
                      read=lambda path: (root / path).read_bytes())
seen = [prompt.hash, prompt.to_text()]
for mail in ("Wo ist mein Paket?", "The invoice ÄÖÜ is wrong", "包裹在哪里", ""):
    request = prompt.render(mail=mail, history=[{"role": "user", "content": "a"}] * 3, photo=b"GIF89a")
    seen.append(dataclasses.asdict(dataclasses.replace(request, call=None)))
sys.stdout.buffer.write(json.dumps(seen).encode())
"""


IN_GIT = """---
parameters: {temperature: 0.1}
tools: [tools/now.json]
variables:
  mail: str
  rows: list
  photo: image
  history: {type: messages, optional: true}
examples: {file: examples/mails.jsonl, count: 3, select: similar}
output: shared/answer.json
---
[system]
Sort “fast”.
{% include "shared/tone.md" %}

[examples]
{{ mail }}

[history last=2]

[user]
{% for row in rows %}
- {{ row | upper }}
{% endfor %}
{{ mail }}{{ photo }}
"""
BESIDE = {
    "shared/tone.md": "Be kind,\nand brief: “é”.\n",
    "shared/answer.json": '{"type": "object",\n "properties": {"topic": {"enum": ["delivery", "billing"]}}}\n',
}

GIT_PROGRAM = """
import dataclasses, json, sys
from llmops_sdk.prompts import PromptRepository
repository = PromptRepository(sys.argv[1])
seen = []
for version in (*sys.argv[2:], "worktree"):
    prompt = repository.get("sort@" + version)
    given = {"mail": "Wo ist mein Paket, ÄÖÜ?", "rows": ["i", "ß"], "history": [{"role": "user", "content": "a"}] * 3}
    request = prompt.render(photo=b"GIF89a", **given)
    said = dataclasses.asdict(dataclasses.replace(request, call=None))
    seen.append([prompt.hash, {name: one for name, one in said.items() if name != "prompt"}])
seen.append([(one.commit, one.hash) for one in repository.log("sort")])
sys.stdout.buffer.write(json.dumps(seen).encode())
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rows = (
        f'{{"mail": "Mail {n}: {text} {n * n}", "answer": {{"topic": "{topic}", "n": {n}}}}}'
        for n in range(40)
        for text, topic in [("Wo ist das Paket", "delivery"), ("the invoice", "billing"), ("包裹", "delivery")]
    )
    for name, text in {"examples/mails.jsonl": "\n".join(rows), "tools/now.json": '{"name": "now"}'}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text, encoding="utf-8")
    # These are pure Python where their extensions are not found, so other interpreters can load these copies.
    (tmp_path / "libraries").mkdir()
    for library in (yaml, dulwich, jinja2, markupsafe, urllib3):
        assert library.__file__ is not None
        (tmp_path / "libraries" / library.__name__).symlink_to(Path(library.__file__).parent)
    (tmp_path / "libraries" / "typing_extensions.py").symlink_to(typing_extensions.__file__)
    return tmp_path


def pythons() -> list[str]:
    """This interpreter, and those of the other versions that are here."""
    found = [sys.executable]
    for version in ("3.11", "3.12", "3.13"):
        python = shutil.which(f"python{version}")
        # A shim of pyenv may stand for an interpreter that is not installed.
        if python and subprocess.run([python, "--version"], capture_output=True, check=False).returncode == 0:
            found.append(python)
    return found


@pytest.mark.parametrize("select", ["random", "similar"])
def test_a_request_is_the_same_for_every_interpreter_locale_and_hash_seed(root: Path, select: str) -> None:
    (root / "sort.prompt.md").write_text(PROMPT % select, encoding="utf-8")
    paths = f"{Path(llmops_sdk.__file__).parents[1]}{os.pathsep}{root / 'libraries'}"

    seen = {
        subprocess.run(
            [python, "-W", "error", "-c", PROGRAM, str(root)],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": paths,
                "PYTHONHASHSEED": str(seed),
                "LC_ALL": locale,
                "TZ": zone,
            },
            cwd=root if seed else "/",
            check=True,
            capture_output=True,
        ).stdout
        for seed, (python, (locale, zone)) in enumerate(
            zip([*pythons(), sys.executable], [("C", "UTC"), ("tr_TR.UTF-8", "Asia/Tokyo")] * 3, strict=False)
        )
    }

    assert len(seen) == 1


def test_a_commit_is_the_same_in_every_clone_whatever_the_line_ends_of_its_files(root: Path, repository, clone) -> None:
    shutil.copytree(root / "examples", repository.root / "prompts" / "examples")
    shutil.copytree(root / "tools", repository.root / "prompts" / "tools")
    for path, text in {"sort.prompt.md": IN_GIT, **BESIDE}.items():
        (repository.root / "prompts" / path).parent.mkdir(parents=True, exist_ok=True)
        (repository.root / "prompts" / path).write_text(text, encoding="utf-8")
    first = repository.commit("first")
    (repository.root / "prompts" / "shared" / "tone.md").write_text("Be rude.\n")
    second = repository.commit("second")
    crlf = clone(repository, "crlf", "-c", "core.autocrlf=true")
    assert b"\r\n" in (crlf.root / "prompts" / "sort.prompt.md").read_bytes()
    places = [repository, crlf, clone(repository, "bare in name only", "-c", "core.eol=crlf", "--no-hardlinks")]
    paths = f"{Path(llmops_sdk.__file__).parents[1]}{os.pathsep}{root / 'libraries'}"

    interpreters = pythons()
    interpreters += [sys.executable] * (len(places) - len(interpreters))
    seen = [
        subprocess.run(
            [python, "-W", "error", "-c", GIT_PROGRAM, str(place.root), first, second],
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": paths,
                "PYTHONHASHSEED": str(seed),
                "LC_ALL": ("C", "tr_TR.UTF-8")[seed % 2],
            },
            check=True,
            capture_output=True,
            umask=(0o077, 0o022)[seed % 2],
        ).stdout
        for seed, (python, place) in enumerate(zip(interpreters, places * 2, strict=False))
    ]

    assert len(set(seen)) == 1
    at_first, at_second, lying, log = json.loads(seen[0])
    assert at_second == lying
    assert at_first != at_second
    assert log == [[second, at_second[0]], [first, at_first[0]]]
