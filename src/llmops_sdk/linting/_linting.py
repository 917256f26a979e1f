"""The linter: prompt files in, problems out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, NamedTuple, TypedDict, Unpack

from llmops_sdk.errors import ConfigurationError, PromptError
from llmops_sdk.linting._ignoring import without_ignored
from llmops_sdk.linting._problems import Found, Problem, Rule
from llmops_sdk.linting._rules import BROKEN, NEEDLESS_IGNORE, PROVIDERS, RULES
from llmops_sdk.linting._subject import Aims, Subject
from llmops_sdk.prompts import SUFFIX, Reader, no_siblings, parse_prompt
from llmops_sdk.tokens import TokenCounter, counter_of

if TYPE_CHECKING:
    from llmops_sdk.prompts import PromptRepository

__all__ = ["LintOptions", "lint", "lint_text"]


class LintOptions(TypedDict, total=False):
    """What every check takes.

    Attributes:
        select: Codes of the rules to look for, or beginnings of them (`"P1"`); all by default.
        ignore: Codes, or beginnings of them, not to look for.
        per_file_ignores: The same for some files: codes by a pattern of paths, such as `"prompts/old/*"`.
        provider: Whose rules for the order of roles count: `"openai"`, `"anthropic"`, `"mistral"`, `"gemma"`, `"vllm"`.
        window: The model's context window, in tokens.
        counter: Counts tokens, as for `Prompt.fit`: the name of a model of OpenAI or of a tiktoken encoding, the path
            of a `tokenizer.json`, a tokenizer, an engine, a function of a text; by default an estimate, and the problem
            says so.
    """

    select: Collection[str]
    ignore: Collection[str]
    per_file_ignores: Mapping[str, Collection[str]]
    provider: str | None
    window: int | None
    counter: TokenCounter


class _Asked(NamedTuple):
    """What is looked for."""

    rules: dict[str, Rule]
    but: Mapping[str, tuple[str, ...]]
    aims: Aims

    def keeps(self, problem: Problem) -> bool:
        path = PurePath(problem.path)
        off = (codes for pattern, codes in self.but.items() if path.match(pattern))
        return problem.code in self.rules and not any(problem.code.startswith(codes) for codes in off)


class _File(NamedTuple):
    """A file to check: its bytes, its path, the prompt's name, and what reads the files beside it, and names them."""

    data: bytes
    path: str
    name: str
    read: Reader
    folder: str


def lint(
    *paths: str | Path,
    folder: str | Path = "prompts",
    repository: PromptRepository | None = None,
    version: str | None = None,
    **options: Unpack[LintOptions],
) -> list[Problem]:
    """Check prompt files, or prompts of a version of a repository.

    Args:
        paths: Files, and folders whose prompt files are checked; all of `folder` when there are none. With a
            repository, names of prompts, `"support/answer"` or `"support/answer@prod"`; all when there are none.
        folder: The folder of the prompts, to which what they include is relative.
        repository: Reads the prompts from here, and not from files.
        version: The version of names without one; that of the working tree by default.
        options: See `LintOptions`.

    Returns:
        The problems, by file and line. What several prompts include is said once.

    Raises:
        ConfigurationError: A path does not exist, or an option is wrong.
        PromptError: There is no such prompt or version in the repository.
        MissingDependencyError: The counter needs a library that is not installed.
    """
    asked = _asked(**options)
    if repository is None and version is not None:
        raise ConfigurationError("a `version` needs the `repository` that has it: `PromptRepository()`")
    if repository is not None:
        files = _committed(repository, [str(path) for path in paths], version)
    else:
        files = _lying(paths or (folder,), Path(folder))
    found: dict[Problem, None] = {}
    for file in files:
        found.update(dict.fromkeys(_checked(file, asked) if isinstance(file, _File) else [file]))
    return [problem for problem in found if asked.keeps(problem)]


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
    asked = _asked(**options)
    data = text.encode("utf-8", "surrogatepass")
    file = _File(data, path, Path(path).name.removesuffix(SUFFIX), read, str(Path(path).parent))
    return [problem for problem in _checked(file, asked) if asked.keeps(problem)]


# ------------------------------------------------------------------------------------------------------------- options
def _asked(**options: Unpack[LintOptions]) -> _Asked:
    per_file = options.get("per_file_ignores") or {}
    if not isinstance(per_file, Mapping):
        raise ConfigurationError('`per_file_ignores` are codes by a pattern of paths: `{"prompts/old/*": ["P2"]}`')
    but = {pattern: _codes(codes) for pattern, codes in per_file.items()}
    begins, ends = _codes(options.get("select", ())) or ("",), _codes(options.get("ignore", ()))
    rules = {code: rule for code, rule in RULES.items() if code.startswith(begins) and not code.startswith(ends)}
    return _Asked(rules, but, _aims(options.get("provider"), options.get("window"), options.get("counter")))


def _codes(given: Collection[str]) -> tuple[str, ...]:
    for code in given:
        if isinstance(given, str) or not any(known.startswith(code) for known in RULES):
            raise ConfigurationError(f"there is no rule {code!r}; there are {', '.join(RULES)}, given as a list")
    return tuple(given)


def _aims(provider: str | None, window: int | None, counter: TokenCounter) -> Aims:
    if provider is not None and provider not in PROVIDERS:
        raise ConfigurationError(f"`provider` is one of {', '.join(PROVIDERS)}, not {provider!r}")
    if window is not None and (isinstance(window, bool) or not isinstance(window, int) or window < 1):
        raise ConfigurationError(f"`window` is a number of tokens over 0, not {window!r}")
    # Not the tokenizer that happens to be at hand: the same files have the same problems on each machine.
    return Aims(provider=provider, window=window, counter=counter_of("estimate" if counter is None else counter))


# --------------------------------------------------------------------------------------------------------------- files
def _lying(paths: Iterable[str | Path], top: Path) -> Iterator[_File]:
    """Files as they lie on the disk."""

    def read(sibling: str) -> bytes | None:
        file = top / sibling
        return file.read_bytes() if file.is_file() else None

    for path in _files(paths):
        inside = path.is_relative_to(top)
        name = (path.relative_to(top) if inside else path).as_posix().removesuffix(SUFFIX)
        yield _File(path.read_bytes(), str(path), name, read, str(top))


def _files(paths: Iterable[str | Path]) -> Iterator[Path]:
    for path in map(Path, paths):
        if path.is_dir():
            yield from sorted(path.rglob(f"*{SUFFIX}"))
        elif path.is_file():
            yield path
        else:
            raise ConfigurationError(f"there is no {path}: name prompt files (`*{SUFFIX}`) or folders of them")


def _committed(repository: PromptRepository, specs: Collection[str], version: str | None) -> Iterator[_File | Problem]:
    """Prompts as a repository has them; for one that is no text at all, the problem."""
    behind = "" if version is None else f"@{version}"
    for spec in specs or repository.names(version):
        name, at, own = spec.partition("@")
        path = f"{repository.folder}/{name}{SUFFIX}".removeprefix("/")
        try:
            text, read = repository.source(spec if at else f"{spec}{behind}")
        except PromptError as exc:
            if name not in repository.names(own if at else version):
                raise
            yield _broken(path, str(exc))
        else:
            yield _File(text.encode("utf-8", "surrogatepass"), path, name, read, repository.folder)


# ------------------------------------------------------------------------------------------------------------ checking
def _checked(file: _File, asked: _Asked) -> Iterator[Problem]:
    siblings: dict[str, bytes] = {}

    def read(sibling: str) -> bytes | None:
        data = file.read(sibling)
        if data is not None:
            siblings[sibling] = data
        return data

    path, rules = file.path, asked.rules
    try:
        prompt = parse_prompt(file.data, name=file.name, where=path, read=read)
    except PromptError as exc:
        yield _broken(path, str(exc))
        return
    where = {sibling: str(PurePath(file.folder, sibling)) for sibling in siblings}
    subject = Subject(
        path,
        _plain(file.data),
        siblings={where[sibling]: _plain(data) for sibling, data in siblings.items()},
        partials={sibling: where[sibling] for sibling in prompt.content.partials if sibling in where},
        prompt=prompt,
        aims=asked.aims,
    )
    found = sorted(_found(subject, rules), key=lambda one: (one.path != path, one.path, one.line, one.column, one.code))
    for one in without_ignored(subject, found, RULES, rules):
        yield one if isinstance(one, Problem) else _problem(path, NEEDLESS_IGNORE, one)


def _plain(data: bytes) -> str:
    return data.decode("utf-8-sig", "surrogatepass").replace("\r\n", "\n").replace("\r", "\n")


def _found(subject: Subject, rules: Mapping[str, Rule]) -> Iterator[Problem]:
    for rule in rules.values():
        for found in rule.check(subject) if rule.check is not None else ():
            yield _problem(subject.path, rule, found)


def _problem(path: str, rule: Rule, found: Found) -> Problem:
    return Problem(
        path=found.path or path,
        line=found.line,
        column=found.column,
        code=rule.code,
        message=found.message,
        severity=rule.severity,
    )


def _broken(path: str, message: str) -> Problem:
    """The problem that an error of the parser is."""
    said = re.fullmatch(rf"{re.escape(path)}(?:@\w+)?:(\d+): (.*)", message, re.DOTALL)
    return Problem(
        path=path,
        line=1 if said is None else int(said[1]),
        code=BROKEN.code,
        message=message if said is None else said[2],
        severity=BROKEN.severity,
    )
