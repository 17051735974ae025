# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens to a migration, step by step, as it did on KubeVirt 1.4.1 and 1.5.3: phases, fields, budgets, pods and events."""
from __future__ import annotations

import asyncio
import json
import typing as t
from pathlib import Path

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import PODS, Ref

from ..support.migration_history import general
from ..support.node_agent import Script
from .migrating import Migrating

RECORDED = Path(__file__).parents[1] / "conformance" / "recorded"
MACHINES = Ref("kubevirt.io", "v1", "virtualmachines")
RELEASES = {"1.4.1": "4.18", "1.5.3": "4.19"}
LIBVIRT = (
    "error encountered during MigrateToURI3 libvirt api call: virError(Code=9, Domain=10, "
    "Message='operation failed: migration out job: unexpectedly failed')"
)


async def succeeds(cluster: Migrating) -> str:
    name = await cluster.migrate("vm-1")
    await cluster.over(name)
    return name


async def deleted_while_running(cluster: Migrating) -> str:
    cluster.agent.default = Script(copy=600)
    name = await cluster.migrate("vm-1")
    await cluster.phase(name, "Running")
    await cluster.delete(name)
    await cluster.gone(name)
    await cluster.passes(1.5)
    return name


async def deleted_while_preparing(cluster: Migrating) -> str:
    cluster.agent.default = Script(prepare=20)
    with cluster.engine.clock.busy():
        name = await cluster.migrate("vm-1")
        await cluster.phase(name, "PreparingTarget")
        await cluster.delete(name)
    await cluster.gone(name)
    await cluster.passes(1.5)
    return name


async def deleted_before_hand_off(cluster: Migrating) -> str:
    with cluster.engine.clock.busy():
        name = await cluster.migrate("vm-1")
        await cluster.phase(name, "Scheduling")
        await cluster.delete(name)
    await cluster.gone(name)
    await cluster.passes(5)
    return name


async def target_lost_while_running(cluster: Migrating) -> str:
    cluster.agent.default = Script(copy=30)
    name = await cluster.migrate("vm-1")
    await cluster.phase(name, "Running")
    pod = await cluster.target_pod(name)
    await cluster.engine.admin.delete(PODS, pod["metadata"]["name"], cluster.namespace)
    await cluster.phase(name, "Failed")

    async def told() -> bool:
        return _completed(await cluster.get(name))

    # The script reports success all the same, as the recorder's did.
    await cluster.until(told)
    await asyncio.sleep(0.005)
    # What becomes of a guest without a pod is another story; of what comes now, only the script's last word belongs to this one.
    end = next(number for number, (_when, _plural, _kind, obj) in enumerate(cluster.seen) if obj["metadata"]["name"] == name and _completed(obj))
    cluster.seen = [one for number, one in enumerate(cluster.seen) if number <= end or _from_handler(one[3])]
    return name


def _from_handler(obj: t.Any) -> bool:
    return bool(obj["kind"] == "Event" and obj.get("reportingComponent") == "virt-handler")


def _completed(migration: t.Any) -> bool:
    return bool(migration.get("status", {}).get("migrationState", {}).get("completed"))


async def machine_deleted(cluster: Migrating) -> str:
    cluster.agent.default = Script(copy=600)
    name = await cluster.migrate("vm-1")
    await cluster.phase(name, "Running")
    await cluster.engine.admin.delete(MACHINES, "vm-1", cluster.namespace)
    await cluster.gone(name)
    await cluster.passes(1.5)
    return name


async def copy_fails(cluster: Migrating) -> str:
    cluster.agent.default = Script(copy=1.6, failure=LIBVIRT)
    name = await cluster.migrate("vm-1")
    await cluster.over(name)
    return name


PLAYED: dict[str, t.Callable[[Migrating], t.Awaitable[str]]] = {
    "success": succeeds, "deleted-while-running": deleted_while_running, "deleted-while-preparing": deleted_while_preparing,
    "deleted-before-hand-off": deleted_before_hand_off, "target-lost-while-running": target_lost_while_running,
    "machine-deleted": machine_deleted, "copy-fails": copy_fails,
}
CASES = [
    (version, story) for version in RELEASES for story in PLAYED
    if (RECORDED / f"kubevirt-{version}" / "migrations" / f"{story}.json").exists()
]


def by_component(events: list[str]) -> dict[str, list[str]]:
    """Events of different components have no common order."""
    found: dict[str, list[str]] = {}
    for line in events:
        found.setdefault(" ".join(line.split()[:2]), []).append(general(line))
    return found


def test_recordings_of_both_versions_are_played() -> None:
    assert len(CASES) == 9


@pytest.mark.parametrize(("version", "story"), CASES)
async def test_it_happens_as_recorded(version: str, story: str, migrating: t.Callable[..., t.AsyncContextManager[Migrating]]) -> None:
    expected = json.loads((RECORDED / f"kubevirt-{version}" / "migrations" / f"{story}.json").read_text(encoding="utf-8"))["history"]
    async with migrating(release=RELEASES[version]) as cluster:
        found = cluster.history(await PLAYED[story](cluster))
    for stream in ("migration", "instance", "budget", "target"):
        assert found[stream] == expected[stream], stream
    assert by_component(found["events"]) == by_component(expected["events"])


async def test_1_5_3_too_goes_on_to_note_what_becomes_of_the_guest(migrating: t.Callable[..., t.AsyncContextManager[Migrating]]) -> None:
    async with migrating(release="4.19") as cluster:
        found = cluster.history(await target_lost_while_running(cluster))["migration"]
    assert found[-3:] == ["let go", "state targetNodeDomainDetected targetNodeDomainReadyTimestamp", "state completed endTimestamp"]


@pytest.mark.parametrize("story", ["success", "copy-fails", "deleted-while-running"])
async def test_the_same_happens_at_another_speed(story: str, migrating: t.Callable[..., t.AsyncContextManager[Migrating]]) -> None:
    expected = json.loads((RECORDED / "kubevirt-1.5.3" / "migrations" / f"{story}.json").read_text(encoding="utf-8"))["history"]
    async with migrating(release="4.19", speed="30") as cluster:
        found = cluster.history(await PLAYED[story](cluster))
    for stream in ("migration", "instance", "budget", "target"):
        assert found[stream] == expected[stream], stream
    assert by_component(found["events"]) == by_component(expected["events"])
