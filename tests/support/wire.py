"""A server of the REST contract that breaks connections on cue, as a service that is killed does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """One answer; `cut` ends the connection in the middle of it, as a killed service does."""

    body: bytes = b""
    status: int = 200
    chunked: bool = False
    cut: bool = False
    length: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


def document(content: Any, status: int = 200) -> Answer:
    return Answer(json.dumps(content).encode(), status)


def stream(*lines: Any, cut: bool = False) -> Answer:
    return Answer(b"".join(json.dumps(line).encode() + b"\n" for line in lines), chunked=True, cut=cut)


@dataclass
class Wire:
    """Answers by method and path, in the order given; the last one stays."""

    address: str = ""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)

    def on(self, request: str, *answers: Answer) -> None:
        self.answers[request] = list(answers)

    def next(self, request: str) -> Answer:
        self.asked.append(request)
        left = self.answers.get(request)
        if left is None:
            return document({"error": f"nothing at {request}"}, 404)
        return left.pop(0) if len(left) > 1 else left[0]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wire: Wire

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self.wire.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def log_message(self, format: str, *args: Any) -> None:
        """Not into the test's stderr."""

    def _answer(self, method: str) -> None:
        answer = self.wire.next(f"{method} {self.path.removeprefix('/api/v1/')}")
        self.send_response(answer.status)
        if answer.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(answer.length if answer.length is not None else len(answer.body)))
        for header in answer.headers:
            self.send_header(*header)
        self.end_headers()
        if answer.chunked:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(answer.body), answer.body) if answer.body else b"")
            self.wfile.write(b"" if answer.cut else b"0\r\n\r\n")
        else:
            self.wfile.write(answer.body)
        self.close_connection = True


@contextmanager
def served() -> Iterator[Wire]:
    """A wire on a free port."""
    wire = Wire()
    with ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"wire": wire})) as server:
        wire.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield wire
        finally:
            server.shutdown()
            thread.join()
