# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every setting with values of every kind: HyperConverged's own verdict, and a reason for each value that it wrongly takes."""

from __future__ import annotations

import json
import time
import typing as t
from collections.abc import Iterator

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import VirtError
from ansible_collections.okd.virt.plugins.module_utils.tuning.effective import JSON_PATCH
from ansible_collections.okd.virt.plugins.module_utils.tuning.fields import BY_OPTION, DEFAULTS, FIELDS
from ansible_collections.okd.virt.plugins.module_utils.tuning.temporary import RECORD

from ..conftest import EngineFactory
from ..support.api import MERGE_PATCH, Api
from .verbs import Verbs

Object = dict[str, t.Any]
NAME, HOME = "live_migration_config", "kubevirt-hyperconverged"
HCO = f"/apis/hco.kubevirt.io/v1beta1/namespaces/{HOME}/hyperconvergeds/kubevirt-hyperconverged"
NEWER = HCO.replace("v1beta1", "v1")
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/hyperconvergeds.hco.kubevirt.io"
KUBEVIRT = f"/apis/kubevirt.io/v1/namespaces/{HOME}/kubevirts/kubevirt-kubevirt-hyperconverged"
NETWORKS = f"/apis/k8s.cni.cncf.io/v1/namespaces/{HOME}/network-attachment-definitions"
DEPLOYMENT = f"/apis/apps/v1/namespaces/{HOME}/deployments/hco-operator"
CONFIG = {"cniVersion": "0.3.1", "type": "macvlan", "master": "eth1", "ipam": {"type": "whereabouts", "range": "192.0.2.0/24"}}
TAKEN = ""

LIMIT: list[tuple[t.Any, bool, str]] = [
    (1, True, TAKEN), (8, True, TAKEN), (2**31 - 1, True, TAKEN),
    (0, True, "no migration would ever start"),
    (-1, False, "can't be negative"), (2**31, False, "too large"), (2**32, False, "too large"),
    ("many", False, "int"), (1.5, False, "int"), (True, False, "no number"),
]
SECONDS: list[tuple[t.Any, bool, str]] = [
    (0, True, TAKEN), (1, True, TAKEN), (800, True, TAKEN), (2**63 - 1, True, TAKEN),
    (-1, True, "can't be negative"),
    (2**63, False, "too large"), ("long", False, "int"), (0.5, False, "int"), (False, False, "no number"),
]
SWITCH: list[tuple[t.Any, bool, str]] = [(True, True, TAKEN), (False, True, TAKEN), ("maybe", False, "bool"), (5, False, "bool")]
VALUES: dict[str, list[tuple[t.Any, bool, str]]] = {
    "parallel_migrations_per_cluster": LIMIT,
    "parallel_outbound_migrations_per_node": LIMIT,
    "completion_timeout_per_gib": SECONDS,
    "progress_timeout": SECONDS,
    "allow_auto_converge": SWITCH,
    "allow_post_copy": SWITCH,
    "bandwidth_per_migration": [
        *((value, True, TAKEN) for value in ("0", "0Mi", "1Mi", "64Mi", "1.5Gi", "2G", "500M", ".5Gi", "5.Gi", "+64Mi")),
        *((value, True, TAKEN) for value in ("1e9", "1E9", "12e8", "2e+9", "2000000k", "1Ei")),
        *((value, True, "0 means unlimited") for value in ("64", "100k", "1023Ki", "0.5Mi", "1m", "5u", "9n", "1e3")),
        *((value, True, "no quantity") for value in ("-64Mi", "-1")),
        *((value, False, "no quantity") for value in ("fast", "64 Mi", " 64Mi", "Mi", "", "64MB", "64mi", "64Mi/s", "0x10", "1_000Mi", "64Mi\n", "1,5Gi")),
    ],
    "network": [
        ("fast", True, TAKEN),
        ("absent", True, "it is not there"),
        *((value, True, "no name") for value in ("Not A Name", "", "-fast", "other/fast")),
    ],
}
CASES = [pytest.param(option, *case, id=f"{option}={case[0]!r}") for option, cases in VALUES.items() for case in cases]


class Cluster:
    """An engine, and what HyperConverged and KubeVirt have in it."""

    def __init__(self, api: Api, verbs: Verbs) -> None:
        self.api, self.verbs = api, verbs

    def __call__(self, **options: t.Any) -> t.Any:
        return self.verbs(NAME, **options)

    @property
    def configured(self) -> Object:
        return dict(self.api.get(HCO)["spec"]["liveMigrationConfig"])

    @property
    def migrations(self) -> Object:
        return dict(self.api.get(KUBEVIRT)["spec"]["configuration"]["migrations"])

    def takes(self, option: str, value: t.Any) -> bool:
        """Whether HyperConverged's schema and webhook take a value."""
        patch = {"spec": {"liveMigrationConfig": {BY_OPTION[option].key: value}}}
        return self.api.request("PATCH", f"{HCO}?dryRun=All", patch, content_type=MERGE_PATCH).status == 200

    def patch(self, path: str, patch: Object) -> None:
        self.api.expect(200, "PATCH", path, patch, content_type=MERGE_PATCH)

    def eventually(self, holds: t.Callable[[], bool]) -> None:
        until = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < until, (self.configured, self.migrations)
            time.sleep(0.05)


@pytest.fixture(scope="module")
def engine_of_file(fresh_engine: EngineFactory) -> Cluster:
    running = fresh_engine(cluster="empty", release="4.19", speed="60")
    made = Cluster(Api(running.kubeconfig), Verbs(running.kubeconfig))
    body = {"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": "fast"}, "spec": {"config": json.dumps(CONFIG)}}
    made.api.expect(201, "POST", NETWORKS, body)
    return made


@pytest.fixture
def cluster(engine_of_file: Cluster) -> Iterator[Cluster]:
    yield engine_of_file
    engine_of_file.patch(HCO, {"metadata": {"annotations": {RECORD: None, JSON_PATCH: None}}, "spec": {"liveMigrationConfig": None}})
    assert not engine_of_file().changed


def test_every_setting_is_in_the_table() -> None:
    assert set(VALUES) == {one.option for one in FIELDS}


@pytest.mark.parametrize(("option", "value", "taken", "why"), CASES)
def test_the_verdict_is_that_of_hyperconverged_or_has_a_reason(cluster: Cluster, option: str, value: t.Any, taken: bool, why: str) -> None:
    """What HyperConverged refuses is refused; what it takes is taken, but for what would not work, and that is said."""
    key, before = BY_OPTION[option].key, cluster.configured
    assert cluster.takes(option, value) is taken
    if why != TAKEN:
        # Types are refused by the argument specification, values by the verb.
        with pytest.raises((VirtError, AssertionError), match=why) as caught:
            cluster(**{option: value})
        assert option in str(caught.value) or "network" in str(caught.value)
        assert cluster.configured == before == cluster.migrations
        return
    assert taken
    default = value == DEFAULTS[key] or (option == "bandwidth_per_migration" and value in ("0", "0Mi"))
    assert cluster.verbs.four_times(NAME, **{option: value}) == [not default, not default, False, False]
    assert cluster.configured == ({**before, key: value} if not default else before) == cluster.migrations
    assert cluster.verbs.four_times(NAME, defaults=[option]) == [not default, not default, False, False]
    assert cluster.configured == before == cluster.migrations


def test_an_edit_of_the_kubevirt_by_hand(cluster: Cluster) -> None:
    """With its operator away it stays, and is told; with it, it is put back."""
    cluster.patch(DEPLOYMENT, {"spec": {"replicas": 0}})
    try:
        cluster.eventually(lambda: not (cluster.api.get(DEPLOYMENT).get("status") or {}).get("availableReplicas"))
        cluster.patch(KUBEVIRT, {"spec": {"configuration": {"migrations": {"progressTimeout": 77, "disableTLS": True}}}})
        found = cluster(wait=False)
        assert {one["key"]: one["cause"] for one in found.result["differences"]} == {"progressTimeout": "out_of_band", "disableTLS": "out_of_band"}
        assert found.result["settings"]["progress_timeout"] == {"value": 77, "default": 150, "hyperconverged": 150, "kubevirt": 77, "policies": {}}
        assert len([one for one in found.warnings if "somebody has changed the KubeVirt itself" in one]) == 2
        assert not found.changed
    finally:
        cluster.patch(DEPLOYMENT, {"spec": {"replicas": 1}})
    cluster.eventually(lambda: cluster.migrations == cluster.configured)
    assert cluster().result["differences"] == []


def test_the_annotation_is_told_and_does_not_keep_a_setting_from_being_set(cluster: Cluster) -> None:
    guard = [{"op": "replace", "path": "/spec/configuration/migrations/progressTimeout", "value": 77}]
    cluster.patch(HCO, {"metadata": {"annotations": {JSON_PATCH: json.dumps(guard)}}})
    assert cluster.verbs.four_times(NAME, progress_timeout=300, allow_auto_converge=True) == [True, True, False, False]
    found = cluster()
    (one,) = found.result["differences"]
    assert (one["key"], one["cause"], one["hyperconverged"], one["kubevirt"]) == ("progressTimeout", "json_patch", 300, 77)
    assert found.result["settings"]["progress_timeout"]["value"] == 77
    assert cluster.migrations["allowAutoConverge"] is True
    cluster.patch(HCO, {"metadata": {"annotations": {JSON_PATCH: None}}})
    cluster.eventually(lambda: cluster.migrations["progressTimeout"] == 300)
    assert cluster().result["differences"] == []


def newer_version() -> Object:
    """HyperConverged v1 as far as its settings of live migration go. Source: HyperConverged api/v1/hyperconverged_types.go."""
    kinds = {
        "parallelMigrationsPerCluster": ("integer", 5), "parallelOutboundMigrationsPerNode": ("integer", 1), "completionTimeoutPerGiB": ("integer", 20),
        "progressTimeout": ("integer", 150), "allowAutoConverge": ("boolean", False), "allowPostCopy": ("boolean", False),
    }
    properties: Object = {name: {"type": kind, "default": default} for name, (kind, default) in kinds.items()}
    properties |= {"bandwidthPerMigration": {"type": "string"}, "network": {"type": "string"}}
    default = {name: default for name, (_kind, default) in kinds.items()}
    config = {"type": "object", "properties": properties, "default": default}
    virtualization = {"type": "object", "properties": {"liveMigrationConfig": config}, "default": {}}
    # The webhook of this release looks at what the older version has beside it.
    spec = {"type": "object", "properties": {"virtualization": virtualization}, "default": {}, "x-kubernetes-preserve-unknown-fields": True}
    status = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "name": "v1", "served": True, "storage": False, "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec, "status": status}}},
    }


def test_a_cluster_that_has_the_newer_version(fresh_engine: EngineFactory) -> None:
    """While both are served the older one is read; when that is gone, the newer with its own place and its own defaults. Nobody converts here."""
    running = fresh_engine(cluster="empty", release="4.19", speed="60")
    cluster = Cluster(Api(running.kubeconfig), Verbs(running.kubeconfig))
    older = cluster.api.get(CRD)["spec"]["versions"][0]
    cluster.patch(CRD, {"spec": {"versions": [older, newer_version()]}})
    cluster.eventually(lambda: cluster.api.request("GET", NEWER).status == 200)
    assert cluster.verbs.four_times(NAME, progress_timeout=300) == [True, True, False, False]
    assert cluster.configured["progressTimeout"] == 300 == cluster.migrations["progressTimeout"]
    cluster(defaults=["progress_timeout"])
    cluster.patch(CRD, {"spec": {"versions": [{**older, "served": False}, newer_version()]}})
    cluster.eventually(lambda: cluster.api.request("GET", HCO).status == 404)

    def configured() -> Object:
        return dict(cluster.api.get(NEWER)["spec"]["virtualization"]["liveMigrationConfig"])

    def four_times(**options: t.Any) -> list[bool]:
        # The operator of this release knows nothing of it, so that no KubeVirt follows.
        return cluster.verbs.four_times(NAME, wait=False, **options)

    # What was stored by the older version has no place for it, and nobody converts it.
    cluster.patch(NEWER, {"spec": {"virtualization": {"liveMigrationConfig": {}}}})
    before = configured()
    assert (before["completionTimeoutPerGiB"], before["parallelOutboundMigrationsPerNode"]) == (20, 1)
    found = cluster(wait=False).result["settings"]
    assert (found["completion_timeout_per_gib"]["default"], found["parallel_outbound_migrations_per_node"]["hyperconverged"]) == (20, 1)
    assert four_times(completion_timeout_per_gib=150, bandwidth_per_migration="1Gi") == [True, True, False, False]
    assert configured() == {**before, "completionTimeoutPerGiB": 150, "bandwidthPerMigration": "1Gi"}
    assert four_times(defaults=["completion_timeout_per_gib", "bandwidth_per_migration"]) == [True, True, False, False]
    assert configured() == before
    assert four_times(state="temporary", parallel_outbound_migrations_per_node=4) == [True, True, False, False]
    assert four_times(state="restored") == [True, True, False, False]
    assert configured() == before
    assert RECORD not in (cluster.api.get(NEWER)["metadata"].get("annotations") or {})
