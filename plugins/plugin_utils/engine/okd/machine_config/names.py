# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Machine Config Operator calls its things. Source: openshift/machine-config-operator pkg/daemon/constants, pkg/controller/common."""
from __future__ import annotations

import hashlib
import json

from ...interface import Object, Ref

MACHINE_CONFIGS = Ref("machineconfiguration.openshift.io", "v1", "machineconfigs")
POOLS = Ref("machineconfiguration.openshift.io", "v1", "machineconfigpools")
NAMESPACE = "openshift-machine-config-operator"
CONTROLLER, DAEMON = "machine-config-controller", "machine-config-daemon"
_PREFIX = "machineconfiguration.openshift.io/"
CURRENT, DESIRED, STATE, REASON = (_PREFIX + name for name in ("currentConfig", "desiredConfig", "state", "reason"))
DESIRED_DRAIN, LAST_APPLIED_DRAIN = _PREFIX + "desiredDrain", _PREFIX + "lastAppliedDrain"
ROLE = _PREFIX + "role"
DONE, WORKING, REBOOTING = "Done", "Working", "Rebooting"
ROLES = ("master", "worker")


def annotations_of(node: Object) -> dict[str, str]:
    found: dict[str, str] = node["metadata"].get("annotations") or {}
    return found


def operating_system(role: str, version: str) -> Object:
    """The MachineConfig by which a release of the platform brings its operating system to the nodes of a role."""
    return {
        "apiVersion": MACHINE_CONFIGS.api_version, "kind": "MachineConfig",
        "metadata": {"name": f"00-{role}", "labels": {ROLE: role}},
        "spec": {"config": {"ignition": {"version": "3.4.0"}}, "osImageURL": f"registry.invalid/okd/stream-coreos:{version}"},
    }


def rendered_name(pool: str, specs: list[Object]) -> str:
    """The name of what the configurations of a pool come to together: the same for the same contents."""
    digest = hashlib.sha256(json.dumps(specs, sort_keys=True).encode()).hexdigest()[:32]
    return f"rendered-{pool}-{digest}"


def initial_annotations(configuration: str) -> dict[str, str]:
    """Those of a node that runs what it should."""
    return {
        CURRENT: configuration, DESIRED: configuration, STATE: DONE, REASON: "", DESIRED_DRAIN: f"uncordon-{configuration}",
        LAST_APPLIED_DRAIN: f"uncordon-{configuration}",
    }
