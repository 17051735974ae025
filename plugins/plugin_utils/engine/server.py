# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTPS in front of the API server: aiohttp's low-level server, one handler for everything."""
from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import typing as t

with contextlib.suppress(ImportError):
    import multidict
    from aiohttp import web

from . import errors
from .apiserver.chain import ApiServer
from .apiserver.request import Request, Response, WatchResponse
from .audit import AuditLog
from .clock import Clock
from .faults import ConnectionReset
from .store.store import Store

_BODY_LIMIT = 16 * 1024 * 1024
"""Bytes that are read at most; the API server refuses far less."""
_STALLED = 30.0
"""Real seconds that a watch's reader may leave the connection full before it is dropped."""
_GRACE = 3.0
"""Real seconds that requests have to finish when the server stops."""
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 compared with, not bound to


def server_names(address: str) -> tuple[str, ...]:
    """What clients call a server that listens on an address, besides loopback's names."""
    return (socket.gethostname(),) if address in _ANY else (address,)


class Server:
    """Serves one ApiServer. `port` 0 takes a free one; `url` is known after start()."""

    def __init__(
        self, api: ApiServer, store: Store, clock: Clock, tls: ssl.SSLContext, address: str = "127.0.0.1", port: int = 0,
        audit_log: AuditLog | None = None,
    ) -> None:
        self._api, self._store, self._clock, self._tls = api, store, clock, tls
        self._address, self._port = address, port
        self._audit_log = audit_log
        self._runner: web.ServerRunner | None = None
        self._watches: dict[asyncio.Task[t.Any], web.BaseRequest] = {}
        self.url = ""

    @property
    def watches(self) -> int:
        """How many watches are being read."""
        return len(self._watches)

    def drop_watches(self) -> None:
        """Cut the connection of everybody who reads a watch."""
        for raw in tuple(self._watches.values()):
            _cut(raw)

    async def start(self) -> None:
        """Raises OSError when the address can't be had."""
        # A client that leaves ends its watch at once. Other requests wait for nothing but their body and the disk.
        server = web.Server(t.cast(t.Any, self._handle), access_log=None, tcp_keepalive=True, handler_cancellation=True)
        self._runner = web.ServerRunner(server, shutdown_timeout=_GRACE)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._address, self._port, ssl_context=self._tls, backlog=1024)
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        host, port = self._runner.addresses[0][:2]
        host = _ANY.get(host, host)
        self.url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"

    async def stop(self) -> None:
        """End watches, finish requests, close connections."""
        self._store.end_watches()
        if self._watches:
            await asyncio.wait(tuple(self._watches), timeout=_GRACE)
        for task in tuple(self._watches):
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, raw: web.BaseRequest) -> web.StreamResponse:
        log = self._audit_log
        received = log.received() if log is not None else ("", 0.0)
        self._clock.activity()
        body = await _body(raw) if raw.can_read_body else b""
        request = Request(raw.method, raw.raw_path, _headers(raw), body, _peer_certificate(raw), raw.remote or "")
        try:
            answer = await self._api.handle(request)
        except ConnectionReset:
            _cut(raw)
            return web.Response(status=500)
        if isinstance(answer, WatchResponse):
            if log is not None:
                log.answered(request, answer.status, received, watch=True)
            return await self._stream(raw, answer)
        if answer.version:
            answer = await self._durable(answer)
        if log is not None:
            log.answered(request, answer.status, received)
        return _plain(answer)

    async def _durable(self, answer: Response) -> Response:
        """The answer to a write when that is on disk, or that it will never be."""
        try:
            await self._store.flushed(answer.version)
        except OSError as error:
            failure = errors.internal(str(error.strerror or error))
            return Response(failure.code, json.dumps(failure.to_status()).encode())
        return answer

    async def _stream(self, raw: web.BaseRequest, answer: WatchResponse) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers={**answer.headers, "Content-Type": answer.content_type})
        response.enable_chunked_encoding()
        task = t.cast("asyncio.Task[t.Any]", asyncio.current_task())
        self._watches[task] = raw
        try:
            await response.prepare(raw)
            async for frame in answer.frames:
                async with asyncio.timeout(_STALLED):
                    await response.write(frame)
            await response.write_eof()
        except (ConnectionError, TimeoutError):
            # The reader left, or reads so slowly that it has to list anew anyway.
            _cut(raw)
        finally:
            self._watches.pop(task, None)
            await answer.frames.aclose()
        return response


def _cut(raw: web.BaseRequest) -> None:
    if raw.transport is not None:
        t.cast(asyncio.WriteTransport, raw.transport).abort()


def _headers(raw: web.BaseRequest) -> t.Any:
    """The headers, in which what is no UTF-8 is marked as such: it may become part of objects and answers."""
    if all(value.isascii() for value in raw.headers.values()):
        return raw.headers
    readable = ((name, value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")) for name, value in raw.headers.items())
    return multidict.CIMultiDict(readable)


async def _body(raw: web.BaseRequest) -> bytes:
    """All of the body, up to the limit that only abuse reaches: one read gives no more than what has arrived."""
    chunks, length = [], 0
    while length <= _BODY_LIMIT and (chunk := await raw.content.readany()):
        chunks.append(chunk)
        length += len(chunk)
    return b"".join(chunks)


def _plain(answer: Response) -> web.Response:
    headers = {**answer.headers, "Content-Type": answer.content_type} if answer.content_type else answer.headers
    return web.Response(status=answer.status, body=answer.body, headers=headers)


def _peer_certificate(raw: web.BaseRequest) -> bytes | None:
    tls = raw.get_extra_info("ssl_object")
    return t.cast("bytes | None", tls.getpeercert(binary_form=True)) if tls is not None else None
