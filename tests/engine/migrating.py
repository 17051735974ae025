# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine in this process whose virt-handler is played by a script, and what is seen of its migrations."""
from __future__ import annotations

import asyncio
import contextlib
import typing as t
from collections.abc import Callable

from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine
from ansible_collections.okd.virt.plugins.plugin_utils.engine.errors import StatusError
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import (
    EVENTS,
    KUBEVIRTS,
    NODES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    Object,
    Ref,
)

from ..support.migration_history import Seen, history
from ..support.node_agent import VMIMS, VMIS, NodeAgent

WATCHED = (VMIMS, VMIS, PODS, POD_DISRUPTION_BUDGETS, EVENTS)
HYPERCONVERGEDS = Ref("hco.kubevirt.io", "v1beta1", "hyperconvergeds")
FINAL = ("Succeeded", "Failed")


class Migrating:
    """One namespace of an engine, watched from the beginning."""

    def __init__(self, engine: Engine, agent: NodeAgent, namespace: str = "shop") -> None:
        self.engine, self.agent, self.namespace = engine, agent, namespace
        self.seen: list[Seen] = []
        self._watches: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Migrating:
        for ref in WATCHED:
            listed = await self.engine.admin.list(ref, self.namespace)
            self.seen += [(self.now, ref.plural, "LISTED", obj) for obj in listed.items]
            self._watches.append(asyncio.create_task(self._follow(ref, listed.resource_version)))
        return self

    async def __aexit__(self, *_exception: object) -> None:
        for task in self._watches:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _follow(self, ref: Ref, version: str) -> None:
        async for event in self.engine.admin.watch(ref, self.namespace, version):
            if event.type != "BOOKMARK":
                self.seen.append((self.now, ref.plural, event.type, event.object))

    @property
    def now(self) -> float:
        return self.engine.clock.monotonic()

    async def migrate(self, vmi: str, **metadata: t.Any) -> str:
        """Create a migration; its name."""
        body = {
            "apiVersion": VMIMS.api_version, "kind": "VirtualMachineInstanceMigration",
            "metadata": {"generateName": f"mig-{vmi}-", "namespace": self.namespace, **metadata}, "spec": {"vmiName": vmi},
        }
        return str((await self.engine.admin.create(VMIMS, body, self.namespace))["metadata"]["name"])

    async def delete(self, migration: str) -> None:
        await self.engine.admin.delete(VMIMS, migration, self.namespace)

    async def evict(self, pod: str) -> StatusError | None:
        """Ask for the eviction of a pod; what was said against it."""
        body: Object = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": self.namespace}}
        try:
            await self.engine.admin.create(PODS, body, self.namespace, "eviction", pod)
        except StatusError as error:
            return error
        return None

    async def get(self, migration: str) -> Object:
        return await self.engine.admin.get(VMIMS, migration, self.namespace)

    async def instance(self, name: str) -> Object:
        return await self.engine.admin.get(VMIS, name, self.namespace)

    async def migrations(self, vmi: str) -> list[Object]:
        found = (await self.engine.admin.list(VMIMS, self.namespace)).items
        return sorted((one for one in found if one["spec"]["vmiName"] == vmi), key=lambda one: str(one["metadata"]["creationTimestamp"]))

    async def target_pod(self, migration: str) -> Object:
        uid = (await self.get(migration))["metadata"]["uid"]
        return (await self.engine.admin.list(PODS, self.namespace, f"kubevirt.io/migrationJobUID={uid}")).items[0]

    async def until(self, holds: Callable[[], t.Awaitable[t.Any]], seconds: float = 20.0) -> t.Any:
        """The first true answer; `seconds` are real ones."""
        async with asyncio.timeout(seconds):
            while not (value := await holds()):  # noqa: ASYNC110
                await asyncio.sleep(0.002)
            return value

    async def phase(self, migration: str, *phases: str) -> None:
        """Wait until the migration is in one of the phases; one that is gone has passed through them all."""

        async def reached() -> bool:
            try:
                return (await self.get(migration)).get("status", {}).get("phase") in phases
            except StatusError as error:
                return error.code == 404

        await self.until(reached)

    async def gone(self, migration: str) -> None:
        async def away() -> bool:
            return all(one["metadata"]["name"] != migration for one in (await self.engine.admin.list(VMIMS, self.namespace)).items)

        await self.until(away)

    async def over(self, migration: str) -> None:
        """Wait until the migration is over and nothing follows from it any more."""
        await self.phase(migration, *FINAL)
        await self.passes(1.5)

    async def passes(self, seconds: float) -> None:
        """Let engine time pass."""
        await self.engine.clock.sleep(seconds)
        await asyncio.sleep(0.01)

    async def settings(self, **limits: int) -> None:
        """Set fields of HyperConverged's liveMigrationConfig and wait until KubeVirt has them."""
        found = (await self.engine.admin.list(HYPERCONVERGEDS)).items[0]["metadata"]
        patch = {"spec": {"liveMigrationConfig": limits}}
        await self.engine.admin.patch(HYPERCONVERGEDS, found["name"], patch, found["namespace"])

        async def heard() -> bool:
            spec = (await self.engine.admin.list(KUBEVIRTS)).items[0]["spec"]
            return bool(limits.items() <= spec.get("configuration", {}).get("migrations", {}).items())

        await self.until(heard)

    async def cordon(self, *nodes: str) -> None:
        for node in nodes:
            await self.engine.admin.patch(NODES, node, {"spec": {"unschedulable": True}})

    async def mark(self, vmi: str) -> None:
        """As an eviction does."""
        own = self.engine.admin.as_service_account(self.engine.sample.namespace, "kubevirt-apiserver")
        node = (await self.instance(vmi))["status"]["nodeName"]
        patch = [{"op": "add", "path": "/status/evacuationNodeName", "value": node}]
        await own.patch(VMIS, vmi, patch, self.namespace, content_type="application/json-patch+json")

    def history(self, migration: str) -> dict[str, list[str]]:
        return history(self.seen, migration)

    def moments(self, migration: str) -> dict[str, float]:
        """Engine seconds at which the migration was seen in each phase."""
        found: dict[str, float] = {}
        for when, resource, _kind, obj in self.seen:
            if resource == VMIMS.plural and obj["metadata"]["name"] == migration:
                found.setdefault(str((obj.get("status") or {}).get("phase") or ""), when)
        return found

    def last(self, migration: str) -> float:
        """Engine seconds at which the migration changed last."""
        return max(when for when, resource, _kind, obj in self.seen if resource == VMIMS.plural and obj["metadata"]["name"] == migration)

    def events(self, reason: str, kind: str = "VirtualMachineInstanceMigration") -> list[tuple[float, str]]:
        """Moment and message of each event of the reason on objects of the kind."""
        return [
            (when, obj["message"]) for when, resource, event, obj in self.seen
            if resource == "events" and event != "LISTED" and obj["reason"] == reason and obj["involvedObject"]["kind"] == kind
        ]
