# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Policies over HTTP: what they are brought to, for which VMs they hold, and that KubeVirt takes them so."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import OptionError, VirtError

from ..conftest import EngineFactory
from ..support.api import MERGE_PATCH, Api
from .verbs import Verbs

NAME = "migration_policy"
POLICIES = "/apis/migrations.kubevirt.io/v1alpha1/migrationpolicies"
SHOP = {"kubernetes.io/metadata.name": "shop"}


class Site:
    """A lab, and its policies."""

    def __init__(self, api: Api, verbs: Verbs) -> None:
        self.api, self.verbs = api, verbs

    def __call__(self, name: str, **options: t.Any) -> t.Any:
        return self.verbs(NAME, name=name, **options)

    def spec(self, name: str) -> dict[str, t.Any]:
        return dict(self.api.get(f"{POLICIES}/{name}")["spec"])

    def instance(self, name: str) -> str:
        return f"/apis/kubevirt.io/v1/namespaces/shop/virtualmachineinstances/{name}"

    def label(self, name: str, **labels: str | None) -> None:
        self.api.expect(200, "PATCH", self.instance(name), {"metadata": {"labels": labels}}, content_type=MERGE_PATCH)


@pytest.fixture(scope="module")
def running(fresh_engine: EngineFactory) -> Site:
    found = fresh_engine(speed="60")
    return Site(Api(found.kubeconfig), Verbs(found.kubeconfig))


@pytest.fixture
def lab(running: Site) -> t.Iterator[Site]:
    yield running
    for one in running.api.items(POLICIES):
        running(one["metadata"]["name"], state="absent")


def test_there_changed_and_gone_again(lab: Site) -> None:
    given: dict[str, t.Any] = {"namespace_selector": SHOP, "allow_auto_converge": True, "completion_timeout_per_gib": 300}
    assert lab.verbs.four_times(NAME, name="busy", **given) == [True, True, False, False]
    assert lab.spec("busy") == {"selectors": {"namespaceSelector": SHOP}, "allowAutoConverge": True, "completionTimeoutPerGiB": 300}
    other: dict[str, t.Any] = {"virtual_machine_instance_selector": {"tier": 1}, "bandwidth_per_migration": "64Mi", "allow_auto_converge": False}
    assert lab.verbs.four_times(NAME, name="busy", **other) == [True, True, False, False]
    spec = lab.spec("busy")
    assert spec["selectors"]["virtualMachineInstanceSelector"] == {"tier": "1"}
    assert not spec["selectors"].get("namespaceSelector")
    assert (spec["bandwidthPerMigration"], spec["allowAutoConverge"]) == ("64Mi", False)
    assert "completionTimeoutPerGiB" not in spec
    assert lab.verbs.four_times(NAME, name="busy", state="absent") == [True, True, False, False]
    assert lab.api.items(POLICIES) == []


def test_for_which_vms_it_holds_and_kubevirt_agrees(lab: Site) -> None:
    everything = lab("everything", match_all=True, bandwidth_per_migration="100Mi")
    running = {f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in lab.api.items("/apis/kubevirt.io/v1/virtualmachineinstances")}
    assert set(everything.result["holds_for"]) == running
    shop = lab("shop", namespace_selector=SHOP, bandwidth_per_migration="200Mi")
    assert {vm for vm in running if vm.startswith("shop/")} == set(shop.result["holds_for"])
    lab.label("vm-2", tier="gold")
    gold = lab("a-gold", virtual_machine_instance_selector={"tier": "gold"}, bandwidth_per_migration="300Mi")
    # As many labels as shop has for it, but of the instance: that counts more.
    assert gold.result["holds_for"] == ["shop/vm-2"]
    assert lab("everything", match_all=True, bandwidth_per_migration="100Mi").summary["overruled"] == shop.summary["vms"]
    lab.verbs("vm_migration", namespace="shop", names=["vm-2", "vm-3"])
    for name, policy, bandwidth in (("vm-2", "a-gold", "300Mi"), ("vm-3", "shop", "200Mi")):
        state = lab.api.get(lab.instance(name))["status"]["migrationState"]
        assert (state["migrationPolicyName"], state["migrationConfiguration"]["bandwidthPerMigration"]) == (policy, bandwidth)
    lab.label("vm-2", tier=None)


def test_ties_and_policies_for_nobody_are_told(lab: Site) -> None:
    lab("first", namespace_selector=SHOP, allow_auto_converge=True)
    second = lab("second", namespace_selector=SHOP, allow_auto_converge=False)
    assert second.result["holds_for"] == []
    assert {one["with"] for one in second.result["ties"]} == {"first"}
    assert any("only the names decide" in warning for warning in second.warnings)
    nobody = lab("nobody", namespace_selector={"there": "is-none"}, allow_post_copy=True)
    assert any("selects no VM" in warning for warning in nobody.warnings)
    assert any("the VM is lost" in warning for warning in nobody.warnings)


@pytest.mark.parametrize(("options", "sentence"), [
    ({"allow_auto_converge": True}, "selects every VM"),
    ({"allow_auto_converge": True, "match_all": True, "namespace_selector": SHOP}, "can't be both"),
    ({"match_all": True}, "would change nothing"),
    ({"match_all": True, "bandwidth_per_migration": "64"}, "0 means unlimited"),
    ({"match_all": True, "completion_timeout_per_gib": -1}, "can't be negative"),
])
def test_what_makes_no_sense_is_refused(lab: Site, options: dict[str, t.Any], sentence: str) -> None:
    with pytest.raises(OptionError, match=sentence):
        lab("wrong", **options)
    with pytest.raises(OptionError, match="no name"):
        lab("Not A Name", match_all=True, allow_post_copy=True)
    assert lab.api.items(POLICIES) == []


def test_without_the_right_to_list_vms_it_is_made_all_the_same(lab: Site) -> None:
    roles = "/apis/rbac.authorization.k8s.io/v1"
    rules = [{"apiGroups": ["migrations.kubevirt.io"], "resources": ["migrationpolicies"], "verbs": ["list", "create", "patch", "delete"]}]
    lab.api.expect(201, "POST", f"{roles}/clusterroles", {"metadata": {"name": "policies"}, "rules": rules})
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "paul"}]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "policies"}
    lab.api.expect(201, "POST", f"{roles}/clusterrolebindings", {"metadata": {"name": "paul"}, "roleRef": reference, "subjects": subjects})
    paul = Verbs(lab.verbs.connection["kubeconfig"], impersonate_user="paul")
    done = paul(NAME, name="shop", namespace_selector=SHOP, allow_auto_converge=True)
    assert done.changed
    assert any("is not known" in warning for warning in done.warnings)
    nobody = Verbs(lab.verbs.connection["kubeconfig"], impersonate_user="nobody")
    with pytest.raises(VirtError, match="migrationpolicies"):
        nobody(NAME, name="shop", state="absent")
