import json
import subprocess
import sys

import pytest

WATCH = """
import json, sys, _thread
seen = []
def watch(event, arguments):
    if event == "open" or event.startswith("socket."):
        seen.append([event, str(arguments[0]) if arguments else ""])
before = set(sys.modules)
sys.addaudithook(watch)
{statement}
print(json.dumps({{
    "events": seen, "modules": sorted(set(sys.modules) - before), "threads": _thread._count(),
}}))
"""


def effects_of(statement):
    """What a statement does in a new process: files, sockets and threads, and modules that it loads."""
    command = [sys.executable, "-c", WATCH.format(statement=statement)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def third_party(modules):
    return {name.partition(".")[0] for name in modules} - set(sys.stdlib_module_names) - {"llmops_sdk"}


def test_import_llmops_sdk_loads_nothing_but_itself():
    assert set(effects_of("import llmops_sdk")["modules"]) == {"llmops_sdk"}


@pytest.mark.parametrize(
    "statement", ["import llmops_sdk", "from llmops_sdk import Engine, Pipeline, Prompt, Router, Scripted, guards"]
)
def test_importing_opens_nothing_but_code_and_starts_no_thread(statement):
    effects = effects_of(statement)

    assert effects["threads"] == 0
    assert [
        event for event in effects["events"] if not (event[0] == "open" and event[1].endswith((".py", ".pyc")))
    ] == []


def test_no_public_name_loads_a_third_party_module():
    assert third_party(effects_of("from llmops_sdk import *")["modules"]) == set()


def test_an_engine_loads_no_cache():
    loaded = effects_of("from llmops_sdk.engines import Engine, Scripted")["modules"]
    assert "llmops_sdk.engines._engine" in loaded
    assert [name for name in loaded if "_cache" in name] == []


def test_the_watch_sees_a_file_a_socket_a_thread_and_a_third_party_module():
    effects = effects_of(
        "import os, socket, time, _thread, pluggy; open(os.devnull); socket.socket(); "
        "_thread.start_new_thread(time.sleep, (60,)); time.sleep(0.1)"
    )

    assert "pluggy" in third_party(effects["modules"])
    assert {"open", "socket.__new__"} <= {name for name, _ in effects["events"]}
    assert effects["threads"] == 1
