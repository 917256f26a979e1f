r"""`InvisibleText`: characters that a reader does not see and a model does.

What scripts need stays: joiners in Arabic, Persian and the scripts of India, and in sequences of emoji; a variation
selector after a character that can have one; the tags of the flags of regions; a byte order mark at the beginning;
marks of direction (U+200E, U+200F, U+061C); no-break spaces.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Unpack

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._guard import GuardOptions
from llmops_sdk.guards._patterns.guard import PatternAction, PatternGuard, Rule
from llmops_sdk.protocols import GuardContext
from llmops_sdk.verdicts import Verdict

__all__ = ["INVISIBLE_RULES", "InvisibleText"]

_TAGS = "\U000e0000-\U000e007f"
_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_EMOJI = "\u2190-\u2bff\u3030\u303d\u3297\u3299\U0001f000-\U0001faff"
# Scripts in which joiners and non-joiners change how letters look.
_JOINING = (
    "\u0600-\u06ff\u0710-\u074f\u0750-\u077f\u07c0-\u07ff\u0840-\u085f\u08a0-\u08ff\u0900-\u0dff\u0f00-\u0fff"
    "\u1000-\u109f\u1780-\u17ff\u1820-\u18aa\ufb50-\ufdff\ufe70-\ufefe"
)
_HAN = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U000323af"
_SELECTABLE = rf"#*0-9\u00a9\u00ae\u203c\u2049\u2122\u2139{_EMOJI}{_HAN}\u1820-\u18aa\u1000-\u109f\ua840-\ua877"
_FLAG = re.compile("\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{3,6}\U000e007f")
_SOME_CLASS = (
    r"\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u00ad\u034f\u115f\u1160\u1680\u17b4\u17b5\u180e\u2000-\u200d\u202a-\u202e"
    r"\u205f-\u206f\u3164\ue000-\uf8ff\ufeff\uffa0\ufff9-\ufffb"
    rf"{_SELECTORS}{_TAGS}\U000f0000-\U0010ffff"
)
_ANY = re.compile(f"[{_SOME_CLASS}]")


def _is_no_flag(match: re.Match[str]) -> bool:
    return _FLAG.fullmatch(match.group()) is None


INVISIBLE_RULES: tuple[Rule, ...] = (
    Rule(
        kind="zero_width",
        pattern=rf"[\u200b\u2060-\u2065\u206a-\u206f\u180e\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0]{{1,64}}"
        rf"|(?<=[\x00-\U0010ffff])\ufeff|(?<![{_JOINING}])\u200c|(?<![{_JOINING}{_EMOJI}\ufe0f])\u200d",
    ),
    # A tag after seven tags is part of no flag.
    Rule(
        kind="tag",
        pattern=rf"(?:\U0001f3f4|(?<![\U0001f3f4{_TAGS}]))[{_TAGS}]{{1,64}}",
        accepts=_is_no_flag,
        hint=f"[{_TAGS}]",
    ),
    Rule(kind="tag", pattern=rf"(?<=[{_TAGS}]{{7}})[{_TAGS}]{{1,64}}", hint=f"[{_TAGS}]"),
    Rule(kind="variation_selector", pattern=rf"(?<![{_SELECTABLE}])[{_SELECTORS}]{{1,64}}"),
    Rule(kind="bidi_control", pattern=r"[\u202a-\u202e\u2066-\u2069]"),
    Rule(kind="private_use", pattern=r"[\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd]{1,64}"),
    Rule(kind="soft_hyphen", pattern=r"\u00ad"),
    Rule(kind="unusual_space", pattern=r"[\u1680\u2000-\u200a\u205f]"),
    Rule(kind="control", pattern=r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufff9-\ufffb]{1,64}"),
)
"""What `InvisibleText` finds."""
_KINDS = tuple(dict.fromkeys(rule.kind for rule in INVISIBLE_RULES))


class InvisibleText(PatternGuard):
    """Finds characters that cannot be seen: smuggled text, and tricks with the order in which text is displayed.

    Kinds: `zero_width`, `tag` (tag characters spell ASCII that no one sees), `variation_selector` (they can carry
    bytes), `bidi_control` (overrides, embeddings and isolates: "Trojan Source"), `private_use`, `soft_hyphen`,
    `unusual_space` (becomes a plain space) and `control`. What scripts and emoji need stays as it is.

    Args:
        action: `"rewrite"` (the default) takes them out; `"block"` or `"flag"`.
        kinds: Which kinds to find; all of them unless given.
        ignore: Texts, and compiled patterns, that are no findings.
        options: See `GuardOptions`.

    Raises:
        ConfigurationError: There is no such kind, or no such action.

    Example:
        >>> InvisibleText().check("pass" + chr(0x200B) + "word").text
        'password'
        >>> InvisibleText().check("👩" + chr(0x200D) + "💻").action
        'allow'
    """

    inert_ascii = True

    def __init__(
        self,
        *,
        action: PatternAction = "rewrite",
        kinds: Sequence[str] | None = None,
        ignore: Sequence[str | re.Pattern[str]] = (),
        **options: Unpack[GuardOptions],
    ) -> None:
        wanted = _KINDS if kinds is None else tuple(kinds)
        unknown = sorted(set(wanted) - set(_KINDS))
        if unknown or isinstance(kinds, str):
            raise ConfigurationError(f"kinds={kinds!r}: write a list of {', '.join(map(repr, _KINDS))}")
        rules = [rule for rule in INVISIBLE_RULES if rule.kind in wanted]
        super().__init__(rules, action=action, ignore=ignore, **options)

    def check(self, text: str, context: GuardContext | None = None, /) -> Verdict:
        """Decide about the whole text."""
        return super().check(text, context) if _ANY.search(text) is not None else Verdict.allow()

    def replace(self, rule: Rule, text: str, memory: Any, /, *, extends: bool) -> str | None:
        """Nothing, or the space that an unusual one is; a flag that tags were hidden behind stays."""
        if rule.kind == "unusual_space":
            return " "
        return text[0] if text.startswith("\U0001f3f4") else ""
