# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On which nodes a virt-launcher pod may run: pure.

Source: KubeVirt pkg/virt-controller/services/{nodeselectorrenderer,template}.go, pkg/virt-controller/watch/migration/migration.go.
"""
from __future__ import annotations

import typing as t

from ...interface import Object
from .configuration import Configuration, Version
from .launcher_resources import is_dedicated

CPU_FEATURE = "cpu-feature.node.kubevirt.io/"
CPU_MODEL = "cpu-model.node.kubevirt.io/"
CPU_MODEL_MIGRATION = "cpu-model-migration.node.kubevirt.io/"
HOST_MODEL = "host-model-cpu.node.kubevirt.io/"
HOST_MODEL_FEATURES = "host-model-required-features.node.kubevirt.io/"
OBSOLETE_HOST_MODEL = "node-labeller.kubevirt.io/obsolete-host-model"
MACHINE_TYPE = "machine-type.node.kubevirt.io/"
_HYPERV = ("vpindex", "runtime", "reset", "synic", "synictimer", "frequencies", "reenlightenment", "tlbflush", "ipi")


class HostModelUnknown(Exception):
    """The source node does not say which CPU it has, so no target can be chosen; the text is KubeVirt's."""


def uses_host_model(vmi: Object) -> bool:
    return ((vmi["spec"]["domain"].get("cpu") or {}).get("model") or "host-model") == "host-model"


def node_selector(vmi: Object, version: Version, config: Configuration) -> dict[str, str]:
    """The labels that a node needs."""
    spec = vmi["spec"]
    domain = spec["domain"]
    cpu = domain.get("cpu") or {}
    selector = {"kubevirt.io/schedulable": "true"}
    if architecture := spec.get("architecture"):
        selector["kubernetes.io/arch"] = architecture.lower()
    selector |= dict(config.node_selectors) | (spec.get("nodeSelector") or {})
    labels: list[str] = []
    if is_dedicated(vmi):
        labels.append("cpumanager")
    if "HypervStrictCheck" in config.feature_gates:
        labels.extend(_hyperv(domain))
    if cpu.get("model") and cpu["model"] not in ("host-model", "host-passthrough"):
        labels.append(CPU_MODEL + cpu["model"])
    machine = ((vmi.get("status") or {}).get("machine") or {}).get("type") or (domain.get("machine") or {}).get("type")
    # From 1.5.1 on.
    if machine and version >= (1, 5, 1):
        labels.append(MACHINE_TYPE + machine)
    if cpu.get("model"):
        labels.extend(CPU_FEATURE + feature["name"] for feature in cpu.get("features") or () if feature.get("policy", "") in ("", "require"))
    if frequency := ((vmi.get("status") or {}).get("topologyHints") or {}).get("tscFrequency"):
        labels.append(f"scheduling.node.kubevirt.io/tsc-frequency-{frequency}")
    if cpu.get("realtime") is not None:
        labels.append("kubevirt.io/realtime")
    sev = (domain.get("launchSecurity") or {}).get("sev")
    if sev is not None:
        labels.append("kubevirt.io/sev-es" if (sev.get("policy") or {}).get("encryptedState") else "kubevirt.io/sev")
    return selector | dict.fromkeys(labels, "true")


def _hyperv(domain: Object) -> t.Iterator[str]:
    hyperv: Object = (domain.get("features") or {}).get("hyperv") or {}
    known = {name.lower(): value for name, value in hyperv.items()}
    for name in _HYPERV:
        if name in known and (known[name] or {}).get("enabled") is True:
            yield f"hyperv.node.kubevirt.io/{name}"
    if "evmcs" in known and (known["evmcs"] or {}).get("enabled") is not False:
        yield "cpu-vendor.node.kubevirt.io/Intel"


def host_model_selector(source_pod: Object, source_node: Object) -> dict[str, str]:
    """What a target needs so that a guest with its host's CPU model can go on there; the needs of the first node stay for life.

    Raises HostModelUnknown.
    """
    kept = {
        key: value for key, value in (source_pod["spec"].get("nodeSelector") or {}).items()
        if key.startswith((CPU_FEATURE, CPU_MODEL_MIGRATION))
    }
    if kept:
        return kept
    labels: dict[str, str] = source_node["metadata"].get("labels") or {}
    selector: dict[str, str] = {}
    found = False
    for key, value in labels.items():
        if key.startswith(HOST_MODEL):
            selector[CPU_MODEL_MIGRATION + key.removeprefix(HOST_MODEL)] = value
            found = True
        elif key.startswith(HOST_MODEL_FEATURES):
            selector[CPU_FEATURE + key.removeprefix(HOST_MODEL_FEATURES)] = value
    if not found:
        raise HostModelUnknown('node does not contain labal "host-model-cpu.node.kubevirt.io/" with information about host cpu model')
    return selector


def affinity(vmi: Object, apart: bool = False) -> Object:
    """The affinity of the pod; `apart` keeps it off nodes where another pod of the instance is."""
    asked = vmi["spec"].get("affinity")
    made: Object = {**asked} if asked else {}
    rejected = []
    if uses_host_model(vmi):
        rejected.append(OBSOLETE_HOST_MODEL)
    features = (vmi["spec"]["domain"].get("cpu") or {}).get("features") or ()
    rejected.extend(CPU_FEATURE + feature["name"] for feature in features if feature.get("policy") == "forbid")
    for label in rejected:
        made["nodeAffinity"] = _rejecting(made.get("nodeAffinity") or {}, label)
    if apart:
        term = {"labelSelector": {"matchLabels": {"kubevirt.io/created-by": vmi["metadata"]["uid"]}}, "topologyKey": "kubernetes.io/hostname"}
        anti = made.get("podAntiAffinity") or {}
        required = "requiredDuringSchedulingIgnoredDuringExecution"
        made["podAntiAffinity"] = {**anti, required: [*(anti.get(required) or ()), term]}
    return made


def _rejecting(node_affinity: Object, label: str) -> Object:
    """Terms are alternatives, so each of them has to reject the label."""
    requirement = {"key": label, "operator": "DoesNotExist"}
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    terms = (node_affinity.get(required) or {}).get("nodeSelectorTerms") or [{}]
    rejecting = [{**term, "matchExpressions": [*(term.get("matchExpressions") or ()), requirement]} for term in terms]
    return {**node_affinity, required: {**(node_affinity.get(required) or {}), "nodeSelectorTerms": rejecting}}
