# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HyperConverged over HTTP: what it makes of the KubeVirt, whose edits it puts back, and which of its own are refused."""
from __future__ import annotations

import asyncio
import json
import typing as t
from collections.abc import Callable, Iterator

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine import process
from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.okd.hyperconverged import HYPERCONVERGEDS
from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import RunningEngine

from ..support.api import MERGE_PATCH, Answer, Api
from .test_metrics import scrape, value
from .waiting import eventually

Object = dict[str, t.Any]
HOME = "kubevirt-hyperconverged"
HCOS = f"/apis/hco.kubevirt.io/v1beta1/namespaces/{HOME}/hyperconvergeds"
HCO = f"{HCOS}/kubevirt-hyperconverged"
KUBEVIRT = f"/apis/kubevirt.io/v1/namespaces/{HOME}/kubevirts/kubevirt-kubevirt-hyperconverged"
PATCH = "kubevirt.kubevirt.io/jsonpatch"
VALIDATOR = 'admission webhook "validate-hco.kubevirt.io" denied the request: '
MUTATOR = 'admission webhook "mutate-hyperconverged-hco.kubevirt.io" denied the request: '
BROKEN = f"invalid jsonPatch in the {PATCH} annotation: "
DEFAULTS = {
    "allowAutoConverge": False, "allowPostCopy": False, "completionTimeoutPerGiB": 150, "parallelMigrationsPerCluster": 5,
    "parallelOutboundMigrationsPerNode": 2, "progressTimeout": 150,
}


class Hco:
    """One engine's HyperConverged and what follows from it."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def patch(self, patch: Object, dry_run: bool = False) -> Answer:
        return self.api.request("PATCH", HCO + ("?dryRun=All" if dry_run else ""), patch, content_type=MERGE_PATCH)

    def set(self, **spec: t.Any) -> Object:
        answer = self.patch({"spec": spec})
        assert answer.status == 200, answer.body
        return t.cast(Object, answer.body)

    def annotate(self, operations: t.Any, name: str = PATCH, dry_run: bool = False) -> Answer:
        text = operations if operations is None or isinstance(operations, str) else json.dumps(operations)
        return self.patch({"metadata": {"annotations": {name: text}}}, dry_run)

    @property
    def configuration(self) -> Object:
        return t.cast(Object, self.api.get(KUBEVIRT)["spec"]["configuration"])

    @property
    def migrations(self) -> Object:
        return t.cast(Object, self.configuration["migrations"])

    def condition(self, kind: str) -> Object | None:
        return next((one for one in self.api.get(HCO)["status"]["conditions"] if one["type"] == kind), None)

    def events(self) -> dict[tuple[str, str, str], int]:
        """How often each was said of the HyperConverged, by type, reason and message."""
        found = self.api.items(f"/api/v1/namespaces/{HOME}/events?fieldSelector=involvedObject.kind=HyperConverged")
        return {(one["type"], one["reason"], one["message"]): one["count"] for one in found}


OVERWRITTEN = ("Warning", "Overwritten", "Overwritten KubeVirt kubevirt-kubevirt-hyperconverged")
UPDATED = ("Normal", "Updated", "Updated KubeVirt kubevirt-kubevirt-hyperconverged")


@pytest.fixture(scope="module")
def hco(fresh_engine: Callable[..., RunningEngine]) -> Iterator[Hco]:
    """An engine of release 4.19 for the tests of this file, each of which leaves the HyperConverged as it found it."""
    engine = fresh_engine(cluster="empty", release="4.19")
    yield Hco(Api(engine.kubeconfig))
    process.stop(engine.directory)


def test_the_defaults_of_live_migrations(hco: Hco) -> None:
    assert hco.api.get(HCO)["spec"]["liveMigrationConfig"] == DEFAULTS
    assert hco.migrations == DEFAULTS


def test_every_field_of_live_migrations_reaches_kubevirt(hco: Hco) -> None:
    asked = {
        "allowAutoConverge": True, "allowPostCopy": True, "bandwidthPerMigration": "64Mi", "completionTimeoutPerGiB": 0,
        "parallelMigrationsPerCluster": 0, "parallelOutboundMigrationsPerNode": 7, "progressTimeout": 300,
    }
    before = hco.events()
    hco.set(liveMigrationConfig=asked)
    eventually(lambda: hco.migrations == asked)
    eventually(lambda: hco.events().get(UPDATED, 0) == before.get(UPDATED, 0) + 1)
    hco.set(liveMigrationConfig=None)
    eventually(lambda: hco.migrations == DEFAULTS)
    eventually(lambda: hco.events().get(UPDATED, 0) == before.get(UPDATED, 0) + 2)
    assert hco.events().get(OVERWRITTEN, 0) == before.get(OVERWRITTEN, 0)


def test_what_others_edit_in_kubevirt_is_put_back(hco: Hco) -> None:
    before, counted = hco.events(), overwritten(hco)
    edits: tuple[Object, ...] = (
        {"spec": {"configuration": {"migrations": {"parallelMigrationsPerCluster": 20}}}},
        {"spec": {"configuration": {"migrations": {"allowWorkloadDisruption": True}}}},
        {"spec": {"configuration": {"evictionStrategy": None}}},
        {"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}},
    )
    for number, edit in enumerate(edits, 1):
        held = hco.api.get(KUBEVIRT)
        hco.api.expect(200, "PATCH", KUBEVIRT, edit, content_type=MERGE_PATCH)
        eventually(lambda: hco.events().get(OVERWRITTEN, 0) == before.get(OVERWRITTEN, 0) + number)  # noqa: B023
        now = hco.api.get(KUBEVIRT)
        assert (now["spec"], now["metadata"]["labels"]) == (held["spec"], held["metadata"]["labels"])
    assert hco.events().get(UPDATED, 0) == before.get(UPDATED, 0)
    assert overwritten(hco) == counted + len(edits)


def overwritten(hco: Hco) -> float:
    metric = "kubevirt_hco_out_of_band_modifications_total"
    return value(scrape(hco.api), metric, component_name="kubevirt/kubevirt-kubevirt-hyperconverged") or 0


def test_what_others_add_beside_it_stays(hco: Hco) -> None:
    before = hco.events()
    hco.api.expect(200, "PATCH", KUBEVIRT, {"metadata": {"labels": {"mine": "yes"}}}, content_type=MERGE_PATCH)
    hco.set(liveMigrationConfig={"progressTimeout": 10})
    eventually(lambda: hco.migrations["progressTimeout"] == 10)
    assert hco.api.get(KUBEVIRT)["metadata"]["labels"]["mine"] == "yes"
    hco.set(liveMigrationConfig={"progressTimeout": 150})
    eventually(lambda: hco.migrations == DEFAULTS)
    assert hco.events().get(OVERWRITTEN, 0) == before.get(OVERWRITTEN, 0)


# The eviction strategy


def test_an_empty_eviction_strategy_is_filled_in_by_the_number_of_workers(hco: Hco) -> None:
    assert hco.api.get(HCO)["status"]["infrastructureHighlyAvailable"] is True
    assert hco.configuration["evictionStrategy"] == "LiveMigrate"
    assert hco.set(evictionStrategy="External")["spec"]["evictionStrategy"] == "External"
    eventually(lambda: hco.configuration["evictionStrategy"] == "External")
    assert hco.set(evictionStrategy=None)["spec"]["evictionStrategy"] == "LiveMigrate"
    eventually(lambda: hco.configuration["evictionStrategy"] == "LiveMigrate")
    workers = [one["metadata"]["name"] for one in hco.api.items("/api/v1/nodes?labelSelector=node-role.kubernetes.io/worker")]
    try:
        label(hco, workers[1:], None)
        eventually(lambda: hco.api.get(HCO)["status"]["infrastructureHighlyAvailable"] is False)
        # What is there stays; only an empty one is filled in.
        assert hco.set(enableCommonBootImageImport=False)["spec"]["evictionStrategy"] == "LiveMigrate"
        assert hco.set(evictionStrategy=None, enableCommonBootImageImport=None)["spec"]["evictionStrategy"] == "None"
        eventually(lambda: hco.configuration["evictionStrategy"] == "None")
    finally:
        label(hco, workers[1:], "")
    eventually(lambda: hco.api.get(HCO)["status"]["infrastructureHighlyAvailable"] is True)
    assert hco.set(evictionStrategy=None)["spec"]["evictionStrategy"] == "LiveMigrate"
    eventually(lambda: hco.configuration["evictionStrategy"] == "LiveMigrate")


def label(hco: Hco, nodes: list[str], value: str | None) -> None:
    for name in nodes:
        patch = {"metadata": {"labels": {"node-role.kubernetes.io/worker": value}}}
        hco.api.expect(200, "PATCH", f"/api/v1/nodes/{name}", patch, content_type=MERGE_PATCH)


# The annotation with a JSON patch


def test_a_patch_is_applied_and_taints_until_it_goes(hco: Hco) -> None:
    operations = [
        {"op": "add", "path": "/spec/configuration/migrations/allowWorkloadDisruption", "value": True},
        {"op": "add", "path": "/spec/configuration/developerConfiguration/featureGates/-", "value": "CPUManager2"},
    ]
    before = hco.events()
    assert hco.annotate(operations).status == 200
    eventually(lambda: hco.migrations == {**DEFAULTS, "allowWorkloadDisruption": True})
    assert hco.configuration["developerConfiguration"]["featureGates"][-1] == "CPUManager2"
    tainted = eventually(lambda: hco.condition("TaintedConfiguration"))
    assert (tainted["status"], tainted["reason"], tainted["message"]) == (
        "True", "UnsupportedFeatureAnnotation", "Unsupported feature was activated via an HCO annotation",
    )
    assert hco.api.get(HCO)["status"]["systemHealthStatus"] == "healthy"
    assert value(scrape(hco.api), "kubevirt_hco_unsafe_modifications", annotation_name=PATCH) == 2
    assert hco.annotate(None).status == 200
    eventually(lambda: hco.condition("TaintedConfiguration") is None)
    eventually(lambda: hco.migrations == DEFAULTS)
    assert "CPUManager2" not in hco.configuration["developerConfiguration"]["featureGates"]
    assert value(scrape(hco.api), "kubevirt_hco_unsafe_modifications", annotation_name=PATCH) == 0
    assert hco.events().get(OVERWRITTEN, 0) == before.get(OVERWRITTEN, 0)


def test_a_patch_of_another_operand_taints_too_and_an_empty_one_does_not(hco: Hco) -> None:
    other = "containerizeddataimporter.kubevirt.io/jsonpatch"
    assert hco.annotate([]).status == 200
    assert hco.annotate([{"op": "add", "path": "/spec/config/x", "value": 1}], other).status == 200
    eventually(lambda: hco.condition("TaintedConfiguration"))
    assert hco.annotate(None, other).status == 200
    eventually(lambda: hco.condition("TaintedConfiguration") is None)
    assert hco.annotate(None).status == 200


MIGRATIONS = "/spec/configuration/migrations"


@pytest.mark.parametrize(("operations", "problem"), [
    ("{", "invalid state detected"),
    ("{}", "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
    ([{"op": "add", "path": "/spec/x"}],
     'invalid operation {"op":"add","path":"/spec/x"}: failed to decode \'value\': operation, missing value field: missing value'),
    ([{"op": "put", "path": "/spec/x", "value": 1}], 'invalid operation {"op":"put","path":"/spec/x","value":1}: unsupported operation'),
    ([{"op": "add", "path": "/metadata/labels/x", "value": "y"}], "can only modify spec fields"),
    ([{"op": "add", "path": "/spec/nothing/there", "value": 1}],
     'add operation does not apply: doc is missing path: "/spec/nothing/there": missing value'),
    ([{"op": "replace", "path": f"{MIGRATIONS}/disableTLS", "value": True}],
     f"replace operation does not apply: doc is missing key: {MIGRATIONS}/disableTLS: missing value"),
    ([{"op": "remove", "path": f"{MIGRATIONS}/disableTLS"}],
     f"error in remove for path: '{MIGRATIONS}/disableTLS': unable to remove nonexistent key: disableTLS: missing value"),
    ([{"op": "test", "path": f"{MIGRATIONS}/progressTimeout", "value": 1}], f"testing value {MIGRATIONS}/progressTimeout failed: test failed"),
    ([{"op": "add", "path": f"{MIGRATIONS}/parallelMigrationsPerCluster", "value": -1}],
     "json: cannot unmarshal number -1 into Go struct field MigrationConfiguration.spec.configuration.migrations.parallelMigrationsPerCluster "
     "of type uint32"),
    ([{"op": "add", "path": f"{MIGRATIONS}/disableTLS", "value": "yes"}],
     "json: cannot unmarshal string into Go struct field MigrationConfiguration.spec.configuration.migrations.disableTLS of type bool"),
])
def test_a_patch_that_cannot_be_applied_is_refused(hco: Hco, operations: t.Any, problem: str) -> None:
    answer = hco.annotate(operations)
    assert (answer.status, answer.body["reason"], answer.body["message"]) == (403, "Forbidden", VALIDATOR + BROKEN + problem)
    assert PATCH not in hco.api.get(HCO)["metadata"].get("annotations", {})


def test_a_field_that_kubevirt_does_not_have_is_dropped(hco: Hco) -> None:
    assert hco.annotate([{"op": "add", "path": f"{MIGRATIONS}/utilityVolumesTimeout", "value": 1}]).status == 200
    eventually(lambda: hco.condition("TaintedConfiguration"))
    assert hco.migrations == DEFAULTS
    assert hco.annotate(None).status == 200
    eventually(lambda: hco.condition("TaintedConfiguration") is None)


async def test_a_patch_that_came_past_the_webhook_stops_the_operator_until_it_goes() -> None:
    """As one does that applied to what an older operator made."""
    engine = Engine(Options(cluster="empty", release="4.19", speed="max"))
    await engine.start()
    try:
        def held() -> Object:
            stored = engine.store.get(("hco.kubevirt.io", "hyperconvergeds"), HOME, "kubevirt-hyperconverged")
            assert stored is not None
            return stored.value

        async def says(kind: str, *wanted: str) -> None:
            async with asyncio.timeout(20):
                while wanted != tuple(  # noqa: ASYNC110
                    one[key] for one in held()["status"]["conditions"] if one["type"] == kind for key in ("status", "reason", "message")
                ):
                    await asyncio.sleep(0.01)

        value = held()
        broken = {**value, "metadata": {**value["metadata"], "annotations": {PATCH: '[{"op":"remove","path":"/spec/none"}]'}}}
        engine.store.update(("hco.kubevirt.io", "hyperconvergeds"), HOME, "kubevirt-hyperconverged", broken, expected=None)
        problem = "error in remove for path: '/spec/none': unable to remove nonexistent key: none: missing value"
        await says("ReconcileComplete", "False", "ReconcileFailed", f"Error while reconciling: {BROKEN}{problem}")
        await says("Available", "Unknown", "StatusUnknown", "Unknown Status")
        assert held()["status"]["systemHealthStatus"] == "error"
        gone = {"metadata": {"annotations": {PATCH: None}}}
        await engine.admin.patch(HYPERCONVERGEDS, "kubevirt-hyperconverged", gone, HOME)
        await says("ReconcileComplete", "True", "ReconcileCompleted", "Reconcile completed successfully")
        await says("Available", "True", "ReconcileCompleted", "Reconcile completed successfully")
        await says("TaintedConfiguration")
    finally:
        await engine.stop()


# What is refused


@pytest.mark.parametrize("wrong", [
    {"parallelMigrationsPerCluster": -1}, {"parallelOutboundMigrationsPerNode": -5}, {"parallelMigrationsPerCluster": "5"},
    {"bandwidthPerMigration": 64}, {"allowPostCopy": "true"}, {"progressTimeout": 1.5},
])
def test_what_the_operators_types_cannot_hold(hco: Hco, wrong: Object) -> None:
    answer = hco.patch({"spec": {"liveMigrationConfig": wrong}})
    assert (answer.status, answer.body.get("reason"), answer.body["message"]) == (400, None, MUTATOR + "failed to parse the HyperConverged")


@pytest.mark.parametrize(("spec", "field", "text"), [
    ({"evictionStrategy": "Never"}, "spec.evictionStrategy",
     'Unsupported value: "Never": supported values: "None", "LiveMigrate", "LiveMigrateIfPossible", "External"'),
    ({"liveMigrationConfig": {"bandwidthPerMigration": "fast"}}, "spec.liveMigrationConfig.bandwidthPerMigration", "should match"),
])
def test_what_the_schema_refuses(hco: Hco, spec: Object, field: str, text: str) -> None:
    answer = hco.patch({"spec": spec})
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    (cause,) = answer.body["details"]["causes"]
    assert cause["field"] == field
    assert text in cause["message"]


def test_what_nobody_minds(hco: Hco) -> None:
    """Neither the schema nor a webhook has a largest value, and a sign and a fraction are a quantity."""
    big = {"parallelMigrationsPerCluster": 2147483647, "progressTimeout": -1, "bandwidthPerMigration": "+0.5Gi"}
    answer = hco.patch({"spec": {"liveMigrationConfig": big}}, dry_run=True)
    assert answer.status == 200
    assert answer.body["spec"]["liveMigrationConfig"] == {**DEFAULTS, **big}
    answer = hco.patch({"spec": {"liveMigrationConfig": {"allowWorkloadDisruption": True}}}, dry_run=True)
    assert answer.body["spec"]["liveMigrationConfig"] == DEFAULTS


@pytest.mark.parametrize(("certificates", "problem"), [
    ({"server": {"duration": "5m"}}, "spec.certConfig.server.duration: value is too small"),
    ({"ca": {"renewBefore": "49h"}}, "spec.certConfig.ca: duration is smaller than renewBefore"),
    ({"server": {"duration": "10h"}}, "spec.certConfig.server: duration is smaller than renewBefore"),
    ({"server": {"duration": "50h"}}, "spec.certConfig: ca.duration is smaller than server.duration"),
])
def test_certificates(hco: Hco, certificates: Object, problem: str) -> None:
    answer = hco.patch({"spec": {"certConfig": certificates}})
    assert (answer.status, answer.body["reason"], answer.body["message"]) == (403, "Forbidden", VALIDATOR + problem)


def test_what_the_api_server_refuses_in_the_kubevirt_that_follows(hco: Hco) -> None:
    answer = hco.annotate([{"op": "add", "path": "/spec/configuration/vmRolloutStrategy", "value": "Sometimes"}])
    problem = (
        'KubeVirt.kubevirt.io "kubevirt-kubevirt-hyperconverged" is invalid: spec.configuration.vmRolloutStrategy: Unsupported value: "Sometimes": '
        'supported values: "Stage", "LiveUpdate"'
    )
    assert (answer.status, answer.body["reason"], answer.body["message"]) == (422, "Invalid", VALIDATOR + problem)
    assert [one["field"] for one in answer.body["details"]["causes"]] == ["spec.configuration.vmRolloutStrategy"]


def test_another_namespace(hco: Hco) -> None:
    path = HCOS.replace(HOME, "default")
    body = {"apiVersion": "hco.kubevirt.io/v1beta1", "kind": "HyperConverged", "metadata": {"name": "kubevirt-hyperconverged"}, "spec": {}}
    answer = hco.api.request("POST", path, body)
    problem = f"invalid namespace for v1beta1.HyperConverged - please use the {HOME} namespace"
    assert (answer.status, answer.body["message"]) == (403, VALIDATOR + problem)


def test_a_dry_run_changes_nothing(hco: Hco) -> None:
    before = hco.api.get(KUBEVIRT)["metadata"]["resourceVersion"]
    assert hco.patch({"spec": {"liveMigrationConfig": {"progressTimeout": 1}}}, dry_run=True).status == 200
    assert hco.annotate("{", dry_run=True).status == 403
    assert hco.migrations == DEFAULTS
    assert hco.api.get(KUBEVIRT)["metadata"]["resourceVersion"] == before


def test_without_its_webhook_nothing_is_written(hco: Hco) -> None:
    deployment = f"/apis/apps/v1/namespaces/{HOME}/deployments/hco-webhook"

    def scale(replicas: int) -> None:
        hco.api.expect(200, "PATCH", deployment, {"spec": {"replicas": replicas}}, content_type=MERGE_PATCH)
        eventually(lambda: hco.api.get(deployment)["status"].get("availableReplicas", 0) == replicas)

    scale(0)
    try:
        answer = hco.patch({"spec": {"liveMigrationConfig": {"progressTimeout": 1}}})
        assert (answer.status, answer.body["reason"]) == (500, "InternalError")
        assert 'failed calling webhook "mutate-hyperconverged-hco.kubevirt.io": failed to call webhook: Post "https://hco-webhook-service.' in (
            answer.body["message"]
        )
    finally:
        scale(1)


def test_it_is_not_deleted_under_workloads(hco: Hco) -> None:
    machine = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "held"}, "spec": {
        "runStrategy": "Halted", "template": {"spec": {"domain": {"devices": {}, "memory": {"guest": "1Gi"}}}},
    }}
    machines = "/apis/kubevirt.io/v1/namespaces/default/virtualmachines"
    hco.api.expect(201, "POST", machines, machine)
    answer = hco.api.request("DELETE", HCO)
    rejected = (
        "Rejecting the uninstall request, since there are still Virtual Machines present. Either delete all KubeVirt related workloads or change the "
        "uninstall strategy before uninstalling KubeVirt."
    )
    inner = f'admission webhook "kubevirt-validator.kubevirt.io" denied the request: {rejected}'
    assert (answer.status, answer.body["message"]) == (400, VALIDATOR + inner)
    assert "deletionTimestamp" not in hco.api.get(HCO)["metadata"]
    answer = hco.api.request("DELETE", KUBEVIRT)
    assert (answer.status, answer.body["message"]) == (400, inner)
    hco.api.expect(200, "DELETE", f"{machines}/held")


def test_deleted_and_made_again(hco: Hco) -> None:
    """The last of this file: the object goes with its KubeVirt; a new one is taken over, and gets its eviction strategy then."""
    eventually(lambda: not hco.api.items("/apis/kubevirt.io/v1/virtualmachines"))
    before = hco.events()
    hco.api.expect(200, "DELETE", HCO)
    eventually(lambda: hco.api.request("GET", HCO).status == 404)
    assert hco.api.request("GET", KUBEVIRT).status == 404
    killing = ("Normal", "Killing", "Removed KubeVirt kubevirt-kubevirt-hyperconverged")
    eventually(lambda: hco.events().get(killing, 0) == before.get(killing, 0) + 1)
    body = {"apiVersion": "hco.kubevirt.io/v1beta1", "kind": "HyperConverged", "metadata": {"name": "kubevirt-hyperconverged"}, "spec": {}}
    made = hco.api.expect(201, "POST", HCOS, body)
    assert "evictionStrategy" not in made["spec"]
    eventually(lambda: hco.api.get(HCO)["metadata"].get("finalizers") == ["kubevirt.io/hyperconverged"])
    assert hco.api.get(HCO)["spec"]["evictionStrategy"] == "LiveMigrate"
    eventually(lambda: hco.api.request("GET", KUBEVIRT).status == 200 and hco.configuration.get("evictionStrategy") == "LiveMigrate")
    eventually(lambda: (hco.condition("Available") or {}).get("status") == "True", 30)
