# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Profiles and predictions over HTTP: computed from the cluster, applied for good and for a while, and what they say comes true."""

from __future__ import annotations

import time
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import OptionError, PreconditionFailed

from ..conftest import EngineFactory
from ..support.api import MERGE_PATCH, Api
from .verbs import Verbs

NAME = "live_migration_config"
HCO = "/apis/hco.kubevirt.io/v1beta1/namespaces/kubevirt-hyperconverged/hyperconvergeds/kubevirt-hyperconverged"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
STATES = "/apis/nmstate.io/v1beta1/nodenetworkstates"
BUSY = {"namespace": "shop", "name": "vm-2", "dirty_rate": "1500Mi", "working_set": "1Gi", "non_zero": "2Gi"}
Json = dict[str, t.Any]


class Site:
    """A lab whose settings are put back."""

    def __init__(self, api: Api, verbs: Verbs) -> None:
        self.api, self.verbs = api, verbs

    def __call__(self, check: bool = False, **options: t.Any) -> t.Any:
        return self.verbs(NAME, check=check, **options)

    @property
    def configured(self) -> Json:
        return dict(self.api.get(HCO)["spec"]["liveMigrationConfig"])

    def annotate(self, kind: str, namespace: str, name: str, **annotations: str | None) -> None:
        patch = {"metadata": {"annotations": {f"okd.virt/{key.replace('_', '-')}": value for key, value in annotations.items()}}}
        self.api.expect(200, "PATCH", f"/apis/kubevirt.io/v1/namespaces/{namespace}/{kind}/{name}", patch, content_type=MERGE_PATCH)


@pytest.fixture(scope="module")
def running_lab(fresh_engine: EngineFactory) -> Site:
    running = fresh_engine(release="4.19", speed="60")
    return Site(Api(running.kubeconfig), Verbs(running.kubeconfig))


@pytest.fixture
def lab(running_lab: Site) -> t.Iterator[Site]:
    yield running_lab
    running_lab(state="restored")
    running_lab.api.expect(200, "PATCH", HCO, {"spec": {"liveMigrationConfig": None}}, content_type=MERGE_PATCH)
    assert not running_lab().changed


@pytest.mark.parametrize("profile", ["balanced", "fast_window", "heavy_workloads", "gentle"])
def test_a_profile_says_what_it_would_set_and_why_and_sets_it_once(lab: Site, profile: str) -> None:
    before = lab.configured
    shown = lab(check=True, profile=profile, link_speed="10G")
    assert lab.configured == before
    assert lab.verbs.four_times(NAME, profile=profile, link_speed="10G") == [True, True, False, False]
    found = shown.result["profile"]
    assert found["link"]["source"] == "option"
    assert all(one["reason"] for one in found["settings"])
    held = lab().result["settings"]
    assert {one["option"]: held[one["option"]]["kubevirt"] for one in found["settings"]} == {one["option"]: one["value"] for one in found["settings"]}
    text = "\n".join(shown.lines)
    assert all(f"  {one['option']} {one['value']}: {one['reason']}" in text for one in found["settings"])
    assert "The slowest migrations, before -> after:" in text
    assert len(shown.result["predictions"]) == 5


def test_a_profile_for_a_while_and_what_is_given_beside_it_wins(lab: Site) -> None:
    before = lab.configured
    done = lab(state="temporary", profile="fast_window", bandwidth_per_migration="100Mi")
    overruled = {one["option"]: one["overruled_by"] for one in done.result["profile"]["settings"]}
    assert overruled["bandwidth_per_migration"] == "100Mi"
    assert lab.configured["bandwidthPerMigration"] == "100Mi"
    assert lab.configured["parallelMigrationsPerCluster"] != before["parallelMigrationsPerCluster"]
    with pytest.raises(PreconditionFailed, match="set for a while"):
        lab(profile="balanced")
    assert lab(state="restored").changed
    assert lab.configured == before


def test_what_disturbs_vms_needs_consent(lab: Site) -> None:
    refused = lab(check=True, profile="heavy_workloads", loads=[BUSY])
    assert any("would get over with allow_auto_converge, which was not allowed" in text for text in refused.warnings)
    assert refused.result["predictions"][0]["after"]["outcome"] == "given_up"
    allowed = lab(check=True, profile="heavy_workloads", profile_may=["post_copy"], loads=[BUSY])
    assert allowed.actions[0]["after"]["spec"]["liveMigrationConfig"]["allowPostCopy"] is True
    assert any("the VM is lost" in text for text in allowed.warnings)
    assert not any(one["after"]["outcome"] == "given_up" for one in allowed.result["predictions"])


@pytest.mark.parametrize(("options", "sentence"), [
    ({"profile": "balanced", "profile_may": ["post_copy"]}, "profile_may is for the profile heavy_workloads"),
    ({"profile": "balanced", "link_speed": "fast"}, "no quantity of bits per second"),
    ({"link_speed": "10G"}, "neither a profile nor loads"),
    ({"state": "restored", "profile": "balanced"}, "no profile"),
    ({"loads": [{**BUSY, "dirty_rate": "much"}]}, "no quantity of bytes"),
    ({"loads": [BUSY, BUSY]}, "listed twice"),
])
def test_what_makes_no_sense_is_refused(lab: Site, options: Json, sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        lab(**options)


def test_loads_alone_predict_and_change_nothing(lab: Site) -> None:
    done = lab(loads=[BUSY, {**BUSY, "name": "nobody"}])
    assert not done.changed
    first = done.result["predictions"][0]
    assert (first["name"], first["before"], first["load_from"]) == ("vm-2", first["after"], "option")
    assert first["remedies"]
    assert any("shop/nobody is no VM that runs" in text for text in done.warnings)


def test_loads_from_annotations_of_the_instance_and_of_the_machine(lab: Site) -> None:
    lab.annotate("virtualmachines", "shop", "vm-1", dirty_rate="1500Mi", working_set="1Gi")
    lab.annotate("virtualmachineinstances", "shop", "vm-3", dirty_rate="1500Mi", working_set="much")
    try:
        done = lab(check=True, profile="balanced")
        found = {one["name"]: one for one in done.result["predictions"] if one["namespace"] == "shop" and one["load_from"] == "annotation"}
        assert set(found) == {"vm-1", "vm-3"}
        assert found["vm-1"]["working_set_bytes"] == 2**30
        assert any("annotation okd.virt/working-set is 'much'" in text for text in done.warnings)
    finally:
        lab.annotate("virtualmachines", "shop", "vm-1", dirty_rate=None, working_set=None)
        lab.annotate("virtualmachineinstances", "shop", "vm-3", dirty_rate=None, working_set=None)


def test_links_as_the_nodes_report_them(lab: Site) -> None:
    """Without kubernetes-nmstate they are assumed; with it the slowest node that takes VMs counts."""
    assert lab(check=True, profile="balanced").result["profile"]["link"]["source"] == "assumption"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    version = {"name": "v1beta1", "served": True, "storage": True, "schema": schema}
    names = {"plural": "nodenetworkstates", "singular": "nodenetworkstate", "kind": "NodeNetworkState", "listKind": "NodeNetworkStateList"}
    spec = {"group": "nmstate.io", "scope": "Cluster", "names": names, "versions": [version]}
    lab.api.expect(201, "POST", CRDS, {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                                       "metadata": {"name": "nodenetworkstates.nmstate.io"}, "spec": spec})
    try:
        until = time.monotonic() + 30
        while lab.api.request("GET", STATES).status != 200:
            assert time.monotonic() < until
            time.sleep(0.1)
        for name, speed in (("node01", 25000), ("node02", 10000), ("control01", 1000)):
            current = {
                "interfaces": [{"name": "eno1", "type": "ethernet", "state": "up", "ethernet": {"speed": speed}}],
                "routes": {"running": [{"destination": "0.0.0.0/0", "next-hop-interface": "eno1"}]},
            }
            body = {"apiVersion": "nmstate.io/v1beta1", "kind": "NodeNetworkState", "metadata": {"name": name}, "status": {"currentState": current}}
            lab.api.expect(201, "POST", STATES, body)
        found = lab(check=True, profile="balanced").result["profile"]["link"]
        assert (found["source"], found["bits_per_second"]) == ("node_network_state", 10**10)
        assert "eno1 of node02" in found["sentence"]
    finally:
        lab.api.expect(200, "DELETE", f"{CRDS}/nodenetworkstates.nmstate.io")


