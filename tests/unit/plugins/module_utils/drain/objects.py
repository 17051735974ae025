# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pods, instances, migrations and budgets as a drain sees them."""

from __future__ import annotations

import typing as t

Json = dict[str, t.Any]
NODE = "worker-1"


def pod(name: str = "web", *, owner: str = "ReplicaSet", phase: str = "Running", **metadata: t.Any) -> Json:
    owners = [{"kind": owner, "name": f"{name}-owner", "uid": f"{name}-owner-uid", "controller": True}] if owner else []
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": f"{name}-uid", "labels": {"app": name}, "ownerReferences": owners, **metadata},
        "spec": {"nodeName": NODE},
        "status": {"phase": phase},
    }


def launcher(vm: str, phase: str = "Running") -> Json:
    found = pod(f"virt-launcher-{vm}-abcde", owner="VirtualMachineInstance", phase=phase, annotations={"kubevirt.io/domain": vm})
    found["metadata"]["labels"] = {"kubevirt.io": "virt-launcher"}
    found["spec"]["volumes"] = [{"name": "private", "emptyDir": {}}]
    return found


def vmi(
    name: str, *, migratable: bool | None = True, strategy: str = "LiveMigrate", memory: str = "1Gi", node: str = NODE, owned: bool = True, **status: t.Any
) -> Json:
    conditions = [] if migratable is None else [
        {"type": "LiveMigratable", "status": str(migratable)} | ({} if migratable else {"reason": "DisksNotLiveMigratable", "message": "PVC x is not shared"})
    ]
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": f"{name}-vmi", "ownerReferences": [{"kind": "VirtualMachine", "name": name}] if owned else []},
        "spec": {"evictionStrategy": strategy, "domain": {"memory": {"guest": memory}}},
        "status": {"phase": "Running", "nodeName": node, "conditions": conditions, **status},
    }


def migration(
    vm: str, phase: str = "", *, name: str = "m", run: str = "run", attempt: int = 1, node: str = NODE, created: str = "2026-01-01T00:00:00Z"
) -> Json:
    ours = {"labels": {"okd.virt/drain-run": run}, "annotations": {"okd.virt/drain-node": node, "okd.virt/drain-attempt": str(attempt)}} if run else {}
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": f"{name}-uid", "creationTimestamp": created, **ours},
        "spec": {"vmiName": vm}, "status": {"phase": phase} if phase else {},
    }


def budget(name: str, *, allowed: int = 0, selector: Json | None = None, generation: int = 1, observed: int = 1, **condition: str) -> Json:
    conditions = [{"type": "DisruptionAllowed", "status": "False", **condition}] if condition else []
    return {
        "metadata": {"name": name, "namespace": "shop", "generation": generation},
        "spec": {"selector": {"matchLabels": {"app": "web"}} if selector is None else selector},
        "status": {"disruptionsAllowed": allowed, "desiredHealthy": 2, "currentHealthy": 2, "observedGeneration": observed, "conditions": conditions},
    }
