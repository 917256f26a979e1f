import os
import pty
import subprocess
import sys
import textwrap

import pytest

from llmops_sdk.bars import Bar

COUNTING = """
from llmops_sdk.bars import Bar
with Bar("cells", 3, show=True) as bar:
    for n in range(3):
        bar.advance(note=f"{n} [failed]")
"""


def seen_in_a_terminal(code):
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    assert process.wait(30) == 0
    return b"".join(parts).decode()


def test_in_a_terminal_it_shows_how_many_are_done_and_the_last_note():
    seen = seen_in_a_terminal(COUNTING)
    assert "cells" in seen
    assert "3/3" in seen
    assert "2 [failed]" in seen


def test_anywhere_else_it_shows_nothing():
    done = subprocess.run([sys.executable, "-c", COUNTING], capture_output=True, timeout=30, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_nobody_who_does_not_look_pays_for_rich():
    code = COUNTING + "import sys; assert 'rich' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=30, check=True)


def test_in_a_notebook_one_output_is_written_anew(monkeypatch):
    IPython = pytest.importorskip("IPython")  # noqa: N806
    written = []

    class Kernel:
        kernel = object()

    class Handle:
        def update(self, data, *, raw):
            assert raw
            written.append(data)

    monkeypatch.setattr(IPython, "get_ipython", Kernel)
    monkeypatch.setattr(IPython.display, "display", lambda *_, **__: Handle())

    with Bar("cells", 1200, show=True) as bar:
        bar.advance(300, "1 <failed>")

    assert written[-1]["text/plain"] == "300 of 1,200 cells, 0:00:00 left  1 <failed>"
    assert "<progress value='300' max='1200'></progress>" in written[-1]["text/html"]
    assert "1 &lt;failed&gt;" in written[-1]["text/html"]


def test_the_bar_of_a_map_and_of_a_simulation_is_this_one():
    code = textwrap.dedent("""
        from llmops_sdk import Scripted
        ("{{ q }}" | Scripted("yes")).map([{"q": "?"}] * 3, progress=True)
    """)
    seen = seen_in_a_terminal(code)
    assert "3/3" in seen
    assert "3 rows: 3 ok" in seen
