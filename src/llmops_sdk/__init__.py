"""Prompts, guards, engines and routers of LLM applications, as objects on one line.

The names below are found on first use (PEP 562), so that `import llmops_sdk` loads nothing: no other module, no thread,
no file.
"""

TYPE_CHECKING = False  # what type checkers take it for; `typing` itself would have to be imported
if TYPE_CHECKING:
    from llmops_sdk import costs, engines, errors, evaluation, guards, pipelines, prompts, routers, testing, tracing
    from llmops_sdk.calls import Call
    from llmops_sdk.engines import Engine, Scripted
    from llmops_sdk.evaluation import Dataset, evaluate
    from llmops_sdk.guards import Guard, guard
    from llmops_sdk.messages import Chunk, Document, Message, Request, Response, StreamRestarted, Usage
    from llmops_sdk.pipelines import Pipeline, Result
    from llmops_sdk.prompts import Prompt
    from llmops_sdk.routers import Router
    from llmops_sdk.verdicts import Finding, Verdict

    __version__: str

__all__ = [
    "Call",
    "Chunk",
    "Dataset",
    "Document",
    "Engine",
    "Finding",
    "Guard",
    "Message",
    "Pipeline",
    "Prompt",
    "Request",
    "Response",
    "Result",
    "Router",
    "Scripted",
    "StreamRestarted",
    "Usage",
    "Verdict",
    "__version__",
    "costs",
    "engines",
    "errors",
    "evaluate",
    "evaluation",
    "guard",
    "guards",
    "monitoring",
    "pipelines",
    "prompts",
    "routers",
    "testing",
    "tracing",
]

_HOMES = {
    "Call": "calls",
    "Chunk": "messages",
    "Dataset": "evaluation",
    "Document": "messages",
    "Engine": "engines",
    "Finding": "verdicts",
    "Guard": "guards",
    "Message": "messages",
    "Pipeline": "pipelines",
    "Prompt": "prompts",
    "Request": "messages",
    "Response": "messages",
    "Result": "pipelines",
    "Router": "routers",
    "Scripted": "engines",
    "StreamRestarted": "messages",
    "Usage": "messages",
    "Verdict": "verdicts",
    "evaluate": "evaluation",
    "guard": "guards",
}
"""Public name -> the module that defines it."""


def __getattr__(name: str) -> object:
    import importlib  # noqa: PLC0415  (only when a name is asked for)

    value: object
    if name in _HOMES:
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415  (dear, and seldom asked for)

        value = version("llmops-sdk")
    elif name in __all__:
        return importlib.import_module(f"{__name__}.{name}")  # which sets the attribute, too
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
