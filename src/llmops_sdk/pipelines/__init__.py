"""Pipelines: the line of text to a model and back, composed with `|`, and run sync, async, as a stream or in bulk."""

from llmops_sdk.pipelines._coverage import Coverage
from llmops_sdk.pipelines._pipeline import Draft, Pipeline, join
from llmops_sdk.pipelines._result import Result
from llmops_sdk.pipelines._streams import PipelineStream, SyncStream

__all__ = ["Coverage", "Draft", "Pipeline", "PipelineStream", "Result", "SyncStream", "join"]
