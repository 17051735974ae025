# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A loopback proxy that counts API calls and ends the client at a chosen one: plain HTTP to it, TLS from it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp
import yaml
from aiohttp import web
from kubernetes import client, config
from yarl import URL

# Connection, Host and the client's own credentials end here; everything else is handed on unchanged.
_NOT_FORWARDED = {"host", "connection", "authorization", "content-length", "transfer-encoding", "expect"}
_NOT_RETURNED = {"connection", "content-length", "transfer-encoding", "keep-alive", "date", "server"}


class Moment(Enum):
    """When, around one call, the client dies."""

    BEFORE = "before the call reaches the server"
    AFTER = "after the server answered, before the client sees it"


@dataclass(frozen=True)
class Death:
    """The client dies around its `call`-th call, counted from 1; with `writes` only calls that write are counted."""

    call: int
    moment: Moment
    writes: bool = False


@dataclass(frozen=True)
class Call:
    """One request that came by."""

    method: str
    path: str

    @property
    def writes(self) -> bool:
        """Whether it may change what is stored (access reviews are POSTs that store nothing)."""
        return self.method != "GET" and not URL(self.path).path.endswith("reviews")


class CountingProxy:
    """Async context manager. Requests reach the server as the kubeconfig's user."""

    def __init__(self, kubeconfig: Path, death: Death | None = None, kill: Callable[[], None] = lambda: None) -> None:
        configuration = client.Configuration()
        config.load_kube_config(str(kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
        self._server: str = configuration.host
        self._tls = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
        if configuration.cert_file:
            self._tls.load_cert_chain(configuration.cert_file, configuration.key_file)
        self._token: str = configuration.api_key.get("authorization", "")
        self._death = death
        self._kill = kill
        self.killed = False
        self.killed_at: Call | None = None
        self.calls: list[Call] = []
        self.url = ""
        self._handling: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        self._runner = web.ServerRunner(web.Server(self._handle, access_log=None), shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._handling:
            task.cancel()
        await asyncio.gather(*self._handling, return_exceptions=True)
        await self._runner.cleanup()
        await self._session.close()

    def write_kubeconfig(self, path: Path) -> Path:
        """A kubeconfig that leads to the proxy."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": self.url}}],
            "users": [{"name": "proxy", "user": {"token": "none"}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
            "current-context": "proxy",
        }
        path.write_text(yaml.safe_dump(content), encoding="utf-8")
        path.chmod(0o600)
        return path

    def _dies(self, call: Call, numbers: tuple[Death, Death], moment: Moment) -> bool:
        if self.killed or self._death not in [replace(number, moment=moment) for number in numbers]:
            return False
        self._kill()
        self.killed, self.killed_at = True, call
        return True

    def _numbers(self, call: Call) -> tuple[Death, Death]:
        """Which call this one is, and which of those that write; 0 for one that does not."""
        self.calls.append(call)
        written = sum(1 for one in self.calls if one.writes) if call.writes else 0
        return Death(len(self.calls), Moment.BEFORE), Death(written, Moment.BEFORE, True)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        if task is not None:
            self._handling.add(task)
            task.add_done_callback(self._handling.discard)
        try:
            return await self._forward(request)
        except (ConnectionError, aiohttp.ClientError):
            # The client has gone, or the server has ended a watch the hard way: either is the client's to notice.
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)

    async def _forward(self, request: web.BaseRequest) -> web.StreamResponse:
        if self.killed:
            return web.Response(status=503, text="the client is dead")
        call = Call(request.method, request.raw_path)
        numbers = self._numbers(call)
        body = await request.read()
        if self._dies(call, numbers, Moment.BEFORE):
            return web.Response(status=503, text="the client is dead")
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _NOT_FORWARDED]
        if self._token:
            headers.append(("Authorization", self._token if " " in self._token else f"Bearer {self._token}"))
        target = URL(self._server + request.raw_path, encoded=True)
        async with self._session.request(
            request.method, target, data=body or None, headers=headers, allow_redirects=False
        ) as upstream:
            streams = upstream.content_length is None and request.query.get("watch") in {"true", "1"}
            content = b"" if streams else await upstream.read()
            if self._dies(call, numbers, Moment.AFTER):
                return web.Response(status=503, text="the client is dead")
            answer = web.StreamResponse(status=upstream.status, reason=upstream.reason)
            for name, value in upstream.headers.items():
                if name.lower() not in _NOT_RETURNED:
                    answer.headers.add(name, value)
            if not streams:
                answer.content_length = len(content)
            await answer.prepare(request)
            if streams:
                async for chunk in upstream.content.iter_any():
                    await answer.write(chunk)
            elif content:
                await answer.write(content)
            await answer.write_eof()
            return answer
