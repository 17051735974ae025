# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""HTTPS in front of the API server: aiohttp's low-level server, one handler for everything."""
from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import time
import typing as t

with contextlib.suppress(ImportError):
    from aiohttp import web

from .apiserver.chain import ApiServer
from .apiserver.request import Request, Response, WatchResponse
from .clock import Clock
from .errors import StatusError
from .store.store import Store

_LOG = logging.getLogger(__name__)
_BODY_LIMIT = 16 * 1024 * 1024
_STALLED = 30.0
"""Real seconds that a watch's reader may leave the connection full before it is dropped."""
_GRACE = 3.0


class Server:
    """Serves one ApiServer. `port` 0 takes a free one; `url` is known after start()."""

    def __init__(
        self, api: ApiServer, store: Store, clock: Clock, tls: ssl.SSLContext, address: str = "127.0.0.1", port: int = 0,
        audit_log: t.TextIO | None = None,
    ) -> None:
        self._api, self._store, self._clock, self._tls = api, store, clock, tls
        self._address, self._port = address, port
        self._audit_log = audit_log
        self._runner: web.ServerRunner | None = None
        self._watches: set[asyncio.Task[t.Any]] = set()
        self.url = ""

    async def start(self) -> None:
        """Raises OSError when the address can't be had."""
        server = web.Server(t.cast(t.Any, self._handle), access_log=None, tcp_keepalive=True)
        self._runner = web.ServerRunner(server, shutdown_timeout=_GRACE)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._address, self._port, ssl_context=self._tls, backlog=1024)
        try:
            await site.start()
        except OSError:
            await self._runner.cleanup()
            raise
        host, port = self._runner.addresses[0][:2]
        self.url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"

    async def stop(self) -> None:
        """End watches, finish requests, close connections."""
        for task in tuple(self._watches):
            task.cancel()
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, raw: web.BaseRequest) -> web.StreamResponse:
        started = time.monotonic()
        self._clock.activity()
        body = await _body(raw) if raw.can_read_body else b""
        request = Request(raw.method, raw.raw_path, raw.headers, body, _peer_certificate(raw), raw.remote or "")
        answer = await self._api.handle(request)
        if isinstance(answer, WatchResponse):
            self._audit(request, answer.status, started)
            return await self._stream(raw, answer)
        if answer.version:
            await self._store.flushed(answer.version)
        self._audit(request, answer.status, started)
        return _plain(answer)

    async def _stream(self, raw: web.BaseRequest, answer: WatchResponse) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers={**answer.headers, "Content-Type": answer.content_type})
        response.enable_chunked_encoding()
        task = asyncio.current_task()
        if task is not None:
            self._watches.add(task)
        try:
            await response.prepare(raw)
            async for frame in answer.frames:
                async with asyncio.timeout(_STALLED):
                    await response.write(frame)
            await response.write_eof()
        except (ConnectionError, TimeoutError):
            # The reader left, or reads so slowly that it has to list anew anyway.
            raw.transport.abort() if isinstance(raw.transport, asyncio.Transport) else None
        finally:
            if task is not None:
                self._watches.discard(task)
            with contextlib.suppress(Exception):
                await answer.frames.aclose()
        return response

    def _audit(self, request: Request, status: int, started: float) -> None:
        if self._audit_log is None:
            return
        entry = {
            "time": self._clock.micro_timestamp(), "verb": request.method, "uri": request.target, "status": status,
            "user": _user(self._api, request), "agent": request.headers.get("User-Agent", ""),
            "milliseconds": round(1000 * (time.monotonic() - started), 3),
        }
        self._audit_log.write(json.dumps(entry, separators=(",", ":")) + "\n")
        self._audit_log.flush()


def _user(api: ApiServer, request: Request) -> str:
    """Whom the request acts as; empty for nobody that is known."""
    try:
        return request.headers.get("Impersonate-User") or api.authenticator.authenticate(request).name
    except StatusError:
        return ""


async def _body(raw: web.BaseRequest) -> bytes:
    """All of the body, up to the limit that only abuse reaches: one read gives no more than what has arrived."""
    chunks, length = [], 0
    while length <= _BODY_LIMIT and (chunk := await raw.content.readany()):
        chunks.append(chunk)
        length += len(chunk)
    return b"".join(chunks)


def _plain(answer: Response) -> web.Response:
    return web.Response(status=answer.status, body=answer.body, headers={**answer.headers, "Content-Type": answer.content_type})


def _peer_certificate(raw: web.BaseRequest) -> bytes | None:
    tls = raw.get_extra_info("ssl_object")
    return t.cast("bytes | None", tls.getpeercert(binary_form=True)) if tls is not None else None
