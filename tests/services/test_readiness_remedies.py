# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every finding there is: a problem is planted, or the lab has it, and is found; its remedy is applied, and the finding goes away."""

from __future__ import annotations

import contextlib
import json
import time
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._placement.room import keep, room_of
from ansible_collections.okd.virt.plugins.module_utils.readiness.finding import IDS

from ..conftest import EngineFactory
from ..support.api import MERGE_PATCH, OPERATORS, RBAC, Api
from .verbs import Verbs

Case = t.Generator[str, None, None]
HOME = "kubevirt-hyperconverged"
KUBEVIRT = f"{HOME}/kubevirt-kubevirt-hyperconverged"
HCO = f"/apis/hco.kubevirt.io/v1beta1/namespaces/{HOME}/hyperconvergeds/kubevirt-hyperconverged"
SUBSCRIPTION = f"{OPERATORS}/namespaces/{HOME}/subscriptions/hco-operatorhub"
NETWORKS = f"/apis/k8s.cni.cncf.io/v1/namespaces/{HOME}/network-attachment-definitions"
POOL = "/apis/machineconfiguration.openshift.io/v1/machineconfigpools/worker"
FAULTS, NODES, PODS = "/engine.okd.virt/v1/faults", "/api/v1/nodes", "/api/v1/pods"
STATUS = "k8s.v1.cni.cncf.io/network-status"
JSON_PATCH = "kubevirt.kubevirt.io/jsonpatch"
HANDLER, CONTROLLER = f"system:serviceaccount:{HOME}:kubevirt-handler", f"system:serviceaccount:{HOME}:kubevirt-controller"
GIB = 2**30
LONGEST = 120.0


class Site:
    """A lab of its own, and what is found in it."""

    def __init__(self, kubeconfig: t.Any) -> None:
        self.api, self.verbs, self.admin = Api(kubeconfig), Verbs(kubeconfig), Verbs(kubeconfig)

    def found(self, name: str) -> set[str]:
        """The objects that have this finding."""
        entries = self.verbs("readiness_info").result["findings"]
        return {"/".join(filter(None, (one["namespace"], one["name"]))) for one in entries if one["id"] == name}

    def until(self, name: str, where: str, there: bool) -> None:
        ends = time.monotonic() + LONGEST
        while (where in self.found(name)) is not there:
            assert time.monotonic() < ends, f"{name} of {where} {'does not come' if there else 'does not go away'}"
            time.sleep(0.3)

    def patch(self, path: str, patch: dict[str, t.Any]) -> None:
        self.api.expect(200, "PATCH", path, patch, content_type=MERGE_PATCH)

    def says(self, user: str, namespace: str, name: str, **status: t.Any) -> None:
        """A part of KubeVirt writes into the status of an instance, where nobody else may."""
        ends = time.monotonic() + LONGEST
        while True:
            vmi = self.vmi(namespace, name)
            answer = self.api.request("PUT", self.instance(namespace, name), {**vmi, "status": {**vmi["status"], **status}}, user=user)
            if answer.status == 200:
                return
            assert answer.status == 409, answer.body
            assert time.monotonic() < ends

    def machine(self, namespace: str, name: str) -> str:
        return f"/apis/kubevirt.io/v1/namespaces/{namespace}/virtualmachines/{name}"

    def instance(self, namespace: str, name: str) -> str:
        return f"/apis/kubevirt.io/v1/namespaces/{namespace}/virtualmachineinstances/{name}"

    def vmi(self, namespace: str, name: str) -> dict[str, t.Any]:
        return self.api.get(self.instance(namespace, name))

    def changed(self, namespace: str, name: str, spec: dict[str, t.Any]) -> None:
        """The template of a machine is changed, and its instance made anew."""
        self.patch(self.machine(namespace, name), {"spec": {"template": {"spec": spec}}})
        self.restart(namespace, name)

    def restart(self, namespace: str, name: str) -> None:
        uid = self.vmi(namespace, name)["metadata"]["uid"]
        self.api.expect(200, "DELETE", self.instance(namespace, name))
        ends = time.monotonic() + LONGEST
        while True:
            answer = self.api.request("GET", self.instance(namespace, name))
            if answer.status == 200 and answer.body["metadata"]["uid"] != uid and answer.body.get("status", {}).get("phase") == "Running":
                return
            assert time.monotonic() < ends
            time.sleep(0.2)

    def faults(self, **faults: t.Any) -> None:
        self.api.expect(200, "PUT", FAULTS, faults) if faults else self.api.expect(200, "DELETE", FAULTS)

    def room(self) -> dict[str, int]:
        """Bytes of memory that are left on each node."""
        room = room_of(self.api.items(NODES), [kept for pod in self.api.items(PODS) if (kept := keep(pod))])
        return {name: info.memory for name, info in room.infos.items()}

    @contextlib.contextmanager
    def filled(self, where: str, left: dict[str, int]) -> t.Iterator[list[str]]:
        """Pods that leave so much on these nodes, and cordons on all but these and one; their paths."""
        room, paths = self.room(), []
        others = [name for name in room if name.startswith("node") and name not in (where, *left)]
        self.admin("node_drain", names=others, state="cordoned")
        for name, size in left.items():
            resources = {"requests": {"memory": str(room[name] - size)}}
            body = {"metadata": {"name": f"filler-{name}"}, "spec": {"nodeName": name, "containers": [{"name": "c", "image": "x", "resources": resources}]}}
            self.api.expect(201, "POST", "/api/v1/namespaces/sandbox/pods", body)
            paths.append(f"/api/v1/namespaces/sandbox/pods/filler-{name}")
        try:
            yield paths
        finally:
            for path in paths:
                self.api.request("DELETE", f"{path}?gracePeriodSeconds=0")
            self.admin("node_drain", names=others, state="uncordoned")

    @contextlib.contextmanager
    def reader(self, *without: str) -> t.Iterator[dict[str, t.Any]]:
        """Findings are looked for as somebody who may read all but these groups; the role."""
        groups = sorted({"", "policy", "kubevirt.io", "migrations.kubevirt.io", "machineconfiguration.openshift.io", "operators.coreos.com",
                         "hco.kubevirt.io", "rbac.authorization.k8s.io", "user.openshift.io"} - set(without))
        rule = {"apiGroups": groups, "resources": ["*"], "verbs": ["get", "list"]}
        role = self.api.expect(201, "POST", f"{RBAC}/clusterroles", {"metadata": {"name": "reader"}, "rules": [rule]})
        subject = {"kind": "User", "name": "reader", "apiGroup": "rbac.authorization.k8s.io"}
        reference = {"kind": "ClusterRole", "name": "reader", "apiGroup": "rbac.authorization.k8s.io"}
        self.api.expect(201, "POST", f"{RBAC}/clusterrolebindings", {"metadata": {"name": "reader"}, "roleRef": reference, "subjects": [subject]})
        self.verbs = Verbs(self.admin.connection["kubeconfig"], impersonate_user="reader")
        try:
            yield role
        finally:
            self.verbs = self.admin
            for kind in ("clusterrolebindings", "clusterroles"):
                self.api.expect(200, "DELETE", f"{RBAC}/{kind}/reader")


def bandwidth_unlimited(lab: Site) -> Case:
    yield KUBEVIRT
    lab.admin("live_migration_config", bandwidth_per_migration="512Mi")


def budget_never_opens(lab: Site) -> Case:
    path = "/apis/policy/v1/namespaces/team-blue/poddisruptionbudgets"
    spec = {"minAvailable": 2, "selector": {"matchLabels": {"app": "wiki"}}}
    lab.api.expect(201, "POST", path, {"metadata": {"name": "all-of-them"}, "spec": spec})
    yield "team-blue/all-of-them"
    lab.patch(f"{path}/all-of-them", {"spec": {"minAvailable": 1}})


def eviction_strategy_external(lab: Site) -> Case:
    lab.changed("shop", "vm-3", {"evictionStrategy": "External"})
    yield "shop/vm-3"
    lab.changed("shop", "vm-3", {"evictionStrategy": "LiveMigrate"})


def eviction_strategy_none(lab: Site) -> Case:
    yield "ci/vm-4"
    lab.changed("ci", "vm-4", {"evictionStrategy": "LiveMigrate"})


def heartbeat_stale(lab: Site) -> Case:
    lab.faults(clockSkew={"node05": -400})
    yield "node05"
    lab.faults()


def _network(lab: Site, name: str, of: str) -> dict[str, t.Any]:
    """A network that migrations can have."""
    ipam = {"type": "whereabouts", "range": of}
    text = json.dumps({"cniVersion": "0.3.1", "name": name, "type": "macvlan", "master": "eth1", "mode": "bridge", "ipam": ipam})
    body = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": name}, "spec": {"config": text}}
    return lab.api.expect(201, "POST", NETWORKS, body)


def _without_network(lab: Site, *names: str) -> None:
    lab.admin("live_migration_config", defaults=["network"])
    for name in names:
        lab.api.request("DELETE", f"{NETWORKS}/{name}")


def kubevirt_not_available(lab: Site) -> Case:
    """Its operator may not do what it must, and has something to do."""
    with _operator_stalls(lab):
        yield KUBEVIRT


@contextlib.contextmanager
def _operator_stalls(lab: Site) -> t.Iterator[None]:
    path = f"{RBAC}/clusterroles/kubevirt-operator"
    rules = lab.api.get(path)["rules"]
    lab.patch(path, {"rules": [one for one in rules if "clusterroles" not in one.get("resources", ())]})
    lab.api.expect(200, "DELETE", f"{RBAC}/clusterroles/kubevirt.io:view")
    lab.patch(HCO, {"spec": {"liveMigrationConfig": {"parallelMigrationsPerCluster": 6}}})
    _network(lab, "other", "198.51.100.0/24")
    lab.patch(HCO, {"spec": {"liveMigrationConfig": {"network": "other"}}})
    yield
    lab.patch(path, {"rules": rules})
    lab.patch(HCO, {"spec": {"liveMigrationConfig": {"network": None, "parallelMigrationsPerCluster": 5}}})
    lab.until("kubevirt_not_available", KUBEVIRT, False)
    lab.api.expect(200, "DELETE", f"{NETWORKS}/other")


def launcher_outdated(lab: Site) -> Case:
    lab.patch(HCO, {"spec": {"workloadUpdateStrategy": {"workloadUpdateMethods": []}}})
    (pod,) = [
        one for one in lab.api.items("/api/v1/namespaces/shop/pods")
        if one["metadata"].get("annotations", {}).get("kubevirt.io/domain") == "vm-4" and one["status"]["phase"] == "Running"
    ]
    containers = [{**one, "image": "quay.io/kubevirt/virt-launcher:v1.3.0"} if one["name"] == "compute" else one for one in pod["spec"]["containers"]]
    lab.patch(f"/api/v1/namespaces/shop/pods/{pod['metadata']['name']}", {"spec": {"containers": containers}})
    lab.says(CONTROLLER, "shop", "vm-4", launcherContainerImageVersion="")
    yield "shop/vm-4"
    lab.admin("vm_migration", namespace="shop", names=["vm-4"])


def load_unreadable(lab: Site) -> Case:
    lab.patch(lab.machine("shop", "vm-6"), {"metadata": {"annotations": {"okd.virt/dirty-rate": "a lot"}}})
    yield "shop/vm-6"
    lab.patch(lab.machine("shop", "vm-6"), {"metadata": {"annotations": {"okd.virt/dirty-rate": None}}})


def migrate_rights_held(lab: Site) -> Case:
    yield HOME
    mine = list(_tenants_bindings(lab))
    kept = [(path.rpartition("/")[0], lab.api.get(path)) for path in mine]
    for path in mine:
        lab.api.expect(200, "DELETE", path)
    lab.until("migrate_rights_held", HOME, False)
    for path, one in kept:
        metadata = {key: one["metadata"][key] for key in ("name", "namespace") if key in one["metadata"]}
        lab.api.expect(201, "POST", path, {"metadata": metadata, "roleRef": one["roleRef"], "subjects": one["subjects"]})


def _tenants_bindings(lab: Site) -> t.Iterator[str]:
    for name in ("vm-admins", "ci-pipeline"):
        yield f"{RBAC}/clusterrolebindings/{name}"
    for one in lab.api.items(f"{RBAC}/rolebindings"):
        if one["metadata"]["namespace"] in ("team-blue", "team-green", "shop", "analytics", "legacy", "sandbox"):
            yield f"{RBAC}/namespaces/{one['metadata']['namespace']}/rolebindings/{one['metadata']['name']}"


def migrate_rights_unknown(lab: Site) -> Case:
    with lab.reader("rbac.authorization.k8s.io") as role:
        yield HOME
        more = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["*"], "verbs": ["list", "get"]}
        lab.patch(f"{RBAC}/clusterroles/reader", {"rules": [*role["rules"], more]})
        lab.until("migrate_rights_unknown", HOME, False)


def migratability_unknown(lab: Site) -> Case:
    """What virt-handler last said is gone, and it can say nothing."""
    resource = "virtualmachineinstances.kubevirt.io"
    lab.faults(controllers=True, rules=[{"answer": "503", "verbs": ["update", "patch"], "resources": [resource], "users": [HANDLER]}])
    conditions = [one for one in lab.vmi("shop", "vm-5")["status"]["conditions"] if one["type"] != "LiveMigratable"]
    lab.says(CONTROLLER, "shop", "vm-5", conditions=conditions)
    yield "shop/vm-5"
    lab.faults()


def migration_failing(lab: Site) -> Case:
    _copies(lab, **{"fail-migration": "true", "copy-seconds": "5"})
    for _turn in range(2):
        with contextlib.suppress(Exception):
            lab.admin("vm_migration", namespace="shop", names=["vm-2"])
    yield "shop/vm-2"
    _copies(lab, **{"fail-migration": None, "copy-seconds": None})
    lab.admin("vm_migration", namespace="shop", names=["vm-2"])


def _copies(lab: Site, **annotations: str | None) -> None:
    lab.patch(lab.instance("shop", "vm-2"), {"metadata": {"annotations": {f"engine.okd.virt/{key}": value for key, value in annotations.items()}}})


def migration_network_missing(lab: Site) -> Case:
    _network(lab, "gone", "192.0.2.0/24")
    lab.admin("live_migration_config", network="gone")
    lab.api.expect(200, "DELETE", f"{NETWORKS}/gone")
    yield f"{HOME}/gone"
    _network(lab, "gone", "192.0.2.0/24")
    lab.until("migration_network_missing", f"{HOME}/gone", False)
    _without_network(lab, "gone")


def migration_network_not_used(lab: Site) -> Case:
    """A virt-handler has lost its address."""
    _network(lab, "fast", "192.0.2.0/24")
    lab.admin("live_migration_config", network="fast")
    pod = lab.api.items(f"/api/v1/namespaces/{HOME}/pods?labelSelector=kubevirt.io%3Dvirt-handler")[0]
    path, text = f"/api/v1/namespaces/{HOME}/pods/{pod['metadata']['name']}", pod["metadata"]["annotations"][STATUS]
    lab.patch(path, {"metadata": {"annotations": {STATUS: json.dumps(json.loads(text)[:1])}}})
    yield KUBEVIRT
    lab.patch(path, {"metadata": {"annotations": {STATUS: text}}})
    lab.until("migration_network_not_used", KUBEVIRT, False)
    _without_network(lab, "fast")


def migration_network_shared(lab: Site) -> Case:
    _network(lab, "fast", "192.0.2.0/24")
    yield KUBEVIRT
    lab.admin("live_migration_config", network="fast")
    lab.until("migration_network_shared", KUBEVIRT, False)
    _without_network(lab, "fast")


def migration_network_unfit(lab: Site) -> Case:
    """Another network has the same addresses."""
    _network(lab, "fast", "192.0.2.0/24")
    lab.admin("live_migration_config", network="fast")
    networks = "/apis/k8s.cni.cncf.io/v1/namespaces/default/network-attachment-definitions"
    text = json.dumps({"cniVersion": "0.3.1", "name": "storage", "type": "macvlan", "master": "eth1", "ipam": {"type": "host-local", "subnet": "192.0.2.0/24"}})
    body = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": "storage"}, "spec": {"config": text}}
    lab.api.expect(201, "POST", networks, body)
    yield f"{HOME}/fast"
    lab.api.expect(200, "DELETE", f"{networks}/storage")
    lab.until("migration_network_unfit", f"{HOME}/fast", False)
    _without_network(lab, "fast")


def migration_running(lab: Site) -> Case:
    _copies(lab, **{"copy-seconds": "600"})
    lab.admin("vm_migration", namespace="shop", names=["vm-2"], wait=False)
    yield "shop/vm-2"
    _copies(lab, **{"copy-seconds": "5"})
    lab.admin("vm_migration", namespace="shop", names=["vm-2"], state="cancelled")


def migration_stuck(lab: Site) -> Case:
    """Nobody breaks it off, and nothing gets through."""
    lab.admin("live_migration_config", progress_timeout=0, completion_timeout_per_gib=0)
    _copies(lab, **{"hang-migration": "true"})
    lab.admin("vm_migration", namespace="shop", names=["vm-2"], wait=False)
    yield "shop/vm-2"
    _copies(lab, **{"hang-migration": None})
    lab.admin("vm_migration", namespace="shop", names=["vm-2"], state="cancelled")
    lab.admin("live_migration_config", defaults=["progress_timeout", "completion_timeout_per_gib"])


def no_node_fits(lab: Site) -> Case:
    mine = lab.vmi("analytics", "vm-3")["status"]["nodeName"]
    newer = sorted({"node01", "node02", "node03", "node04"} - {mine})
    lab.admin("node_drain", names=newer, state="cordoned")
    yield "analytics/vm-3"
    lab.admin("node_drain", names=newer, state="uncordoned")


def no_parallel_migrations(lab: Site) -> Case:
    lab.patch(HCO, {"spec": {"liveMigrationConfig": {"parallelMigrationsPerCluster": 0}}})
    yield KUBEVIRT
    lab.admin("live_migration_config", parallel_migrations_per_cluster=5)


def _large_one_and_the_roomiest(lab: Site) -> list[str]:
    """The node of the large VMs, and the two others with most room."""
    where, room = lab.vmi("shop", "vm-8")["status"]["nodeName"], lab.room()
    return [where, *sorted((name for name in room if name.startswith("node") and name != where), key=lambda name: -room[name])[:2]]


def node_cannot_be_emptied(lab: Site) -> Case:
    """Room for one of the two large VMs."""
    where, first, second = _large_one_and_the_roomiest(lab)
    with lab.filled(where, {first: 70 * GIB, second: 20 * GIB}) as fillers:
        yield where
        for path in fillers:
            lab.api.expect(200, "DELETE", f"{path}?gracePeriodSeconds=0")
        lab.until("node_cannot_be_emptied", where, False)


def node_cordoned(lab: Site) -> Case:
    lab.admin("node_drain", names=["node01"], state="cordoned")
    yield "node01"
    lab.admin("node_drain", names=["node01"], state="uncordoned")


def node_not_ready(lab: Site) -> Case:
    lab.faults(lostNodes=["node05"])
    yield "node05"
    lab.faults()


def node_not_schedulable_for_vms(lab: Site) -> Case:
    lab.faults(clockSkew={"node04": -400})
    yield "node04"
    lab.faults()


def not_migratable(lab: Site) -> Case:
    yield "analytics/vm-2"
    lab.changed("analytics", "vm-2", {"domain": {"devices": {"gpus": None, "hostDevices": None}}})


def not_upgradeable(lab: Site) -> Case:
    with _operator_stalls(lab):
        yield f"{HOME}/kubevirt-hyperconverged"


def policies_tie(lab: Site) -> Case:
    shop = {"kubernetes.io/metadata.name": "shop"}
    for name in ("first", "second"):
        lab.admin("migration_policy", name=name, namespace_selector=shop, allow_auto_converge=True)
    yield "second"
    more = {"kubevirt.io/vm": "vm-1"}
    lab.admin("migration_policy", name="second", namespace_selector=shop, virtual_machine_instance_selector=more, allow_auto_converge=True)
    lab.until("policies_tie", "second", False)
    for name in ("first", "second"):
        lab.admin("migration_policy", name=name, state="absent")


def policy_selects_nothing(lab: Site) -> Case:
    lab.admin("migration_policy", name="nobody", namespace_selector={"there": "is-none"}, allow_auto_converge=True)
    yield "nobody"
    lab.admin("migration_policy", name="nobody", state="absent")


def room_is_tight(lab: Site) -> Case:
    """Two nodes take one each of the two large VMs, if the small ones leave them alone."""
    where, first, second = _large_one_and_the_roomiest(lab)
    with lab.filled(where, {first: 70 * GIB, second: 70 * GIB}) as fillers:
        yield where
        for path in fillers:
            lab.api.expect(200, "DELETE", f"{path}?gracePeriodSeconds=0")
        lab.until("room_is_tight", where, False)


def spare_memory(lab: Site) -> Case:
    lab.patch(POOL, {"spec": {"maxUnavailable": 3}})
    largest = lab.verbs("readiness_info").result["spare_memory"]["largest_node"]
    yield largest
    lab.patch(POOL, {"spec": {"maxUnavailable": 1}})


def storage_not_shared(lab: Site) -> Case:
    yield "legacy/vm-1"
    path = "/api/v1/namespaces/legacy/persistentvolumeclaims"
    claim = lab.api.get(f"{path}/vm-1")
    body = {"metadata": {"name": "shared-1"}, "spec": {**claim["spec"], "accessModes": ["ReadWriteMany"], "volumeName": "pv-shared"}}
    lab.api.expect(201, "POST", path, body)
    lab.changed("legacy", "vm-1", {"volumes": [{"name": "rootdisk", "persistentVolumeClaim": {"claimName": "shared-1"}}]})


def target_cpu_missing(lab: Site) -> Case:
    """The newer nodes are gone; it gets a model that the older ones have too."""
    for name in ("node01", "node02", "node03", "node04"):
        lab.patch(f"{NODES}/{name}", {"metadata": {"labels": {"cpu-model.node.kubevirt.io/Skylake-Server": None}}})
    yield "analytics/vm-3"
    lab.changed("analytics", "vm-3", {"domain": {"cpu": {"model": "Haswell-noTSX"}}})


def _by_json_patch(lab: Site, setting: str) -> Case:
    patch = f'[{{"op": "add", "path": "/spec/configuration/migrations/{setting}", "value": true}}]'
    lab.patch(HCO, {"metadata": {"annotations": {JSON_PATCH: patch}}})
    yield KUBEVIRT
    lab.patch(HCO, {"metadata": {"annotations": {JSON_PATCH: None}}})


def tls_disabled(lab: Site) -> Case:
    return _by_json_patch(lab, "disableTLS")


def unsafe_migration_override(lab: Site) -> Case:
    return _by_json_patch(lab, "unsafeMigrationOverride")


def update_blocked(lab: Site) -> Case:
    lab.patch(SUBSCRIPTION, {"spec": {"channel": "nowhere"}})
    yield f"{HOME}/hco-operatorhub"
    lab.patch(SUBSCRIPTION, {"spec": {"channel": "stable"}})


def update_in_progress(lab: Site) -> Case:
    """The last of all: the cluster has another release afterwards."""
    lab.until("update_waiting", f"{HOME}/hco-operatorhub", True)
    lab.admin("operator_update", target_version="1.15.3", wait=False)
    yield KUBEVIRT


def update_state_unknown(lab: Site) -> Case:
    with lab.reader("operators.coreos.com") as role:
        yield HOME
        more = {"apiGroups": ["operators.coreos.com"], "resources": ["*"], "verbs": ["list", "get"]}
        lab.patch(f"{RBAC}/clusterroles/reader", {"rules": [*role["rules"], more]})
        lab.until("update_state_unknown", HOME, False)


def update_waiting(lab: Site) -> Case:
    yield f"{HOME}/hco-operatorhub"
    lab.admin("operator_update", target_version="1.15.3", wait=False)


def will_not_converge(lab: Site) -> Case:
    annotations = {"okd.virt/dirty-rate": "120Mi", "okd.virt/working-set": "512Mi"}
    lab.patch(lab.machine("shop", "vm-7"), {"metadata": {"annotations": annotations}})
    lab.admin("live_migration_config", bandwidth_per_migration="64Mi")
    yield "shop/vm-7"
    (found,) = (one for one in lab.verbs("readiness_info").result["findings"] if one["id"] == "will_not_converge" and one["name"] == "vm-7")
    remedies = {one["kind"]: one["settings"] for one in found["data"]["remedies"]}
    lab.admin("live_migration_config", **remedies["bandwidth"])


BACK_AGAIN = ("migrate_rights_held", "migration_network_shared")
"""The lab's own, which it has again when it is put back."""
AT_THE_END = ("update_in_progress",)
OF_ITS_OWN = ("migration_stuck", "update_waiting")


@pytest.fixture(scope="module")
def lab(fresh_engine: EngineFactory) -> Site:
    return Site(fresh_engine(speed="60").kubeconfig)


def _check(site: Site, name: str) -> None:
    case: Case = globals()[name](site)
    where = next(case)
    site.until(name, where, there=True)
    # What comes after the problem is its remedy. Where the lab is put back, the case itself has watched the finding go away before.
    assert next(case, None) is None
    if name not in BACK_AGAIN:
        site.until(name, where, there=False)


@pytest.mark.parametrize("name", [*sorted(set(IDS) - {*AT_THE_END, *OF_ITS_OWN}), *AT_THE_END])
def test_found_and_gone_after_its_remedy(lab: Site, name: str) -> None:
    """An id without a case fails here."""
    _check(lab, name)


@pytest.mark.parametrize("name", OF_ITS_OWN)
def test_found_and_gone_in_a_lab_of_its_own(fresh_engine: EngineFactory, name: str) -> None:
    _check(Site(fresh_engine(speed="60").kubeconfig), name)
