"""Every check and every job of this project, by name: `nox --list`.

Environments lie in `.nox/`, one for each lock, and are made again when the lock changes. Several sessions share one:
the big one (vLLM, LiteLLM) is made once for `demo`, `tests` and `bench`.
"""

from __future__ import annotations

import ast
import concurrent.futures
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PYTHON = "3.11"  # PyTorch's CPU wheel of the lock is built for this one
OTHER_PYTHONS = ("3.12", "3.13")
EXAMPLES = ("README.md", "docs", "src")
LIGHT = "not heavy and not backends"
QUICK = f"{LIGHT} and not once"  # what another Python could change

nox.options.sessions = ["lint", "types", "imports", "docs", "wheel", "tests"]
nox.options.default_venv_backend = "none"
nox.options.stop_on_first_error = False

os.environ |= {
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "NEMO_GUARDRAILS_NO_USAGE_STATS": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "VLLM_NO_USAGE_STATS": "1",
}


@nox.session
def demo(session):
    """Run the main job on a real model: prompt from git, guards, router, vLLM, traces."""
    python = heavy_environment(session)
    run(session, python, "examples/demo.py", *session.posargs)


@nox.session
def tests(session):
    """The light tests on every Python that is here, beside those with vLLM; with arguments: those, on 3.11."""
    python = environment(session, "light")
    if session.posargs:
        run(session, python, "-m", "pytest", *session.posargs)
        return
    missing, others = {}, {}
    for version in OTHER_PYTHONS:
        if find_python(version) is None:
            missing[f"Python {version}"] = "not installed here: not tested"
        else:
            other = environment(session, f"light-{version}", version, locks=("light",))
            others[f"Python {version}"] = [str(other), "-m", "pytest", "-m", QUICK]

    def heavy():
        return [str(heavy_environment(session)), "-m", "pytest", "-m", "heavy", "--timeout=600"]

    lanes = [{"with vLLM": heavy}, {f"Python {PYTHON}": [str(python), "-m", "pytest", "-m", LIGHT]}, others]
    for name, line in (run_in_lanes(session, lanes) | missing).items():
        print(f"{name:<12} {line}")


@nox.session
def coverage(session):
    """Lines that the light tests reach.

    Not on 3.11: coverage traces each thread there, and when two start at once, CPython 3.11.7 ends one of them.
    """
    version = OTHER_PYTHONS[0]
    python = environment(session, f"light-{version}", version, locks=("light",))
    os.environ["COVERAGE_CORE"] = "sysmon"
    run(session, python, "-m", "coverage", "run", "-m", "pytest", "-m", QUICK)
    run(session, python, "-m", "coverage", "report")


@nox.session
def tests_backends(session):
    """Send traces to a real Phoenix and a real MLflow; not among the default sessions: 2 GB and some minutes."""
    for name in ("phoenix", "mlflow"):
        environment(session, name, alone=True)
    run(session, environment(session, "light"), "-m", "pytest", *(session.posargs or ("tests/backends",)))


@nox.session
def lint(session):
    """Style: ruff's rules and its format."""
    python = environment(session, "lint", locks=("light", "lint"))
    run(session, python, "-m", "ruff", "check")
    run(session, python, "-m", "ruff", "format", "--check")


@nox.session
def fmt(session):
    """Format, and mend what ruff can mend."""
    python = environment(session, "lint", locks=("light", "lint"))
    run(session, python, "-m", "ruff", "check", "--fix", "--exit-zero", "--quiet")
    run(session, python, "-m", "ruff", "format")


@nox.session
def types(session):
    """Types: mypy --strict on all, pyright on the public face."""
    python = environment(session, "lint", locks=("light", "lint"))
    run(session, python, "-m", "mypy")
    run(session, python, "-m", "pyright", "--pythonpath", str(python))


@nox.session
def imports(session):
    """The import law, and what `import llmops_sdk` costs beside `import asyncio`."""
    python = environment(session, "lint", locks=("light", "lint"))
    run(session, python.with_name("lint-imports"), "--no-logo")
    run(session, python, "benchmarks/imports.py", "--check")


@nox.session
def docs(session):
    """Execute every example of the README, the pages and the docstrings."""
    python = environment(session, "light")
    run(session, python, "-m", "pytest", "-p", "no:randomly", *(session.posargs or EXAMPLES))


@nox.session
def wheel(session):
    """Build the distributions, install the wheel outside the tree as a user does, and use it there."""
    builder = environment(session, "lint", locks=("light", "lint"))
    with tempfile.TemporaryDirectory() as folder:
        outside = Path(folder)
        run(session, builder, "-m", "build", "--no-isolation", "--outdir", folder)
        (built,) = outside.glob("*.whl")
        python = new_venv(session, outside / "venv", PYTHON)
        pip(session, python, "install", "--constraint", str(ROOT / "locks" / "light.txt"), str(built))
        shutil.copy(ROOT / "tests" / "house" / "smoke.py", outside)
        run(session, python, "smoke.py", cwd=outside)


@nox.session
def bench(session):
    """Measure: imports and the cost of a call beside the peers, which only this session installs."""
    python = environment(session, "peers")
    for script in session.posargs or ("imports.py", "overhead.py"):
        run(session, python, f"benchmarks/{script}")


@nox.session
def shape(_session):
    """Print the longest files and functions and the longest parameter lists; never fails."""
    files, functions = [], []
    for path in sorted((ROOT / "src").rglob("*.py")):
        text = path.read_text()
        where = str(path.relative_to(ROOT / "src" / "llmops_sdk"))
        files.append((text.count("\n"), where))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                args = node.args
                count = len(args.posonlyargs) + len(args.args) + len(args.kwonlyargs)
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                functions.append((lines, count, f"{where}: {node.name}"))
    print(f"{len(files)} files, {sum(lines for lines, _ in files)} lines, {len(functions)} functions")
    table("lines of a file", files)
    table("lines of a function", [(lines, name) for lines, _, name in functions])
    table("parameters of a function", [(count, name) for _, count, name in functions])


@nox.session
def lock(session):
    """Remake the locks from pyproject.toml with what the package index has today."""
    python = new_venv(session, ROOT / ".nox" / "lock", PYTHON)
    # nox brings `packaging`, which the maker needs.
    run(session, Path(sys.executable), "locks/make.py", str(python))


def heavy_environment(session):
    """The environment with vLLM. An install can look right and still not import, so this is proved when it is made."""
    proof = "import vllm; from vllm import LLM; print('vLLM', vllm.__version__, 'imports')"
    return environment(session, "full", proof=proof)


def environment(session, name, version=PYTHON, *, locks: Iterable[str] = (), proof="", alone=False):
    """The Python of the environment `name`, which is made when it is not there or its locks have changed.

    The project is in it, unless what is in the lock is to be `alone`. The file `ready` is written last, so an
    environment whose making was interrupted is made again.
    """
    files = [ROOT / "locks" / f"{one}.txt" for one in locks or (name,)]
    key = f"{version} {digest(*files)}"
    whole = key if alone else f"{key} {digest(ROOT / 'pyproject.toml')}"
    folder = ROOT / ".nox" / name
    ready = folder / "ready"
    python = folder / "bin" / "python"
    made = ready.read_text() if ready.is_file() else ""
    if made == whole:
        return python
    started = time.monotonic()
    if not made.startswith(key):
        print(f"Making .nox/{name} from {', '.join(path.name for path in files)} ...", flush=True)
        new_venv(session, folder, version)
        pip(session, python, "install", "--no-deps", *(part for path in files for part in ("-r", str(path))))
        if proof:
            run(session, python, "-c", proof)
    if not alone:
        pip(session, python, "install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    ready.write_text(whole)
    print(f"Made .nox/{name} in {time.monotonic() - started:.0f} s", flush=True)
    return python


def digest(*files):
    """A name for what is in `files`."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def new_venv(session, folder, version):
    """A new virtual environment in `folder`, in place of what is there."""
    base = find_python(version)
    if base is None:
        session.error(f"Python {version} is needed, and none was found on PATH or among pyenv's versions")
    shutil.rmtree(folder, ignore_errors=True)
    run(session, base, "-m", "venv", str(folder))
    return folder / "bin" / "python"


def find_python(version):
    """A Python of this version that really runs: a shim on PATH may only say that it does not."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = (sys.executable, shutil.which(f"python{version}"), *sorted(pyenv.glob(f"versions/{version}.*/bin/python")))
    asks = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2])"
    for python in filter(None, found):
        done = subprocess.run([python, "-c", asks], capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:
            return Path(python)
    return None


def pip(session, python, *arguments):
    """Run pip quietly: of its warnings about places where it found nothing there can be hundreds."""
    run(session, python, "-m", "pip", arguments[0], "--quiet", *arguments[1:], hide="it is neither a file nor a")


def run(session, python, *arguments, cwd=ROOT, hide=None):
    """Run, show what is printed without the lines that hold `hide`, and return the last line."""
    last = ""
    if sys.stdout.isatty():
        os.environ.setdefault("FORCE_COLOR", "1")
    command = [str(python), *arguments]
    with subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout:
            if hide is None or hide not in line:
                print(line, end="", flush=True)
                last = line.strip() or last
    if process.returncode:
        session.error(f"{' '.join(command)} ended with {process.returncode}")
    return last


def run_in_lanes(session, lanes):
    """Run each lane's commands one after another, the lanes at the same time; return the last line of each command.

    A model that starts or waits leaves a core free, and so does the making of an environment: a command may be a
    function that gives it. What a command prints is shown when it has ended.
    """
    codes, last = {}, {}

    def drive(lane):
        for name, command in lane.items():
            print(f"Running: {name} ...", flush=True)
            done = subprocess.run(
                command() if callable(command) else command,
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            print(f"--- {name}\n{done.stdout}", end="", flush=True)
            codes[name] = done.returncode
            last[name] = next((line for line in reversed(done.stdout.splitlines()) if line.strip()), "")

    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(drive, lanes))
    for name, code in codes.items():
        if code:
            session.error(f"the tests: {name} ended with {code}")
    return last


def table(title, rows):
    """Print the ten largest."""
    print(f"\n{title}")
    for number, name in sorted(rows, reverse=True)[:10]:
        print(f"{number:>6}  {name}")
