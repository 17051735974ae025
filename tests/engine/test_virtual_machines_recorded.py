# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine that comes up is, to the field, what KubeVirt 1.4.1 and 1.5.3 made of the same request."""
from __future__ import annotations

import json
import re
import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest

from ..support.api import Api
from .machines import Machines
from .waiting import eventually

Object = dict[str, t.Any]
RECORDED = Path(__file__).parents[1] / "conformance" / "recorded"
RELEASES = {"4.18": "1.4.1", "4.19": "1.5.3"}
REQUEST: Object = {
    "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "a"}, "spec": {"runStrategy": "Always", "template": {
        "metadata": {"labels": {"kubevirt.io/vm": "a"}, "annotations": {}},
        "spec": {
            "domain": {"resources": {"requests": {"memory": "128Mi"}}, "devices": {
                "disks": [{"name": "containerdisk", "disk": {"bus": "virtio"}}], "interfaces": [{"name": "default", "masquerade": {}}],
            }},
            "networks": [{"name": "default", "pod": {}}], "evictionStrategy": "LiveMigrate",
            "volumes": [{"name": "containerdisk", "containerDisk": {"image": "quay.io/kubevirt/cirros-container-disk-demo:v1.9.0"}}],
        },
    }},
}
_VARIES = {
    "uid": "UID", "resourceVersion": "0", "creationTimestamp": "TIME", "lastTransitionTime": "TIME", "lastProbeTime": "TIME",
    "phaseTransitionTimestamp": "TIME", "startTime": "TIME", "startedAt": "TIME", "finishedAt": "TIME", "nodeName": "NODE", "kubevirt.io/nodeName": "NODE",
    "imageID": "ID", "containerID": "ID", "serial": "UID", "ipAddress": "ADDRESS", "mac": "ADDRESS", "podIP": "ADDRESS", "hostIP": "ADDRESS", "ip": "ADDRESS",
    "namespace": "NAMESPACE", "topology.kubernetes.io/zone": "ZONE",
}
_TEXTS = (
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "UID"), (re.compile(r"virt-launcher-a-[a-z0-9]{5}"), "virt-launcher-a-POD"),
    (re.compile(r"\b\d{3}s\b"), "SECONDS"), (re.compile(r"corpus-kv|test-[0-9-]+"), "NAMESPACE"),
)


def normal(value: t.Any) -> t.Any:
    """Without what differs from one run to the next."""
    if isinstance(value, dict):
        made: Object = {}
        for key, one in value.items():
            if key in ("managedFields", "generation", "kubevirt.io/vm-generation"):
                continue
            if key == "activePods":
                made[key] = sorted("NODE" for _node in one)
            elif key in _VARIES and isinstance(one, str):
                made[key] = _VARIES[key]
            elif key in ("ipAddresses", "podIPs", "hostIPs"):
                made[key] = len(one)
            else:
                made[normal(key)] = normal(one)
        return made
    if isinstance(value, list):
        made_list = [normal(one) for one in value]
        kinds = all(isinstance(one, dict) and ("type" in one or "mountPath" in one) for one in made_list)
        return sorted(made_list, key=lambda one: str(one.get("type") or one.get("mountPath"))) if kinds else made_list
    if isinstance(value, str):
        for pattern, text in _TEXTS:
            value = pattern.sub(text, value)
    return value


def differences(path: str, recorded: t.Any, got: t.Any) -> list[str]:
    """Where the two differ, a line each."""
    if isinstance(recorded, dict) and isinstance(got, dict):
        return [line for key in sorted(recorded.keys() | got.keys()) for line in differences(
            f"{path}.{key}", recorded.get(key, "ABSENT"), got.get(key, "ABSENT")
        )]
    if isinstance(recorded, list) and isinstance(got, list) and len(recorded) == len(got):
        return [line for index, (one, other) in enumerate(zip(recorded, got, strict=True)) for line in differences(f"{path}[{index}]", one, other)]
    return [] if recorded == got else [f"{path}: recorded {json.dumps(recorded)[:160]}, here {json.dumps(got)[:160]}"]


KNOWN: dict[str, str] = {
    "pod.status.initContainerStatuses": "the recording's node agent was a script, which left out what a kubelet says of a container that has ended",
}
"""Differences by the beginning of their path, each with its reason."""


@pytest.mark.parametrize("release", RELEASES)
def test_a_machine_as_recorded(release: str, start: Callable[..., Api]) -> None:
    api = start(cluster="empty", release=release)
    api.expect(201, "POST", "/api/v1/namespaces", {"metadata": {"name": "corpus-kv"}})
    eventually(lambda: api.request("GET", "/api/v1/namespaces/corpus-kv/serviceaccounts/default").status == 200)
    machines = Machines(api, "corpus-kv")
    machines.create(REQUEST)
    machines.until("a", lambda status: status.get("ready") and status.get("printableStatus") == "Running")
    case = json.loads((RECORDED / f"kubevirt-{RELEASES[release]}" / "launcher" / "first-start.json").read_text(encoding="utf-8"))
    vm = json.loads((RECORDED / f"kubevirt-{RELEASES[release]}" / "machines" / "machines.json").read_text(encoding="utf-8"))["running"]
    case["vmi"]["metadata"]["labels"].pop("x", None)
    (pod,) = machines.pods("a")
    found = [
        *differences("vm", normal(vm), normal(machines.get("a"))), *differences("vmi", normal(case["vmi"]), normal(machines.instance("a"))),
        *differences("pod", normal(case["pod"]), normal({"kind": "Pod", "apiVersion": "v1", **pod})),
    ]
    unknown = [line for line in found if not line.startswith(tuple(KNOWN))]
    assert not unknown, "\n".join(unknown)
