# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lab's planted problems are found, and no others; each remedy makes its finding go away."""

from __future__ import annotations

import time
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import Forbidden, OptionError
from ansible_collections.okd.virt.plugins.module_utils.readiness.finding import IDS

from ..conftest import EngineFactory
from ..support.api import MERGE_PATCH, Api
from .verbs import Verbs

NAME = "readiness_info"
NODES, PODS = "/api/v1/nodes", "/api/v1/pods"
MACHINES, INSTANCES = "virtualmachines", "virtualmachineinstances"
HCO = "/apis/hco.kubevirt.io/v1beta1/namespaces/kubevirt-hyperconverged/hyperconvergeds/kubevirt-hyperconverged"
NETWORKS = "/apis/k8s.cni.cncf.io/v1/namespaces/kubevirt-hyperconverged/network-attachment-definitions"
POOL = "/apis/machineconfiguration.openshift.io/v1/machineconfigpools/worker"
FAULTS = "/engine.okd.virt/v1/faults"
PATCH = "kubevirt.kubevirt.io/jsonpatch"
PLANTED = {
    ("blocker", "budget_never_opens", "ci/keep-vm-4"), ("blocker", "not_migratable", "analytics/vm-2"), ("blocker", "storage_not_shared", "legacy/vm-1"),
    ("warning", "eviction_strategy_none", "ci/vm-4"), ("warning", "storage_not_shared", "legacy/vm-2"),
    ("note", "bandwidth_unlimited", "kubevirt-hyperconverged/kubevirt-kubevirt-hyperconverged"),
    ("note", "migration_network_shared", "kubevirt-hyperconverged/kubevirt-kubevirt-hyperconverged"),
    ("note", "migrate_rights_held", "kubevirt-hyperconverged"), ("note", "update_waiting", "kubevirt-hyperconverged/hco-operatorhub"),
}
Found = set[tuple[str, str, str]]


class Site:
    """A lab, and what is found in it."""

    def __init__(self, api: Api, verbs: Verbs) -> None:
        self.api, self.verbs = api, verbs

    def __call__(self, **options: t.Any) -> t.Any:
        return self.verbs(NAME, **options)

    def found(self, **options: t.Any) -> Found:
        entries = self(**options).result["findings"]
        return {(one["severity"], one["id"], "/".join(filter(None, (one["namespace"], one["name"])))) for one in entries}

    def becomes(self, expected: Found, seconds: float = 60.0) -> None:
        until = time.monotonic() + seconds
        while (found := self.found()) != expected:
            assert time.monotonic() < until, {"not expected": found - expected, "missing": expected - found}
            time.sleep(0.3)

    def patch(self, path: str, patch: dict[str, t.Any]) -> None:
        self.api.expect(200, "PATCH", path, patch, content_type=MERGE_PATCH)

    def machine(self, namespace: str, name: str, kind: str = MACHINES) -> str:
        return f"/apis/kubevirt.io/v1/namespaces/{namespace}/{kind}/{name}"

    def restart(self, namespace: str, name: str) -> None:
        """Its instance is deleted, and made anew."""
        self.api.expect(200, "DELETE", self.machine(namespace, name, INSTANCES))

    def node_of(self, namespace: str, name: str) -> str:
        return str(self.api.get(self.machine(namespace, name, INSTANCES))["status"]["nodeName"])


@pytest.fixture(scope="module")
def lab(fresh_engine: EngineFactory) -> Site:
    running = fresh_engine(speed="60")
    site = Site(Api(running.kubeconfig), Verbs(running.kubeconfig))
    # OLM offers the next version a moment after the start.
    site.becomes(PLANTED)
    return site


def planted(*without: str, **more: str) -> Found:
    """The lab's own findings without those with these ids, and others beside them as id=object."""
    return {one for one in PLANTED if one[1] not in without} | {(IDS[name], name, where) for name, where in more.items()}


def test_exactly_what_is_planted_in_few_requests(lab: Site) -> None:
    outcome = lab()
    assert lab.found() == PLANTED
    assert not outcome.changed
    assert not outcome.result["ready"]
    assert outcome.msg == "Not ready: 3 blockers, 2 warnings, 4 notes, 0 accepted."
    assert len(outcome.lines) == len(PLANTED)
    for _severity, name, where in PLANTED:
        assert [line for line in outcome.lines if f" {name} " in line and f" {where}: " in line]
    # Nine for nodes, pods and what KubeVirt has, five for roles and bindings, seven for the operator.
    assert lab.verbs.requests <= 21
    assert outcome.result["versions"] == {
        "csv": "kubevirt-hyperconverged-operator.v1.14.1", "hyperconverged": "1.14.1", "kubevirt": "v1.4.1", "approval": "Manual",
        "offered": "kubevirt-hyperconverged-operator.v1.15.3",
    }
    launchers = [pod for pod in lab.api.items(PODS) if (pod["metadata"].get("labels") or {}).get("kubevirt.io") == "virt-launcher"]
    assert outcome.summary["vms"] == len(launchers)


@pytest.mark.parametrize("kind", ["bandwidth", "auto_converge", "post_copy"])
def test_a_vm_that_writes_too_fast_and_each_remedy_as_it_is_given(lab: Site, kind: str) -> None:
    """Known from annotations of its machine; the remedy is applied to all VMs, or by a MigrationPolicy to this one."""
    machine = lab.machine("shop", "vm-1")
    settings = lab.api.get(HCO)["spec"]["liveMigrationConfig"]
    lab.patch(machine, {"metadata": {"annotations": {"okd.virt/dirty-rate": "120Mi", "okd.virt/working-set": "512Mi"}}})
    lab.verbs("live_migration_config", bandwidth_per_migration="64Mi")
    try:
        lab.becomes(planted("bandwidth_unlimited", will_not_converge="shop/vm-1"))
        (found,) = (one for one in lab().result["findings"] if one["id"] == "will_not_converge")
        assert "120 MiB/s (annotation)" in found["sentence"]
        remedy = {one["kind"]: one["settings"] for one in found["data"]["remedies"]}[kind]
        labels = lab.api.get(lab.machine("shop", "vm-1", INSTANCES))["metadata"]["labels"]
        selector = {"kubevirt.io/vm": labels["kubevirt.io/vm"]} if "kubevirt.io/vm" in labels else {"vm.kubevirt.io/name": labels["vm.kubevirt.io/name"]}
        lab.verbs("migration_policy", name="busy", namespace_selector={"kubernetes.io/metadata.name": "shop"},
                  virtual_machine_instance_selector=selector, **remedy)
        lab.becomes(planted("bandwidth_unlimited"))
        lab.verbs("migration_policy", name="busy", state="absent")
        lab.becomes(planted("bandwidth_unlimited", will_not_converge="shop/vm-1"))
        lab.verbs("live_migration_config", **remedy)
        lab.becomes(planted("bandwidth_unlimited"))
    finally:
        lab.verbs("migration_policy", name="busy", state="absent")
        lab.patch(machine, {"metadata": {"annotations": {"okd.virt/dirty-rate": None, "okd.virt/working-set": None}}})
        lab.patch(HCO, {"spec": {"liveMigrationConfig": {**settings, "bandwidthPerMigration": None}}})
        lab.becomes(PLANTED)


def test_accepted_findings_stay_in_the_report_and_do_not_count(lab: Site) -> None:
    accepted = ["budget_never_opens", "not_migratable:analytics/vm-2", "storage_not_shared:legacy/vm-1", "heartbeat_stale", "no_node_fits:shop/none"]
    outcome = lab(accepted=accepted)
    assert outcome.result["ready"]
    assert outcome.summary["accepted"] == 3
    assert outcome.result["unused_acceptances"] == ["heartbeat_stale", "no_node_fits:shop/none"]
    assert len(outcome.result["findings"]) == len(PLANTED)
    with pytest.raises(OptionError, match="no id of a finding"):
        lab(accepted=["nonsense"])
    with pytest.raises(OptionError, match="1 at least"):
        lab(nodes_at_once=0)


def test_spare_memory_follows_the_pool_unless_it_is_said(lab: Site) -> None:
    one = lab().result["spare_memory"]
    lab.patch(POOL, {"spec": {"maxUnavailable": 3}})
    try:
        three = lab().result["spare_memory"]
        assert three == lab(nodes_at_once=3).result["spare_memory"]
        assert three["needed_bytes"] == 3 * one["needed_bytes"]
        assert ("warning", "spare_memory", "node06") in lab.found()
        assert lab.found(nodes_at_once=1) == PLANTED
    finally:
        lab.patch(POOL, {"spec": {"maxUnavailable": 1}})


def test_nodes_that_take_no_vms(lab: Site) -> None:
    lab.verbs("node_drain", names=["node01"], state="cordoned")
    lab.becomes(planted(node_cordoned="node01"))
    lab.verbs("node_drain", names=["node01"], state="uncordoned")
    lab.becomes(PLANTED)


def test_a_vm_whose_cpu_nobody_else_has_and_one_that_has_room_nowhere(lab: Site) -> None:
    """vm-3 names a CPU model that only the newer nodes have; the large ones of node06 fit on two nodes at most."""
    mine = lab.node_of("analytics", "vm-3")
    newer = sorted({"node01", "node02", "node03", "node04"} - {mine})
    lab.verbs("node_drain", names=newer, state="cordoned")
    try:
        found = lab.found()
        assert ("blocker", "no_node_fits", "analytics/vm-3") in found
        lab.verbs("node_drain", names=newer, state="uncordoned")
        lab.becomes(PLANTED)
    finally:
        lab.verbs("node_drain", names=newer, state="uncordoned")


def test_limits_that_stop_everything_and_settings_that_nobody_supports(lab: Site) -> None:
    kubevirt = "kubevirt-hyperconverged/kubevirt-kubevirt-hyperconverged"
    lab.patch(HCO, {"spec": {"liveMigrationConfig": {"parallelMigrationsPerCluster": 0}}})
    lab.becomes(planted(no_parallel_migrations=kubevirt))
    lab.verbs("live_migration_config", parallel_migrations_per_cluster=5, bandwidth_per_migration="512Mi")
    lab.becomes(planted("bandwidth_unlimited"))
    lab.verbs("live_migration_config", defaults=["bandwidth_per_migration"])
    for setting, name in (("disableTLS", "tls_disabled"), ("unsafeMigrationOverride", "unsafe_migration_override")):
        patch = f'[{{"op": "add", "path": "/spec/configuration/migrations/{setting}", "value": true}}]'
        lab.patch(HCO, {"metadata": {"annotations": {PATCH: patch}}})
        lab.becomes(planted(**{name: kubevirt}))
        lab.patch(HCO, {"metadata": {"annotations": {PATCH: None}}})
    lab.becomes(PLANTED)


def test_a_network_for_migrations(lab: Site) -> None:
    config = '{"cniVersion": "0.3.1", "type": "macvlan", "master": "eth1", "ipam": {"type": "whereabouts", "range": "192.0.2.0/24"}}'
    network = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": "fast"}, "spec": {"config": config}}
    lab.api.expect(201, "POST", NETWORKS, network)
    lab.verbs("live_migration_config", network="fast")
    lab.becomes(planted("migration_network_shared"))
    lab.verbs("live_migration_config", defaults=["network"])
    lab.api.expect(200, "DELETE", f"{NETWORKS}/fast")
    lab.becomes(PLANTED)


def test_policies_for_nobody_and_without_an_order(lab: Site) -> None:
    shop = {"kubernetes.io/metadata.name": "shop"}
    lab.verbs("migration_policy", name="nobody", namespace_selector={"there": "is-none"}, allow_auto_converge=True)
    lab.becomes(planted(policy_selects_nothing="nobody"))
    for name in ("nobody", "second"):
        lab.verbs("migration_policy", name=name, namespace_selector=shop, allow_auto_converge=True)
    lab.becomes(planted(policies_tie="second"))
    more = {"kubevirt.io/vm": "vm-1"}
    lab.verbs("migration_policy", name="second", namespace_selector=shop, virtual_machine_instance_selector=more, allow_auto_converge=True)
    lab.becomes(PLANTED)
    for name in ("nobody", "second"):
        lab.verbs("migration_policy", name=name, state="absent")


def test_budgets_that_never_open(lab: Site) -> None:
    budgets = "/apis/policy/v1/namespaces/team-blue/poddisruptionbudgets"
    budget = {"metadata": {"name": "all-of-them"}, "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "wiki"}}}}
    lab.api.expect(201, "POST", budgets, budget)
    lab.becomes(planted() | {("blocker", "budget_never_opens", "team-blue/all-of-them")})
    lab.patch(f"{budgets}/all-of-them", {"spec": {"minAvailable": 1}})
    lab.becomes(PLANTED)
    lab.api.expect(200, "DELETE", f"{budgets}/all-of-them")


def test_migrations_that_run_and_that_fail(lab: Site) -> None:
    path = lab.machine("shop", "vm-2", INSTANCES)
    lab.patch(path, {"metadata": {"annotations": {"engine.okd.virt/copy-seconds": "600"}}})
    lab.verbs("vm_migration", namespace="shop", names=["vm-2"], wait=False)
    lab.becomes(planted(migration_running="shop/vm-2"))
    lab.verbs("vm_migration", namespace="shop", names=["vm-2"], state="cancelled")
    lab.becomes(PLANTED)
    lab.patch(path, {"metadata": {"annotations": {"engine.okd.virt/copy-seconds": "20", "engine.okd.virt/fail-migration": "true"}}})
    for _turn in range(2):
        lab.api.expect(201, "POST", "/apis/kubevirt.io/v1/namespaces/shop/virtualmachineinstancemigrations", {
            "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration", "metadata": {"generateName": "try-"}, "spec": {"vmiName": "vm-2"},
        })
        until = time.monotonic() + 30
        while any(one[1] == "migration_running" for one in lab.found()) or not _ended(lab):
            assert time.monotonic() < until
            time.sleep(0.3)
    lab.becomes(planted(migration_failing="shop/vm-2"))
    lab.patch(path, {"metadata": {"annotations": {"engine.okd.virt/fail-migration": None}}})
    lab.verbs("vm_migration", namespace="shop", names=["vm-2"])
    lab.becomes(PLANTED)


def _ended(lab: Site) -> bool:
    items = lab.api.items("/apis/kubevirt.io/v1/namespaces/shop/virtualmachineinstancemigrations")
    return all((one.get("status") or {}).get("phase") in ("Succeeded", "Failed") for one in items)


def test_the_remedy_of_each_planted_problem(lab: Site) -> None:
    """What the remedies say is done, and each finding goes away."""
    lab.patch(lab.machine("ci", "vm-4"), {"spec": {"template": {"spec": {"evictionStrategy": "LiveMigrate"}}}})
    lab.api.expect(200, "DELETE", "/apis/policy/v1/namespaces/ci/poddisruptionbudgets/keep-vm-4")
    lab.restart("ci", "vm-4")
    lab.becomes(planted("eviction_strategy_none", "budget_never_opens"))
    lab.patch(lab.machine("analytics", "vm-2"), {"spec": {"template": {"spec": {"domain": {"devices": {"gpus": None, "hostDevices": None}}}}}})
    lab.restart("analytics", "vm-2")
    lab.becomes(planted("eviction_strategy_none", "budget_never_opens", "not_migratable"))


def test_a_node_that_is_lost(lab: Site) -> None:
    before = lab.found()
    lab.api.expect(200, "PUT", FAULTS, {"lostNodes": ["node05"]})
    until = time.monotonic() + 60
    try:
        while not {("warning", "node_not_ready", "node05"), ("warning", "heartbeat_stale", "node05")} <= lab.found():
            assert time.monotonic() < until
            time.sleep(0.3)
    finally:
        lab.api.expect(200, "DELETE", FAULTS)
    until = time.monotonic() + 60
    while any(one[2] == "node05" for one in lab.found() - before):
        assert time.monotonic() < until
        time.sleep(0.3)


def test_whoever_may_not_read_is_told_what(lab: Site) -> None:
    nobody = Verbs(lab.verbs.connection["kubeconfig"], impersonate_user="nobody")
    with pytest.raises(Forbidden, match="virtualmachineinstances"):
        nobody(NAME)
