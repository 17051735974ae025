# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The migrations that a drain makes, and what became of the earlier ones. Pure. Private to this collection."""

from __future__ import annotations

import hashlib
import typing as t
from dataclasses import dataclass, replace

from .._cluster.resources import VIRTUAL_MACHINE_INSTANCE_MIGRATIONS
from .._migrations.ours import DRAIN_RUN_LABEL
from .._migrations.state import failed, is_final, succeeded, vmi_key

Json = dict[str, t.Any]
Key = tuple[str, str]
NODE_ANNOTATION, ATTEMPT_ANNOTATION = "okd.virt/drain-node", "okd.virt/drain-attempt"
FIRST_BACK_OFF, LONGEST_BACK_OFF = 20.0, 320.0
"""Seconds after a failure, doubled with each further one, as KubeVirt itself does for evacuations."""


def manifest(run: str, node: str, key: Key, attempt: int) -> Json:
    """A migration of one VM out of a node. The same attempt of the same run has the same name, so that none is made twice."""
    digest = hashlib.sha256(f"{run} {node} {key[0]}/{key[1]} {attempt}".encode()).hexdigest()[:10]
    return {
        "apiVersion": VIRTUAL_MACHINE_INSTANCE_MIGRATIONS.api_version, "kind": VIRTUAL_MACHINE_INSTANCE_MIGRATIONS.kind,
        "metadata": {
            "name": f"okd-virt-drain-{digest}", "namespace": key[0], "labels": {DRAIN_RUN_LABEL: run},
            "annotations": {NODE_ANNOTATION: node, ATTEMPT_ANNOTATION: str(attempt)},
        },
        "spec": {"vmiName": key[1]},
    }


def is_ours(migration: Json, node: str = "") -> bool:
    """Whether a drain of this collection made it, for that node if one is named."""
    metadata = migration["metadata"]
    if DRAIN_RUN_LABEL not in (metadata.get("labels") or {}):
        return False
    return not node or (metadata.get("annotations") or {}).get(NODE_ANNOTATION) == node


def keep(migration: Json) -> Json | None:
    """What a drain needs to know of a migration: nothing of the finished ones of others."""
    if is_final(migration) and not is_ours(migration):
        return None
    metadata = {key: value for key, value in migration["metadata"].items() if key != "managedFields"}
    return {**migration, "metadata": metadata}


@dataclass(frozen=True)
class Attempts:
    """How often a run has tried to move a VM out of a node: the failures, oldest first, and whatever moves it now.

    C(succeeded) once the run has moved it: the VM has left, even where its instance or its pod is still seen as it was.
    """

    failures: tuple[Json, ...] = ()
    current: Json | None = None
    succeeded: bool = False

    @property
    def number(self) -> int:
        """How many have failed, those included that KubeVirt has removed since."""
        return max((_attempt(one) for one in self.failures), default=0)

    def back_off(self) -> float:
        """Seconds to wait after the last failure."""
        return min(LONGEST_BACK_OFF, FIRST_BACK_OFF * 2.0 ** (self.number - 1)) if self.failures else 0.0


def _attempt(migration: Json) -> int:
    text = str((migration["metadata"].get("annotations") or {}).get(ATTEMPT_ANNOTATION) or "1")
    return int(text) if text.isdigit() else 1


def attempts(migrations: t.Iterable[Json], run: str, node: str) -> dict[Key, Attempts]:
    """By instance."""
    found: dict[Key, Attempts] = {}
    for one in sorted(migrations, key=lambda item: item["metadata"].get("creationTimestamp") or ""):
        known = found.get(vmi_key(one), Attempts())
        if not is_final(one):
            found[vmi_key(one)] = replace(known, current=one)
        elif is_ours(one, node) and one["metadata"]["labels"][DRAIN_RUN_LABEL] == run:
            found[vmi_key(one)] = replace(known, failures=(*known.failures, one)) if failed(one) else replace(known, succeeded=succeeded(one))
    return found
