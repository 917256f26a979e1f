from __future__ import annotations

import pytest

from llmops_sdk.engines import Scripted
from llmops_sdk.monitoring import Monitor


@pytest.fixture
def watch(tmp_path):
    """Makes a monitor of a pipeline that answers from a script; all are closed at the end."""
    made = []

    def watch(pipeline=None, answer="It is so.", **options):
        if pipeline is None:
            pipeline = "Say {{ word }}" | Scripted(answer)
        options.setdefault("store", tmp_path / "monitor.db")
        monitor = Monitor(pipeline, **options)
        made.append(monitor)
        return monitor

    yield watch
    for monitor in made:
        monitor.close()
