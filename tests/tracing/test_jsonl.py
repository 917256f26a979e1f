from __future__ import annotations

import logging
import multiprocessing
import subprocess
import sys
import threading

import pytest

from llmops_sdk import Pipeline, Scripted
from llmops_sdk.calls import Call
from llmops_sdk.errors import ConfigurationError
from llmops_sdk.messages import ToolCall
from llmops_sdk.tracing import JSONL, read_jsonl

PLANTED = "xyzzy-4711"


def pipeline(hook, answer="Hi!"):
    return Pipeline("Tell me", Scripted(answer), hooks=[hook])


def lines(path):
    return list(read_jsonl(path))


def test_each_run_is_a_line_as_to_json_writes_it(tmp_path):
    written = JSONL(tmp_path / "runs.jsonl")
    results = [pipeline(written).run() for _ in range(3)]
    assert written.flush()
    assert lines(tmp_path / "runs.jsonl") == [result.call.to_json() for result in results]
    assert written.lost == 0


def test_what_comes_later_is_a_line_of_its_own(tmp_path):
    written = JSONL(tmp_path / "runs.jsonl")
    result = pipeline(written).run()
    result.feedback(score=1)
    with result.call.executing(ToolCall(id="1", name="f", arguments="{}")):
        pass
    written.flush()
    run, feedback, tool = lines(tmp_path / "runs.jsonl")
    assert run["events"][-1]["event"] == "ended"
    assert (feedback["run"], feedback["event"], feedback["score"]) == (result.call.id, "evaluated", 1.0)
    assert (tool["run"], tool["event"], tool["name"]) == (result.call.id, "tool_executed", "f")


def test_tools_within_a_run_are_part_of_its_line(tmp_path, runs):
    written = JSONL(tmp_path / "runs.jsonl")
    call = Call(hooks=(written,))
    with call.executing(ToolCall(id="1", name="f", arguments="{}")):
        pass
    runs.record(call)
    written.flush()
    (run,) = lines(tmp_path / "runs.jsonl")
    assert run["events"][0]["event"] == "tool_executed"


def test_content_is_written_only_where_it_is_asked_for(tmp_path):
    for name, content in (("off", False), ("on", True)):
        written = JSONL(tmp_path / name, content=content)
        pipeline(written, PLANTED).run()
        written.flush()
        assert (PLANTED in (tmp_path / name).read_text()) == content


def test_texts_that_cannot_be_encoded_are_written(tmp_path):
    written = JSONL(tmp_path / "runs.jsonl", content=True)
    pipeline(written, "\ud800").run(tags={"x\u2028": "\ud800\n"})
    written.flush()
    (run,) = lines(tmp_path / "runs.jsonl")
    assert run["tags"] == {"x\u2028": "\ufffd\n"}


def test_a_file_that_is_moved_away_is_made_anew(tmp_path):
    path = tmp_path / "runs.jsonl"
    written = JSONL(path)
    pipeline(written).run()
    written.flush()
    path.rename(tmp_path / "runs.jsonl.1")
    pipeline(written).run()
    written.flush()
    assert len(lines(path)) == len(lines(tmp_path / "runs.jsonl.1")) == 1


def write_many(path, count):
    written = JSONL(path, content=True)
    made = pipeline(written, "x" * 20_000)
    for _ in range(count):
        made.run()
    assert written.flush()


def test_several_processes_and_threads_write_whole_lines(tmp_path):
    path = tmp_path / "runs.jsonl"
    spawn = multiprocessing.get_context("fork")
    processes = [spawn.Process(target=write_many, args=(path, 40)) for _ in range(3)]
    for process in processes:
        process.start()
    threads = [threading.Thread(target=write_many, args=(path, 20)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for one in (*processes, *threads):
        one.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len({run["id"] for run in lines(path)}) == 3 * 40 + 2 * 20


def test_a_full_disk_breaks_nothing_and_leaves_no_torn_line(tmp_path):
    path = tmp_path / "runs.jsonl"
    code = (
        "import resource, signal, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000)); signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from llmops_sdk import Pipeline, Scripted\n"
        "from llmops_sdk.tracing import JSONL\n"
        "written = JSONL(sys.argv[1], content=True)\n"
        "made = Pipeline('x', Scripted('y' * 20_000), hooks=[written])\n"
        "print([made.run().text[0] for _ in range(3)], written.flush(), written.lost)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['y', 'y', 'y'] True 2"
    assert done.stderr.count("writing a run to") == 1
    assert len(lines(path)) == 1
    assert path.read_bytes().endswith(b"\n")


def test_a_folder_that_goes_away_is_counted_and_said_once(tmp_path, caplog):
    folder = tmp_path / "there"
    folder.mkdir()
    written = JSONL(folder / "runs.jsonl")
    folder.rmdir()
    with caplog.at_level(logging.ERROR, logger="llmops_sdk"):
        assert [pipeline(written).run().text for _ in range(3)] == ["Hi!"] * 3
        written.flush()
    assert written.lost == 3
    assert len(caplog.records) == 1
    assert repr(written).endswith("3 lines lost>")


def test_all_is_there_when_the_process_has_ended(tmp_path):
    path = tmp_path / "runs.jsonl"
    code = (
        "import sys\n"
        "from llmops_sdk import Pipeline, Scripted\n"
        "from llmops_sdk.tracing import JSONL\n"
        "made = Pipeline('x', Scripted('y'), hooks=[JSONL(sys.argv[1])])\n"
        "for _ in range(200): made.run()\n"
        "assert 'opentelemetry' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code, path], check=True)
    assert len(lines(path)) == 200


def test_a_line_that_is_being_written_is_left_out_and_nonsense_is_refused(tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text('{"id": 1}\n{"id": 2')
    assert lines(path) == [{"id": 1}]
    path.write_text('{"id": 1}\nnonsense\n')
    with pytest.raises(ConfigurationError, match="line 2"):
        lines(path)
    path.write_text("[]\n")
    with pytest.raises(ConfigurationError, match="line 1"):
        lines(path)


def test_wrong_paths_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="folder"):
        JSONL(tmp_path)
    with pytest.raises(ConfigurationError, match="make it"):
        JSONL(tmp_path / "no" / "runs.jsonl")
