"""Rules for the length of a prompt, in tokens."""

from __future__ import annotations

from collections.abc import Iterator

from llmops_sdk.linting._problems import Found
from llmops_sdk.linting._subject import Subject

__all__ = ["over_window"]


def over_window(subject: Subject) -> Iterator[Found]:
    """What is written leaves no room in the model's window."""
    window = subject.aims.window
    if window is None:
        return
    prompt = subject.prompt
    tokens = sum(subject.aims.count(section.text) for section in prompt.sections)
    answer = prompt.parameters.get("max_tokens") or 0
    if tokens + answer > window:
        about = "about " if subject.aims.counts_with == "estimate" else ""
        room = f" and {answer:,} for the answer" if answer else ""
        yield Found(
            prompt.sections[0].line,
            1,
            f"the text alone takes {about}{tokens:,} tokens{room}, more than the window of {window:,} (counted with "
            f"{subject.aims.counts_with}): shorten it, or give its sections a priority and use `prompt.fit`",
        )
