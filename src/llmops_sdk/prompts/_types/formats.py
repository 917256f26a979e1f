"""Formats of texts (JSON Schema's `format`), checked by the standard library."""

from __future__ import annotations

import datetime as dt
import ipaddress
import re
import urllib.parse
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["FORMATS", "TEMPORAL"]

# Python reads more forms of dates than JSON Schema has: `2026-W14-2`, `20260331`.
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = re.compile(r"[0-9]{2}:[0-9]{2}")
_DATETIME = re.compile(rf"{_DATE.pattern}[Tt ]{_TIME.pattern}")
_EMAIL = re.compile(r"[^\s@<>()\[\],;:\"]{1,64}@[^\s@<>()\[\],;:\"]{1,255}")


def _reads(read: Callable[[str], object]) -> Callable[[Any], bool]:
    def fits(value: Any) -> bool:
        try:
            read(value)
        except ValueError:
            return False
        return True

    return fits


def _is_date(value: object) -> bool:
    """Whether it is a date, or one in text: `2026-03-31`. A time of day is more than a date."""
    if isinstance(value, str):
        return _DATE.fullmatch(value) is not None and _reads(dt.date.fromisoformat)(value)
    return isinstance(value, dt.date) and not isinstance(value, dt.datetime)


def _is_datetime(value: object) -> bool:
    """Whether it is a date with a time, or one in text: `2026-03-31T12:00:00Z`."""
    if isinstance(value, str):
        return _DATETIME.match(value) is not None and _reads(dt.datetime.fromisoformat)(value)
    return isinstance(value, dt.datetime)


def _is_uri(value: str) -> bool:
    begins_well = re.match(r"[A-Za-z][A-Za-z0-9+.-]*:.", value) is not None
    return begins_well and not re.search(r"\s", value) and _reads(urllib.parse.urlsplit)(value)


TEMPORAL = ("date", "date-time")
"""Formats of which a value may be an object of `datetime`, too."""

FORMATS: Mapping[str, Callable[[Any], bool]] = {
    "date": _is_date,
    "date-time": _is_datetime,
    "time": lambda value: _TIME.match(value) is not None and _reads(dt.time.fromisoformat)(value),
    "email": lambda value: _EMAIL.fullmatch(value) is not None,
    "uri": _is_uri,
    "uuid": lambda value: len(value) == 36 and _reads(import_module("uuid").UUID)(value),  # by name: it is dear
    "ipv4": _reads(ipaddress.IPv4Address),
    "ipv6": _reads(ipaddress.IPv6Address),
}
"""Whether a value is of a format, by its name."""
