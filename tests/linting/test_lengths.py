"""Limits of length: those that can be kept together are no contradiction, and those that cannot are said."""

from __future__ import annotations

import time

import pytest

from llmops_sdk.linting import lint_text

KEPT = [
    "Answer in 2-3 sentences. Never write more than 3 sentences.",
    "Write between 3 and 5 words. At most 5 words.",
    "Give 5 to 7 items, each at most 5 words. The whole answer has at least 20 words.",
    "At least 20 words. Each bullet: at most 5 words.",
    "Write a title of at most 10 words and an article of at least 300 words.",
    "If the customer asks for details, write at least 200 words. Otherwise at most 50 words.",
    "title: at most 8 words\nbody: at least 100 words",
    "- `title`: at most 60 characters\n- `description`: at least 100 characters",
    "Do not use more than 3 sentences. Use at most 2 sentences.",
    "Do not write more than 100 words. Write at least 50 words.",
    "Never fewer than 3 items. Up to 10 items.",
    "Write no more than 2 sentences per paragraph. The essay has at least 10 sentences.",
    "Sentences of at most 20 words. Write at least 100 words.",
    "The summary is at most 50 words. The report is at least 500 words.",
    "Use at least 3 bullets of at most 10 words. At least 30 words.",
    "In one or two sentences. At most 3 sentences.",
    "{% if long %}Write at least 200 words.{% else %}Write at most 50 words.{% endif %}",
    "For short questions use at most 1 sentence. For complex ones at least 5 sentences.",
    "You have more than 20 years of experience. At most 10 words.",
    "We support between 2 and 5 users. Reply in under 20 words.",
    "A reply with more than 200 words is rejected. Write at most 150 words.",
    "Keep each answer under 100 words. Ask at most one question.",
    "Name exactly 3 tags, and at least 1 keyword per tag.",
    "Every step has at most 2 sentences. Write at least 4 sentences.",
    "At most 5 items; at most 50 words each. At least 60 words.",
    "The user message has at least 2000 words. Summarise it in at most 50 words.",
    "Don't answer in 5 sentences. Answer in 2 sentences.",
    "Write at least two paragraphs of no more than 100 words each. No more than 300 words.",
    "Subject line (max 9 words)\nEmail body (min 50 words)",
    "Your reply should be 50 to 100 words. Limit the reply to 100 words.",
    "Use 3 to 5 keywords. Choose no more than 5 keywords.",
    "The password has at least 12 characters. Write at most 10 characters.",
    "Answer in at most 280 characters. Hashtags: at most 20 characters.",
    "Write exactly 5 lines with exactly 7 words. Exactly 35 words.",
    "Chapters have at least 1000 words; the blurb has at most 100 words.",
    "At most 50 words, and at least 20 words.",
    "At most two sentences of at most 20 words; at least 3 characters.",
    "Use over 5 years of experience in under 3 paragraphs of at least 5 words.",
]
BROKEN = [
    "Answer in at most 50 words. Write at least 60 words.",
    "Write 2-3 sentences. Write at least 5 sentences.",
    "Between 3 and 5 words. More than 5 words.",
    "5 to 7 items. At most 4 items.",
    "5\u20137 items. Exactly 8 items.",
    "Never write more than 50 words. Write at least 80 words.",
    "Do not exceed 100 words. Your answer has at least 150 words.",
    "Don't use more than 2 sentences. Use at least three sentences.",
    "Fewer than 3 items. At least 3 items.",
    "Under 100 words. Over 100 words.",
    "Answer in 3 sentences. Your reply has at most 2 sentences.",
    "Write one or two sentences. Exactly three sentences.",
    "Exactly 3 bullet points. At least 5 bullet points.",
    "The summary has at most 50 words. The summary has at least 80 words.",
    "title: at most 5 words, at least 7 words",
    "At most 100 characters. At least 120 chars.",
    "Up to 5 steps. No fewer than 6 steps.",
    "Respond in two paragraphs. Respond with at least three paragraphs.",
    "{% if x %}Write at least 200 words.{% endif %} Write at most 50 words.",
    "Maximum of 20 words. Minimum of 30 words.",
    "Maximum 20 words. Minimum 30 words.",
    "Limit your answer to 50 words. Write no less than 100 words.",
    "Answer within 30 words. Use at least 40 words.",
    "No more than three items. No fewer than five items.",
    "At most 1,000 words. At least 1,500 words.",
    "Write at least a hundred words. Keep it under 80 words.",
    "Answer with 3 to 5 bullet points. Use no more than two bullet points.",
    "Keep it to a maximum of 3 sentences. Write 4-6 sentences.",
    "Reply in exactly 10 words. Reply in exactly 12 words.",
]
MATTER = "---\nvariables: {long: {type: bool, trusted: true}, x: {type: bool, trusted: true}}\n---\n"


def said(text: str) -> list[str]:
    return [problem.message for problem in lint_text(text, select=["P001", "P203"])]


@pytest.mark.parametrize("text", KEPT)
def test_limits_that_can_be_kept_are_no_contradiction(text: str) -> None:
    assert said(MATTER + text) == []


@pytest.mark.parametrize("text", BROKEN)
def test_limits_that_cannot_be_kept_are_said(text: str) -> None:
    assert len(said(MATTER + text)) == 1


@pytest.mark.parametrize(
    ("limit", "most", "words"),
    [
        ("At least 50 words.", 10, "'At least 50 words' takes more than the 10 tokens of `max_tokens`"),
        ("Write 20-30 sentences.", 50, "takes more than"),
        ("At least 50 words.", 100, None),
        ("At most 5000 words.", 10, None),
        ("If asked, write at least 50 words.", 10, None),
    ],
)
def test_limits_are_held_against_the_tokens_of_the_answer(limit: str, most: int, words: str | None) -> None:
    found = said(f"---\nparameters: {{max_tokens: {most}}}\n---\n{limit}")
    assert found == [] if words is None else words in found[0]


def test_a_contradiction_names_the_other_line() -> None:
    (problem,) = lint_text("exactly three items\n\nexactly 4 items")
    assert (problem.code, problem.line, problem.column) == ("P203", 3, 1)
    assert "'exactly 4 items' contradicts 'exactly three items' in line 1" in problem.message


def test_a_contradiction_with_a_partial_names_the_other_file() -> None:
    files = {"s/short.md": b"Answer in at most 50 words."}
    text = "Write at least 60 words.\n{% include 's/short.md' %}"
    (problem,) = lint_text(text, path="prompts/a.prompt.md", read=files.get, select=["P203"])
    assert (problem.path, problem.line) == ("prompts/s/short.md", 1)
    assert "contradicts 'at least 60 words' in line 1 of prompts/a.prompt.md: keep one" in problem.message


def test_a_number_that_no_answer_has_is_no_limit() -> None:
    assert said(f"At least {'9' * 5_000} words. At most 10 words.") == []


def test_a_long_line_takes_no_long_time() -> None:
    started = time.perf_counter()
    assert len(said("at most 5 words and " * 5_000 + "at least 7 words")) <= 1
    assert time.perf_counter() - started < 30  # it takes less than a second; with the square of its length, minutes
