# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the migration controller knows of the cluster, found by index.

Source: KubeVirt pkg/virt-controller/watch/migration/migration.go (listMatchingTargetPods, listMigrationsMatchingVMI), v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import typing as t

from ....informers import Informer
from ....interface import NAMESPACES, NODES, PODS, Object
from .. import disruption_budgets, migration_policies, pods
from ..phases import CLAIMS, MIGRATIONS, VIRTUAL_MACHINE_INSTANCES
from . import limits, phases

BY_INSTANCE, BY_JOB = "instance", "job"


def _instance(migration: Object) -> list[str]:
    return ["/".join(phases.instance_key(migration))]


class Known:
    """Caches of what migrations are about."""

    def __init__(self, informer: t.Callable[..., Informer]) -> None:
        self.migrations = self._indexed(informer(MIGRATIONS), {BY_INSTANCE: _instance})
        self.instances = informer(VIRTUAL_MACHINE_INSTANCES)
        self.pods = self._indexed(informer(PODS, pods.LAUNCHERS), {pods.BY_INSTANCE: pods.instance_uid, BY_JOB: phases.job})
        self.budgets = self._indexed(informer(disruption_budgets.BUDGETS), {pods.BY_INSTANCE: pods.instance_uid})
        self.nodes: Informer = informer(NODES)
        self.policies: Informer = informer(migration_policies.MIGRATION_POLICIES)
        self.namespaces: Informer = informer(NAMESPACES)
        self._claims: Informer = informer(CLAIMS)

    @staticmethod
    def _indexed(informer: Informer, indexes: t.Mapping[str, t.Callable[[Object], list[str]]]) -> Informer:
        for name, function in indexes.items():
            informer.add_index(name, function)
        return informer

    def instance_of(self, migration: Object) -> Object | None:
        namespace, name = phases.instance_key(migration)
        return self.instances.get(name, namespace)

    def of_instance(self, instance: limits.Key) -> list[Object]:
        """All migrations of the instance, oldest first."""
        found = self.migrations.by_index(BY_INSTANCE, "/".join(instance))
        return sorted(found, key=lambda one: str(one["metadata"]["creationTimestamp"]))

    def pods_of(self, vmi: Object) -> list[Object]:
        return self.pods.by_index(pods.BY_INSTANCE, vmi["metadata"]["uid"])

    def active_pods(self, vmi: Object) -> int:
        return sum(not pods.is_final(pod) for pod in self.pods_of(vmi))

    def source_pod(self, vmi: Object) -> Object | None:
        return pods.current_pod(vmi, self.pods_of(vmi))

    def target_pod(self, migration: Object, vmi: Object | None) -> Object | None:
        found = self.pods.by_index(BY_JOB, migration["metadata"]["uid"])
        mine = [pod for pod in found if vmi is None or vmi["metadata"]["uid"] in pods.instance_uid(pod)]
        return mine[0] if mine else None

    def budget_of(self, vmi: Object) -> Object | None:
        """The first budget of today's scheme that guards the instance."""
        found = self.budgets.by_index(pods.BY_INSTANCE, vmi["metadata"]["uid"])
        return next((budget for budget in found if not disruption_budgets.is_of_old_scheme(budget)), None)

    def claims_of(self, vmi: Object) -> dict[str, Object]:
        """The claims of the instance's volumes, as far as they exist, by name."""
        namespace = vmi["metadata"]["namespace"]
        names = [
            (volume.get("persistentVolumeClaim") or {}).get("claimName") or (volume.get("dataVolume") or {}).get("name")
            for volume in vmi["spec"].get("volumes") or ()
        ]
        return {name: claim for name in names if name and (claim := self._claims.get(name, namespace)) is not None}

    def is_counted(self, migration: Object) -> bool:
        """Whether the limits count it."""
        pending = phases.phase(migration) in (phases.UNSET, phases.PENDING)
        target = self.target_pod(migration, self.instance_of(migration)) if pending else None
        return limits.is_counted(migration, target is not None)

    def other_in_progress(self, migration: Object, vmi: Object) -> bool:
        """Whether another unfinished migration has the instance's state."""
        uid = phases.state_of(vmi).get("migrationUid")
        if not uid or uid == migration["metadata"]["uid"]:
            return False
        others = self.of_instance(phases.instance_key(migration))
        return any(one["metadata"]["uid"] == uid and not phases.is_final(one) for one in others)


def node_name(vmi: Object | None) -> str:
    """The node that the instance is on; empty for none."""
    return str(((vmi or {}).get("status") or {}).get("nodeName") or "")
