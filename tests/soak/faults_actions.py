# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a storm does to a cluster, one action at a time, over HTTP: each is asked for and may be refused, as by any client."""

from __future__ import annotations

import asyncio
import contextlib
import random
import typing as t

import urllib3

from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine

from ..support.api import MERGE_PATCH, Answer, Api
from .faults_history import FINAL, History, Key, Object, key_of, status_of

FAULTS = "/engine.okd.virt/v1/faults"
KUBEVIRT = "/apis/kubevirt.io/v1"
_SUBRESOURCES = "/apis/subresources.kubevirt.io/v1"
_HYPERCONVERGEDS = "/apis/hco.kubevirt.io/v1beta1"
_PREFIX = "engine.okd.virt/"
_DRAIN_PASSES, _DRAIN_EVERY = 20, 5.0
"""How often a drain goes round, and after how many engine seconds again."""
_STRATEGIES = ("Always", "Always", "RerunOnFailure", "Manual", "Halted")
_RESOURCES = ["pods", "pods/status", "virtualmachineinstances.kubevirt.io", "virtualmachineinstancemigrations.kubevirt.io"]
_ANSWERS = ("429", "500", "503", "reset", "slow")


def path_of(plural: str, key: Key, what: str = "") -> str:
    return f"{KUBEVIRT}/namespaces/{key[0]}/{plural}/{key[1]}{what}"


class Actions:
    """One round's actions: every method that does not begin with an underscore is one. What is drawn depends on the seed and the cluster."""

    def __init__(self, engine: Engine, api: Api, history: History, draw: random.Random) -> None:
        self._engine, self._api, self._history, self._draw = engine, api, history, draw
        self._number = 0
        self._off: set[str] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._in_flight: set[asyncio.Future[Answer]] = set()
        self._workers = sorted(name for name in history.joined if name.startswith("node"))

    async def _ask(self, method: str, path: str, body: Object | None = None, content_type: str = "application/json", accept: str = "") -> Answer | None:
        """None when the connection was lost."""
        options: dict[str, t.Any] = {"content_type": content_type, **({"accept": accept} if accept else {})}
        asked = asyncio.ensure_future(asyncio.to_thread(self._api.request, method, path, body, **options))
        self._in_flight.add(asked)
        asked.add_done_callback(self._in_flight.discard)
        try:
            # Whoever stops waiting has asked all the same.
            return await asyncio.shield(asked)
        except (urllib3.exceptions.HTTPError, OSError):
            return None

    async def _patch(self, path: str, body: Object) -> Answer | None:
        return await self._ask("PATCH", path, body, MERGE_PATCH)

    async def insist(self, method: str, path: str, body: Object | None = None, content_type: str = "application/json") -> None:
        """Ask until it is done."""
        for _attempt in range(200):
            answer = await self._ask(method, path, body, content_type)
            if answer is not None and answer.status < 300:
                return
            await self._engine.clock.sleep(1.0)
        raise AssertionError(f"{method} {path} is refused for ever: {answer}")

    def later(self, work: t.Coroutine[t.Any, t.Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def stop(self) -> None:
        """End what goes on in the background."""
        for task in [*self._background]:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await asyncio.gather(*self._in_flight, return_exceptions=True)

    # --- whom it befalls ---------------------------------------------------------------------------------------------

    def _node(self) -> str:
        return self._draw.choice(self._workers)

    def _machine(self) -> Key:
        return self._draw.choice(sorted(self._history.machines))

    def _instance(self) -> Object | None:
        running = [vmi for _key, vmi in sorted(self._history.instances.items()) if status_of(vmi).get("phase") == "Running"]
        return self._draw.choice(running) if running else None

    def _home(self) -> tuple[Object, Object] | None:
        vmi = self._instance()
        pod = self._history.home(vmi) if vmi is not None else None
        return (vmi, pod) if vmi is not None and pod is not None else None

    # --- users -------------------------------------------------------------------------------------------------------

    async def migrate(self) -> None:
        namespace, name = self._machine()
        if self._draw.random() < 0.3:
            await self._ask("PUT", f"{_SUBRESOURCES}/namespaces/{namespace}/virtualmachines/{name}/migrate", {}, accept="*/*")
            return
        body = {
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration", "metadata": {"generateName": "storm-"}, "spec": {"vmiName": name},
        }
        await self._ask("POST", f"{KUBEVIRT}/namespaces/{namespace}/virtualmachineinstancemigrations", body)

    async def cancel(self) -> None:
        under_way = sorted(key for key, one in self._history.migrations.items() if status_of(one).get("phase") not in FINAL)
        if under_way:
            await self._ask("DELETE", path_of("virtualmachineinstancemigrations", self._draw.choice(under_way)))

    async def restart(self) -> None:
        await self._machine_action("restart")

    async def start_or_stop(self) -> None:
        stopped = [key for key, vm in sorted(self._history.machines.items()) if key not in self._history.instances]
        if stopped and self._draw.random() < 0.7:
            await self._machine_action("start", self._draw.choice(stopped))
        else:
            await self._machine_action("stop")

    async def _machine_action(self, action: str, key: Key | None = None) -> None:
        namespace, name = key or self._machine()
        await self._ask("PUT", f"{_SUBRESOURCES}/namespaces/{namespace}/virtualmachines/{name}/{action}", {}, accept="*/*")

    async def change_strategy(self) -> None:
        await self._patch(path_of("virtualmachines", self._machine()), {"spec": {"runStrategy": self._draw.choice(_STRATEGIES)}})

    async def pause_and_go_on(self) -> None:
        vmi = self._instance()
        if vmi is not None:
            self.later(self._pause(key_of(vmi), self._draw.uniform(1, 60)))

    async def _pause(self, key: Key, seconds: float) -> None:
        path = f"{_SUBRESOURCES}/namespaces/{key[0]}/virtualmachineinstances/{key[1]}"
        await self._ask("PUT", f"{path}/pause", {}, accept="*/*")
        await self._engine.clock.sleep(seconds)
        await self._ask("PUT", f"{path}/unpause", {}, accept="*/*")

    async def delete_instance(self) -> None:
        vmi = self._instance()
        if vmi is not None:
            self._history.asked.add(vmi["metadata"]["uid"])
            await self._ask("DELETE", path_of("virtualmachineinstances", key_of(vmi)))

    async def delete_pod(self) -> None:
        found = self._home()
        if found is not None:
            self._history.asked.add(found[1]["metadata"]["uid"])
            await self._ask("DELETE", f"/api/v1/namespaces/{found[1]['metadata']['namespace']}/pods/{found[1]['metadata']['name']}")

    async def delete_target(self) -> None:
        """The target pod of a migration goes, wherever the migration stands."""
        history = self._history
        targets = [
            pod for pod in history.pods.values()
            if "kubevirt.io/migrationJobUID" in (pod["metadata"].get("labels") or {}) and status_of(pod).get("phase") not in FINAL
        ]
        for pod in targets[:3]:
            history.asked.add(pod["metadata"]["uid"])
            vmi = history.instances.get((pod["metadata"]["namespace"], pod["metadata"]["annotations"]["kubevirt.io/domain"]))
            state = status_of(vmi).get("migrationState") or {} if vmi is not None else {}
            if vmi is not None and (state.get("targetPod") == pod["metadata"]["name"] or history.home(vmi) is pod):
                history.excuse(vmi, "its pod was deleted")
            await self._ask("DELETE", f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}")

    async def delete_machine(self) -> None:
        key = self._machine()
        self._history.asked.add(key)
        await self._ask("DELETE", path_of("virtualmachines", key))

    async def create_machine(self) -> None:
        """One more with a template of another."""
        like = self._history.machines[self._machine()]
        self._number += 1
        name = f"storm-{self._number}"
        spec = {**like["spec"]["template"]["spec"], "volumes": [{"name": "rootdisk", "containerDisk": {"image": "quay.io/containerdisks/fedora:42"}}]}
        machine = {
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": name},
            "spec": {"runStrategy": self._draw.choice(_STRATEGIES), "template": {"metadata": {"labels": {"kubevirt.io/vm": name}}, "spec": spec}},
        }
        await self._ask("POST", f"{KUBEVIRT}/namespaces/{like['metadata']['namespace']}/virtualmachines", machine)

    # --- administrators --------------------------------------------------------------------------------------------

    async def drain(self) -> None:
        self.later(self._drain(self._node()))

    async def _drain(self, node: str) -> None:
        await self._patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": True}})
        for _pass in range(_DRAIN_PASSES):
            there = [pod for pod in self._history.pods.values() if pod["spec"].get("nodeName") == node and self._leaves(pod)]
            if not there:
                break
            for pod in there:
                await self._evict(pod)
            await self._engine.clock.sleep(_DRAIN_EVERY)
        await self._engine.clock.sleep(self._draw.uniform(0, 60))
        await self._patch(f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None}})

    @staticmethod
    def _leaves(pod: Object) -> bool:
        """Whether a drain evicts it: virt-handlers stay."""
        stays = any(owner["kind"] == "DaemonSet" for owner in pod["metadata"].get("ownerReferences") or ())
        return not stays and status_of(pod).get("phase") not in FINAL

    async def _evict(self, pod: Object) -> None:
        metadata = {"name": pod["metadata"]["name"], "namespace": pod["metadata"]["namespace"]}
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
        await self._ask("POST", f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/eviction", body)

    async def evict(self) -> None:
        found = self._home()
        if found is not None:
            await self._evict(found[1])

    async def replace_handler(self) -> None:
        """The virt-handler of a node is replaced, and with it end the migrations that go through it."""
        node = self._node()
        for pod in self._history.pods.values():
            if (pod["metadata"].get("labels") or {}).get("kubevirt.io") == "virt-handler" and pod["spec"].get("nodeName") == node:
                await self._ask("DELETE", f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}")
                return

    async def cordon(self) -> None:
        await self._patch(f"/api/v1/nodes/{self._node()}", {"spec": {"unschedulable": True}})

    async def uncordon(self) -> None:
        await self._patch(f"/api/v1/nodes/{self._node()}", {"spec": {"unschedulable": None}})

    async def taint(self) -> None:
        self.later(self._taint(self._node(), self._draw.uniform(10, 120)))

    async def _taint(self, node: str, seconds: float) -> None:
        taints: list[Object] = [{"key": "kubevirt.io/drain", "effect": "NoSchedule"}]
        await self._patch(f"/api/v1/nodes/{node}", {"spec": {"taints": taints}})
        await self._engine.clock.sleep(seconds)
        await self._patch(f"/api/v1/nodes/{node}", {"spec": {"taints": None}})

    async def limit(self) -> None:
        """Other limits, on the HyperConverged or, where that reverts them, on the KubeVirt."""
        draw = self._draw
        wanted: Object = {
            "parallelMigrationsPerCluster": draw.randint(1, 8), "parallelOutboundMigrationsPerNode": draw.randint(1, 3),
            "completionTimeoutPerGiB": draw.choice((5, 40, 150)), "progressTimeout": draw.choice((20, 150)),
            "bandwidthPerMigration": draw.choice(("0Mi", "64Mi", "512Mi")), "allowAutoConverge": draw.random() < 0.3,
            "allowPostCopy": draw.random() < 0.3,
        }
        namespace = self._engine.sample.namespace
        if draw.random() < 0.7:
            path, body = f"{_HYPERCONVERGEDS}/namespaces/{namespace}/hyperconvergeds/kubevirt-hyperconverged", {"liveMigrationConfig": wanted}
        else:
            path = f"{KUBEVIRT}/namespaces/{namespace}/kubevirts/kubevirt-kubevirt-hyperconverged"
            body = {"configuration": {"migrations": wanted}}
        await self._patch(path, {"spec": body})

    # --- faults ------------------------------------------------------------------------------------------------------

    async def _faults(self, **changed: t.Any) -> None:
        await self.insist("PATCH", FAULTS, changed, MERGE_PATCH)

    async def power_off(self) -> None:
        node = self._node()
        if len(self._off) * 3 < len(self._workers):
            self.later(self._power(node, self._draw.choice((5.0, 60.0, 200.0, 600.0))))

    async def _power(self, node: str, seconds: float) -> None:
        await self._switch(node, off=True)
        await self._engine.clock.sleep(seconds)
        await self._switch(node, off=False)

    async def _switch(self, node: str, *, off: bool) -> None:
        (self._off.add if off else self._off.discard)(node)
        await self._faults(lostNodes=sorted(self._off))

    async def lose_for_good(self) -> None:
        """A node is lost, its object deleted as an administrator does who knows that it is off, and later it joins again."""
        node = self._node()
        if not self._off:
            self.later(self._replaced(node, self._draw.uniform(5, 120), self._draw.uniform(5, 120)))

    async def _replaced(self, name: str, before: float, after: float) -> None:
        await self._switch(name, off=True)
        await self._engine.clock.sleep(before)
        await self._ask("DELETE", f"/api/v1/nodes/{name}")
        await self._engine.clock.sleep(after)
        await self._switch(name, off=False)
        await self._join(name)

    async def _join(self, name: str) -> None:
        held = self._history.joined[name]
        kept = {field: held["metadata"].get(field) for field in ("name", "labels", "annotations")}
        await self._ask("POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": kept, "spec": {}})
        await self._patch(f"/api/v1/nodes/{name}/status", {"status": held["status"]})

    async def disturb(self) -> None:
        """Answers that are none, for everybody or for one kind of request."""
        draw = self._draw
        rules: list[Object] = []
        for _number in range(draw.randint(1, 3)):
            rule: Object = {"answer": draw.choice(_ANSWERS), "rate": draw.choice((0.03, 0.1, 0.3)), "seconds": 0.01}
            if draw.random() < 0.4:
                rule["verbs"] = draw.sample(["create", "update", "patch", "delete", "list", "watch", "get"], 3)
            if draw.random() < 0.4:
                rule["resources"] = draw.sample(_RESOURCES, 2)
            rules.append(rule)
        self.later(self._disturbed(rules, draw.getrandbits(16), draw.uniform(5, 60)))

    async def _disturbed(self, rules: list[Object], seed: int, seconds: float) -> None:
        self._history.refuses(True)
        await self._faults(rules=rules, seed=seed, controllers=True)
        await self._engine.clock.sleep(seconds)
        await self._faults(rules=None)
        self._history.refuses(False)

    async def refuse_writes(self) -> None:
        self.later(self._refused(self._draw.uniform(1, 20)))

    async def _refused(self, seconds: float) -> None:
        self._history.refuses(True)
        await self._faults(refuseWrites=True, controllers=True)
        await self._engine.clock.sleep(seconds)
        await self._faults(refuseWrites=None)
        self._history.refuses(False)

    async def drop_watches(self) -> None:
        await self._faults(dropWatches=self._draw.choice((True, 7)), controllers=True)

    async def expire(self) -> None:
        """Versions expire, and with the watches dropped in the same moment nobody can go on where he was."""
        await self._faults(expireVersions=True, dropWatches=True, controllers=True)

    async def skew(self) -> None:
        await self._faults(clockSkew={self._node(): self._draw.choice((-600, -30, 20, 900)), self._node(): 0})

    async def crash(self) -> None:
        vmi = self._instance()
        if vmi is not None:
            self._history.excuse(vmi, "it was made to crash")
            await self._patch(FAULTS, {"crashGuests": ["/".join(key_of(vmi))]})

    async def spoil_migrations(self) -> None:
        key, draw = self._machine(), self._draw
        what, value = draw.choice((
            ("fail-migration", "2"), ("fail-migration", "1@PreparingTarget"), ("hang-migration", "true"), ("copy-seconds", "40"), ("copy-seconds", "300"),
        ))
        self.later(self._annotated("virtualmachines", key, _PREFIX + what, value, draw.uniform(20, 200)))

    async def hang_targets(self) -> None:
        vmi = self._instance()
        if vmi is not None:
            self.later(self._annotated("virtualmachineinstances", key_of(vmi), _PREFIX + "hang-start", "true", self._draw.uniform(20, 200)))

    async def _annotated(self, plural: str, key: Key, name: str, value: str, seconds: float) -> None:
        path = path_of(plural, key)
        await self._patch(path, {"metadata": {"annotations": {name: value}}})
        await self._engine.clock.sleep(seconds)
        await self._patch(path, {"metadata": {"annotations": {name: None}}})

    # --- the end -------------------------------------------------------------------------------------------------------

    async def end(self) -> None:
        """All faults end and every node is there for everybody again; what was wished for is left as it is."""
        await self.stop()
        await self.insist("DELETE", FAULTS)
        self._history.refuses(False)
        for node in self._workers:
            while "allocatable" not in status_of(self._history.nodes.get(node, {})):
                await self._join(node)
        for node in self._workers:
            await self.insist("PATCH", f"/api/v1/nodes/{node}", {"spec": {"unschedulable": None, "taints": None}}, MERGE_PATCH)
        path = f"{_HYPERCONVERGEDS}/namespaces/{self._engine.sample.namespace}/hyperconvergeds/kubevirt-hyperconverged"
        await self.insist("PATCH", path, {"spec": {"liveMigrationConfig": None}}, MERGE_PATCH)
        gone = {_PREFIX + name: None for name in ("fail-migration", "hang-migration", "copy-seconds", "hang-start")}
        for plural, held in (("virtualmachines", self._history.machines), ("virtualmachineinstances", self._history.instances)):
            for key, obj in sorted(held.items()):
                if any(name in gone for name in obj["metadata"].get("annotations") or {}):
                    await self._patch(path_of(plural, key), {"metadata": {"annotations": gone}})
        for key, vmi in sorted(self._history.instances.items()):
            if any(one["type"] == "Paused" and one["status"] == "True" for one in status_of(vmi).get("conditions") or ()):
                await self._ask("PUT", f"{_SUBRESOURCES}/namespaces/{key[0]}/virtualmachineinstances/{key[1]}/unpause", {}, accept="*/*")


ODDS: dict[str, int] = {
    "migrate": 10, "cancel": 4, "restart": 4, "start_or_stop": 5, "change_strategy": 3, "pause_and_go_on": 2, "delete_instance": 2, "delete_pod": 2,
    "delete_target": 2, "delete_machine": 1, "create_machine": 2, "drain": 6, "evict": 3, "cordon": 2, "uncordon": 3, "taint": 2, "limit": 3, "power_off": 3,
    "lose_for_good": 1, "replace_handler": 2, "disturb": 6, "refuse_writes": 2, "drop_watches": 3, "expire": 2, "skew": 2, "crash": 2, "spoil_migrations": 4,
    "hang_targets": 1,
}
"""How often each is drawn."""
