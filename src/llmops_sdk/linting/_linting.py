"""The linter: prompt files in, problems out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TypedDict, Unpack

from llmops_sdk.costs import estimated_text_tokens
from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.linting._ignoring import without_ignored
from llmops_sdk.linting._problems import Found, Problem, Rule
from llmops_sdk.linting._rules import BROKEN, NEEDLESS_IGNORE, PROVIDERS, RULES
from llmops_sdk.linting._subject import Aims, Subject
from llmops_sdk.prompts import SUFFIX, Reader, no_siblings, parse_prompt

__all__ = ["LintOptions", "lint", "lint_text"]


class LintOptions(TypedDict, total=False):
    """What every check takes.

    Attributes:
        select: Codes of the rules to look for, or beginnings of them (`"P1"`); all by default.
        ignore: Codes, or beginnings of them, not to look for.
        provider: Whose rules for the order of roles count: `"openai"`, `"anthropic"`, `"mistral"`, `"gemma"`, `"vllm"`.
        window: The model's context window, in tokens.
        counter: Counts the tokens of a text; an estimate without one, and the problem says so.
    """

    select: Collection[str]
    ignore: Collection[str]
    provider: str | None
    window: int | None
    counter: Callable[[str], int] | None


def lint(*paths: str | Path, folder: str | Path = "prompts", **options: Unpack[LintOptions]) -> list[Problem]:
    """Check prompt files.

    Args:
        paths: Files, and folders whose prompt files are checked; all of `folder` when there are none.
        folder: The folder of the prompts, to which what they include is relative.
        options: See `LintOptions`.

    Returns:
        The problems, by file and line.

    Raises:
        ConfigurationError: A path does not exist, or an option is wrong.
    """
    rules, aims = _asked(**options)
    top = Path(folder)
    found: list[Problem] = []
    for path in _files(paths or (top,)):
        found += _problems(path.read_bytes(), path, rules, aims, top)
    return found


def lint_text(
    text: str,
    /,
    *,
    path: str = "prompts/inline.prompt.md",
    read: Reader = no_siblings,
    **options: Unpack[LintOptions],
) -> list[Problem]:
    r"""Check the text of a prompt file.

    Args:
        text: The file.
        path: Where it stands, for the problems.
        read: Reads what it includes.
        options: See `LintOptions`.

    Raises:
        ConfigurationError: An option is wrong.

    Example:
        >>> print(lint_text("---\nvariables: {name: str, age: int}\n---\nHello {{ name }}")[0])
        prompts/inline.prompt.md:2:1: P102 'age' is declared and used nowhere: delete it, or write `{{ age }}`
    """
    rules, aims = _asked(**options)
    return list(_checked(text.encode("utf-8", "surrogatepass"), path, Path(path).name, rules, aims, read))


def _asked(**options: Unpack[LintOptions]) -> tuple[dict[str, Rule], Aims]:
    rules = _chosen(options.get("select", ()), options.get("ignore", ()))
    return rules, _aims(options.get("provider"), options.get("window"), options.get("counter"))


def _chosen(select: Collection[str], ignore: Collection[str]) -> dict[str, Rule]:
    for code in (*select, *ignore):
        if isinstance(select, str) or isinstance(ignore, str) or not any(known.startswith(code) for known in RULES):
            raise ConfigurationError(f"there is no rule {code!r}; there are {', '.join(RULES)}, given as a list")
    begins, ends = tuple(select) or ("",), tuple(ignore)
    return {code: rule for code, rule in RULES.items() if code.startswith(begins) and not code.startswith(ends)}


def _aims(provider: str | None, window: int | None, counter: Callable[[str], int] | None) -> Aims:
    if provider is not None and provider not in PROVIDERS:
        raise ConfigurationError(f"`provider` is one of {', '.join(PROVIDERS)}, not {provider!r}")
    if window is not None and window < 1:
        raise ConfigurationError(f"`window` is a number of tokens over 0, not {window!r}")
    if counter is None:
        return Aims(provider=provider, window=window, count=estimated_text_tokens, counts_with="estimate")
    name = getattr(counter, "__name__", type(counter).__name__)
    return Aims(provider=provider, window=window, count=counter, counts_with=name)


def _files(paths: Collection[str | Path]) -> Iterator[Path]:
    for path in map(Path, paths):
        if path.is_dir():
            yield from sorted(path.rglob(f"*{SUFFIX}"))
        elif path.is_file():
            yield path
        else:
            raise ConfigurationError(f"there is no {path}: name prompt files (`*{SUFFIX}`) or folders of them")


def _problems(data: bytes, path: Path, rules: dict[str, Rule], aims: Aims, top: Path) -> Iterator[Problem]:
    inside = path.is_relative_to(top)
    name = (path.relative_to(top) if inside else path).as_posix().removesuffix(SUFFIX)

    def read(sibling: str) -> bytes | None:
        file = top / sibling
        return file.read_bytes() if file.is_file() else None

    yield from _checked(data, str(path), name, rules, aims, read)


def _checked(data: bytes, path: str, name: str, rules: dict[str, Rule], aims: Aims, read: Reader) -> Iterator[Problem]:
    try:
        prompt = parse_prompt(data, name=name, where=path, read=read)
    except PromptError as exc:
        if BROKEN.code in rules:
            line, problem = _place_in(str(exc), path)
            yield Problem(path=path, line=line, code=BROKEN.code, message=problem, severity=BROKEN.severity)
        return
    text = data.decode("utf-8-sig", "surrogatepass").replace("\r\n", "\n").replace("\r", "\n")
    subject = Subject(text, prompt, aims)
    found = sorted(_found(subject, path, rules), key=lambda one: (one.line, one.column, one.code))
    for one in without_ignored(subject, found, RULES, rules):
        if isinstance(one, Problem):
            yield one
        elif NEEDLESS_IGNORE.code in rules:
            yield _problem(path, NEEDLESS_IGNORE, one)


def _found(subject: Subject, path: str, rules: dict[str, Rule]) -> Iterator[Problem]:
    for rule in rules.values():
        for found in rule.check(subject) if rule.check is not None else ():
            yield _problem(path, rule, found)


def _problem(path: str, rule: Rule, found: Found) -> Problem:
    return Problem(path=path, **found._asdict(), code=rule.code, severity=rule.severity)


def _place_in(message: str, path: str) -> tuple[int, str]:
    """The line that an error of the parser names, and the rest of it."""
    rest = message.removeprefix(f"{path}:")
    line, _, problem = rest.partition(": ")
    return (int(line), problem) if line.isdigit() else (1, message)
