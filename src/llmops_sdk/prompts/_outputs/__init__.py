"""What a prompt says of the answer that it asks for: a JSON schema, in words or by a type."""

from __future__ import annotations

from llmops_sdk.prompts._outputs.declared import DEFAULT_REPAIRS, Output, declaration_of, output_of, repairs_of

__all__ = ["DEFAULT_REPAIRS", "Output", "declaration_of", "output_of", "repairs_of"]
