"""The prompts of an application; `app_prompts.pyi` beside it says their types."""

from llmops_sdk import Prompt

load = Prompt.load
