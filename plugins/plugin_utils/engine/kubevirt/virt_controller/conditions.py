# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Conditions of virtual machines, their instances and pods: pure.

Source: KubeVirt pkg/controller/conditions.go.
"""
from __future__ import annotations

import typing as t

from ...interface import Object


def condition(obj: Object | None, kind: str) -> Object | None:
    """The condition of that type in the object's status."""
    conditions = ((obj or {}).get("status") or {}).get("conditions") or ()
    return next((entry for entry in conditions if entry.get("type") == kind), None)


def has_status(obj: Object | None, kind: str, status: str, reason: str | None = None) -> bool:
    """Whether the object has the condition with this status, and this reason if one is given."""
    found = condition(obj, kind)
    return found is not None and found.get("status") == status and (reason is None or found.get("reason") == reason)


def is_true(obj: Object | None, kind: str) -> bool:
    return has_status(obj, kind, "True")


def updated(conditions: t.Sequence[Object], new: Object) -> list[Object]:
    """The conditions with the new one in the place of that type; one that says the same already stays as it is, times and all."""
    made, found = [], False
    for entry in conditions:
        if entry.get("type") == new["type"]:
            found = True
            same = all((entry.get(field) or "") == (new.get(field) or "") for field in ("status", "reason", "message"))
            made.append(entry if same else new)
        else:
            made.append(entry)
    return made if found else [*made, new]


def without(conditions: t.Sequence[Object], kind: str) -> list[Object]:
    return [entry for entry in conditions if entry.get("type") != kind]


def new(kind: str, status: str, now: str | None, reason: str = "", message: str = "", probed: str | None = None) -> Object:
    """A condition as KubeVirt writes it; empty texts are left out."""
    made: Object = {"type": kind, "status": status, "lastProbeTime": probed, "lastTransitionTime": now}
    if reason:
        made["reason"] = reason
    if message:
        made["message"] = message
    return made
