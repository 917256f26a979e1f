"""Server-sent events by the book: https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream."""

from __future__ import annotations

from llmops_sdk.errors import InvalidResponseError

__all__ = ["EventParser"]


class EventParser:
    r"""Takes bytes as they arrive and gives the data of complete events.

    Lines end in LF, CR or CRLF, cut anywhere; comments and fields other than `data` are skipped; several `data` lines
    are joined by LF; a byte order mark at the start is dropped.

    Args:
        max_event: Most bytes of an event that is not yet complete.

    Example:
        >>> parser = EventParser()
        >>> parser.feed(b": hi\n\ndata: a"), parser.feed(b"\ndata: b\r\n\r\n")
        ([], [b'a\nb'])
    """

    def __init__(self, *, max_event: int = 16 * 1024 * 1024) -> None:
        self._max_event = max_event
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self._start = True
        self._after_cr = False

    def feed(self, data: bytes, /) -> list[bytes]:
        """The data of the events that are complete now.

        Raises:
            InvalidResponseError: An event is larger than `max_event`.
        """
        if data:
            second_half = self._after_cr and data.startswith(b"\n")  # of a CRLF that was cut in two
            self._after_cr = data.endswith(b"\r")
            data = data[second_half:]
        if self._rest:
            data = self._rest + data
        if self._start:
            if len(data) < 3 and b"\xef\xbb\xbf".startswith(data):
                self._rest = data
                return []
            self._start = False
            data = data.removeprefix(b"\xef\xbb\xbf")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = data.split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) + self._size > self._max_event:
            raise InvalidResponseError(f"an event is over {self._max_event} bytes", body=self._rest)
        events: list[bytes] = []
        for line in lines:
            if not line:
                if self._data:
                    events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                    self._data, self._size = [], 0
            elif line.startswith(b"data:"):
                value = line[6:] if line[5:6] == b" " else line[5:]
                self._data.append(value)
                self._size += len(value)
            elif line == b"data":
                self._data.append(b"")
        return events
