"""`kill -9` at any moment, then the same call again: the experiment is that of an unbroken run, nothing is paid twice.

One process imports the library and forks: each child is killed before another write that SQLite executes, or at another
time, and a second child goes on. Children tell by a file whom they asked; a line is there before its answer is.
"""

import json
import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.timeout(240), pytest.mark.once]  # each starts and kills many processes

PROGRAM = r'''
import json, os, random, signal, sqlite3, sys, time
from pathlib import Path
from llmops_sdk import Prompt, Scripted
from llmops_sdk.evaluation import Case, Dataset, evaluate, metric

folder, when, seed = Path(sys.argv[1]), *sys.argv[5:]
cases, repeats, delay = int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])

def run(name, kill_at=None):
    # Not in reach of the function, whose key is of what it closes over: the next number may be another one.
    os.environ["ASKED"] = str(os.open(folder / f"{name}.asked", os.O_WRONLY | os.O_APPEND | os.O_CREAT))
    store = folder / f"{name}.db"
    connect, left = sqlite3.connect, [kill_at]
    def counting(statement):
        left[0] -= statement.startswith(("INSERT", "UPDATE", "DELETE", "COMMIT"))
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
    def traced(*args, **more):
        db = connect(*args, **more)
        if kill_at is not None:
            db.set_trace_callback(counting)
        return db
    sqlite3.connect = traced
    def answer(request):
        text = request.messages[-1].text
        os.write(int(os.environ["ASKED"]), text.encode() + b"\n")
        return text[::-1]
    @metric(version="1", blocks=False)
    def length(case, result):
        if case.input["n"] == 1:
            raise ValueError("no")
        return len(result.text)
    @metric(version="1")
    def named(case, result):
        return {"even": case.input["n"] % 2 == 0, "first": result.text[0] == "1"}
    data = Dataset([Case(input={"n": n}) for n in range(cases)])
    engine = Scripted(answer, delay_s=delay)
    pipelines = {"base": "{{ n }} one" | engine, "new": "{{ n }} two" | engine}
    return evaluate(pipelines, data, [length, named], store=store, repeats=repeats, concurrency=2, progress=False)

def child(name, kill_at=None, kill_s=None):
    pid = os.fork()
    if not pid:
        code = 1
        try:
            run(name, kill_at)
            code = 0
        finally:
            os._exit(code)
    if kill_s is not None:
        time.sleep(kill_s)
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    return os.WIFSIGNALED(status)

def kept(name):
    """Key of what is kept of each run, and what the experiment has."""
    store = folder / f"{name}.db"
    if not store.exists():
        return {}, []
    with sqlite3.connect(store) as db:
        if not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            return {}, []
        records = [json.loads(row) for (row,) in db.execute("SELECT record FROM records")]
        answers = [record["response"]["choices"][0]["text"][::-1] for record in records]
        runs = {text: answers.count(text) for text in answers}
        rows = db.execute(
            "SELECT position, repeat, arm, json_extract(record, '$.response'), metric, name, value,"
            " scores.error IS NULL FROM cells JOIN records ON records.run = cells.run"
            " LEFT JOIN scores ON scores.run = cells.run ORDER BY 1, 2, 3, 5, 6"
        ).fetchall()
        rows += db.execute("SELECT id, ending FROM experiments").fetchall()
    db.close()
    return runs, [[value.hex() if isinstance(value, bytes) else value for value in row] for row in rows]

def asked(name):
    file = folder / f"{name}.asked"
    lines = file.read_text().splitlines() if file.exists() else []
    return {text: lines.count(text) for text in lines}

def tried(name, **how):
    killed = child(name, **how)
    before, there = asked(name), kept(name)[0]
    while killed and how.get("kill_s") and random.random() < 0.5:
        killed = child(name, **how)
        again, more = asked(name), kept(name)[0]
        assert all(again[text] - before[text] <= repeats - there.get(text, 0) for text in before), (before, again)
        before, there = again, more
    child(name)
    after = asked(name)
    return {
        "killed": killed,
        "paid twice": [text for text in after if after[text] - before.get(text, 0) > repeats - there.get(text, 0)],
        "found": kept(name)[1],
    }

child("whole")
print(json.dumps({"killed": False, "paid twice": [], "found": kept("whole")[1]}))
if when == "statements":
    number = 1
    while True:
        one = tried(f"at{number}", kill_at=number)
        if not one["killed"]:
            break
        print(json.dumps(one))
        number += 1
else:
    random.seed(int(seed))
    for number in range(6):
        print(json.dumps(tried(f"after{number}", kill_s=random.uniform(0.0, float(when)))))
'''


def outcomes(tmp_path, *arguments):
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
        check=False,
    )
    assert told.returncode == 0, told.stderr
    return [json.loads(line) for line in told.stdout.splitlines()]


def test_killed_between_any_two_writes_it_goes_on_to_the_same_experiment(tmp_path):
    whole, *broken = outcomes(tmp_path, 2, 1, 0, "statements", 0)
    assert len(whole["found"]) == 2 * 2 * 3 + 1
    assert len(broken) > 10
    assert all(one["killed"] for one in broken)
    assert [one["paid twice"] for one in broken] == [[]] * len(broken)
    assert [one["found"] for one in broken] == [whole["found"]] * len(broken)


def test_killed_at_any_time_it_goes_on_to_the_same_experiment(tmp_path):
    whole, *broken = outcomes(tmp_path, 5, 2, 0.01, 0.25, 7)
    assert len(broken) == 6
    assert [one["paid twice"] for one in broken] == [[]] * len(broken)
    assert [one["found"] for one in broken] == [whole["found"]] * len(broken)
