"""Rules for what the texts say: secrets, white space, another format than the output's."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from llmops_sdk.guards import Secrets
from llmops_sdk.linting._problems import Found
from llmops_sdk.linting._subject import Subject
from llmops_sdk.verdicts import Finding

__all__ = ["other_format", "secrets", "trailing_whitespace"]


@functools.cache
def _guard() -> Secrets:
    return Secrets()


@functools.lru_cache(maxsize=32)  # many prompts include the same few files
def _findings(text: str) -> tuple[Finding, ...]:
    return tuple(_guard().check(text).findings)


def secrets(subject: Subject) -> Iterator[Found]:
    """A key or a password, in the file or in one that it names; the message does not repeat it."""
    for path, text in ((None, subject.text), *subject.siblings.items()):
        for finding in _findings(text):
            kind = finding.kind.replace("_", " ")
            yield Found(
                *_place(text, finding.start),
                f"this looks like a secret ({kind}): take it out, and make it invalid where it is used, since it stays "
                "in the history of the repository",
                path,
            )


def _place(text: str, offset: int) -> tuple[int, int]:
    """Line and column of an offset."""
    return text.count("\n", 0, offset) + 1, offset - (text.rfind("\n", 0, offset) + 1) + 1


def trailing_whitespace(subject: Subject) -> Iterator[Found]:
    """White space that nobody sees and that changes the tokens."""
    for path, number, line in subject.spoken_lines:
        kept = len(line.rstrip())
        if kept != len(line):
            yield Found(number, kept + 1, f"blanks at the end of a line ({len(line) - kept}): delete them", path)


_FORMAT = re.compile(
    r"\b(?:answer|reply|respond|output|return)"
    r"(?:\s+(?:only|always|it|everything|(?:your|the)\s+(?:whole\s+)?(?:answer|reply|response|result|output)))*"
    r"\s+(?:in|as|using)\s+(?:valid\s+|pure\s+|an?\s+)*(XML|YAML|CSV|Markdown|HTML|plain\s+text)\b",
    re.IGNORECASE,
)
_NEGATED = re.compile(r"\b(?:not|never|don't)\s+$", re.IGNORECASE)


def other_format(subject: Subject) -> Iterator[Found]:
    """An answer is asked for in words that `output` does not allow."""
    if subject.prompt.content.output is None:
        return
    for path, number, line in subject.spoken_lines:
        for match in _FORMAT.finditer(line):
            if not _NEGATED.search(line[: match.start()]):
                yield Found(
                    number,
                    match.start() + 1,
                    f"{match[0]!r} asks for another format than `output`, which makes the answer JSON: keep one",
                    path,
                )
