"""Examples of questions and answers, and the choice of those that a request shows."""

from __future__ import annotations

from llmops_sdk.prompts._examples.placing import ShownExamples
from llmops_sdk.prompts._examples.records import MAX_EXAMPLES, Example, Examples, Selector, example_from, examples_from

__all__ = [
    "MAX_EXAMPLES",
    "Example",
    "Examples",
    "Selector",
    "ShownExamples",
    "example_from",
    "examples_from",
]
