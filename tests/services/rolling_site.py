# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A generated cluster whose nodes are drained in turn."""

from __future__ import annotations

import time
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import VirtError
from ansible_collections.okd.virt.plugins.module_utils.drain.turns import ROLLING, STILL_TO_COME

from ..conftest import EngineFactory
from ..support.api import MERGE_PATCH, Api
from .verbs import Verbs

VMIS = "/apis/kubevirt.io/v1/virtualmachineinstances"
VMIMS = "/apis/kubevirt.io/v1/virtualmachineinstancemigrations"
NODES = "/api/v1/nodes"
FAULTS = "/engine.okd.virt/v1/faults"
WILLING: dict[str, t.Any] = {"delete_emptydir_data": True, "evict_uncontrolled": True, "deadline": 120}
_SIZES = ("vms=30", "nodes=5", "namespaces=3", "bindings=0", "rwo_percent=0", "busy_percent=0", "node_memory_gib=128")


class Site:
    """Five workers with thirty VMs, two minutes a second."""

    def __init__(self, api: Api, verbs: Verbs) -> None:
        self.api, self.verbs = api, verbs

    def roll(self, **options: t.Any) -> t.Any:
        return self.verbs("rolling_drain", **{"machine_config_pool": "worker", **WILLING, **options})

    def fails(self, **options: t.Any) -> VirtError:
        with pytest.raises(VirtError) as caught:
            self.roll(**options)
        return caught.value

    def workers(self) -> list[dict[str, t.Any]]:
        return [one for one in self.api.items(NODES) if one["metadata"]["name"].startswith("node")]

    def node(self, name: str) -> dict[str, t.Any]:
        return self.api.get(f"{NODES}/{name}")

    def cordoned(self, name: str) -> bool:
        return bool(self.node(name)["spec"].get("unschedulable"))

    def vms(self) -> dict[str, str]:
        return {one["metadata"]["uid"]: one["status"]["nodeName"] for one in self.api.items(VMIS)}

    def unclean(self) -> list[str]:
        """The workers on which something of a drain stands, or that take no pods."""
        def clean(node: dict[str, t.Any]) -> bool:
            taints = [taint["key"] for taint in node["spec"].get("taints") or ()]
            annotations = node["metadata"]["annotations"]
            return not ({STILL_TO_COME} & set(taints) or {ROLLING, "okd.virt/drain"} & set(annotations) or node["spec"].get("unschedulable"))

        return [node["metadata"]["name"] for node in self.workers() if not clean(node)]

    def is_clean(self) -> bool:
        return not self.unclean()

    def annotate(self, vmi: dict[str, t.Any], **annotations: str | None) -> None:
        metadata = vmi["metadata"]
        path = f"/apis/kubevirt.io/v1/namespaces/{metadata['namespace']}/virtualmachineinstances/{metadata['name']}"
        named = {f"engine.okd.virt/{key.replace('_', '-')}": value for key, value in annotations.items()}
        self.api.expect(200, "PATCH", path, {"metadata": {"annotations": named}}, content_type=MERGE_PATCH)

    def lone_pod(self, node: str) -> str:
        """A pod that nobody would make anew; its path."""
        body = {"metadata": {"name": "lone"}, "spec": {"nodeName": node, "containers": [{"name": "main", "image": "registry.example/app:1"}]}}
        self.api.expect(201, "POST", "/api/v1/namespaces/default/pods", body)
        return "/api/v1/namespaces/default/pods/lone?gracePeriodSeconds=0"


def a_site(fresh_engine: EngineFactory) -> Site:
    running = fresh_engine(cluster="generated", sizes=_SIZES, speed="120")
    return Site(Api(running.kubeconfig), Verbs(running.kubeconfig))


def eventually(what: t.Callable[[], t.Any], seconds: float = 30.0) -> t.Any:
    until = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < until
        time.sleep(0.1)
    return found
