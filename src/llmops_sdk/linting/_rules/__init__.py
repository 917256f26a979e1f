"""The rules, by their codes: P0 the file, P1 variables, P2 texts, P3 roles, P4 examples, P5 length."""

from __future__ import annotations

from llmops_sdk.linting._problems import Rule
from llmops_sdk.linting._rules.examples import answer_off_schema, same_question
from llmops_sdk.linting._rules.lengths import contradictory_lengths
from llmops_sdk.linting._rules.roles import (
    PROVIDERS,
    answer_begun,
    nobody_asks,
    not_alternating,
    system_not_first,
)
from llmops_sdk.linting._rules.texts import other_format, secrets, trailing_whitespace
from llmops_sdk.linting._rules.tokens import early_variable, over_window
from llmops_sdk.linting._rules.variables import undeclared, untrusted_in_system, unused

__all__ = ["BROKEN", "NEEDLESS_IGNORE", "PROVIDERS", "RULES"]

BROKEN = Rule(code="P001", name="broken-file", severity="error", title="The file is no prompt.")
NEEDLESS_IGNORE = Rule(
    code="P002",
    name="needless-ignore",
    severity="warning",
    title="A comment ignores what is not there, or a rule that does not exist.",
)

RULES: dict[str, Rule] = {
    rule.code: rule
    for rule in (
        BROKEN,
        NEEDLESS_IGNORE,
        Rule(
            code="P101",
            name="undeclared-variable",
            severity="warning",
            title="The body uses a variable that the front matter does not declare.",
            check=undeclared,
        ),
        Rule(
            code="P102",
            name="unused-variable",
            severity="warning",
            title="A variable is declared and used nowhere.",
            check=unused,
        ),
        Rule(
            code="P103",
            name="untrusted-in-system",
            severity="error",
            title="An untrusted variable stands in a system section.",
            check=untrusted_in_system,
        ),
        Rule(
            code="P201",
            name="secret",
            severity="error",
            title="The file holds what looks like a key or a password.",
            check=secrets,
        ),
        Rule(
            code="P202",
            name="trailing-whitespace",
            severity="warning",
            title="White space at the end of a line changes the tokens.",
            check=trailing_whitespace,
        ),
        Rule(
            code="P203",
            name="contradictory-lengths",
            severity="warning",
            title="Two limits of length contradict each other, or `max_tokens`.",
            check=contradictory_lengths,
        ),
        Rule(
            code="P204",
            name="other-format",
            severity="warning",
            title="The text asks for another format than the output's.",
            check=other_format,
        ),
        Rule(
            code="P301",
            name="system-not-first",
            severity="warning",
            title="A system message is not the first one.",
            check=system_not_first,
        ),
        Rule(
            code="P302",
            name="nobody-asks",
            severity="warning",
            title="There is no message of a user.",
            check=nobody_asks,
        ),
        Rule(
            code="P303",
            name="answer-begun",
            severity="warning",
            title="The prompt ends with an assistant's message.",
            check=answer_begun,
        ),
        Rule(
            code="P304",
            name="not-alternating",
            severity="error",
            title="Roles do not alternate, and the provider wants them to.",
            check=not_alternating,
        ),
        Rule(
            code="P401",
            name="example-off-schema",
            severity="error",
            title="An example's answer does not fit the output schema.",
            check=answer_off_schema,
        ),
        Rule(
            code="P402",
            name="same-question",
            severity="warning",
            title="Two examples ask the same.",
            check=same_question,
        ),
        Rule(
            code="P501",
            name="over-window",
            severity="error",
            title="The prompt without its variables is longer than the model's window.",
            check=over_window,
        ),
        Rule(
            code="P502",
            name="early-variable",
            severity="warning",
            title="A variable stands before much that never changes, which no prefix cache can keep then.",
            check=early_variable,
        ),
    )
}
