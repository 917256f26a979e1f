"""Guards: they read what goes to the model and what comes back, and decide what may pass.

Subclass `Guard` and write `check`, or decorate a function with `@guard`. The place in the pipeline gives the
direction: before the engine a guard reads the input, after it the output.

Ready ones, which need no model and no other package: `Secrets`, `PII`, `PromptInjection`, and `Regex` for patterns of
your own. `PatternGuard` makes another one of a list of `Rule`s.
"""

from llmops_sdk.guards._guard import Guard, guard
from llmops_sdk.guards._injection import PromptInjection
from llmops_sdk.guards._patterns import PatternGuard, Rule
from llmops_sdk.guards._pii import PII
from llmops_sdk.guards._regex import Regex
from llmops_sdk.guards._secrets import Secrets

__all__ = ["PII", "Guard", "PatternGuard", "PromptInjection", "Regex", "Rule", "Secrets", "guard"]
