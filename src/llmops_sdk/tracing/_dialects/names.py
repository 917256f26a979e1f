"""Every name of a span, an event and an attribute that tracing writes.

`gen_ai.*` follows the GenAI conventions of OpenTelemetry, https://github.com/open-telemetry/semantic-conventions-genai
(status: Development), as of commit 024a4f94, after its release v0.1.0. The guardrail names are those of its pull
request 427 (commit f5e3733b), which is not merged; they pass on what a guard itself says, and no general allow or
deny. The Python package `opentelemetry-semantic-conventions` has older names only, so they are written out here.

`OTEL_SEMCONV_STABILITY_OPT_IN` is for libraries that had spoken v1.36.0 or older: it keeps the old names there until
somebody asks for `gen_ai_latest_experimental`. This library never had others than the current ones, so that is what it
writes with the variable and without it; the newest conventions do not mention the variable any more.

`llmops.*` is our own: what the conventions have no name for, such as cost.
"""

from __future__ import annotations

from typing import Final

SCHEMA_VERSION: Final = "gen-ai v0.1.0+024a4f94"

# Operations: values of `gen_ai.operation.name`, and the first word of the span's name.
INVOKE_WORKFLOW: Final = "invoke_workflow"
APPLY_GUARDRAIL: Final = "apply_guardrail"
CHAT: Final = "chat"
EXECUTE_TOOL: Final = "execute_tool"
RENDER_PROMPT: Final = "render_prompt"
"""Our own operation: the conventions have none for rendering."""
EVALUATE: Final = "evaluate"
"""Our own operation: the conventions have an event for what came of it."""

OPERATION_NAME: Final = "gen_ai.operation.name"
PROVIDER_NAME: Final = "gen_ai.provider.name"
AGENT_NAME: Final = "gen_ai.agent.name"
"""Of a workflow, too: v0.1.0 merged `gen_ai.workflow.name` into it."""
CONVERSATION_ID: Final = "gen_ai.conversation.id"
USER_ID: Final = "user.id"
PROMPT_NAME: Final = "gen_ai.prompt.name"
PROMPT_VERSION: Final = "gen_ai.prompt.version"

REQUEST_MODEL: Final = "gen_ai.request.model"
REQUEST_TEMPERATURE: Final = "gen_ai.request.temperature"
REQUEST_TOP_P: Final = "gen_ai.request.top_p"
REQUEST_TOP_K: Final = "gen_ai.request.top_k"
REQUEST_FREQUENCY_PENALTY: Final = "gen_ai.request.frequency_penalty"
REQUEST_PRESENCE_PENALTY: Final = "gen_ai.request.presence_penalty"
REQUEST_REASONING_LEVEL: Final = "gen_ai.request.reasoning.level"
REQUEST_MAX_TOKENS: Final = "gen_ai.request.max_tokens"
REQUEST_STOP_SEQUENCES: Final = "gen_ai.request.stop_sequences"
REQUEST_SEED: Final = "gen_ai.request.seed"
REQUEST_CHOICE_COUNT: Final = "gen_ai.request.choice.count"
REQUEST_STREAM: Final = "gen_ai.request.stream"
OUTPUT_TYPE: Final = "gen_ai.output.type"

RESPONSE_ID: Final = "gen_ai.response.id"
RESPONSE_MODEL: Final = "gen_ai.response.model"
RESPONSE_FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
RESPONSE_TIME_TO_FIRST_CHUNK: Final = "gen_ai.response.time_to_first_chunk"
"""Seconds."""

USAGE_INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
USAGE_OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.cache_read.input_tokens"
USAGE_CACHE_WRITE_INPUT_TOKENS: Final = "gen_ai.usage.cache_write.input_tokens"
USAGE_REASONING_OUTPUT_TOKENS: Final = "gen_ai.usage.reasoning.output_tokens"
USAGE_AUDIO_INPUT_TOKENS: Final = "gen_ai.usage.audio.input_tokens"
"""All sound, what was read from the cache included."""
USAGE_AUDIO_CACHE_READ_INPUT_TOKENS: Final = "gen_ai.usage.audio.cache_read.input_tokens"
USAGE_AUDIO_OUTPUT_TOKENS: Final = "gen_ai.usage.audio.output_tokens"

INPUT_MESSAGES: Final = "gen_ai.input.messages"
OUTPUT_MESSAGES: Final = "gen_ai.output.messages"

GUARDRAIL_COMPONENT_NAME: Final = "gen_ai.guardrail.component.name"
GUARDRAIL_SOURCE: Final = "gen_ai.guardrail.source"
GUARDRAIL_RESULT_TYPE: Final = "gen_ai.guardrail.result.type"
GUARDRAIL_RESULT_VALUE: Final = "gen_ai.guardrail.result.value"
GUARDRAIL_RESULT_REASON: Final = "gen_ai.guardrail.result.reason"
GUARDRAIL_RISK_CATEGORY: Final = "gen_ai.guardrail.risk.category"

TOOL_NAME: Final = "gen_ai.tool.name"
TOOL_CALL_ID: Final = "gen_ai.tool.call.id"
TOOL_TYPE: Final = "gen_ai.tool.type"
TOOL_CALL_ARGUMENTS: Final = "gen_ai.tool.call.arguments"
TOOL_CALL_RESULT: Final = "gen_ai.tool.call.result"

EVALUATION_NAME: Final = "gen_ai.evaluation.name"
EVALUATION_SCORE_VALUE: Final = "gen_ai.evaluation.score.value"
EVALUATION_SCORE_LABEL: Final = "gen_ai.evaluation.score.label"
EVALUATION_EXPLANATION: Final = "gen_ai.evaluation.explanation"

# Log events of the conventions.
EVENT_EVALUATION_RESULT: Final = "gen_ai.evaluation.result"
"""Also an event of the span `evaluate`, since backends keep that one."""
EVENT_GUARDRAIL_RESULT: Final = "gen_ai.guardrail.result"
EVENT_OPERATION_EXCEPTION: Final = "gen_ai.client.operation.exception"

ERROR_TYPE: Final = "error.type"
EXCEPTION_TYPE: Final = "exception.type"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"
HTTP_STATUS_CODE: Final = "http.response.status_code"

CALL_ID: Final = "llmops.call.id"
CALL_OUTCOME: Final = "llmops.call.outcome"
CALL_ATTEMPTS: Final = "llmops.call.attempts"
CALL_COST_USD: Final = "llmops.call.cost_usd"
"""US dollars of the whole run; absent when the price of a part of it is not known."""
CALL_STREAMED: Final = "llmops.call.streamed"
LOCK_HASH: Final = "llmops.lock.hash"
"""Of the lock by which the pipeline was built: `llmops.lock` says what ran."""
CALL_BLOCKED_BY: Final = "llmops.call.blocked_by"
TAG_PREFIX: Final = "llmops.tag."
PROMPT_COMMIT: Final = "llmops.prompt.commit"
PROMPT_HASH: Final = "llmops.prompt.hash"
ENGINE: Final = "llmops.engine"
ADAPTER: Final = "llmops.adapter"
ATTEMPT_NUMBER: Final = "llmops.attempt.number"
COST_USD: Final = "llmops.cost_usd"
"""US dollars of one attempt; absent when the price is not known."""
ESTIMATED_USD: Final = "llmops.estimated_usd"
"""US dollars that an attempt may have cost of which nobody knows the cost; never beside `llmops.cost_usd`."""
SERVICE_TIER: Final = "llmops.service_tier"
"""The tier that served the answer where its price differs from the standard one."""
CACHE_WRITE_1H_TOKENS: Final = "llmops.usage.cache_write_1h.input_tokens"
"""Those of the cache's writes that are kept for an hour."""
ALSO_CHARGED: Final = "llmops.usage.also_charged"
USAGE_ESTIMATED: Final = "llmops.usage.estimated"
ASKED_BY: Final = "llmops.asked_by"
"""The guard, say, that asked an engine of its own."""
EVALUATION_BY: Final = "llmops.evaluation.by"
"""Who judged: `"code"`, `"llm"` or `"human"`."""
OUTPUT_ERROR: Final = "llmops.output.error"
"""What is wrong with an answer, where it is not what the prompt asks for."""
CHUNKS: Final = "llmops.chunks"
CANCELLED: Final = "llmops.cancelled"
PROVIDER_REQUEST_ID: Final = "llmops.provider.request_id"
GUARD_BUSY_S: Final = "llmops.guard.busy_s"
GUARD_FINDINGS: Final = "llmops.guard.findings"
GUARD_FINDING_KINDS: Final = "llmops.guard.finding_kinds"
GUARD_SKIPPED: Final = "llmops.guard.skipped"
ROUTER: Final = "llmops.router"
ROUTE_ORDER: Final = "llmops.route.order"
ROUTE_REFUSED: Final = "llmops.route.refused"
RETRY_DELAY_S: Final = "llmops.retry.delay_s"
RESUME_HOW: Final = "llmops.resume.how"
RESUME_EMITTED: Final = "llmops.resume.emitted_characters"
HEDGE_AFTER_S: Final = "llmops.hedge.after_s"
ESCALATION_REASON: Final = "llmops.escalation.reason"
LIMIT: Final = "llmops.limit"
LIMIT_WAITED_S: Final = "llmops.limit.waited_s"
LIMIT_STORE: Final = "llmops.limit.store"
LIMIT_POLICY: Final = "llmops.limit.policy"
CACHE_HOW: Final = "llmops.cache.how"
CACHE_AGE_S: Final = "llmops.cache.age_s"

# Events of the root span.
EVENT_ROUTED: Final = "llmops.routed"
EVENT_RETRIED: Final = "llmops.retried"
EVENT_STREAM_RESUMED: Final = "llmops.stream_resumed"
EVENT_HEDGED: Final = "llmops.hedged"
EVENT_ESCALATED: Final = "llmops.escalated"
EVENT_LIMIT_WAITED: Final = "llmops.limit_waited"
EVENT_LIMITS_DEGRADED: Final = "llmops.limits_degraded"
EVENT_CACHE_ANSWERED: Final = "llmops.cache_answered"
EVENT_OUTPUT_VALIDATED: Final = "llmops.output_validated"
EVENT_GUARD_SKIPPED: Final = "llmops.guard_skipped"
