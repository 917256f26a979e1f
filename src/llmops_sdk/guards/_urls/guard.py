"""`URLs`: what a text links to, read as browsers read it (WHATWG URL), and never visited."""

from __future__ import annotations

import dataclasses
import functools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Literal, NamedTuple, Unpack
from urllib.parse import unquote

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards._guard import GuardOptions
from llmops_sdk.guards._patterns.guard import PatternGuard, Rule
from llmops_sdk.guards._urls.lookalikes import skeleton, unaccented

__all__ = ["BRANDS", "OPEN_REDIRECTS", "SHORTENERS", "URLS_KINDS", "URLs"]

_LONGEST = 2_048
_LONGEST_LABEL = 63  # of a host (RFC 1035)
_MOST_HOSTS = 4_096  # of which a guard remembers what it found

BRANDS: tuple[str, ...] = (
    "paypal.com",
    "google.com",
    "apple.com",
    "microsoft.com",
    "amazon.com",
    "facebook.com",
    "instagram.com",
    "netflix.com",
    "linkedin.com",
    "github.com",
    "gitlab.com",
    "dropbox.com",
    "whatsapp.com",
    "icloud.com",
    "outlook.com",
    "office.com",
    "live.com",
    "yahoo.com",
    "ebay.com",
    "coinbase.com",
    "binance.com",
    "openai.com",
    "chatgpt.com",
    "anthropic.com",
    "huggingface.co",
    "npmjs.com",
    "python.org",
    "docker.com",
    "wikipedia.org",
    "youtube.com",
    "twitter.com",
    "telegram.org",
    "spotify.com",
    "adobe.com",
    "chase.com",
    "bankofamerica.com",
    "wellsfargo.com",
    "citibank.com",
    "hsbc.com",
    "dhl.com",
    "fedex.com",
    "ups.com",
    "usps.com",
    "booking.com",
    "airbnb.com",
    "stripe.com",
    "slack.com",
    "zoom.us",
    "metamask.io",
)
"""Hosts that others pretend to be; more are given as `brands=`, and those of `allow=` count as well."""

SHORTENERS: frozenset[str] = frozenset(
    {
        "bit.ly",
        "tinyurl.com",
        "t.co",
        "goo.gl",
        "ow.ly",
        "is.gd",
        "v.gd",
        "buff.ly",
        "rebrand.ly",
        "cutt.ly",
        "t.ly",
        "tiny.cc",
        "shorturl.at",
        "rb.gy",
        "bl.ink",
        "s.id",
        "lnkd.in",
        "soo.gd",
        "clck.ru",
        "qr.ae",
        "adf.ly",
        "shorte.st",
    }
)
"""Hosts behind which another one hides."""

OPEN_REDIRECTS: frozenset[str] = frozenset(
    {
        "url",
        "u",
        "redirect",
        "redirect_url",
        "redirecturl",
        "redir",
        "next",
        "return",
        "return_to",
        "returnto",
        "return_url",
        "returnurl",
        "continue",
        "dest",
        "destination",
        "goto",
        "go",
        "target",
        "to",
        "out",
        "forward",
        "r",
        "q",
    }
)
"""Names of parameters by which a host sends its visitors on to another one."""

URLS_KINDS: dict[str, str] = {
    "denied": "its host is in `deny`",
    "script": "a scheme that runs code: javascript:, vbscript:, data: with HTML or a script",
    "userinfo": "a name before the host that looks like a host: https://bank.com@evil.tld",
    "ip": "the host is an address in numbers, in any form",
    "lookalike": "the host looks like a brand or an allowed host, or carries one in front of its own name",
    "shortener": "the host hides another one",
    "mismatch": "the text of a link shows another host than its target",
    "redirect": "a parameter sends its visitors on to another host",
    "exfiltration": "an image, or a long query, that carries data to a host",
    "obfuscated": "written so that it is read differently by people, filters and browsers",
    "too_long": "2,048 characters or more",
    "not_allowed": "`allow` is given, and its host is not in it",
}
"""Kind of finding -> what it is; where several hold, the first one here names it."""

# Browsers read full stops of other scripts as dots, a backslash as a slash, and skip tabs and line breaks in a URL.
_DOTS = str.maketrans({"\u3002": ".", "\uff0e": ".", "\uff61": "."})
_DEFANGED = re.compile(r"\[\.\]|\(\.\)|\{\.\}|\[dot\]|\(dot\)", re.IGNORECASE)
_NOT_LAST = r"(?<![.,;:!?*_~\u201d\u2019\u00bb])"  # what stands behind a URL in a sentence

# Repeats are possessive where what follows cannot begin with what they take: a hostile text has nothing to try again.
_C = r"[^\t-\r <>\"'`\[\](){}|\u3002\uff61]"  # of a bare URL
_SCHEMES = r"(?:[hH](?:[tT]{2}|[xX]{2})[pP][sS]?|[fF][tT][pP][sS]?|[wW][sS]{1,2})"
_LABEL = r"[^\W_][\w\-]{0,62}+"
_TLDS = (
    "com|net|org|io|co|ai|app|dev|info|biz|ru|cn|de|fr|uk|eu|us|xyz|top|online|site|club|shop|live|tk|ml|ga|cf|gq|tld|"
    "ly|gl|gd|me|cc|tv|it|es|nl|pl|ch|at|in|br|jp|zip|mov|click|link|example|test|evil"
)
_CASED = {"i": "[iI\u0130\u0131]", "k": "[kK\u212a]", "s": "[sS\u017f]"}  # what `re.IGNORECASE` takes for them


def _folded(words: Iterable[str]) -> str:
    """A pattern of words in any case, letter by letter: `re` is quick to see that a letter begins none of them."""
    rest: dict[str, list[str]] = {}
    for word in words:
        rest.setdefault(word[:1], []).append(word[1:])
    ends = "" in rest
    branches = [_CASED.get(c, f"[{c}{c.upper()}]") + _folded(more) for c, more in rest.items() if c]
    return f"(?:{'|'.join(branches)}){'?' if ends else ''}" if branches else ""


_TLD = _folded(_TLDS.split("|"))
_DOT = r"(?:[.\u3002\uff0e\uff61]|\[(?:\.|[dD][oO][tT])\]|\((?:\.|[dD][oO][tT])\))"

_DOT_NOT_PLAIN = r"(?:[\u3002\uff61]|\[(?:\.|dot)\]|\((?:\.|dot)\)|\{\.\})"

# What a link may lead to in Markdown, where it is no place on the same page or host.
_TARGET = rf"[A-Za-z/\\][^\t-\r <>()]{{0,{_LONGEST - 1}}}"

_URL_RULES: tuple[Rule, ...] = (
    # ![text](target "title") and [text](target)
    Rule(
        kind="markdown",
        pattern=rf"(?:!\[|\[)[^\[\]\n]{{0,300}}+\]\([ \t]{{0,4}}<?{_TARGET}>?"
        r"(?:[ \t]{1,4}\"[^\"\n()]{0,100}\")?\)?",
        literals=("](",),
    ),
    Rule(
        kind="reference",
        pattern=rf"\]:[ \t]{{1,4}}<?{_TARGET}",
        literals=("]:",),
    ),
    # A line break or a tab inside of the scheme or right behind it does not stop a browser in an attribute.
    Rule(
        kind="url",
        pattern=rf"(?<![A-Za-z0-9+])(?:{_SCHEMES}[ ]?(?::|\[:\])[/\\]{{0,4}}(?:\[[0-9A-Fa-f:.%]{{2,50}}\])?)"
        rf"(?:{_C}{{0,63}}+{_DOT_NOT_PLAIN}){{0,8}}{_C}{{1,{_LONGEST}}}{_NOT_LAST}",
        literals=("http", "hxxp", "ftp", "ws:", "wss:"),
        folded=True,
    ),
    Rule(
        kind="script",
        pattern=r"(?<![A-Za-z0-9_])(?:[jJ][\t\n]?[aA][\t\n]?[vV][\t\n]?[aA][\t\n]?[sS][\t\n]?[cC][\t\n]?[rR][\t\n]?[iI]"
        r"[\t\n]?[pP][\t\n]?[tT]|[vV][bB][sS][cC][rR][iI][pP][tT])[\t\n]?:[^\s\"'<>]{1,500}",
        literals=("javas", "vbscript", "j\ta", "j\na", "ja\t", "ja\n", "jav\t", "jav\n", "java\t", "java\n"),
        folded=True,
    ),
    Rule(
        kind="script",
        pattern=r"(?<![A-Za-z0-9_])[dD][aA][tT][aA]:(?:[tT][eE][xX][tT]/(?:[hH][tT][mM][lL]|[jJ][aA][vV][aA][sS][cC]"
        r"[rR][iI][pP][tT])|[iI][mM][aA][gG][eE]/[sS][vV][gG]|[aA][pP][pP][lL][iI][cC][aA][tT][iI][oO][nN]/"
        r"(?:[xX]|[jJ][aA][vV][aA]))[^\s\"'<>]{0,500}",
        literals=("data:",),
        folded=True,
    ),
    Rule(
        kind="mail",
        pattern=r"(?<![A-Za-z0-9])[mM][aA][iI][lL][tT][oO]:[^\s<>\"'():@]{1,250}+@[^\s<>\"'():]{1,250}" + _NOT_LAST,
        literals=("mailto:",),
        folded=True,
    ),
    # Slashes alone: //host/path, which takes the scheme of the page.
    Rule(
        kind="url",
        pattern=rf"(?<![:\w/\\.])(?://|\\\\)(?:{_LABEL}\.){{1,8}}{_LABEL}(?:[/?#]{_C}{{0,{_LONGEST}}}{_NOT_LAST})?",
        literals=("//", "\\\\"),
    ),
    Rule(
        kind="bare",
        pattern=rf"(?<![\w@./\-\\])(?:{_LABEL}{_DOT}){{1,8}}(?:{_TLD}|[xX][nN]--[a-zA-Z0-9\-]{{2,59}}+)(?![\w\-])"
        rf"(?::[0-9]{{1,5}})?(?:[/?#\\]{_C}{{0,{_LONGEST}}}{_NOT_LAST})?",
        hint=rf"(?:\.|\]|\)|[\u3002\uff0e\uff61])(?:{_TLD}(?![\w\-])|[xX][nN]--)",
        flags=0,
    ),
)


class _URL(NamedTuple):
    """A URL as a browser reads it."""

    scheme: str
    user: str
    host: str
    path: str
    query: str
    odd: bool
    """It is written in a way of which filters and browsers may think differently."""


_SKIPPED = str.maketrans("", "", "\t\r\n")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*) ?:(?!\d{1,5}(?:[/?#]|$))")
_PART = re.compile(r"[/\\?#]")
# Most URLs have nothing that could be read in two ways.
_PLAIN_URL = re.compile(
    r"(?:([hH][tT]{2}[pP][sS]?|[fF][tT][pP])://)?([A-Za-z0-9\-.]{1,255})(?::[0-9]{1,5})?"
    r"(/[!$-;=@-Z_a-z~]*)?(?:\?([!$-;=?-Z_a-z~]*))?"
)


def _parse(written: str) -> _URL | None:
    """The parts of a URL; `None` where a browser would refuse it."""
    plain = _PLAIN_URL.fullmatch(written)
    if plain is not None:
        scheme, host, path, query = plain.groups("")
        host = host.lower().rstrip(".")
        return _URL(scheme.lower(), "", host, path, query, odd=False) if host else None
    return _parse_closely(written)


def _parse_closely(written: str) -> _URL | None:
    text = _DEFANGED.sub(".", written.replace("[:]", ":"))
    odd = text != written
    stripped = text.translate(_SKIPPED).strip("\x00\x01\x02\x03\x1b\x1f ")
    odd = odd or stripped != text
    match = _SCHEME.match(stripped) if ":" in stripped else None
    scheme = match[1].lower() if match else ""
    rest = stripped[match.end() :] if match else stripped
    if scheme.startswith("hxxp"):
        scheme, odd = scheme.replace("xx", "tt"), True
    if scheme not in ("", "http", "https", "ftp", "ftps", "ws", "wss"):
        return _URL(scheme, "", "", rest, "", odd)
    lead = rest[: len(rest) - len(rest.lstrip("/\\"))]
    odd = odd or "\\" in lead or (bool(scheme) and lead != "//")
    rest = rest[len(lead) :]
    cut = _PART.search(rest)
    authority, tail = (rest[: cut.start()], rest[cut.start() :]) if cut else (rest, "")
    odd = odd or tail.startswith("\\")
    user, at, host = authority.rpartition("@")
    host, odd_host = _host(host)
    path, _, query = tail.partition("?")
    return _URL(scheme, user if at else "", host, path, query.partition("#")[0], odd or odd_host) if host else None


@functools.lru_cache(maxsize=4096)
def _host(written: str) -> tuple[str, bool]:
    """The host as a browser asks for it, in ASCII or Unicode without accents taken off, and whether it was dressed."""
    if written.startswith("["):
        return written.partition("]")[0] + "]", False
    host = re.sub(r":[0-9]*$", "", written)
    decoded = unquote(host) if "%" in host else host
    plain = unicodedata.normalize("NFKC", decoded.translate(_DOTS)).translate(_DOTS).lower()
    if not plain.isprintable():
        plain = "".join(c for c in plain if unicodedata.category(c) != "Cf")
    return plain.rstrip("."), decoded != host or (plain != decoded.lower() and plain.isascii())


def _unicode(host: str) -> str:
    """The host with its `xn--` labels decoded."""
    labels = []
    for label in host.split("."):
        try:
            labels.append(label[4:].encode("ascii").decode("punycode") if label.startswith("xn--") else label)
        except (UnicodeError, ValueError, OverflowError):
            labels.append(label)
    return ".".join(labels)


def _is_number(part: str) -> bool:
    return re.fullmatch(r"(?:0[xX][0-9a-fA-F]*|[0-9]+)", part) is not None


def _is_address(host: str) -> bool:
    """Whether a browser takes the host for an IP address: 127.0.0.1, 2130706433, 0x7f.1, 0177.0.0.1, [::1]."""
    if host.startswith("["):
        return True
    parts = host.split(".")
    return _is_number(parts[-1]) and len(parts) <= 4 and all(map(_is_number, parts))


def _near(one: str, other: str) -> bool:
    """Whether one edit (a letter more, less, other, or two swapped) makes one of the other."""
    if one == other or abs(len(one) - len(other)) > 1:
        return False
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    a, b = one[start:], other[start:]
    return a[1:] == b[1:] or a[1:] == b or a == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:] and len(a) > 1)


def _shortened(name: str) -> set[str]:
    """The name, and what is left of it without one of its characters."""
    return {name, *(name[:i] + name[i + 1 :] for i in range(len(name)))}


class _Hosts:
    """A list of hosts: `example.org` (and what is under it), `*.example.org` (only what is under it)."""

    def __init__(self, name: str, entries: Sequence[str]) -> None:
        if isinstance(entries, str) or not all(isinstance(entry, str) and entry for entry in entries):
            raise ConfigurationError(f'{name}={entries!r}: write a list of hosts, ["example.org", "*.example.com"]')
        if any(re.search(r"[/:@\s]", entry) for entry in entries):
            raise ConfigurationError(f"{name}={entries!r}: hosts alone, without scheme, port and path")
        self.names = frozenset(_host(entry)[0] for entry in entries if not entry.startswith("*."))
        self.under = frozenset(_host(entry[2:])[0] for entry in entries if entry.startswith("*."))

    def hold(self, host: str) -> bool:
        if host in self.names:
            return True
        if not self.names and not self.under:
            return False
        return any(parent in self.names or parent in self.under for parent in _parents(host))


def _parents(host: str) -> list[str]:
    labels = host.split(".")[-10:]
    return [".".join(labels[i:]) for i in range(1, len(labels))]


def _registered(host: str) -> str:
    """The name that somebody registered: the last two labels, or three under `co.uk` and the like."""
    labels = host.split(".")
    deep = len(labels) > 2 and len(labels[-1]) == 2 and labels[-2] in ("co", "com", "org", "ac", "gov", "net", "edu")
    return ".".join(labels[-3 if deep else -2 :])


class _Judge:
    """What is wrong with a URL. Equal ones are one key of a cache."""

    def __init__(
        self,
        allow: Sequence[str] | None,
        deny: Sequence[str],
        brands: Sequence[str],
        kinds: frozenset[str],
        query: int,
    ) -> None:
        self._key = (None if allow is None else tuple(allow), tuple(deny), tuple(brands), kinds, query)
        self._allow = None if allow is None else _Hosts("allow", allow)
        self._deny = _Hosts("deny", deny)
        self._kinds = kinds
        self._query = query
        names = {*BRANDS, *_Hosts("brands", brands).names, *(self._allow.names if self._allow else ())}
        self._brands = _Hosts("brands", sorted(names))
        self._skeletons = {skeleton(name) for name in names}
        self._sizes = sorted({name.count(".") + 1 for name in names})
        labels = {(name.split(".")[0], name.partition(".")[2]) for name in names if len(name.split(".")[0]) >= 6}
        self._labels = frozenset(label for label, _ in labels)
        # Two names that are one edit apart have one in common with at most a letter less.
        self._shortened: dict[tuple[str, str], set[str]] = {}
        for label, rest in labels:
            for short in _shortened(label):
                self._shortened.setdefault((short, rest), set()).add(label)
        self._hosts: dict[str, frozenset[str]] = {}  # judged before

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Judge) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __call__(self, match: re.Match[str]) -> str | None:
        return self.kind(match[0])

    def kind(self, written: str) -> str | None:
        """The first of `URLS_KINDS` that holds."""
        found = self._found(written) & self._kinds
        return next((kind for kind in URLS_KINDS if kind in found), None) if found else None

    def _found(self, written: str) -> AbstractSet[str]:
        link = _LINK.match(written) if written[:1] in "![]" else None
        image, label, target = False, "", written
        if link is not None:
            image, label, target = written.startswith("!"), link[1] or "", link[2] or link[4]
            if not _HAS_HOST.match(target):
                return set()
        if len(target) >= _LONGEST:
            return {"too_long"}
        url = _parse(target)
        if url is None:
            return set()
        if url.scheme in ("javascript", "vbscript", "data"):
            harmless = url.scheme == "data" and not re.match(
                r"text/(?:html|javascript)|image/svg|application/", url.path, re.IGNORECASE
            )
            return set() if harmless else {"script"}
        if url.scheme == "mailto":
            _, at, host = url.path.partition("?")[0].rpartition("@")
            return set() if not at else self._of_host(_host(host)[0]) & {"denied", "not_allowed", "lookalike"}
        if not url.host or url.scheme not in ("", "http", "https", "ftp", "ftps", "ws", "wss"):
            return set()
        found = self._of_host(url.host)
        if url.query and self._redirects(url):
            found = found | {"redirect"}
        return found if "allowed" in found else found | self._dressed(url, label, image=image)

    def _dressed(self, url: _URL, label: str, *, image: bool) -> set[str]:
        """What is wrong with how a URL is written, and with what it carries."""
        found: set[str] = set()
        if url.user and re.search(r"[\w\-]\.[A-Za-z]{2,}", unquote(url.user)):
            found.add("userinfo")
        if url.odd:
            found.add("obfuscated")
        if self._carries(url, image=image):
            found.add("exfiltration")
        shown = _SHOWN.search(label) if label else None
        if shown is not None and _registered(_host(shown[1])[0]) != _registered(url.host):
            found.add("mismatch")
        return found

    def _of_host(self, host: str) -> frozenset[str]:
        known = self._hosts.get(host)
        if known is None:
            if len(self._hosts) >= _MOST_HOSTS:
                self._hosts.clear()
            known = self._hosts[host] = frozenset(self._judge_host(host))
        return known

    def _judge_host(self, host: str) -> set[str]:
        if self._deny.hold(host):
            return {"denied"}
        if self._allow is not None and self._allow.hold(host):
            return {"allowed"}
        found = set() if self._allow is None else {"not_allowed"}
        if _is_address(host):
            if host not in ("127.0.0.1", "0.0.0.0", "[::1]"):  # noqa: S104  (nothing is bound)
                found.add("ip")
        elif self._pretends(_unicode(host)):
            found.add("lookalike")
        if host in SHORTENERS or _registered(host) in SHORTENERS:
            found.add("shortener")
        return found

    def _pretends(self, host: str) -> bool:
        """Whether people may take the host for a brand that it is not."""
        if self._brands.hold(host):
            return False
        own = _registered(host)
        if skeleton(own) in self._skeletons or any(_mixed(label) for label in host.split(".")):
            return True
        if self._carries_a_brand(host):
            return True
        label, _, rest = unaccented(own).partition(".")
        parts = label.split("-")
        if len(parts) > 1 and not _LURES.isdisjoint(parts) and not self._labels.isdisjoint(parts):
            return True
        return len(label) <= _LONGEST_LABEL and any(
            _near(label, name) for short in _shortened(label) for name in self._shortened.get((short, rest), ())
        )

    def _carries_a_brand(self, host: str) -> bool:
        """Whether a brand stands in front of the host's own name."""
        labels = host.split(".")
        return any(
            ".".join(labels[start : start + size]) in self._brands.names
            for size in self._sizes
            for start in range(len(labels) - size)
        )

    def _redirects(self, url: _URL) -> bool:
        for parameter in url.query.split("&")[:50]:
            name, _, value = parameter.partition("=")
            value = unquote(unquote(value))
            if name.lower() in OPEN_REDIRECTS and re.match(r"(?:[a-zA-Z]{2,6}:)?[/\\]{2}", value):
                target = _parse(value)
                if target and target.host and _registered(target.host) != _registered(url.host):
                    return self._allow is None or not self._allow.hold(target.host)
        return False

    def _carries(self, url: _URL, image: bool) -> bool:
        if not image:
            return len(url.query) >= self._query
        values = [parameter.rpartition("=")[2] for parameter in url.query.split("&")]
        return len(url.query) >= 64 or any(len(value) >= 24 for value in values) or _DATA.search(url.path) is not None


_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\([ \t]*<?([^\s<>()]+)|\](?=:)():[ \t]+<?([^\s<>()]+)")
_HAS_HOST = re.compile(r"[a-zA-Z][a-zA-Z0-9+.\-]*(?::|\[:\])|[/\\]{2}")
_SHOWN = re.compile(r"(?:^|[\s/@(])((?:[\w\-]{1,63}\.){1,8}(?:" + _TLDS + r"))(?![\w\-])", re.IGNORECASE)
_DATA = re.compile(r"[A-Za-z0-9+/=_%\-]{64}|\{\{|\$\{|%7[bB]")
_LURES = frozenset(
    {
        "login",
        "signin",
        "secure",
        "security",
        "verify",
        "account",
        "accounts",
        "support",
        "update",
        "wallet",
        "billing",
        "help",
        "service",
        "auth",
        "confirm",
        "unlock",
    }
)


def _mixed(label: str) -> bool:
    """Letters of another script that look Latin beside Latin ones; or nothing but such."""
    if label.isascii():
        return False
    other = [
        c
        for c in label
        if not c.isascii() and unaccented(c).isascii() and not unicodedata.name(c, "").startswith("LATIN")
    ]
    letters = [c for c in label if c.isalpha()]
    return bool(other) and (len(other) == len(letters) or any(c.isascii() for c in letters))


class URLs(PatternGuard):
    """Finds URLs, and judges them by what they are; it never visits one.

    URLs with a scheme, bare domains, Markdown links and images, `javascript:` and `data:`, and the written-out forms
    `hxxp` and `[.]` are found, and read as browsers do: a backslash is a slash, dots of other scripts are dots, tabs do
    not count, hosts may be percent-encoded. What is found wrong is one of `URLS_KINDS`.

    Args:
        allow: Hosts that are fine, whatever else may be said of them; once it is given, no other host is. A host stands
            for its subdomains, too; `*.example.org` for these alone.
        deny: Hosts that are not; this goes before `allow`.
        brands: Hosts that others pretend to be, besides `BRANDS` and those of `allow`.
        kinds: What is judged, of `URLS_KINDS`; all unless said otherwise.
        query: Characters of a query from which on it counts as carrying data; `!` images carry data from 24 on.
        action: `"rewrite"` (the default), `"block"`, or `"flag"`.
        replacement: What stands in place of a URL.
        ignore: Texts and compiled patterns that are no findings.
        options: See `GuardOptions`.

    A text may hold thousands of URLs, so it runs in a thread (`blocking`).

    Example:
        >>> URLs(allow=["example.org"]).check("See https://www.example.org/a and http://evil.tld/b!").text
        'See https://www.example.org/a and [URL removed]!'
    """

    blocking = True

    def __init__(
        self,
        *,
        allow: Sequence[str] | None = None,
        deny: Sequence[str] = (),
        brands: Sequence[str] = (),
        kinds: Sequence[str] | None = None,
        query: int = 200,
        action: Literal["rewrite", "block", "flag"] = "rewrite",
        replacement: str = "[URL removed]",
        ignore: Sequence[str | re.Pattern[str]] = (),
        **options: Unpack[GuardOptions],
    ) -> None:
        if kinds is not None and (isinstance(kinds, str) or not kinds or set(kinds) - set(URLS_KINDS)):
            raise ConfigurationError(f"kinds={kinds!r}: URLs knows {', '.join(URLS_KINDS)}; write a list of some")
        self._judge = _Judge(allow, deny, brands, frozenset(kinds or URLS_KINDS), query)
        rules = tuple(dataclasses.replace(rule, accepts=self._judge) for rule in _URL_RULES)
        super().__init__(rules, action=action, ignore=ignore, **options)
        self.replacement = replacement

    def judge(self, url: str) -> str | None:
        """What is wrong with one URL, of `URLS_KINDS`; `None`: nothing."""
        return self._judge.kind(url)

    def replace(self, rule: Rule, text: str, memory: Any, /, *, extends: bool) -> str | None:
        """The replacement, once for findings that overlap."""
        return "" if extends else self.replacement
