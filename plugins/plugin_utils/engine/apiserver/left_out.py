# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real cluster acts on and this one does not: refused where silence would mislead, kept with a warning elsewhere."""
from __future__ import annotations

import typing as t

from .. import errors
from .admission import Admission, AdmissionRequest

_HOOKS = ("mutatingwebhookconfigurations", "validatingwebhookconfigurations")
_NOT_ENFORCED = ("resourcequotas", "limitranges")


def register(admission: Admission) -> None:
    """From now on users hear of it. What the cluster began with is there already: a KubeVirt has webhook configurations of its own."""
    for plural in _HOOKS:
        for operation in ("CREATE", "UPDATE"):
            admission.register(("admissionregistration.k8s.io", plural), operation, _webhooks)
    for plural in _NOT_ENFORCED:
        admission.register(("", plural), "CREATE", _not_enforced)
    for operation in ("CREATE", "UPDATE"):
        admission.register(("apiextensions.k8s.io", "customresourcedefinitions"), operation, _rules)


def _webhooks(request: AdmissionRequest) -> None:
    """Operators may register theirs, whose judgement is part of this API server; nobody else's would be called."""
    if "system:serviceaccounts" not in request.user.groups:
        raise errors.forbidden(request.kind, request.name, "this API server calls no admission webhooks")


def _not_enforced(request: AdmissionRequest) -> None:
    request.warnings.append(f"this API server keeps the {request.kind.kind} and does not enforce it")


def _rules(request: AdmissionRequest) -> None:
    if _has_rules(request.object):
        request.warnings.append("this API server keeps x-kubernetes-validations and does not evaluate them")


def _has_rules(value: t.Any) -> bool:
    if isinstance(value, dict):
        return "x-kubernetes-validations" in value or any(_has_rules(below) for below in value.values())
    return isinstance(value, list) and any(_has_rules(below) for below in value)
