"""A child does not outlive its parent, whatever kills the parent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmops_sdk.engines._orphans import EndWithMe

PARENT = """
import subprocess, sys, time
from llmops_sdk.engines._orphans import EndWithMe
child = subprocess.Popen(["sleep", "60"])
watch = EndWithMe([child.pid])
if sys.argv[1] == "cancelled":
    watch.cancel()
print(child.pid, flush=True)
time.sleep(60)
"""

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def killed(how, mode="watched"):
    with subprocess.Popen([sys.executable, "-c", PARENT, mode], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        assert alive(pid)
        parent.send_signal(how)
    return pid


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_child_ends_with_its_parent(how):
    pid = killed(how)
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not alive(pid)


def test_watch_that_was_called_off_kills_nobody():
    pid = killed(signal.SIGKILL, "cancelled")
    time.sleep(0.2)
    assert alive(pid)
    os.kill(pid, signal.SIGKILL)


def test_process_id_that_was_given_out_again_is_left_alone():
    with subprocess.Popen(["sleep", "60"]) as other:
        watch = EndWithMe([other.pid])
        arguments = list(watch._shell.args)
        watch.cancel()
        watch.cancel()
        arguments[-2] = "1"  # another start time
        subprocess.run(arguments, stdin=subprocess.DEVNULL, check=False, timeout=10)
        assert alive(other.pid)
        other.kill()


def test_folder_goes_with_the_parent(tmp_path):
    folder = tmp_path / "sockets of a core"
    folder.mkdir()
    (folder / "socket").touch()
    watch = EndWithMe([], folder)
    watch._shell.stdin.close()  # as the kernel does it when this process ends
    watch._shell.wait(10)
    watch.cancel()
    assert not folder.exists()
    assert tmp_path.exists()


def test_folder_stays_when_the_watch_is_called_off(tmp_path):
    watch = EndWithMe([], tmp_path)
    watch.cancel()
    assert tmp_path.exists()
