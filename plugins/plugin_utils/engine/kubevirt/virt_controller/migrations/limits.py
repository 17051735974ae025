# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many migrations run, in the cluster and out of a node, kept as they come and go.

Source: KubeVirt pkg/virt-controller/watch/migration/migration.go (findRunningMigrations, outboundMigrationsOnNode), v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import typing as t

from ....interface import Object
from . import phases

Key = tuple[str, str]


class Running:
    """The migrations that the limits count: from Scheduling on, and those in Pending that have a target pod already."""

    def __init__(self) -> None:
        self._running: dict[Key, str] = {}
        self._created: dict[Key, str] = {}

    def __len__(self) -> int:
        return len(self._running) + len(self._created)

    def created(self, key: Key, vmi_name: str) -> None:
        """A target pod was created for the migration, which is still Pending."""
        if key not in self._running:
            self._created[key] = vmi_name

    def changed(self, key: Key, migration: Object | None) -> None:
        """The migration as it is now, or None when it is gone."""
        if migration is None or phases.phase(migration) != phases.PENDING:
            self._created.pop(key, None)
        if migration is not None and phases.is_running(migration):
            self._running[key] = migration["spec"]["vmiName"]
        else:
            self._running.pop(key, None)

    def instances(self) -> t.Iterator[Key]:
        """(namespace, name) of the instances that migrate."""
        for counted in (self._running, self._created):
            for (namespace, _name), vmi_name in counted.items():
                yield namespace, vmi_name

    def outbound(self, node: str, node_of: t.Callable[[str, str], str]) -> int:
        """How many of them leave the node; node_of gives the node of an instance by (namespace, name)."""
        return sum(node_of(namespace, name) == node for namespace, name in self.instances())
