"""A server that tells each backend's life truly, over connections that suffer everything there is to suffer.

Started as a process of its own: `python -m tests.soak.server SEED`. It prints its port, and ends with its stdin.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import socket
import struct
import sys
import time
import zlib
from collections import Counter
from typing import Any

from attrs import define, field

from tests.soak.truth import FORGOTTEN, GONE, NO_CONTENT, Truth

PATIENCE = 5.0
"""Seconds after which a connection that only hangs is closed: nobody is there to be annoyed."""

TROUBLED = 12
"""How many connections of a stream may have faults; later ones have none, so that every life comes to its end."""


class Over(Exception):
    """The connection is over, by our will or the client's."""


@define
class Backend:
    """One backend, as this server knows it."""

    truth: Truth
    born: float
    connections: int = 0
    ids: set[str] = field(factory=set)
    """The ids of events that were sent whole."""
    not_before: float = 0.0
    """When the next request may come, by the last Retry-After."""
    is_over: bool = False
    """The client has said that its stream ended: no further connection may come."""


class Server:
    """Plays the faults, and notes what no client should do."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.backends: dict[str, Backend] = {}
        self.over: dict[str, bool] = {}
        self.violations: list[str] = []
        self.played: Counter[str] = Counter()
        self.calm = False
        self.port = 0
        self._listener: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def listen(self) -> None:
        if self.port == 0:
            # Below the ephemeral ports: a client that tries a closed port among those may connect to itself.
            dice = random.Random()
            for port in (dice.randrange(20_000, 32_000) for _ in itertools.repeat(None)):
                with contextlib.suppress(OSError):
                    self._listener = await self._listen(port)
                    self.port = port
                    return
        self._listener = await self._listen(self.port)

    async def _listen(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", port, backlog=4096)

    async def weather(self) -> None:
        """What happens to everyone at once: the port refuses, every connection is reset, the server restarts."""
        dice = random.Random(f"{self.seed}/weather")
        while True:
            await asyncio.sleep(dice.uniform(2, 7))
            what = dice.choice(["port refuses", "all are reset", "restart"])
            if self.calm:
                continue
            self.played[what] += 1
            if what != "all are reset" and self._listener is not None:
                self._listener.close()
            if what != "port refuses":
                for writer in list(self._writers):
                    _reset(writer)
            if what != "all are reset":
                await asyncio.sleep(dice.uniform(0.05, 0.8))
                await self.listen()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.rstrip().split("\r\n")
                method, target, _ = first.split(" ", 2)
                headers = {
                    name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
                }
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                await self._answer(reader, writer, method, target, headers, body)
        except (Over, OSError, EOFError, asyncio.IncompleteReadError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes,
    ) -> None:
        if target == "/calm":
            self.calm = True
            await _respond(writer, 200, {})
            return
        if target == "/report":
            await _respond(writer, 200, {"violations": self.violations, "played": self.played})
            return
        match method, target.split("/")[1:]:
            case "GET", ["v2", "backend", backend_id, "status", "stream"]:
                await self._stream(reader, writer, backend_id, headers)
                raise Over
            case "GET", ["v2", "backend", backend_id, "status"]:
                await self._status(writer, backend_id, headers)
            case "POST", ["v2", "backend", backend_id, "terminate"]:
                await self._terminate(writer, backend_id, headers, was_left=json.loads(body).get("hard", False))
            case _:
                self._blame(f"a request that nobody should make: {method} {target}")
                await _respond(writer, 404, {})

    def _blame(self, what: str) -> None:
        if len(self.violations) < 100:
            self.violations.append(what)

    def _backend(self, backend_id: str) -> Backend:
        backend = self.backends.get(backend_id)
        if backend is None:
            backend = self.backends[backend_id] = Backend(Truth.of(self.seed, backend_id), time.monotonic())
        return backend

    def _is_knowing(self, backend: Backend) -> bool:
        """Whether a question for its status is answered: a backend is forgotten only after its stream was."""
        return backend.truth.fate != FORGOTTEN or backend.connections <= 2

    async def _call_faults(self, writer: asyncio.StreamWriter) -> None:
        dice = random.random()
        if self.calm or dice > 0.15:
            return
        if dice < 0.05:
            self.played["call: 503"] += 1
            await _respond(writer, 503, {})
            raise _Answered
        self.played["call: reset" if dice < 0.1 else "call: closed"] += 1
        if dice < 0.1:
            _reset(writer)
        raise Over

    async def _status(self, writer: asyncio.StreamWriter, backend_id: str, headers: dict[str, str]) -> None:
        self.played["question or status"] += 1
        if "authorization" in headers:
            self._blame(f"{backend_id}: a token where none is needed, on status")
        try:
            await self._call_faults(writer)
        except _Answered:
            return
        if backend_id in self.over:
            await _respond(writer, 200, {"status": "terminated", "time": "2026-01-02T03:04:59Z"})
            return
        backend = self._backend(backend_id)
        if not self._is_knowing(backend):
            await _respond(writer, 404, {})
            return
        age = time.monotonic() - backend.born
        past = [now for now, moment in zip(backend.truth.history, backend.truth.moments, strict=True) if moment <= age]
        await _respond(writer, 200, past[-1] if past else {"status": "scheduled", "time": "2026-01-02T03:04:00Z"})

    async def _terminate(
        self, writer: asyncio.StreamWriter, backend_id: str, headers: dict[str, str], *, was_left: bool
    ) -> None:
        if "authorization" not in headers:
            self._blame(f"{backend_id}: no token on terminate")
        # The client calls this when its stream has ended: whatever still comes for it is one connection too many.
        self.backends.pop(backend_id, None)
        # (Of one that it left in the middle, by a hard termination, a request may still be on its way.)
        self.over[backend_id] = was_left
        try:
            await self._call_faults(writer)
        except _Answered:
            return
        await _respond(writer, 200, {"status": "ok"})
        if random.random() < 0.2 and not self.calm:
            self.played["call: kept connection closed"] += 1
            raise Over

    async def _stream(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend_id: str, headers: dict[str, str]
    ) -> None:
        now = time.monotonic()
        if backend_id in self.over:
            with contextlib.suppress(TimeoutError):
                is_gone = not await asyncio.wait_for(reader.read(1), 2.0)
                if is_gone and self.over[backend_id]:
                    self.played["a request overtaken by the end of its stream"] += 1
                    return
            self._blame(f"{backend_id}: a connection after the end")
            return
        backend = self._backend(backend_id)
        backend.connections += 1
        last_event_id = headers.get("last-event-id")
        if "authorization" in headers:
            self._blame(f"{backend_id}: a token where none is needed, on the stream")
        if last_event_id is not None and last_event_id not in backend.ids:
            self._blame(f"{backend_id}: Last-Event-ID {last_event_id!r} is of no event that was sent whole")
        if now < backend.not_before - 0.01:
            self._blame(f"{backend_id}: back {backend.not_before - now:.3f} s before Retry-After allowed it")
        await Play(self, backend, reader, writer, last_event_id).run()


class _Answered(Exception):
    """A fault took the answer's place."""


class Play:
    """One connection of one stream."""

    def __init__(
        self,
        server: Server,
        backend: Backend,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        last_event_id: str | None,
    ) -> None:
        self.server = server
        self.backend = backend
        self.writer = writer
        self.last_event_id = last_event_id
        self.dice = random.Random(f"{server.seed}/{backend.truth.backend_id}/{backend.connections}")
        self.gone = asyncio.ensure_future(reader.read(1))
        self.is_calm = server.calm or backend.connections > TROUBLED
        self.budget: int | None = None
        self.cut = ""
        self.is_chunked = True
        self.compressor: Any = None

    async def run(self) -> None:
        try:
            await self._run()
        finally:
            self.gone.cancel()
            with contextlib.suppress(OSError, asyncio.CancelledError):
                await self.gone

    async def _run(self) -> None:
        truth = self.backend.truth
        if self.backend.connections > 3 and truth.fate in {GONE, NO_CONTENT}:
            await _respond(self.writer, 410 if truth.fate == GONE else 204, None)
            return
        if self.backend.connections > 3 and truth.fate == FORGOTTEN:
            await self._send(_head(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}))
            # As the Plane treats an id that it does not know; but the question that finds it out may fail, and it is
            # asked once for each connection.
            for _ in range(20):
                await self._send(b"3\r\n:\n\n\r\n")
                await self._pause(0.2)
            raise Over
        if not self.is_calm and self.dice.random() < 0.25:
            await self._fail_early()
            return
        await self._begin()
        await self._tell()

    def _note(self, what: str) -> None:
        self.server.played[what] += 1

    async def _fail_early(self) -> None:
        what = self.dice.choice(["reset", "close", "stalled head", "half a head", "answer", "answer", "answer"])
        if what == "answer":
            status = self.dice.choice([408, 425, 429, 429, 500, 502, 503, 503, 504])
            headers = {}
            if status in {429, 503} and self.dice.random() < 0.7:
                headers["Retry-After"] = "1"
                self.backend.not_before = time.monotonic() + 1
            self._note(f"{status}{' with Retry-After' if headers else ''}")
            await _respond(self.writer, status, {"error": {"message": "x"}}, headers)
            return
        self._note(f"before the head: {what}")
        if what == "reset":
            _reset(self.writer)
        elif what == "half a head":
            await self._send(b"HTTP/1.1 200 OK\r\nContent-Type: text/ev")
        elif what == "stalled head":
            await self._pause(PATIENCE)
        raise Over

    async def _begin(self) -> None:
        framing = self.dice.choice(["chunked", "chunked", "chunked gzip", "until close", "HTTP/1.0"])
        self._note(f"framing: {framing}")
        headers = {"Content-Type": self.dice.choice(["text/event-stream", "Text/Event-Stream; charset=utf-8"])}
        self.is_chunked = framing.startswith("chunked")
        if self.is_chunked:
            headers["Transfer-Encoding"] = "chunked"
        if framing == "chunked gzip":
            headers["Content-Encoding"] = "gzip"
            self.compressor = zlib.compressobj(wbits=31)
        if not self.is_calm and self.dice.random() < 0.8:
            self.budget = self.dice.choice([0, 50, 150, 400, 800])
            self.budget += self.dice.randrange(150)
            cuts = ["fin", "reset", "stall"] + ["clean end", "broken chunk"] * self.is_chunked
            self.cut = self.dice.choice(cuts)
        self.size = self.dice.choice([1, 1, 7, 64, 10_000, 10_000, 10_000])  # bytes in a piece
        self.line_end = self.dice.choice(["\n", "\n", "\r\n", "\r"])
        self.has_ids = self.dice.random() < 0.5
        self.keep_alive = self.dice.choice([0.0, 0.2])  # seconds between comments; 0: none, like the dev server
        await self._send(_head(200, headers, "1.0" if framing == "HTTP/1.0" else "1.1"))
        if self.dice.random() < 0.1:
            await self._write("\ufeff".encode())

    async def _tell(self) -> None:
        history, moments = self.backend.truth.history, self.backend.truth.moments
        start = 0
        if self.last_event_id is not None and self.dice.random() < 0.5:
            start = int(self.last_event_id) + 1  # a server that takes up where it was
            self._note("takes up at Last-Event-ID")
        if self.dice.random() < 0.2:
            await self._write(f"retry: {self.dice.choice([1, 20, 100])}\n\n".encode())
        for index in range(start, len(history)):
            await self._wait_until(self.backend.born + moments[index])
            await self._noise(history[:index])
            await self._event(history[index], index if self.has_ids else None)
        if self.backend.truth.fate == "terminated":
            if self.dice.random() < 0.5:
                self._note("stays open after terminated")
                await self._wait_until(time.monotonic() + PATIENCE)
        elif self.is_chunked:
            await self._send(b"0\r\n\r\n")
        raise Over

    async def _noise(self, past: list[dict[str, Any]]) -> None:
        """What must not change what the caller sees."""
        if self.is_calm or self.dice.random() < 0.7:
            return
        what = self.dice.choice(["comment", "regression", "regression", "duplicate", "malformed", "other type", "huge"])
        if what == "huge" and self.dice.random() < 0.9:
            return
        self._note(f"noise: {what}")
        match what:
            case "regression" if past:
                await self._event(self.dice.choice(past), None)
                return
            case "duplicate" if past:
                await self._event(past[-1], None)
                return
            case "malformed":
                text = self.dice.choice(
                    ["data: {", "data: []", 'data: {"status": 5}', "data", "data: \udcff", "data: 1"]
                )
                data = text.encode("utf-8", "surrogateescape") + b"\n\n"
            case "other type":
                data = b'event: metrics\ndata: {"status": "terminated", "time": "2026-01-02T03:04:05Z"}\n\n'
            case "huge":
                self.size = 1 << 16
                data = b"data: " + b"x" * (1 << 20) + b"\n\n"
            case _:
                data = b": a comment\n\n"
        await self._write(data)

    async def _event(self, now: dict[str, Any], number: int | None) -> None:
        lines = [f"data:{' ' * self.dice.randrange(2)}{json.dumps(now, ensure_ascii=False)}"]
        if self.dice.random() < 0.1:
            lines = [f"data: {line}" for line in json.dumps(now, indent=1).splitlines()]
        if self.dice.random() < 0.1:
            lines.append("event: message")
        if self.dice.random() < 0.1:
            lines.insert(0, ": a comment")
        if number is not None:
            lines.insert(self.dice.randrange(len(lines) + 1), f"id: {number}")
        data = (self.line_end.join(lines) + 2 * self.line_end).encode()
        # Noted before it is sent: the client may be back before this task runs again. (A CR ends a line, so an event
        # that lacks only the last LF is whole.)
        needed = len(data) - (self.line_end == "\r\n")
        if number is not None and (self.budget is None or self.budget >= needed):
            self.backend.ids.add(str(number))
        await self._write(data)

    async def _wait_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            await self._pause(min(left, self.keep_alive or left))
            if self.keep_alive:
                await self._write(b":\n\n")

    async def _pause(self, seconds: float) -> None:
        await asyncio.wait([self.gone], timeout=seconds)
        if self.gone.done():
            raise Over

    async def _write(self, data: bytes) -> None:
        """A part of the body: in pieces, coded as the head said, up to where the connection is to be cut."""
        is_last = self.budget is not None and len(data) > self.budget
        if self.budget is not None:
            data = data[: self.budget]
            self.budget -= len(data)
        for start in range(0, len(data), self.size):
            piece = data[start : start + self.size]
            if self.compressor is not None:
                piece = self.compressor.compress(piece) + self.compressor.flush(zlib.Z_SYNC_FLUSH)
            if self.is_chunked:
                piece = b"%x\r\n%s\r\n" % (len(piece), piece)
            await self._send(piece)
            if self.size < 100:
                await asyncio.sleep(0)
        if is_last:
            await self._cut()

    async def _cut(self) -> None:
        self._note(f"cut: {self.cut}")
        match self.cut:
            case "reset":
                _reset(self.writer)
            case "clean end":
                await self._send(b"0\r\n\r\n")
            case "broken chunk":
                await self._send(self.dice.choice([b"zz\r\nabc", b"10\r\n", b"5"]))
            case "stall":
                await self._pause(PATIENCE)
        raise Over

    async def _send(self, data: bytes) -> None:
        if self.gone.done():
            raise Over
        self.writer.write(data)
        await self.writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _head(status: int, headers: dict[str, str], version: str = "1.1") -> bytes:
    lines = [f"HTTP/{version} {status} Whatever", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _respond(
    writer: asyncio.StreamWriter, status: int, body: dict[str, Any] | None, headers: dict[str, str] | None = None
) -> None:
    data = b"" if body is None else json.dumps(body).encode()
    length = {} if status == 204 else {"Content-Length": str(len(data))}
    writer.write(_head(status, {"Content-Type": "application/json", **length, **(headers or {})}) + data)
    await writer.drain()


async def main(seed: int) -> None:
    server = Server(seed)
    await server.listen()
    print(server.port, flush=True)
    weather = asyncio.create_task(server.weather())
    # The parent holds the other end: when it goes, however it goes, so do we.
    await asyncio.to_thread(sys.stdin.read)
    weather.cancel()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
