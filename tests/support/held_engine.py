# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine in a thread of this process, at jumping time, that a test can hold: time then runs as outside until it lets go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import Object, Ref

from .api import Api
from .migration_history import Seen

T = TypeVar("T")
PATIENCE = 30.0


class HeldEngine:
    """Context manager. Requests go over HTTP, as those of any client."""

    def __init__(self, directory: Path, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engine", daemon=True)
        self._options = Options(speed="max", kubeconfig=directory / "kubeconfig", **options)
        self._engine: Engine | None = None
        self._following: list[asyncio.Task[None]] = []

    def __enter__(self) -> HeldEngine:
        self._thread.start()
        self._run(self._begin())
        self.api = Api(self._options.kubeconfig or "")
        return self

    def __exit__(self, *_exception: object) -> None:
        if self._engine is not None:
            self._run(self._end(self._engine))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)

    async def _begin(self) -> None:
        # What an engine is made of belongs to the loop that runs it.
        self._engine = Engine(self._options)
        await self._engine.start()

    @staticmethod
    async def _end(engine: Engine) -> None:
        await engine.stop()
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)

    @property
    def namespace(self) -> str:
        """Where KubeVirt is installed."""
        assert self._engine is not None
        return self._engine.sample.namespace

    def followed(self, *refs: Ref) -> list[Seen]:
        """What watches of these resources tell from now on, with engine seconds; the list grows meanwhile."""
        seen: list[Seen] = []
        self._run(self._follow_all(refs, seen))
        return seen

    async def _follow_all(self, refs: tuple[Ref, ...], seen: list[Seen]) -> None:
        assert self._engine is not None
        for ref in refs:
            listed = await self._engine.admin.list(ref)
            self._following.append(asyncio.create_task(self._follow(ref, listed.resource_version, seen)))

    async def _follow(self, ref: Ref, version: str, seen: list[Seen]) -> None:
        assert self._engine is not None
        async for event in self._engine.admin.watch(ref, resource_version=version):
            if event.type != "BOOKMARK":
                seen.append((self._engine.clock.monotonic(), ref.plural, event.type, event.object))  # noqa: PERF401

    def held(self) -> Hold:
        """Time doesn't jump meanwhile."""
        return self._hold(self._now)

    def held_at(self, ref: Ref, namespace: str, holds: Callable[[Object], bool]) -> Hold:
        """The same from the moment at which an object is so: watched from now on, waited for when the hold is entered."""
        return self._hold(lambda: self._seen(ref, namespace, holds))

    @staticmethod
    async def _now() -> None:
        return None

    async def _seen(self, ref: Ref, namespace: str, holds: Callable[[Object], bool]) -> None:
        assert self._engine is not None
        listed = await self._engine.admin.list(ref, namespace)
        if not any(holds(obj) for obj in listed.items):
            async for event in self._engine.admin.watch(ref, namespace, listed.resource_version):
                if holds(event.object):
                    return

    def _hold(self, until: Callable[[], Awaitable[None]]) -> Hold:
        assert self._engine is not None
        return Hold(self._loop, self._engine, until)


class Hold:
    """Context manager: entered once the engine's time is held, left when it runs on."""

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Engine, until: Callable[[], Awaitable[None]]) -> None:
        self._loop, self._engine, self._until = loop, engine, until
        self._let_go, self._holds = asyncio.Event(), threading.Event()
        self._holding = asyncio.run_coroutine_threadsafe(self._hold(), loop)

    async def _hold(self) -> None:
        await self._until()
        with self._engine.clock.busy():
            self._holds.set()
            await self._let_go.wait()

    def __enter__(self) -> None:
        if not self._holds.wait(PATIENCE):
            self._holding.cancel()
            raise AssertionError("what time was to be held at did not come")

    def __exit__(self, *_exception: object) -> None:
        self._loop.call_soon_threadsafe(self._let_go.set)
        self._holding.result(PATIENCE)
