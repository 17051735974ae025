# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machine-config-controller's part: configurations rendered, nodes told what to become, pools described.

Source: openshift/machine-config-operator pkg/controller/{render,node}.
"""
from __future__ import annotations

from ...controller import Controller, EventRecorder
from ...interface import NODES, Object
from . import pools
from .drains import Drains
from .names import CONTROLLER, DESIRED, MACHINE_CONFIGS, POOLS, rendered_name

_POOL = "pool"


class Pools(Controller):
    """Keys are the names of pools."""

    name = "machine-config-controller pools"

    def __init__(self, drains: Drains) -> None:
        super().__init__()
        self._drains = drains
        drains.on_failure(self._failed)

    def setup(self) -> None:
        self._events = EventRecorder(self.cluster, self.clock, CONTROLLER)
        self._pools = self.informer(POOLS)
        self._configs = self.informer(MACHINE_CONFIGS)
        self._nodes = self.informer(NODES)
        self._nodes.add_index(_POOL, self._pools_of)
        self._pools.add_handler(self._pool_changed)
        self._configs.add_handler(self._config_changed)
        self._nodes.add_handler(self._node_changed)

    def _pools_of(self, node: Object) -> list[str]:
        """By the node's role; a worker that is a master too belongs to the masters."""
        labels = node["metadata"].get("labels") or {}
        for role in ("master", "worker"):
            if f"node-role.kubernetes.io/{role}" in labels:
                return [role]
        return []

    def _failed(self, node: str) -> None:
        found = self._nodes.get(node)
        for pool in self._pools_of(found) if found is not None else ():
            self.queue.add(pool)

    def _pool_changed(self, event: str, pool: Object, before: Object | None) -> None:
        if event != "DELETED" and (before is None or before.get("spec") != pool.get("spec")):
            self.queue.add(pool["metadata"]["name"])

    def _config_changed(self, _event: str, _config: Object, _before: Object | None) -> None:
        for pool in self._pools.list():
            self.queue.add(pool["metadata"]["name"])

    def _node_changed(self, event: str, node: Object, before: Object | None) -> None:
        if before is not None and event != "DELETED" and _looks(before) == _looks(node):
            return
        for pool in self._pools_of(node):
            self.queue.add(pool)

    async def reconcile(self, key: str) -> float | None:
        pool = self._pools.get(key)
        if pool is None:
            return None
        configuration = await self._render(pool)
        if not configuration:
            return None
        nodes = self._nodes.by_index(_POOL, key)
        chosen = pools.next_nodes(pool, nodes, configuration)
        for node in chosen:
            await self.cluster.patch(NODES, node["metadata"]["name"], {"metadata": {"annotations": {DESIRED: configuration}}})
        if len(chosen) == 1:
            name = chosen[0]["metadata"]["name"]
            await self._events.event(pool, "Normal", "SetDesiredConfig", f"Targeted node {name} to MachineConfig: {configuration}")
        elif chosen:
            await self._events.event(pool, "Normal", "SetDesiredConfig", f"Set target for {len(chosen)} nodes to MachineConfig: {configuration}")
        await self._describe(key, configuration)
        return None

    async def _render(self, pool: Object) -> str:
        """What the pool's configurations come to, made if it is new; the name of what the pool wants."""
        wanted = str(((pool.get("spec") or {}).get("configuration") or {}).get("name") or "")
        selector = ((pool["spec"].get("machineConfigSelector") or {}).get("matchLabels")) or {}
        sources = [one for one in self._configs.list() if selector and selector.items() <= (one["metadata"].get("labels") or {}).items()]
        if not sources:
            return wanted
        sources.sort(key=lambda one: str(one["metadata"]["name"]))
        name = rendered_name(pool["metadata"]["name"], [one.get("spec") or {} for one in sources])
        if self._configs.get(name) is None:
            await self._make(pool, name, sources)
        if name != wanted:
            configuration = {"name": name, "source": [{"apiVersion": MACHINE_CONFIGS.api_version, "kind": "MachineConfig", "name": one["metadata"]["name"]}
                                                      for one in sources]}
            await self.cluster.patch(POOLS, pool["metadata"]["name"], {"spec": {"configuration": configuration}})
            await self._events.event(pool, "Normal", "RenderedConfigGenerated", f"{name} successfully generated")
        return name

    async def _make(self, pool: Object, name: str, sources: list[Object]) -> None:
        spec: Object = {}
        for one in sources:
            spec |= one.get("spec") or {}
        metadata = pool["metadata"]
        owner = {"apiVersion": POOLS.api_version, "kind": "MachineConfigPool", "name": metadata["name"], "uid": metadata["uid"], "controller": True,
                 "blockOwnerDeletion": True}
        await self.cluster.create(MACHINE_CONFIGS, {
            "apiVersion": MACHINE_CONFIGS.api_version, "kind": "MachineConfig", "metadata": {"name": name, "ownerReferences": [owner]}, "spec": spec,
        })

    async def _describe(self, key: str, configuration: str) -> None:
        pool = self._pools.get(key)
        if pool is None:
            return
        nodes = self._nodes.by_index(_POOL, key)
        failing = {name: text for node in nodes if (text := self._drains.failing(name := node["metadata"]["name"]))}
        status = pools.status(pool, nodes, configuration, failing, self.clock.timestamp())
        if status != pool.get("status"):
            await self.cluster.update(POOLS, {**pool, "status": status}, "status")


def _looks(node: Object) -> tuple[object, ...]:
    metadata = node["metadata"]
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key.startswith("machineconfiguration")}
    return annotations, (node.get("spec") or {}).get("unschedulable"), pools.is_ready(node), (metadata.get("labels") or {}).keys()
