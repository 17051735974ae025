"""The ceiling: the engine's HTTP server library with nothing behind it, over the same TLS, in a process of its own.

Usage: python -m tests.benchmarks.plain_server DIRECTORY
Answers GET with the body in DIRECTORY/body, everything else with the body that came, GET with ?watch with every body that is sent
afterwards. Prints its URL when it serves; stops with its parent.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import uvloop
from aiohttp import web

from ansible_collections.okd.virt.plugins.plugin_utils.engine.authority import ADMIN, Authority, write_private
from ansible_collections.okd.virt.plugins.plugin_utils.engine.server import server_names


class Plain:
    """One body for every reader."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._readers: set[asyncio.Queue[bytes]] = set()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "GET":
            if "watch" in request.query:
                return await self._watch(request)
            return web.Response(body=self._body, headers={"Content-Type": "application/json"})
        body = await request.read()
        for reader in self._readers:
            reader.put_nowait(body)
        return web.Response(body=body, headers={"Content-Type": "application/json"})

    async def _watch(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._readers.add(queue)
        try:
            while True:
                await response.write(await queue.get() + b"\n")
        finally:
            self._readers.discard(queue)


async def serve(directory: Path) -> None:
    """Until standard input, which the parent holds, is closed."""
    authority = Authority(None, server_names("127.0.0.1"))
    plain = Plain((directory / "body").read_bytes())
    runner = web.ServerRunner(web.Server(plain.handle, access_log=None, handler_cancellation=True), shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=authority.server_context()).start()
    url = "https://{}:{}".format(*runner.addresses[0][:2])
    write_private(directory / "kubeconfig", authority.kubeconfig(url, "plain", [ADMIN]))
    print(url, flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as main:
        main.run(serve(Path(sys.argv[1])))
