"""Prompts with the stub of `llmops types`: checked by mypy and pyright, never executed.

The lines with `type: ignore` are wrong on purpose. Both checkers complain of an ignore that nothing needs, so each of
these is an error that they find.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from typing import assert_type

from tests.typing.app_prompts import load

from llmops_sdk import Request, Scripted, guards

prompt = load("support/answer@prod")
short = load("short")
assert_type(short.render(text="a"), Request)
prompt.render_from({"question": "a", "tone": "low", "customer": {"name": "Ada"}, "class": "a", "since": None})

load("shrt")  # type: ignore[call-overload]
load("short@staging")  # type: ignore[call-overload]
short.render()  # type: ignore[call-arg]
short.render(txt="a")  # type: ignore[call-arg]
short.render(text=1)  # type: ignore[arg-type]
prompt.render_from({"question": "a", "tone": "mid", "customer": {"name": "A"}, "class": "a"})  # type: ignore[typeddict-item]
prompt.render_from({"question": "a", "tone": "low", "customer": {"name": 1}, "class": "a"})  # type: ignore[typeddict-item]
prompt.render_from({"question": "a", "tone": "low", "customer": {}, "class": "a"})  # type: ignore[typeddict-item]
prompt.render_from({"question": "a", "tone": "low", "customer": {"name": "A"}})  # type: ignore[typeddict-item]

pipeline = prompt | guards.PII() | Scripted("{}")
result = pipeline.run({"question": "a", "tone": "low", "customer": {"name": "Ada"}, "class": "a"}, deadline_s=3.0)
output = result.output
assert output is not None
assert_type(output["answer"], str)
assert_type(output["sources"][0]["id"], int)
print(output["anwser"])  # type: ignore[typeddict-item]
print(output["answer"] + 1)  # type: ignore[operator]
print(output["sources"][0]["name"])  # type: ignore[typeddict-item]

line = short | Scripted("x")
line.run(text="a", tags={"a": 1})
line.run(txt="a")  # type: ignore[call-overload]
line.run(text="a", dedline_s=1)  # type: ignore[call-overload]
for chunk in line.stream(text="a"):
    assert_type(chunk.text, str)


async def asynchronously() -> None:
    assert_type((await line.arun(text="a")).text, str)
    await line.arun(text=1)  # type: ignore[call-overload]
