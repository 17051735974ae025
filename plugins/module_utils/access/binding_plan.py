# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How one binding to C(kubevirt.io:migrate) gets from what it is to what it should be: pure. Private to this collection.

A binding's roleRef cannot be changed. A binding of our name that points to another role is therefore replaced in four
steps, each of which may be the last one before a crash: an interim binding gets the subjects, the old one is deleted, the
new one is created, the interim one is deleted. At no moment are the subjects known to nobody but this process, and
planning again from any of these states yields the remaining steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from .._plan import Change
from . import binding_subjects as subjects
from .roles import MANAGED_BY, MANAGER, MIGRATE_ROLE, RBAC_GROUP, RBAC_VERSION, Json

#: Marks a binding that holds the subjects while another one is replaced.
INTERIM_LABEL = "okd.virt/interim"
#: On an interim binding: the name of the one that is replaced.
REPLACES = "okd.virt/replaces"

ROLE_REF: Json = {"apiGroup": RBAC_GROUP, "kind": "ClusterRole", "name": MIGRATE_ROLE}


class RoleRefConflict(Exception):
    """A binding of that name exists and points to another role, which the API does not let anybody change."""

    def __init__(self, namespace: str, name: str, role: str) -> None:
        super().__init__(f"{namespace or 'cluster'}/{name} -> {role}")
        self.namespace = namespace
        self.name = name
        self.role = role


@dataclass(frozen=True)
class Wanted:
    """What the bindings of this name should say. C(kind): RoleBinding or ClusterRoleBinding."""

    kind: str
    name: str
    state: str
    subjects: tuple[Json, ...]
    replace_role_ref: bool = False

    @property
    def looks_for_interim(self) -> bool:
        """Whether the rest of an interrupted replacement matters; an ordinary run need not ask for it."""
        return self.replace_role_ref or self.state != "present"


def interim_name(name: str) -> str:
    """The name of the interim binding."""
    return f"{name}-replacement"


def is_interim(binding: Json, name: str) -> bool:
    """Whether a binding is our interim one for the binding of that name."""
    metadata = binding["metadata"]
    return INTERIM_LABEL in (metadata.get("labels") or {}) and (metadata.get("annotations") or {}).get(REPLACES) == name


def role_of(binding: Json) -> str:
    """C(ClusterRole/kubevirt.io:migrate): kind and name of the role a binding points to."""
    reference = binding.get("roleRef") or {}
    return f"{reference.get('kind', '')}/{reference.get('name', '')}"


def binds_migrate(binding: Json | None) -> bool:
    """Whether a binding points to the ClusterRole kubevirt.io:migrate."""
    return binding is not None and role_of(binding) == f"ClusterRole/{MIGRATE_ROLE}"


def body(wanted: Wanted, namespace: str, bound: list[Json], interim: bool = False) -> Json:
    """A binding to create."""
    metadata: Json = {"name": interim_name(wanted.name) if interim else wanted.name, "labels": {MANAGED_BY: MANAGER}}
    if namespace:
        metadata["namespace"] = namespace
    if interim:
        metadata["labels"][INTERIM_LABEL] = "true"
        metadata["annotations"] = {REPLACES: wanted.name}
    return {
        "apiVersion": RBAC_VERSION,
        "kind": wanted.kind,
        "metadata": metadata,
        "roleRef": dict(ROLE_REF),
        "subjects": bound,
    }


def trimmed(binding: Json) -> Json:
    """A binding as plans show and keep it: identity, role and subjects."""
    kept = ("name", "namespace", "uid", "resourceVersion", "labels", "annotations")
    return {
        "apiVersion": RBAC_VERSION,
        "kind": binding.get("kind", ""),
        "metadata": {key: binding["metadata"][key] for key in kept if binding["metadata"].get(key)},
        "roleRef": binding.get("roleRef") or {},
        "subjects": list(binding.get("subjects") or []),
    }


def plan_binding(wanted: Wanted, namespace: str, existing: Json | None, interim: Json | None = None) -> list[Change]:
    """The steps for one namespace (empty: the cluster), in their order; none when nothing differs.

    Raises RoleRefConflict when the binding points to another role and replacing it is not allowed.
    """
    ours = existing if binds_migrate(existing) else None
    foreign = existing if ours is None else None
    target = _target(wanted, ours, foreign, interim)
    steps: list[Change] = []
    if foreign is not None and wanted.state == "absent":
        # It gives nobody live migration, so there is nothing to take away from it.
        return _only_interim(wanted, namespace, interim, target)
    if foreign is not None:
        if not wanted.replace_role_ref:
            raise RoleRefConflict(namespace, wanted.name, role_of(foreign))
        steps += _hold(wanted, namespace, interim, target)
        reason = f"it points to {role_of(foreign)}, and a roleRef cannot be changed"
        steps.append(Change("delete", wanted.kind, namespace, wanted.name, reason, trimmed(foreign), None))
        interim = interim or body(wanted, namespace, target, interim=True)
    if ours is not None:
        steps += _adjust(wanted, namespace, wanted.name, ours, target)
    elif target:
        reason = f"{MIGRATE_ROLE} for {_texts(target)}"
        steps.append(
            Change("create", wanted.kind, namespace, wanted.name, reason, None, body(wanted, namespace, target))
        )
    if interim is not None:
        reason = f"{wanted.name} is in its place"
        steps.append(
            Change("delete", wanted.kind, namespace, interim_name(wanted.name), reason, trimmed(interim), None)
        )
    return steps


def _target(wanted: Wanted, ours: Json | None, foreign: Json | None, interim: Json | None) -> list[Json]:
    """The subjects that the binding should have in the end; empty means no binding."""
    if wanted.state == "exact":
        return subjects.merged(wanted.subjects)
    held = subjects.merged((ours or {}).get("subjects") or (), (interim or {}).get("subjects") or ())
    if wanted.state == "present":
        others = (foreign or {}).get("subjects") or ()
        return subjects.merged(held, others, wanted.subjects)
    return subjects.without(held, wanted.subjects) if wanted.subjects else []


def _hold(wanted: Wanted, namespace: str, interim: Json | None, target: list[Json]) -> list[Change]:
    """The interim binding with all subjects, so that none is lost whatever happens next."""
    if interim is not None:
        return _adjust(wanted, namespace, interim_name(wanted.name), interim, target)
    reason = f"holds {_texts(target)} while {wanted.name} is replaced"
    after = body(wanted, namespace, target, interim=True)
    return [Change("create", wanted.kind, namespace, interim_name(wanted.name), reason, None, after)]


def _only_interim(wanted: Wanted, namespace: str, interim: Json | None, target: list[Json]) -> list[Change]:
    return _adjust(wanted, namespace, interim_name(wanted.name), interim, target) if interim is not None else []


def _adjust(wanted: Wanted, namespace: str, name: str, binding: Json, target: list[Json]) -> list[Change]:
    """A change of subjects, or the deletion of a binding that would have none."""
    current = list(binding.get("subjects") or [])
    if not target:
        reason = f"nobody is to have {MIGRATE_ROLE} by it"
        return [Change("delete", wanted.kind, namespace, name, reason, trimmed(binding), None)]
    if subjects.same(current, target):
        return []
    added, removed = subjects.without(target, current), subjects.without(current, target)
    reason = "; ".join(
        f"{word} {_texts(changed)}" for word, changed in (("add", added), ("remove", removed)) if changed
    )
    before = trimmed(binding)
    return [Change("patch", wanted.kind, namespace, name, reason, before, {**before, "subjects": target})]


def _texts(bound: list[Json], most: int = 5) -> str:
    texts = [subjects.text_of(subject) for subject in bound]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
