# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A network of its own for migrations: refused with what is wrong with it, set, followed, and verified by a VM that moves."""

from __future__ import annotations

import ipaddress
import json
import time
import typing as t
from collections.abc import Iterator

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import PreconditionFailed, VirtError

from ..conftest import EngineFactory
from ..support.api import MERGE_PATCH, Api
from .verbs import Verbs

Object = dict[str, t.Any]
NAME, HOME = "live_migration_config", "kubevirt-hyperconverged"
HCO = f"/apis/hco.kubevirt.io/v1beta1/namespaces/{HOME}/hyperconvergeds/kubevirt-hyperconverged"
PODS = f"/api/v1/namespaces/{HOME}/pods"
VMIS = "/apis/kubevirt.io/v1/virtualmachineinstances"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
STATES = "/apis/nmstate.io/v1beta1/nodenetworkstates"
SIZES = ("vms=3", "nodes=3", "namespaces=1", "bindings=0", "cluster_bindings=0", "rwo_percent=0", "busy_percent=0")
RANGE = "192.0.2.0/28"
STATUS = "k8s.v1.cni.cncf.io/network-status"


def networks(namespace: str) -> str:
    return f"/apis/k8s.cni.cncf.io/v1/namespaces/{namespace}/network-attachment-definitions"


def config(**more: t.Any) -> Object:
    return {"cniVersion": "0.3.1", "name": "fast", "type": "macvlan", "master": "eth1", "mode": "bridge", **more}


def whereabouts(of: str = RANGE, **more: t.Any) -> Object:
    return config(ipam={"type": "whereabouts", "range": of, **more})


class Site:
    """A cluster with three nodes, and the networks that a test makes in it."""

    def __init__(self, api: Api, verbs: Verbs) -> None:
        self.api, self.verbs = api, verbs
        self._made: list[str] = []
        self.nodes = sorted(node["metadata"]["name"] for node in api.items("/api/v1/nodes?labelSelector=kubevirt.io/schedulable"))

    def __call__(self, **options: t.Any) -> t.Any:
        return self.verbs(NAME, **options)

    def network(self, content: t.Any, name: str = "fast", namespace: str = HOME, **annotations: str) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        metadata = {"name": name, "annotations": annotations}
        body = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": metadata, "spec": {"config": text}}
        self.api.expect(201, "POST", networks(namespace), body)
        self._made.append(f"{networks(namespace)}/{name}")

    def refused(self, **options: t.Any) -> VirtError:
        before = self.api.get(HCO)
        with pytest.raises(PreconditionFailed) as caught:
            self(network="fast", **options)
        assert self.api.get(HCO)["spec"] == before["spec"]
        assert "Nothing was changed" in caught.value.message
        return caught.value

    def handlers(self) -> list[Object]:
        return self.api.items(f"{PODS}?labelSelector=kubevirt.io=virt-handler")

    def findings(self) -> dict[str, str]:
        return {one["id"]: one["severity"] for one in self.verbs("readiness_info").result["findings"] if one["id"].startswith("migration_network")}

    def annotate(self, pod: Object, text: str) -> None:
        patch = {"metadata": {"annotations": {STATUS: text}}}
        self.api.expect(200, "PATCH", f"{PODS}/{pod['metadata']['name']}", patch, content_type=MERGE_PATCH)

    def clear(self) -> None:
        self(defaults=["network"])
        while self._made:
            self.api.request("DELETE", self._made.pop())


@pytest.fixture(scope="module")
def running(fresh_engine: EngineFactory) -> Site:
    engine = fresh_engine(cluster="generated", sizes=SIZES, speed="60")
    return Site(Api(engine.kubeconfig), Verbs(engine.kubeconfig))


@pytest.fixture
def site(running: Site) -> Iterator[Site]:
    yield running
    running.clear()


@pytest.mark.parametrize(("content", "code", "part"), [
    ("{", "network_config_invalid", "no JSON"),
    ({"cniVersion": "0.3.1"}, "network_config_invalid", "no plugin"),
    (whereabouts("nonsense"), "network_config_invalid", "ipam can't be read"),
    (config(), "network_without_addresses", "no address"),
    (whereabouts("192.0.2.0/30"), "network_range_too_small", "2 addresses for 3 nodes"),
    (config(ipam={"type": "static", "addresses": [{"address": "192.0.2.7/24"}]}), "network_range_too_small", "same address"),
    (config(ipam={"type": "host-local", "subnet": RANGE}), "network_addresses_not_unique", "same addresses"),
    (whereabouts("10.128.0.0/24"), "network_overlap", "the network of pods 10.128.0.0/14"),
    (whereabouts("172.30.1.0/24"), "network_overlap", "the network of services 172.30.0.0/16"),
])
def test_a_network_that_can_not_do_is_refused(site: Site, content: t.Any, code: str, part: str) -> None:
    site.network(content)
    error = site.refused()
    assert error.details["code"] == code
    assert part in error.message
    assert error.details["problems"][0]["object"] == f"NetworkAttachmentDefinition {HOME}/fast"
    assert error.details["problems"][0]["remedy"] in error.message


def test_one_in_another_namespace_is_named(site: Site) -> None:
    site.network(whereabouts(), namespace="default")
    error = site.refused()
    assert error.details["code"] == "network_missing"
    assert "default/fast" in error.message
    assert f"Make it in {HOME}" in error.message


def test_the_address_of_a_node_and_other_networks(site: Site) -> None:
    node = site.api.get(f"/api/v1/nodes/{site.nodes[0]}")
    (address,) = [one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"]
    site.network(whereabouts(f"{address}/30", range_start=None, exclude=[]))
    error = site.refused()
    assert {one["code"] for one in error.details["problems"]} == {"network_range_too_small", "network_overlap"}
    assert f"{address} of Node {site.nodes[0]}" in error.message
    site.clear()
    site.network(whereabouts())
    site.network(config(ipam={"type": "host-local", "subnet": "192.0.2.0/24"}), "storage", "default")
    error = site.refused()
    assert error.details["code"] == "network_overlap"
    assert "default/storage" in error.message
    assert any("network_overlap" in one for one in site(network="fast", accepted_network_problems=["network_overlap"], check=True).warnings)
    assert site(network="fast", accepted_network_problems=["network_overlap"]).changed
    assert not site(network="fast").changed
    assert site.findings() == {"migration_network_unfit": "warning"}


def test_what_nodes_have(site: Site) -> None:
    """Devices that a network takes, and, where kubernetes-nmstate is there, its link."""
    site.network(whereabouts(), **{"k8s.v1.cni.cncf.io/resourceName": "example.com/nic"})
    for name in site.nodes[1:]:
        path = f"/api/v1/nodes/{name}/status"
        site.api.expect(200, "PATCH", path, {"status": {"allocatable": {"example.com/nic": "2"}}}, content_type=MERGE_PATCH)
    error = site.refused()
    assert (error.details["code"], error.details["problems"][0]["data"]["nodes"]) == ("network_resource_missing", site.nodes[:1])
    site.clear()
    site.network(whereabouts())
    assert any("NodeNetworkStates" in one for one in site(network="fast", check=True).warnings)
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "nodenetworkstates.nmstate.io"},
        "spec": {
            "group": "nmstate.io", "scope": "Cluster",
            "names": {"kind": "NodeNetworkState", "listKind": "NodeNetworkStateList", "plural": "nodenetworkstates", "singular": "nodenetworkstate"},
            "versions": [{
                "name": "v1beta1", "served": True, "storage": True,
                "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            }],
        },
    }
    site.api.expect(201, "POST", CRDS, definition)
    try:
        until = time.monotonic() + 30
        while site.api.request("GET", STATES).status != 200:
            assert time.monotonic() < until
            time.sleep(0.05)
        for name in site.nodes:
            current = {"interfaces": [{"name": "eth0", "state": "up"}, {"name": "eth1", "state": "down" if name == site.nodes[2] else "up"}]}
            body = {"apiVersion": "nmstate.io/v1beta1", "kind": "NodeNetworkState", "metadata": {"name": name}, "status": {"currentState": current}}
            site.api.expect(201, "POST", STATES, body)
        error = site.refused()
        assert (error.details["code"], error.details["problems"][0]["object"]) == ("network_link_missing", f"Node {site.nodes[2]}")
        state = {"status": {"currentState": {"interfaces": [{"name": "eth1", "state": "up"}]}}}
        site.api.expect(200, "PATCH", f"{STATES}/{site.nodes[2]}", state, content_type=MERGE_PATCH)
        assert site(network="fast", check=True).result["network"]["unknown"] == []
    finally:
        site.api.expect(200, "DELETE", f"{CRDS}/nodenetworkstates.nmstate.io")


def test_migrations_use_it_and_it_is_seen_where_they_do_not(site: Site) -> None:
    site.network(whereabouts())
    assert site.verbs.four_times(NAME, network="fast") == [True, True, False, False]
    found = site().result["network"]
    assert (found["name"], found["ranges"], found["problems"], found["used"], found["migrations"]) == ("fast", [RANGE], [], True, [])
    assert sorted(found["addresses"]) == site.nodes
    addresses = [address for held in found["addresses"].values() for address in held]
    assert len(set(addresses)) == len(site.nodes)
    assert all(ipaddress.ip_address(one) in ipaddress.ip_network(RANGE) for one in addresses)
    assert "no migration has begun since" in found["sentence"]
    vm = site.api.items(VMIS)[0]["metadata"]
    site.verbs("vm_migration", namespace=vm["namespace"], names=[vm["name"]], deadline=60)
    (moved,) = site().result["network"]["migrations"]
    state = site.api.get(f"/apis/kubevirt.io/v1/namespaces/{vm['namespace']}/virtualmachineinstances/{vm['name']}")["status"]["migrationState"]
    assert (moved["vm"], moved["node"], moved["on_network"]) == (f"{vm['namespace']}/{vm['name']}", state["targetNode"], True)
    assert [moved["address"]] == [state["targetNodeAddress"]] == found["addresses"][state["targetNode"]]
    assert site.findings() == {}
    # Somebody's virt-handler has lost its address: both places say so, and on which node.
    pod = next(one for one in site.handlers() if one["spec"]["nodeName"] == state["targetNode"])
    text = pod["metadata"]["annotations"][STATUS]
    site.annotate(pod, json.dumps(json.loads(text)[:1]))
    told = site()
    assert told.result["network"]["used"] is False
    assert any(f"no address of fast on {state['targetNode']}" in one for one in told.warnings)
    assert site.findings() == {"migration_network_not_used": "warning"}
    site.annotate(pod, text)
    assert site.findings() == {}
    site.api.expect(200, "DELETE", f"{networks(HOME)}/fast")
    assert site.findings() == {"migration_network_missing": "blocker"}
    site.network(whereabouts(), "other")
    assert site(network="other").changed
    assert site(defaults=["network"]).result["network"] is None
    assert not [one for one in site.handlers() if STATUS in (one["metadata"].get("annotations") or {})]


def test_a_run_that_was_killed_after_it_had_set_the_network_is_followed_by_the_next(site: Site) -> None:
    site.network(whereabouts())
    assert site(network="fast", wait=False).changed
    again = site(network="fast")
    assert not again.changed
    assert again.result["network"]["used"] is True
    assert sorted(again.result["network"]["addresses"]) == site.nodes


def test_addresses_that_are_not_enough_stop_the_roll_out_until_there_are_more(site: Site) -> None:
    """What the check is for: the third virt-handler would wait for ever."""
    site.network(whereabouts("192.0.2.0/30"))
    site(network="fast", accepted_network_problems=["network_range_too_small"], wait=False)
    until = time.monotonic() + 60
    waiting: list[Object] = []
    while not waiting:
        assert time.monotonic() < until, [(one["metadata"]["annotations"], one["status"]["phase"]) for one in site.handlers()]
        time.sleep(0.1)
        events = site.api.items(f"/api/v1/namespaces/{HOME}/events?fieldSelector=type=Warning")
        waiting = [one for one in events if "Could not allocate IP in range" in one["message"]]
    assert waiting[0]["reason"] == "FailedCreatePodSandBox"
    assert len([one for one in site.handlers() if STATUS in (one["metadata"].get("annotations") or {})]) == 2
    patch = {"spec": {"config": json.dumps(whereabouts())}}
    site.api.expect(200, "PATCH", f"{networks(HOME)}/fast", patch, content_type=MERGE_PATCH)
    until = time.monotonic() + 60
    while site().result["network"]["used"] is not True or len(site().result["network"]["addresses"]) != len(site.nodes):
        assert time.monotonic() < until
        time.sleep(0.2)
