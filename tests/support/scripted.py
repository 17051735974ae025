# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server on loopback that answers as it is told, for faults that a healthy one never shows."""

from __future__ import annotations

import json
import socket
import threading
import typing as t
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Json = dict[str, t.Any]


@dataclass(frozen=True)
class Reply:
    """One answer. C(reset) breaks the connection instead: before anything, or after the part of the body that is given."""

    status: int = 200
    body: t.Any = None
    headers: dict[str, str] = field(default_factory=dict)
    reset: bool = False
    lines: tuple[t.Any, ...] = ()


@dataclass(frozen=True)
class Asked:
    """A request as it arrived."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: t.Any


def status(code: int, reason: str, message: str = "no", **details: t.Any) -> Json:
    """A Status object."""
    return {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code, "details": details}


class ScriptedServer:
    """Gives the replies in order; afterwards every request is a mistake of the test."""

    def __init__(self, *replies: Reply) -> None:
        self.replies, self.asked = list(replies), list[Asked]()
        script = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                script.asked.append(Asked(self.command, self.path, list(self.headers.items()), json.loads(content) if content else None))
                reply = script.replies.pop(0) if script.replies else Reply(500, status(500, "Unexpected", "the script has ended"))
                script.give(self, reply)

            do_GET = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815

            def log_message(self, format: str, *args: t.Any) -> None:  # noqa: A002
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @staticmethod
    def give(handler: BaseHTTPRequestHandler, reply: Reply) -> None:
        if reply.lines:
            handler.send_response(reply.status)
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            for line in reply.lines:
                data = json.dumps(line).encode() + b"\n"
                handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
            if not reply.reset:
                handler.wfile.write(b"0\r\n\r\n")
        if reply.reset:
            handler.wfile.flush()
            handler.connection.shutdown(socket.SHUT_RDWR)
            handler.close_connection = True
            return
        if reply.lines:
            return
        data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body if reply.body is not None else {}).encode()
        handler.send_response(reply.status)
        for name, value in {"Content-Length": str(len(data)), **reply.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(data)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> ScriptedServer:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._server.shutdown()
        self._server.server_close()
