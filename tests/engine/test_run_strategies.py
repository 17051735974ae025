# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of a machine whose guest ends, by run strategy and by how it ended."""
from __future__ import annotations

import asyncio
import functools
import typing as t
from collections.abc import AsyncIterator, Callable

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller.phases import VIRTUAL_MACHINES

from .machines import machine

Object = dict[str, t.Any]
WHERE = "sandbox"


class Guests:
    """The machines of one namespace of an engine in this process."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def until(self, holds: Callable[[], t.Any]) -> t.Any:
        for _turn in range(1000):
            if value := holds():
                return value
            await asyncio.sleep(0.01)
        raise AssertionError("the expected state was not reached in time")

    def _value(self, plural: str, name: str) -> Object:
        stored = self.engine.store.get(("kubevirt.io", plural), WHERE, name)
        return stored.value if stored is not None else {}

    def word(self, name: str) -> str:
        return str((self._value("virtualmachines", name).get("status") or {}).get("printableStatus") or "")

    def uid(self, name: str) -> str:
        return str(self._value("virtualmachineinstances", name).get("metadata", {}).get("uid") or "")

    def runs_anew(self, name: str, uid: str) -> bool:
        return self.uid(name) not in ("", uid) and self.word(name) == "Running"

    def is_stopped(self, name: str) -> bool:
        return self.word(name) == "Stopped"

    async def start(self, name: str, strategy: str) -> str:
        """A running machine; the uid of its instance."""
        status = {"stateChangeRequests": [{"action": "Start"}]} if strategy == "Manual" else None
        made = await self.engine.admin.create(VIRTUAL_MACHINES, machine(name, strategy), WHERE)
        if status is not None:
            await self.engine.admin.patch(VIRTUAL_MACHINES, name, {"status": status}, WHERE, "status")
        await self.until(lambda: self.word(name) == "Running")
        assert made["spec"]["runStrategy"] == strategy
        return self.uid(name)

    def end(self, name: str, code: int) -> None:
        """The guest shuts down, or qemu dies."""
        (uid,) = self._value("virtualmachineinstances", name)["status"]["activePods"]
        self.engine.runtime.exited(uid, code)


@pytest.fixture
async def guests() -> AsyncIterator[Guests]:
    engine = Engine(Options(cluster="lab", release="4.19", speed="max"))
    await engine.start()
    yield Guests(engine)
    await engine.stop()


ENDS = [
    ("Always", 0, "again"), ("Always", 1, "again"), ("RerunOnFailure", 0, "stopped"), ("RerunOnFailure", 1, "again"), ("Manual", 0, "left"),
    ("Manual", 1, "left"), ("Once", 0, "left"), ("Once", 1, "left"),
]


async def test_what_follows_when_a_guest_ends(guests: Guests) -> None:
    names = {case: f"vm-{case[0].lower()}-{case[1]}" for case in ENDS}
    before = {case: await guests.start(name, case[0]) for case, name in names.items()}
    for case, name in names.items():
        guests.end(name, case[1])
    for case, name in names.items():
        if case[2] == "again":
            await guests.until(functools.partial(guests.runs_anew, name, before[case]))
        else:
            await guests.until(functools.partial(guests.is_stopped, name))
    await asyncio.sleep(0.3)
    for case, name in names.items():
        if case[2] == "left":
            # The ended instance stays, to be looked at.
            assert guests.uid(name) == before[case]
        elif case[2] == "stopped":
            assert guests.uid(name) == ""
            assert guests.word(name) == "Stopped"
