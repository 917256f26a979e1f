"""Every name of a metric, and of an attribute that only metrics have.

`gen_ai.*` follows the GenAI conventions of OpenTelemetry. Their next release renames what released packages and
dashboards know (`docs/gen-ai/non-normative/migration.md` of
https://github.com/open-telemetry/semantic-conventions-genai), so both generations stand here, and `conventions.py` says
which one is written. The metrics for workflows and tools are new, and have one name.

`llmops.*` is our own: what the conventions have no name for.
"""

from __future__ import annotations

from typing import Final

# Semantic conventions v1.41.0, the last release before the GenAI conventions got a repository of their own.
CLIENT_TOKEN_USAGE: Final = "gen_ai.client.token.usage"  # noqa: S105  (tokens are what models read)
CLIENT_OPERATION_DURATION: Final = "gen_ai.client.operation.duration"
CLIENT_TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.operation.time_to_first_chunk"
CLIENT_TIME_PER_OUTPUT_CHUNK: Final = "gen_ai.client.operation.time_per_output_chunk"
TOKEN_TYPE: Final = "gen_ai.token.type"  # noqa: S105  (tokens are what models read)

# The same in the newest GenAI conventions.
INFERENCE_DURATION: Final = "gen_ai.client.inference.duration"
INFERENCE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.client.inference.time_to_first_chunk"
INFERENCE_TIME_PER_OUTPUT_CHUNK: Final = "gen_ai.client.inference.time_per_output_chunk"
INFERENCE_INPUT_TOKENS: Final = "gen_ai.client.inference.usage.input_tokens"
INFERENCE_OUTPUT_TOKENS: Final = "gen_ai.client.inference.usage.output_tokens"
INFERENCE_CACHE_READ_TOKENS: Final = "gen_ai.client.inference.usage.cache_read.input_tokens"
INFERENCE_CACHE_WRITE_TOKENS: Final = "gen_ai.client.inference.usage.cache_write.input_tokens"
INFERENCE_REASONING_TOKENS: Final = "gen_ai.client.inference.usage.reasoning.output_tokens"
INFERENCE_OPERATION_INPUT_TOKENS: Final = "gen_ai.client.inference.operation.input_tokens"
INFERENCE_OPERATION_OUTPUT_TOKENS: Final = "gen_ai.client.inference.operation.output_tokens"
TOKEN_MODALITY: Final = "gen_ai.token.modality"  # noqa: S105  (tokens are what models read)

# New in the GenAI conventions v0.1.0.
INVOKE_AGENT_DURATION: Final = "gen_ai.invoke_agent.duration"
"""Of a workflow, too: v0.1.0 merged the two."""
EXECUTE_TOOL_DURATION: Final = "gen_ai.execute_tool.duration"

RUNS: Final = "llmops.runs"
RUNS_IN_FLIGHT: Final = "llmops.runs.in_flight"
ATTEMPTS_IN_FLIGHT: Final = "llmops.attempts.in_flight"
SPENT_USD: Final = "llmops.spent_usd"
ESTIMATED_SPENT_USD: Final = "llmops.spent_usd.estimated"
ATTEMPTS_UNPRICED: Final = "llmops.attempts.unpriced"
STREAM_LONGEST_GAP: Final = "llmops.stream.longest_gap"
GUARD_VERDICTS: Final = "llmops.guard.verdicts"
GUARD_DURATION: Final = "llmops.guard.duration"
RETRIES: Final = "llmops.retries"
FAILOVERS: Final = "llmops.failovers"
HEDGES: Final = "llmops.hedges"
ESCALATIONS: Final = "llmops.escalations"
STREAMS_RESUMED: Final = "llmops.streams.resumed"
LIMIT_WAIT_DURATION: Final = "llmops.limit.wait.duration"
LIMITS_DEGRADED: Final = "llmops.limits.degraded"
CACHE_ANSWERS: Final = "llmops.cache.answers"
OUTPUT_VALIDATIONS: Final = "llmops.output.validations"
EVALUATIONS: Final = "llmops.evaluations"
EVALUATION_SCORE: Final = "llmops.evaluation.score"
VALUES_FOLDED: Final = "llmops.metrics.values_folded"
"""How often a value became `OTHER`, since its attribute has as many values as it may have."""

ASKER: Final = "llmops.asker"
"""The station that asked an engine of its own for a run: a guard its judge, say."""
FAILED_OVER_TO: Final = "llmops.failover.to"
LIMIT_KIND: Final = "llmops.limit.kind"
"""What is limited, not of whom: `"tokens per minute"`."""
OUTPUT_VALID: Final = "llmops.output.valid"
FOLDED: Final = "llmops.metrics.attribute"
"""The attribute of which a value became `OTHER`."""

OTHER: Final = "other"
