"""The same file renders the same request, whatever the machine, its Python, its locale and its hash seed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
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
    # PyYAML is pure Python where its extension is not found, so other interpreters can load this copy.
    (tmp_path / "libraries").mkdir()
    (tmp_path / "libraries" / "yaml").symlink_to(Path(yaml.__file__).parent)
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
