# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of live migration over HTTP: set, put to their defaults, refused, for a while and put back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import (
    ApiError,
    OptionError,
    PreconditionFailed,
    VirtError,
)
from ansible_collections.okd.virt.plugins.module_utils.tuning.effective import JSON_PATCH
from ansible_collections.okd.virt.plugins.module_utils.tuning.temporary import RECORD

from ..conftest import EngineFactory
from ..support.api import MERGE_PATCH, Api
from .verbs import Verbs

NAME = "live_migration_config"
HOME = "kubevirt-hyperconverged"
HCO = f"/apis/hco.kubevirt.io/v1beta1/namespaces/{HOME}/hyperconvergeds/kubevirt-hyperconverged"
KUBEVIRT = f"/apis/kubevirt.io/v1/namespaces/{HOME}/kubevirts/kubevirt-kubevirt-hyperconverged"
POLICIES = "/apis/migrations.kubevirt.io/v1alpha1/migrationpolicies"
NETWORKS = f"/apis/k8s.cni.cncf.io/v1/namespaces/{HOME}/network-attachment-definitions"
HANDLER = f"/apis/apps/v1/namespaces/{HOME}/daemonsets/virt-handler"
FAST = {
    "cniVersion": "0.3.1", "name": "fast", "type": "macvlan", "master": "eth1", "mode": "bridge",
    "ipam": {"type": "whereabouts", "range": "192.0.2.0/24"},
}
EVERY = {
    "parallel_migrations_per_cluster": 8, "parallel_outbound_migrations_per_node": 3, "bandwidth_per_migration": "256Mi", "completion_timeout_per_gib": 200,
    "progress_timeout": 300, "allow_auto_converge": True, "allow_post_copy": True,
}


class Cluster:
    """An engine, as fast as it can, and what is set in it."""

    def __init__(self, api: Api, verbs: Verbs) -> None:
        self.api, self.verbs = api, verbs

    def __call__(self, **options: t.Any) -> t.Any:
        return self.verbs(NAME, **options)

    def fails(self, **options: t.Any) -> VirtError:
        with pytest.raises(VirtError) as caught:
            self(**options)
        return caught.value

    @property
    def hyperconverged(self) -> dict[str, t.Any]:
        return self.api.get(HCO)

    @property
    def configured(self) -> dict[str, t.Any]:
        return dict(self.hyperconverged["spec"]["liveMigrationConfig"])

    @property
    def migrations(self) -> dict[str, t.Any]:
        return dict(self.api.get(KUBEVIRT)["spec"]["configuration"]["migrations"])

    def patch(self, path: str, patch: dict[str, t.Any]) -> None:
        self.api.expect(200, "PATCH", path, patch, content_type=MERGE_PATCH)


@pytest.fixture(scope="module")
def engine_of_file(fresh_engine: EngineFactory) -> Cluster:
    running = fresh_engine(cluster="empty", release="4.19", speed="60")
    return Cluster(Api(running.kubeconfig), Verbs(running.kubeconfig))


@pytest.fixture
def cluster(engine_of_file: Cluster) -> t.Iterator[Cluster]:
    yield engine_of_file
    engine_of_file.patch(HCO, {"metadata": {"annotations": {RECORD: None, JSON_PATCH: None}}, "spec": {"liveMigrationConfig": None}})
    assert not engine_of_file().changed


@pytest.mark.parametrize("option", sorted(EVERY))
def test_each_setting_there_and_back(cluster: Cluster, option: str) -> None:
    before = cluster.configured
    assert cluster.verbs.four_times(NAME, **{option: EVERY[option]}) == [True, True, False, False]
    found = cluster().result["settings"][option]
    assert (found["value"], found["hyperconverged"], found["kubevirt"]) == (EVERY[option],) * 3
    assert cluster.verbs.four_times(NAME, defaults=[option]) == [True, True, False, False]
    assert cluster.configured == before == cluster.migrations
    assert cluster().result["settings"][option]["value"] == found["default"]


def test_all_at_once_and_only_what_differs_is_written(cluster: Cluster) -> None:
    cluster(progress_timeout=300)
    done = cluster(**EVERY)
    (action,) = done.actions
    assert "progressTimeout" not in action["after"]["spec"]["liveMigrationConfig"]
    assert cluster.configured == cluster.migrations
    assert any("the VM is lost" in warning for warning in done.warnings)
    assert not cluster(bandwidth_per_migration="262144Ki").changed


@pytest.mark.parametrize(("options", "sentence"), [
    ({"parallel_migrations_per_cluster": 0}, "no migration would ever start"),
    ({"parallel_outbound_migrations_per_node": -1}, "can't be negative"),
    ({"parallel_migrations_per_cluster": 2**31}, "too large"),
    ({"progress_timeout": -5}, "can't be negative"),
    ({"bandwidth_per_migration": "fast"}, "no quantity"),
    ({"bandwidth_per_migration": "-64Mi"}, "no quantity"),
    ({"bandwidth_per_migration": "64"}, "0 means unlimited"),
    ({"network": "Not A Name"}, "no name of a NetworkAttachmentDefinition"),
    ({"progress_timeout": 5, "defaults": ["progress_timeout"]}, "can't be both"),
    ({"state": "restored", "progress_timeout": 5}, "takes no settings"),
])
def test_what_makes_no_sense_is_refused_before_anything(cluster: Cluster, options: dict[str, t.Any], sentence: str) -> None:
    before = cluster.hyperconverged
    error = cluster.fails(**options)
    assert isinstance(error, OptionError)
    assert sentence in error.message
    assert cluster.hyperconverged == before


@pytest.mark.parametrize(("value", "taken"), [("64Mi", True), ("1Gi", True), ("0", True), ("1.5Gi", True), ("fast", False), ("64 Mi", False), ("Mi", False)])
def test_bandwidth_has_the_verdict_of_the_schema(cluster: Cluster, value: str, taken: bool) -> None:
    answer = cluster.api.request(
        "PATCH", f"{HCO}?dryRun=All", {"spec": {"liveMigrationConfig": {"bandwidthPerMigration": value}}}, content_type=MERGE_PATCH
    )
    assert (answer.status == 200) is taken
    if taken:
        cluster(bandwidth_per_migration=value)
    else:
        assert isinstance(cluster.fails(bandwidth_per_migration=value), OptionError)


def test_what_the_webhook_refuses_is_said_in_its_words(cluster: Cluster) -> None:
    """The webhook tries what would become of the KubeVirt: here a patch that holds only as long as a time-out is what it was."""
    guard = [{"op": "test", "path": "/spec/configuration/migrations/progressTimeout", "value": 150}]
    cluster.patch(HCO, {"metadata": {"annotations": {JSON_PATCH: json.dumps(guard)}}})
    words = cluster.api.request("PATCH", f"{HCO}?dryRun=All", {"spec": {"liveMigrationConfig": {"progressTimeout": 300}}}, content_type=MERGE_PATCH)
    assert words.status == 403
    before = cluster.configured
    error = cluster.fails(progress_timeout=300)
    assert isinstance(error, ApiError)
    assert words.body["message"] in error.message
    assert "validate-hco" in error.message
    assert cluster.configured == before
    error = cluster.fails(state="temporary", progress_timeout=300)
    assert isinstance(error, ApiError)
    assert RECORD not in cluster.hyperconverged["metadata"]["annotations"]


def test_a_limit_that_the_server_refuses_is_refused_before(cluster: Cluster) -> None:
    asked = {"spec": {"liveMigrationConfig": {"parallelMigrationsPerCluster": -1}}}
    assert cluster.api.request("PATCH", f"{HCO}?dryRun=All", asked, content_type=MERGE_PATCH).status >= 400
    assert isinstance(cluster.fails(parallel_migrations_per_cluster=-1), OptionError)


def test_a_patch_of_the_kubevirt_and_policies_are_told(cluster: Cluster) -> None:
    patch = [
        {"op": "add", "path": "/spec/configuration/migrations/allowWorkloadDisruption", "value": True},
        {"op": "add", "path": "/spec/configuration/migrations/progressTimeout", "value": 77},
    ]
    cluster.patch(HCO, {"metadata": {"annotations": {JSON_PATCH: json.dumps(patch)}}})
    cluster.api.expect(201, "POST", POLICIES, {
        "apiVersion": "migrations.kubevirt.io/v1alpha1", "kind": "MigrationPolicy", "metadata": {"name": "busy"},
        "spec": {"allowAutoConverge": True, "selectors": {"namespaceSelector": {"busy": "yes"}}},
    })
    try:
        done = cluster(parallel_migrations_per_cluster=6)
        assert {one["key"]: one["cause"] for one in done.result["differences"]} == {"allowWorkloadDisruption": "json_patch", "progressTimeout": "json_patch"}
        assert done.result["settings"]["progress_timeout"] == {"value": 77, "default": 150, "hyperconverged": 150, "kubevirt": 77, "policies": {}}
        assert done.result["settings"]["allow_auto_converge"]["policies"] == {"busy": True}
        assert any("nobody supports" in warning for warning in done.warnings)
    finally:
        cluster.api.expect(200, "DELETE", f"{POLICIES}/busy")


def test_a_network_that_is_not_there_is_refused_and_one_that_is_rolls_virt_handler(cluster: Cluster) -> None:
    error = cluster.fails(network="fast")
    assert isinstance(error, PreconditionFailed)
    assert error.details["code"] == "network_missing"
    assert "network" not in cluster.configured
    cluster.api.expect(201, "POST", NETWORKS, {
        "apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": {"name": "fast"}, "spec": {"config": json.dumps(FAST)},
    })
    try:
        generation = cluster.api.get(HANDLER)["metadata"]["generation"]
        assert cluster.verbs.four_times(NAME, network="fast") == [True, True, False, False]
        handler = cluster.api.get(HANDLER)
        assert handler["metadata"]["generation"] > generation
        assert handler["status"]["updatedNumberScheduled"] == handler["status"]["desiredNumberScheduled"] == handler["status"]["numberAvailable"]
        assert "fast@migration0" in json.dumps(handler["spec"]["template"])
        assert cluster(defaults=["network"]).changed
        assert "migration0" not in json.dumps(cluster.api.get(HANDLER)["spec"]["template"])
    finally:
        cluster.api.expect(200, "DELETE", f"{NETWORKS}/fast")


def test_for_a_while_and_back(cluster: Cluster) -> None:
    before = cluster.configured
    assert cluster.verbs.four_times(NAME, state="temporary", progress_timeout=300, bandwidth_per_migration="1Gi") == [True, True, False, False]
    again = cluster(state="temporary", progress_timeout=400, parallel_migrations_per_cluster=9)
    assert again.result["temporary"]["before"] == {"progressTimeout": 150, "bandwidthPerMigration": None, "parallelMigrationsPerCluster": 5}
    clash = cluster.fails(progress_timeout=500)
    assert clash.details["code"] == "temporary"
    assert cluster(allow_auto_converge=True).changed
    assert cluster.verbs.four_times(NAME, state="restored") == [True, True, False, False]
    assert cluster.configured == {**before, "allowAutoConverge": True} == cluster.migrations
    assert RECORD not in cluster.hyperconverged["metadata"].get("annotations", {})


def test_what_somebody_has_changed_since_stays(cluster: Cluster) -> None:
    cluster(state="temporary", progress_timeout=300, parallel_migrations_per_cluster=9)
    cluster.patch(HCO, {"spec": {"liveMigrationConfig": {"progressTimeout": 77}}})
    done = cluster(state="restored")
    assert cluster.configured["progressTimeout"] == 77
    assert cluster.configured["parallelMigrationsPerCluster"] == 5
    assert any("progressTimeout is 77" in warning for warning in done.warnings)


def test_somebody_elses_settings_for_a_while(cluster: Cluster) -> None:
    cluster(state="temporary", progress_timeout=300)
    record = json.loads(cluster.hyperconverged["metadata"]["annotations"][RECORD])
    cluster.patch(HCO, {"metadata": {"annotations": {RECORD: json.dumps({**record, "holder": "olga"})}}})
    error = cluster.fails(state="temporary", parallel_migrations_per_cluster=9)
    assert (error.details["code"], error.details["holder"]) == ("held", "olga")
    assert cluster(state="temporary", parallel_migrations_per_cluster=9, take_over=True).changed
    assert cluster(state="restored").changed
    cluster.patch(HCO, {"metadata": {"annotations": {RECORD: "nonsense"}}})
    assert "can't be read" in cluster.fails(state="restored").message


def test_killed_in_the_middle_the_next_run_puts_it_back(cluster: Cluster) -> None:
    """As soon as a setting has changed, what was there before can be known."""
    before = cluster.configured
    code = (
        "import sys; from tests.services.verbs import Verbs; "
        "Verbs(sys.argv[1])('live_migration_config', state='temporary', progress_timeout=300, parallel_migrations_per_cluster=9)"
    )
    for delay in (0.4, 0.6, 0.8, 1.0):
        child = subprocess.Popen([sys.executable, "-c", code, cluster.verbs.connection["kubeconfig"]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            child.wait(delay)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            child.wait(10)
        changed = cluster.configured != before
        assert (RECORD in cluster.hyperconverged["metadata"].get("annotations", {})) is changed
        assert cluster(state="restored").changed is changed
        assert cluster.configured == before == cluster.migrations


def test_without_a_hyperconverged_nothing_is_said_to_be_right(cluster: Cluster) -> None:
    assert "has no HyperConverged" in cluster.fails(namespace="default").message


def test_a_user_without_the_right_is_told_so(cluster: Cluster) -> None:
    nobody = Verbs(cluster.verbs.connection["kubeconfig"], impersonate_user="nobody")
    with pytest.raises(ApiError, match="hyperconvergeds"):
        nobody(NAME, progress_timeout=300)
