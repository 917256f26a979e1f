"""`Secrets`: keys, tokens and passwords, by the forms in which services issue them and by the words before them."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any, Unpack

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._guard import GuardOptions
from llmops_sdk.guards._patterns import PatternAction, PatternGuard, Rule

__all__ = ["SECRET_RULES", "Secrets"]

# A key begins where no letter or digit stands before it; but in JSON a line break is written as two characters, of
# which the second is a letter. This stands after the first character, so that `re` can skip to that character.
_FIRST = r"(?:(?<![A-Za-z0-9].)|(?<=\\[nrt].))"
_END = r"(?![A-Za-z0-9])"
# What stands between a name and its value: `= "`, `: '`, `": "`, `=>`, `:=`.
_SEPARATOR = r"""(?:\\?["'`])?\s{0,4}(?:=>|:=|={1,2}|:)\s{0,4}"""
_QUOTED = r"""\\?["'`]"""

_PLACEHOLDER = re.compile(
    r"""[<\[{$%(*]|.*(?:x{4}|\*{3}|\.{3}|your[-_]?|example|placeholder|change_?-?me|redacted|dummy|insert|replace)"""
    r"""|(?:none|null|nil|undefined|true|false|todo|tbd|string|str|secret|password|passwd|pass|pwd|token|key|hidden|n/a)$""",
    re.IGNORECASE | re.ASCII,
)
_REPEATED = re.compile(r"(.)\1{5}", re.DOTALL)
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


def _entropy(text: str) -> float:
    """Bits a character, from how often each character occurs."""
    size = len(text)
    return -sum(count / size * math.log2(count / size) for count in Counter(text).values())


def _found(match: re.Match[str]) -> str:
    return match.group(match.lastindex or 0)


def _random(match: re.Match[str]) -> bool:
    """Not `sk-xxxxxxxx`: made of many characters, none of them repeated six times."""
    text = _found(match)
    return len(set(text)) >= 8 and _REPEATED.search(text) is None


def _random_with_digit(match: re.Match[str]) -> bool:
    """Also not words joined by hyphens."""
    return _random(match) and any(c.isdigit() for c in _found(match)) and not _PLACEHOLDER.match(_found(match))


def _meant(match: re.Match[str]) -> bool:
    """Not a placeholder such as `${PASSWORD}`, `<your password>`, `********`."""
    text = _found(match)
    return _PLACEHOLDER.match(text) is None and len(set(text)) > 2


def _like_a_password(match: re.Match[str]) -> bool:
    """An unquoted value: words of prose and names of variables have no digit and no such sign."""
    return _meant(match) and any(c in "0123456789!@#$%^&*+?~" for c in _found(match))


def _unpredictable(match: re.Match[str]) -> bool:
    """A value after a name such as `api_key`: letters and digits mixed, at least 3 bits a character."""
    text = _found(match)
    return (
        _meant(match)
        and any(c.isdigit() for c in text)
        and any(c.isalpha() for c in text)
        and _entropy(text) >= 3.0
        and _UUID.fullmatch(text) is None
    )


def _holds_a_key(match: re.Match[str]) -> bool:
    """A block of base64, not a sentence that mentions the header line."""
    return re.search(r"[A-Za-z0-9+/=]{24}", match.group(1)) is not None


def _folded(words: str) -> str:
    """The pattern in any case; classes are faster here than `(?i:...)`, since `re` skips to them."""
    return re.sub("[a-z]", lambda letter: f"[{letter[0]}{letter[0].upper()}]", words)


# Also inside of a name in camel case: `dbPassword`.
_FIRST_OF_NAME = rf"(?:{_FIRST}|(?<=[a-z][A-Z]))"
_NAMES_OF_PASSWORDS = (
    rf"(?:[pP]{_FIRST_OF_NAME}{_folded('(?:ass(?:w(?:or(?:d|t)|d)|phrase)?|wd)')}"
    rf"|[kK]{_FIRST_OF_NAME}{_folded('ennwort')}"
    rf"|[mM]{_FIRST_OF_NAME}{_folded('ot de passe')}"
    rf"|[cC]{_FIRST_OF_NAME}{_folded('ontrase')}[ñÑn][aA])"
)
# A bare "key" is a word of prose, and these compounds name no secret.
_NO_SECRET_KEYS = ("public", "primary", "foreign", "sort", "cache", "partition", "object", "idempotency", "row", "hash")
_NAMES_OF_KEYS = (
    r"(?:"
    + _folded("key")
    + "".join(rf"(?<!{_folded(word)}[_\-. ]...)" for word in _NO_SECRET_KEYS)
    + r"(?:(?<=[A-Za-z0-9][_\-. ]...)|(?<=[a-z0-9]K..)|(?<=[aA][pP][iI]...))"
    + "|"
    + _folded("token")
    + rf"(?<!{_folded('page')}[_\-. ].....)"
    + "|"
    + _folded("secret|credential")
    + r")[sS]?"
)


SECRET_RULES: tuple[Rule, ...] = (
    Rule(
        kind="aws_access_key_id",
        pattern=rf"A{_FIRST}(?:KIA|SIA|BIA|CCA)" r"[A-Z0-9]{16}" + _END,
        literals=("AKIA", "ASIA", "ABIA", "ACCA"),
        accepts=_random,
    ),
    Rule(
        kind="aws_secret_access_key",
        pattern=_folded("secret") + r"[_\-. ]?(?:" + _folded("access") + r"[_\-. ]?)?(?:" + _folded("key") + ")?"
        r"(?:" + _SEPARATOR + r"|\s{1,3}is:?\s{1,3}|\s{1,3})(?:" + _QUOTED + r")?"
        r"([A-Za-z0-9/+]{40})(?![A-Za-z0-9/+=])",
        literals=("secret",),
        folded=True,
        accepts=_random,
        group=1,
    ),
    Rule(
        kind="github_token",
        pattern=rf"g{_FIRST}" r"h[pousr]_[A-Za-z0-9]{36,255}",
        literals=("ghp_", "gho_", "ghu_", "ghs_", "ghr_"),
        accepts=_random,
    ),
    Rule(
        kind="github_fine_grained_token",
        pattern=rf"g{_FIRST}" r"ithub_pat_[A-Za-z0-9_]{36,255}",
        literals=("github_pat_",),
        accepts=_random,
    ),
    Rule(
        kind="gitlab_token",
        pattern=rf"g{_FIRST}"
        r"l(?:pat|ptt|dt|rt|cbt|soat|ft|imt|oas|agent|ffct)-[A-Za-z0-9_\-]{20,300}"
        r"(?:\.[0-9a-z]{2}\.[0-9a-z]{9})?",
        literals=(
            "glpat-",
            "glptt-",
            "gldt-",
            "glrt-",
            "glcbt-",
            "glsoat-",
            "glft-",
            "glimt-",
            "gloas-",
            "glagent-",
            "glffct-",
        ),
        accepts=_random,
    ),
    Rule(
        kind="anthropic_key",
        pattern=rf"s{_FIRST}" r"k-ant-[A-Za-z0-9_\-]{20,200}",
        literals=("sk-ant-",),
        accepts=_random_with_digit,
    ),
    Rule(
        kind="openai_project_key",
        pattern=rf"s{_FIRST}" r"k-(?:proj|svcacct|admin|None)-[A-Za-z0-9_\-]{20,300}",
        literals=("sk-proj-", "sk-svcacct-", "sk-admin-", "sk-None-"),
        accepts=_random_with_digit,
    ),
    Rule(
        kind="openai_key",
        pattern=rf"s{_FIRST}" r"k-(?:or-v1-|lf-)?[A-Za-z0-9]{20,100}(?![A-Za-z0-9_\-])",
        literals=("sk-",),
        accepts=_random_with_digit,
    ),
    Rule(
        kind="slack_token",
        pattern=rf"x{_FIRST}" r"(?:ox[abceoprs](?:\.xox[bp])?-|app-)[A-Za-z0-9\-]{10,300}",
        literals=("xox", "xapp-"),
        accepts=_random_with_digit,
    ),
    Rule(
        kind="slack_webhook",
        pattern=r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9+/_\-]{20,150}",
        literals=("hooks.slack.com/",),
        accepts=_random,
    ),
    Rule(
        kind="stripe_key",
        pattern=rf"[srw]{_FIRST}" r"(?:k_(?:live|test|prod)_[A-Za-z0-9]{16,250}|hsec_[A-Za-z0-9+/]{24,100}={0,2})",
        literals=("k_live_", "k_test_", "k_prod_", "whsec_"),
        accepts=_random,
    ),
    Rule(
        kind="google_api_key",
        pattern=rf"A{_FIRST}" r"Iza[A-Za-z0-9_\-]{35}(?![A-Za-z0-9_\-])",
        literals=("AIza",),
        accepts=_random,
    ),
    Rule(
        kind="google_oauth_token",
        pattern=rf"[yG]{_FIRST}" r"(?:a29\.[A-Za-z0-9_\-]{20,300}|OCSPX-[A-Za-z0-9_\-]{20,40})",
        literals=("ya29.", "GOCSPX-"),
        accepts=_random,
    ),
    Rule(
        kind="huggingface_token",
        pattern=rf"[ha]{_FIRST}(?:f|pi_org)_" r"[A-Za-z0-9]{30,64}" + _END,
        literals=("hf_", "api_org_"),
        accepts=_random,
    ),
    Rule(
        kind="npm_token",
        pattern=rf"n{_FIRST}" r"pm_[A-Za-z0-9]{36,64}",
        literals=("npm_",),
        accepts=_random,
    ),
    Rule(
        kind="pypi_token",
        pattern=rf"p{_FIRST}" r"ypi-[A-Za-z0-9_\-]{50,300}",
        literals=("pypi-",),
        accepts=_random,
    ),
    Rule(
        kind="sendgrid_key",
        pattern=rf"S{_FIRST}" r"G\.[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{32,64}",
        literals=("SG.",),
        accepts=_random,
    ),
    Rule(
        kind="twilio_key",
        pattern=rf"[AS]{_FIRST}[CK]" r"[0-9a-f]{32}" + _END,
        literals=("AC", "SK"),
        accepts=_random,
    ),
    Rule(
        kind="jwt",
        # RFC 7519: three parts in base64url; a JSON object begins with `{"`, which is `eyJ`.
        pattern=rf"e{_FIRST}" r"yJ[A-Za-z0-9_\-]{8,1000}\.[A-Za-z0-9_\-]{8,4000}\.[A-Za-z0-9_\-]{0,1000}",
        literals=("eyJ",),
        accepts=_random,
    ),
    Rule(
        kind="private_key",
        # RFC 7468; in JSON and in source code the line breaks are written `\n`. A key without its last line counts.
        pattern=r"-----BEGIN (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----(?:\s|\\[nr]){0,8}"
        r"(?:(?:Proc-Type|DEK-Info|Comment|Version|Charset): [^\n\\]{1,100}(?:\s|\\[nr]){1,8}){0,4}"
        r"""([A-Za-z0-9+/=\s\\"']{32,8000})(?:-----END (?:[A-Z0-9]{1,12} ){0,3}PRIVATE KEY(?: BLOCK)?-----)?""",
        literals=("PRIVATE KEY",),
        accepts=_holds_a_key,
    ),
    Rule(
        kind="url_password",
        pattern=r"""://[^\s/:@"'<>`]{0,100}:([^\s/"'<>`]{1,200})@[A-Za-z0-9\[_\-]""",
        literals=("://",),
        accepts=_meant,
        group=1,
    ),
    Rule(
        kind="authorization",
        pattern=rf"[aA]{_FIRST}{_folded('uthorization')}"
        + _SEPARATOR
        + r"(?:"
        + _QUOTED
        + r")?(?:"
        + _folded("bearer|token|basic|apikey")
        + r")\s{1,4}"
        r"([A-Za-z0-9._~+/=\-]{8,2000})",
        literals=("authorization",),
        folded=True,
        accepts=_meant,
        group=1,
    ),
    Rule(
        kind="bearer_token",
        pattern=rf"[bB]{_FIRST}{_folded('earer')}" + r"\s{1,4}([A-Za-z0-9._~+/=\-]{16,2000})",
        literals=("bearer",),
        folded=True,
        accepts=_random_with_digit,
        group=1,
    ),
    Rule(
        kind="azure_key",
        pattern=rf"[aAsS]{_FIRST}{_folded('(?:ccount|haredaccess)key')}"
        r"\s{0,2}=\s{0,2}([A-Za-z0-9+/]{32,100}={0,2})",
        literals=("accountkey", "sharedaccesskey"),
        folded=True,
        accepts=_random,
        group=1,
    ),
    Rule(
        kind="password",
        pattern=_NAMES_OF_PASSWORDS + _SEPARATOR + _QUOTED + r"""([^\s"'`\\]{4,100})\\?["'`]""",
        literals=("pass", "pwd", "kennwort", "contrase"),
        folded=True,
        accepts=_meant,
        group=1,
    ),
    Rule(
        kind="password",
        pattern=_NAMES_OF_PASSWORDS + r"(?:" + _SEPARATOR + r"|\s{1,3}(?:is|ist|es|est):?\s{1,3})"
        r"""([^\s"'`,;<>(){}\[\]\\]{6,100})(?![^\s"'`,;<>\\)}\]])""",
        literals=("pass", "pwd", "kennwort", "contrase"),
        folded=True,
        accepts=_like_a_password,
        group=1,
    ),
    Rule(
        kind="api_key",
        pattern=_NAMES_OF_KEYS + r"(?:" + _SEPARATOR + r"|\s{1,3}is:?\s{1,3})(?:" + _QUOTED + r")?"
        r"([A-Za-z0-9_\-./+~]{16,200}={0,2})",
        literals=("key", "token", "secret", "credential"),
        folded=True,
        accepts=_unpredictable,
        group=1,
    ),
)
"""What `Secrets` looks for, the most specific first: where two rules find the same stretch, the first names it."""

SECRET_KINDS: frozenset[str] = frozenset(rule.kind for rule in SECRET_RULES)


class Secrets(PatternGuard):
    """Takes keys, tokens and passwords out of a text.

    A finding is replaced by `[SECRET:kind]`, for example `[SECRET:github_token]`; of `password = "..."` and of URLs
    only the password is. Texts that only look like secrets pass: UUIDs, hashes, digests, `${API_KEY}`, `<your key>`,
    `sk-...`, `xxxx`. A secret with neither a known form nor a telling name before it is not found.

    Args:
        action: `"rewrite"` (the default), `"block"`, or `"flag"`.
        kinds: Which kinds to look for; all of `SECRET_RULES` unless said otherwise.
        rules: Rules of your own, which come first.
        ignore: Texts and compiled patterns that are no findings.
        options: See `GuardOptions`.

    Example:
        >>> key = "gh" + "p_" + "0123456789abcdefghijABCDEFGHIJ567890"
        >>> Secrets().check(f"use {key} please").text
        'use [SECRET:github_token] please'
    """

    def __init__(
        self,
        *,
        action: PatternAction = "rewrite",
        kinds: Sequence[str] | None = None,
        rules: Sequence[Rule] = (),
        ignore: Sequence[str | re.Pattern[str]] = (),
        **options: Unpack[GuardOptions],
    ) -> None:
        chosen = SECRET_RULES
        if kinds is not None:
            unknown = set(kinds) - SECRET_KINDS
            if unknown or isinstance(kinds, str):
                raise ConfigurationError(
                    f"kinds={kinds!r}: Secrets knows {', '.join(sorted(SECRET_KINDS))}; write a list of some of them"
                )
            chosen = tuple(rule for rule in SECRET_RULES if rule.kind in kinds)
        super().__init__((*rules, *chosen), action=action, ignore=ignore, **options)

    def replace(self, rule: Rule, text: str, memory: Any, /, *, extends: bool) -> str | None:
        """`[SECRET:kind]`, once for findings that overlap."""
        return "" if extends else f"[SECRET:{rule.kind}]"
