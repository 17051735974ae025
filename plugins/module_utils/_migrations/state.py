# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a VirtualMachineInstanceMigration and its VM's instance say of a migration. Private to this collection.

Source: KubeVirt api/core/v1/types.go, pkg/virt-controller/watch/migration/migration.go.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

Json = dict[str, t.Any]
Key = tuple[str, str]
"""Namespace and name."""
FINAL = ("Succeeded", "Failed")
_WAITING = ("", "Pending")


@dataclass(frozen=True)
class Reason:
    """Why, in one word that stays the same, and in a sentence."""

    code: str
    sentence: str


def phase(migration: Json) -> str:
    """"" until the controller has seen it."""
    return str((migration.get("status") or {}).get("phase") or "")


def is_final(migration: Json) -> bool:
    return phase(migration) in FINAL


def succeeded(migration: Json) -> bool:
    return phase(migration) == "Succeeded"


def failed(migration: Json) -> bool:
    return phase(migration) == "Failed"


def is_active(migration: Json) -> bool:
    """Whether it holds one of the slots that the limits count: its target pod is there or on its way."""
    return not is_final(migration) and (phase(migration) not in _WAITING or bool(_own_state(migration).get("targetPod")))


def _own_state(migration: Json) -> Json:
    return (migration.get("status") or {}).get("migrationState") or {}


def vmi_key(migration: Json) -> Key:
    """Namespace and name of the VM's instance that it moves."""
    return migration["metadata"].get("namespace") or "", str(migration["spec"].get("vmiName") or "")


def state_of(vmi: Json) -> Json:
    """status.migrationState of an instance, empty if it has never moved."""
    return (vmi.get("status") or {}).get("migrationState") or {}


def mode(vmi: Json) -> str:
    """PreCopy, PostCopy, Paused, or "" when nothing moves."""
    state = state_of(vmi)
    return str(state.get("mode") or "") if state.get("startTimestamp") and not state.get("endTimestamp") else ""


def may_cancel(migration: Json, vmi: Json | None) -> Reason | None:
    """Why a migration can't be cancelled, None if it can."""
    if is_final(migration):
        return Reason("finished", "it has ended already")
    if vmi is not None and mode(vmi) == "PostCopy" and state_of(vmi).get("migrationUid") == migration["metadata"]["uid"]:
        return Reason("post_copy", "its memory is partly on the target already (post-copy): stopping it now would lose the VM")
    return None


def is_migratable(vmi: Json) -> bool:
    """Whether KubeVirt says that this instance can live-migrate."""
    return (condition(vmi, "LiveMigratable") or {}).get("status") == "True"


def condition(obj: Json, kind: str) -> Json | None:
    """The condition of a type, None if the object does not have it."""
    for one in (obj.get("status") or {}).get("conditions") or ():
        if one.get("type") == kind:
            return one  # type: ignore[no-any-return]
    return None
