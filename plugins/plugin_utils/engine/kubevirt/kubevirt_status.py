# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of the KubeVirt object at each stage of an installation or update: pure.

Source: KubeVirt pkg/virt-operator/util/client.go, pkg/virt-operator/kubevirt.go, v1.5.3.
"""
from __future__ import annotations

import json

from ..interface import Object
from .install_strategy import REGISTRY, deployment_id, migration_network

_CREATED = ("Created", "True", "AllResourcesCreated", "All resources were created.")


def is_current(kubevirt: Object, version: str) -> bool:
    """Whether the version runs everywhere, configured as the object asks for, and nothing else is wanted."""
    status, identifier = kubevirt.get("status") or {}, _identifier(kubevirt, version)
    wanted = {"KubeVirtVersion": version, "DeploymentID": identifier}
    same = all(status.get(f"{moment}{name}") == value for moment in ("observed", "target") for name, value in wanted.items())
    return same and status.get("phase") == "Deployed" and _is_settled(status)


def _is_settled(status: Object) -> bool:
    """Whether the last pass was carried through: one that was begun for something else leaves the conditions of an update."""
    said = {entry["type"]: entry["status"] for entry in status.get("conditions") or ()}
    return all(said.get(kind) == value for kind, value in (("Available", "True"), ("Progressing", "False"), ("Degraded", "False")))


def _identifier(kubevirt: Object, version: str) -> str:
    return deployment_id(version, migration_network(kubevirt))


def _configuration(kubevirt: Object, version: str) -> str:
    made: Object = {"id": _identifier(kubevirt, version), "registry": REGISTRY, "kubeVirtVersion": version}
    network = migration_network(kubevirt)
    if network:
        made["additionalProperties"] = {"MigrationNetwork": network}
    return json.dumps(made, separators=(",", ":"))


def _target(kubevirt: Object, version: str) -> Object:
    status = dict(kubevirt.get("status") or {})
    status.update({
        "operatorVersion": version, "targetKubeVirtRegistry": REGISTRY, "targetKubeVirtVersion": version,
        "targetDeploymentConfig": _configuration(kubevirt, version), "targetDeploymentID": _identifier(kubevirt, version),
        "observedGeneration": kubevirt["metadata"].get("generation", 1), "defaultArchitecture": "amd64",
    })
    return status


def _conditions(before: list[Object], entries: list[tuple[str, str, str, str]], now: str) -> list[Object]:
    known = {entry["type"]: entry for entry in before}
    made = []
    for kind, status, reason, message in entries:
        old = known.get(kind)
        since = old["lastTransitionTime"] if old is not None and old["status"] == status and old.get("lastTransitionTime") else now
        made.append(
            {"type": kind, "status": status, "reason": reason, "message": message, "lastProbeTime": None, "lastTransitionTime": since}
        )
    return made


def updating(kubevirt: Object, version: str, now: str) -> Object:
    """While an older version, or the same one configured otherwise, still runs: available, progressing and degraded."""
    status = _target(kubevirt, version)
    before = kubevirt["status"]["observedKubeVirtVersion"]
    message = f"Transitioning from previous version {before} with registry {REGISTRY} to target version {version} using registry {REGISTRY}"
    entries = [(kind, "True", "UpdateInProgress", message) for kind in ("Available", "Progressing", "Degraded")]
    status["conditions"] = _conditions(status.get("conditions") or [], entries, now)
    return status


def deploying(kubevirt: Object, version: str, now: str) -> Object:
    """While nothing runs yet."""
    status = _target(kubevirt, version)
    message = f"Deploying version {version} with registry {REGISTRY}"
    entries = [
        ("Available", "False", "DeploymentInProgress", message), ("Progressing", "True", "DeploymentInProgress", message),
        ("Degraded", "False", "DeploymentInProgress", message),
    ]
    status["phase"] = "Deploying"
    status["conditions"] = _conditions(status.get("conditions") or [], entries, now)
    return status


def is_failing(kubevirt: Object) -> bool:
    """Whether the last attempt at what is wanted now failed."""
    conditions = (kubevirt.get("status") or {}).get("conditions") or ()
    return any(entry["type"] == "Synchronized" and entry["status"] == "False" for entry in conditions)


def failing(kubevirt: Object, version: str, problem: str, now: str) -> Object:
    """While the version can't be brought about."""
    status = _target(kubevirt, version)
    message = f"An error occurred during deployment: {problem}"
    entries = [
        (kind, value, "DeploymentFailed", message)
        for kind, value in (("Synchronized", "False"), ("Available", "False"), ("Progressing", "False"), ("Degraded", "True"))
    ]
    status["conditions"] = _conditions(status.get("conditions") or [], entries, now)
    return status


def ready(kubevirt: Object, version: str, now: str) -> Object:
    """When the version runs everywhere."""
    status = _target(kubevirt, version)
    status.update({
        "phase": "Deployed", "observedKubeVirtRegistry": REGISTRY, "observedKubeVirtVersion": version,
        "observedDeploymentConfig": _configuration(kubevirt, version), "observedDeploymentID": _identifier(kubevirt, version),
    })
    entries = [
        _CREATED, ("Available", "True", "AllComponentsReady", "All components are ready."),
        ("Progressing", "False", "AllComponentsReady", "All components are ready."),
        ("Degraded", "False", "AllComponentsReady", "All components are ready."),
    ]
    status["conditions"] = _conditions(status.get("conditions") or [], entries, now)
    return status
