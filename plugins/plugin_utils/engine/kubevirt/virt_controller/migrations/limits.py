# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many migrations run, in the cluster and out of a node, kept as they come and go: pure.

Source: KubeVirt pkg/virt-controller/watch/migration/migration.go (findRunningMigrations, outboundMigrationsOnNode), v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import collections

from ....interface import Object
from . import phases

Key = tuple[str, str]


def is_counted(migration: Object, has_target_pod: bool) -> bool:
    """Whether the limits count the migration: from Scheduling on, and in Pending once it has a target pod."""
    return phases.is_running(migration) or (has_target_pod and not phases.is_final(migration))


class Running:
    """The migrations that the limits count, with the nodes that their instances are on."""

    def __init__(self) -> None:
        self._instances: dict[Key, Key] = {}
        self._migrations: dict[Key, set[Key]] = {}
        self._nodes: dict[Key, str] = {}
        self._outbound: collections.Counter[str] = collections.Counter()

    def __len__(self) -> int:
        return len(self._instances)

    def __contains__(self, key: object) -> bool:
        return key in self._instances

    def count(self, key: Key, instance: Key, node: str) -> None:
        """The migration counts; its instance is on the node now, which is empty when nobody knows."""
        if key not in self._instances:
            self._instances[key] = instance
            self._migrations.setdefault(instance, set()).add(key)
            self._outbound[self._nodes.setdefault(instance, node)] += 1
        self.moved(instance, node)

    def discard(self, key: Key) -> bool:
        """The migration doesn't count any more. Whether it did."""
        instance = self._instances.pop(key, None)
        if instance is None:
            return False
        self._outbound[self._nodes[instance]] -= 1
        self._migrations[instance].discard(key)
        if not self._migrations[instance]:
            del self._migrations[instance], self._nodes[instance]
        return True

    def moved(self, instance: Key, node: str) -> bool:
        """The instance is on the node now. Whether migrations count for another node than before."""
        before = self._nodes.get(instance)
        if before is None or before == node:
            return False
        number = len(self._migrations[instance])
        self._outbound[before] -= number
        self._outbound[node] += number
        self._nodes[instance] = node
        return True

    def outbound(self, node: str) -> int:
        """How many of them leave the node."""
        return self._outbound[node]
