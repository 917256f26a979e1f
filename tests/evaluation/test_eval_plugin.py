"""Evaluations as tests of pytest, in suites of their own."""

import sys
from pathlib import Path

import pytest

import llmops_sdk

pytestmark = [pytest.mark.timeout(240), pytest.mark.once]  # each is a process or two of its own

TESTS = """
import asyncio
import pytest
from evals.answer import suite

@pytest.mark.llmops_eval(suite, at_least={"exact": 1})
def test_answers(evaluated):
    assert evaluated.case.expected

@pytest.mark.llmops_eval(suite)
async def test_is_a_number(evaluated):
    await asyncio.sleep(0)
    assert evaluated.results[0].text == evaluated.text
    assert evaluated.text.isdigit()
"""


@pytest.fixture
def pytest_here(application, pytester, monkeypatch):
    """Runs pytest where the application is."""
    monkeypatch.chdir(application.root)
    monkeypatch.setenv("PYTHONPATH", f"{Path(llmops_sdk.__file__).parents[1]}:{application.root}")
    (application.root / "pytest.ini").write_text(
        "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
    )
    (application.root / "test_answer.py").write_text(TESTS)

    def run(*arguments):
        return pytester.run(sys.executable, "-m", "pytest", "--color=no", *map(str, arguments))

    return run


def test_each_case_is_a_test_and_so_is_the_verdict(application, pytest_here):
    application.prompt("Miss every 10.")
    result = pytest_here("--llmops-against", "prod", "-p", "randomly")
    result.assert_outcomes(passed=108, failed=14)
    result.stdout.fnmatch_lines(["FAILED test_answer.py::test_answers[[]verdict[]]*"])
    text = result.stdout.str()
    assert "case-20: exact is 0, and has to be at least 1" in text
    assert "expected: 20\nanswered: wrong\nexact: 0" in text
    assert "failed: exact 90.0 % after 100.0 %: -10.0 points" in text
    again = pytest_here("--lf", "-k", "test_answers and not verdict")
    again.assert_outcomes(failed=6)


def test_only_cases_of_selected_tests_are_run(application, pytest_here):
    file = application.root / "evals" / "answer.py"
    file.write_text(file.read_text() + "\nimport atexit\natexit.register(lambda: print('ran', len(asked)))\n")
    file.write_text(
        file.read_text().replace("def answer(request):", "asked = []\ndef answer(request):\n    asked.append(1)")
    )
    result = pytest_here("-x", "-k", "case-11 or case-12 or verdict")
    result.assert_outcomes(passed=4, skipped=2)
    result.stdout.fnmatch_lines(["ran 2"])


def test_a_missing_base_fails_the_verdict_alone_and_an_error_is_shown_once(application, pytest_here):
    (application.root / "test_answer.py").write_text(
        TESTS + "\nfrom llmops_sdk.evaluation import Suite\n"
        "broken = Suite(lambda: 1 / 0, suite.dataset, suite.metrics, name='broken')\n"
        "@pytest.mark.llmops_eval(broken)\ndef test_broken(evaluated): ...\n"
        "@pytest.mark.llmops_eval(suite)\nclass TestOdd:\n    @pytest.mark.parametrize('k', [1, 2])\n"
        "    def test_each(self, evaluated, k): ...\n"
    )
    result = pytest_here("--llmops-against", "gone", "-k", "case-1 or verdict")
    text = result.stdout.str()
    result.assert_outcomes(passed=44, errors=16)
    assert text.count("E   ZeroDivisionError: division by zero") == 1
    assert "answers could not be run: PromptError: " in text


def test_wrong_use_says_what_to_write_and_nothing_is_loaded_without_use(application, pytest_here):
    (application.root / "test_answer.py").write_text(
        "import pytest\nfrom evals.answer import suite\n@pytest.mark.llmops_eval(suite)\ndef test_without(): ...\n"
    )
    pytest_here("--collect-only").stdout.fnmatch_lines(["*write `def test_without(evaluated):`*"])
    (application.root / "test_answer.py").write_text(
        "import sys\ndef test_plain(scripted_engine):\n    assert 'llmops_sdk.evaluation' not in sys.modules\n"
        "def test_unmarked(evaluated): ...\n"
    )
    result = pytest_here("-p", "no:randomly")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*mark the test: `@pytest.mark.llmops_eval(suite)`*"])
