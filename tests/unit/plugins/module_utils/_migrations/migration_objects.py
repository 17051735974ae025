# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations and instances as the API shows them, made for tests."""

from __future__ import annotations

import typing as t

Json = dict[str, t.Any]
PHASES = ("Pending", "Scheduling", "Scheduled", "PreparingTarget", "TargetReady", "Running")


def migration(phase: str = "", reached: str = "", state: Json | None = None, **metadata: t.Any) -> Json:
    """A migration that has been through all phases up to C(reached)."""
    through = PHASES[: PHASES.index(reached) + 1] if reached else ()
    status: Json = {"phase": phase} if phase else {}
    if through:
        status["phaseTransitionTimestamps"] = [
            {"phase": one, "phaseTransitionTimestamp": f"2026-11-24T10:00:{2 * number:02}Z"} for number, one in enumerate(through)
        ]
    if state is not None:
        status["migrationState"] = state
    named = {"name": "move", "namespace": "shop", "uid": "u1", "creationTimestamp": "2026-11-24T10:00:00Z", **metadata}
    return {"metadata": named, "spec": {"vmiName": "vm-1"}, "status": status}


def instance(name: str = "vm-1", node: str = "node01", state: Json | None = None, **status: t.Any) -> Json:
    """A running instance of 2 GiB that can live-migrate."""
    conditions = [{"type": "LiveMigratable", "status": "True"}]
    found: Json = {"phase": "Running", "nodeName": node, "conditions": conditions, **status}
    if state is not None:
        found["migrationState"] = state
    return {
        "metadata": {"name": name, "namespace": "shop", "uid": f"vmi-{name}"}, "spec": {"domain": {"memory": {"guest": "2Gi"}}}, "status": found,
    }


def event(text: str, uid: str = "u1", reason: str = "FailedMigration") -> Json:
    return {"involvedObject": {"kind": "VirtualMachineInstanceMigration", "uid": uid}, "reason": reason, "message": text}
