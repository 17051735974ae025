# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Migrations of guests whose load and whose trouble annotations describe: how each ends, what virt-handler writes and says, and when."""
from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import pathlib
import typing as t
from collections.abc import AsyncIterator

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine import errors
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.local import LocalCluster
from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import PODS, Object, Ref
from ansible_collections.okd.virt.plugins.plugin_utils.engine.store.history import StoreEvent

from ..support.api import Api
from ..support.node_agent import VMIMS, VMIS
from .migrating import Migrating

MACHINES = Ref("kubevirt.io", "v1", "virtualmachines")
POLICIES = Ref("migrations.kubevirt.io", "v1alpha1", "migrationpolicies")
FAILED = (
    "Live migration failed error encountered during MigrateToURI3 libvirt api call: "
    "virError(Code=9, Domain=10, Message='operation failed: migration out job: unexpectedly failed')"
)
BUSY = {"dirty-rate": "400Mi", "working-set": "1Gi", "pattern": "sequential"}
CONFLICT = 'Operation cannot be fulfilled on virtualmachineinstance.kubevirt.io "vm-1": '
MIGRATING = "Normal Migrating: VirtualMachineInstance is migrating."
ABORTING = "Normal Migrating: VirtualMachineInstance is aborting migration."


@dataclasses.dataclass(frozen=True)
class Story:
    """What is asked for, and what is to come of it. `policy` is the rest of a MigrationPolicy for all, `takes` engine seconds of copying."""

    load: dict[str, str]
    settings: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    policy: dict[str, t.Any] | None = None
    cancel: bool = False
    reason: str | None = None
    abort_status: str | None = None
    modes: tuple[str, ...] = ("PreCopy",)
    said: tuple[str, ...] = ()
    takes: tuple[float, float] = (0.0, 1e9)


STORIES = {
    "success": Story({"copy-seconds": "3"}, takes=(3, 4)),
    "an idle guest": Story({"dirty-rate": "0", "nonzero": "1Gi"}, takes=(1.5, 6)),
    "source failure": Story(
        {"fail-migration": "1"},
        reason=FAILED,
    ),
    "does not converge": Story(
        BUSY, {"bandwidthPerMigration": "64Mi", "completionTimeoutPerGiB": 10},
        reason="Live migration is not completed after 50 seconds and has been aborted", abort_status="Succeeded", takes=(51, 52),
    ),
    "converges when throttled": Story(
        {**BUSY, "working-set": "256Mi", "writer": "closed"}, {"bandwidthPerMigration": "64Mi", "allowAutoConverge": True}, takes=(60, 200)
    ),
    "post-copy": Story(
        BUSY, {"bandwidthPerMigration": "64Mi", "completionTimeoutPerGiB": 10, "allowPostCopy": True}, modes=("PreCopy", "PostCopy"),
        takes=(52, 70),
    ),
    "pause": Story(
        BUSY, {"bandwidthPerMigration": "64Mi", "completionTimeoutPerGiB": 10}, {"allowWorkloadDisruption": True}, modes=("PreCopy", "Paused"),
        takes=(52, 75),
    ),
    "stuck": Story(
        {"hang-migration": "true"}, {"progressTimeout": 30}, reason="Live migration stuck for 31 seconds and has been aborted",
        abort_status="Succeeded", takes=(31, 32.5),
    ),
    "cancelled": Story(
        {"copy-seconds": "600"}, cancel=True, reason="Live migration aborted ", abort_status="Succeeded", said=(ABORTING,),
    ),
}


@contextlib.asynccontextmanager
async def engine_of(release: str, speed: str = "max", kubeconfig: pathlib.Path | None = None) -> AsyncIterator[Migrating]:
    engine = Engine(Options(cluster="lab", release=release, speed=speed, kubeconfig=kubeconfig))
    await engine.start()
    try:
        async with Migrating(engine, t.cast("t.Any", None)) as cluster:
            yield cluster
    finally:
        await engine.stop()


async def describe(cluster: Migrating, load: dict[str, str]) -> None:
    """Four GiB and that load for vm-1, whatever the lab says of it."""
    annotations = {f"engine.okd.virt/{name}": value for name, value in load.items()}
    await cluster.engine.admin.patch(MACHINES, "vm-1", {"metadata": {"annotations": annotations}}, cluster.namespace)


def states(cluster: Migrating, uid: str) -> list[Object]:
    """What vm-1's migrationState was, one after the other."""
    found = [obj["status"].get("migrationState") or {} for _when, resource, _kind, obj in cluster.seen
             if resource == VMIS.plural and obj["metadata"]["name"] == "vm-1"]
    return [state for state in found if state.get("migrationUid") == uid]


def handler_events(cluster: Migrating) -> list[str]:
    return [
        f"{obj['type']} {obj['reason']}: {obj['message']}" for _when, resource, kind, obj in cluster.seen
        if resource == "events" and kind == "ADDED" and obj["source"].get("component") == "virt-handler"
        and obj["involvedObject"]["name"] == "vm-1"
    ]


async def play(cluster: Migrating, story: Story) -> str:
    """The migration's uid, once it is over."""
    await describe(cluster, story.load)
    if story.settings:
        await cluster.settings(**story.settings)
    if story.policy is not None:
        policy = {"apiVersion": POLICIES.api_version, "kind": "MigrationPolicy", "metadata": {"name": "all"},
                  "spec": {"selectors": {"virtualMachineInstanceSelector": {"kubevirt.io/vm": "vm-1"}}, **story.policy}}
        await cluster.engine.admin.create(POLICIES, policy)
    with cluster.engine.clock.busy() if story.cancel else contextlib.nullcontext():
        name = await cluster.migrate("vm-1")
    uid = str((await cluster.get(name))["metadata"]["uid"])
    if story.cancel:
        await cluster.phase(name, "Running")
        await cluster.delete(name)
        await cluster.gone(name)
    else:
        await cluster.phase(name, "Succeeded", "Failed")
    await cluster.passes(1.5)
    return uid


@pytest.mark.parametrize("title", STORIES)
async def test_a_migration(title: str) -> None:
    story = STORIES[title]
    async with engine_of("4.19") as cluster:
        before = await cluster.instance("vm-1")
        uid = await play(cluster, story)
        after, seen = await cluster.instance("vm-1"), states(cluster, uid)
        state = after["status"]["migrationState"]
        assert state["completed"] is True
        assert state.get("failureReason") == story.reason
        assert state.get("failed", False) is (story.reason is not None)
        assert state.get("abortStatus") == story.abort_status
        assert tuple(dict.fromkeys(one["mode"] for one in seen if "mode" in one)) == story.modes
        began = next(when for when, resource, _kind, obj in cluster.seen if resource == VMIS.plural and obj["metadata"]["name"] == "vm-1"
                     and (obj["status"].get("migrationState") or {}).get("startTimestamp") and obj["status"]["migrationState"]["migrationUid"] == uid)
        ended = next(when for when, resource, _kind, obj in cluster.seen if resource == VMIS.plural and obj["metadata"]["name"] == "vm-1"
                     and (obj["status"].get("migrationState") or {}).get("completed") and obj["status"]["migrationState"]["migrationUid"] == uid)
        assert story.takes[0] <= ended - began <= story.takes[1]
        assert_moved(before, after, story)
        prepared = "Normal PreparingTarget: VirtualMachineInstance Migration Target Prepared."
        listening = f"Normal PreparingTarget: Migration Target is listening at {state['targetNodeAddress']}, on ports: "
        listening += ",".join(state["targetDirectMigrationNodePorts"])
        end = (
            f"Warning Migrated: VirtualMachineInstance migration uid {uid} failed. reason:{story.reason}" if story.reason is not None
            else f"Normal Migrated: The VirtualMachineInstance migrated to node {state['targetNode']}."
        )
        assert handler_events(cluster) == [prepared, listening, MIGRATING, *story.said, end]
        await assert_pods(cluster, state)


def assert_moved(before: Object, after: Object, story: Story) -> None:
    state = after["status"]["migrationState"]
    home = state["sourceNode"] if story.reason is not None else state["targetNode"]
    assert after["status"]["phase"] == "Running"
    assert after["status"]["nodeName"] == after["metadata"]["labels"]["kubevirt.io/nodeName"] == home
    assert state["sourceNode"] == before["status"]["nodeName"] != state["targetNode"]
    assert "Paused" not in [entry["type"] for entry in after["status"]["conditions"]]
    if story.reason is None:
        assert state["targetNodeDomainDetected"] is True
        assert state["targetNodeDomainReadyTimestamp"] <= state["endTimestamp"]


async def assert_pods(cluster: Migrating, state: Object) -> None:
    """The guest's pod runs; the other has ended and stays."""
    left, home = ("targetPod", "sourcePod") if state.get("failed") else ("sourcePod", "targetPod")

    async def ended() -> bool:
        return bool((await cluster.engine.admin.get(PODS, state[left], cluster.namespace))["status"]["phase"] == "Succeeded")

    await cluster.until(ended)
    assert (await cluster.engine.admin.get(PODS, state[home], cluster.namespace))["status"]["phase"] == "Running"


async def test_kubevirt_1_4_does_not_pause() -> None:
    async with engine_of("4.18") as cluster:
        story = STORIES["does not converge"]
        await play(cluster, story)
        state = (await cluster.instance("vm-1"))["status"]["migrationState"]
        assert state["failureReason"] == story.reason
        assert "allowWorkloadDisruption" not in state["migrationConfiguration"]


async def test_a_target_that_does_not_get_ready() -> None:
    async with engine_of("4.19") as cluster:
        await describe(cluster, {"fail-migration": "1@PreparingTarget", "copy-seconds": "1"})
        failed, again = await cluster.migrate("vm-1"), ""
        await cluster.phase(failed, "Failed")
        await cluster.passes(1.0)
        assert [text for _when, text in cluster.events("FailedMigration")] == ["Migration failed because target pod shutdown during migration"]
        again = await cluster.migrate("vm-1")
        await cluster.phase(again, "Succeeded")


async def test_copies_share_the_link_of_their_node() -> None:
    """Two guests leave one node over a link that one would fill: each takes twice as long."""
    async with engine_of("4.19") as cluster:
        admin = cluster.engine.admin
        node = (await cluster.instance("vm-1"))["status"]["nodeName"]
        await admin.patch(Ref("", "v1", "nodes"), node, {"metadata": {"annotations": {"engine.okd.virt/link-mib-s": "100"}}})
        both = [vmi["metadata"]["name"] for vmi in (await admin.list(VMIS, cluster.namespace)).items if vmi["status"]["nodeName"] == node][:2]
        for vmi in both:
            load = {"engine.okd.virt/nonzero": "1Gi", "engine.okd.virt/working-set": "64Mi", "engine.okd.virt/dirty-rate": "0"}
            await admin.patch(MACHINES, vmi, {"metadata": {"annotations": load}}, cluster.namespace)
        names = [await cluster.migrate(vmi) for vmi in both]
        for name in names:
            await cluster.phase(name, "Succeeded")
        await cluster.passes(1.0)
        for name in names:
            moments = cluster.moments(name)
            assert 20 < moments["Succeeded"] - moments["Running"] < 27


async def test_a_guest_that_is_paused_moves_as_it_is_and_goes_on_when_asked(tmp_path: pathlib.Path) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    async with engine_of("4.19", kubeconfig=kubeconfig) as cluster:
        api = Api(kubeconfig)
        await describe(cluster, {**BUSY, "nonzero": "2Gi"})
        await cluster.settings(**STORIES["does not converge"].settings)
        assert await ask(cluster, api, "unpause") == (409, CONFLICT + "VMI is not paused")
        assert await ask(cluster, api, "pause") == (200, "")
        assert condition(await cluster.instance("vm-1"), "Paused")["reason"] == "PausedByUser"
        assert await ask(cluster, api, "pause") == (409, CONFLICT + "VMI is already paused")
        # Running, it would never get over.
        name = await cluster.migrate("vm-1")
        await cluster.phase(name, "Succeeded")
        assert condition(await cluster.instance("vm-1"), "Paused")["status"] == "True"
        assert await ask(cluster, api, "unpause") == (200, "")


async def ask(cluster: Migrating, api: Api, what: str) -> tuple[int, str]:
    """PUT the subresource and wait until the instance says so; status and message."""
    path = f"/apis/subresources.kubevirt.io/v1/namespaces/{cluster.namespace}/virtualmachineinstances/vm-1/{what}"
    answer = await asyncio.to_thread(api.request, "PUT", path, {}, accept="*/*")

    async def said() -> bool:
        conditions = (await cluster.instance("vm-1"))["status"]["conditions"]
        return any(one["type"] == "Paused" for one in conditions) is (what == "pause")

    await cluster.until(said)
    return answer.status, (answer.body or {}).get("message", "")


def condition(vmi: Object, kind: str) -> Object:
    found: Object = next(one for one in vmi["status"]["conditions"] if one["type"] == kind)
    return found


@pytest.mark.parametrize("title", ["success", "source failure"])
async def test_the_same_happens_at_any_speed(title: str) -> None:
    histories, moments = [], []
    for speed in ("max", "30"):
        async with engine_of("4.19", speed) as cluster:
            await describe(cluster, {"copy-seconds": "3", **STORIES[title].load})
            name = await cluster.migrate("vm-1")
            await cluster.phase(name, "Succeeded", "Failed")
            await cluster.passes(3.0)
            # Which of two clients was first within a moment is no part of it.
            histories.append({stream: sorted(lines) for stream, lines in cluster.history(name).items()})
            seen = cluster.moments(name)
            moments.append({phase: when - seen["Pending"] for phase, when in seen.items() if phase})
    assert histories[0]["events"] == histories[1]["events"]
    assert histories[0]["migration"] == histories[1]["migration"]
    assert histories[0]["target"] == histories[1]["target"]
    assert [*moments[0]] == [*moments[1]]
    for phase, when in moments[0].items():
        # A thirtieth of it are real seconds, in which this machine has other things to do.
        assert when == pytest.approx(moments[1][phase], abs=5.0)


async def begun(cluster: Migrating) -> str:
    """A migration of vm-1 whose copy goes on until something happens to it."""
    await describe(cluster, {"hang-migration": "true"})
    await cluster.settings(progressTimeout=0, completionTimeoutPerGiB=0)
    name = await cluster.migrate("vm-1")
    await cluster.phase(name, "Running")
    return name


async def failed(cluster: Migrating, name: str) -> Object:
    """The state of vm-1 once that migration has failed; the guest is where it was."""
    await cluster.phase(name, "Failed")
    await cluster.passes(1.5)
    vmi = await cluster.instance("vm-1")
    assert vmi["status"]["phase"] == "Running"
    assert vmi["status"]["nodeName"] == vmi["status"]["migrationState"]["sourceNode"]
    state: Object = vmi["status"]["migrationState"]
    return state


async def test_a_target_pod_that_is_deleted_while_memory_flows() -> None:
    async with engine_of("4.19") as cluster:
        name = await begun(cluster)
        await cluster.engine.admin.delete(PODS, (await cluster.target_pod(name))["metadata"]["name"], cluster.namespace)
        state = await failed(cluster, name)
        assert state["failureReason"].startswith("Live migration failed ")


async def test_a_virt_handler_that_is_replaced_while_memory_flows() -> None:
    async with engine_of("4.19") as cluster:
        name = await begun(cluster)
        source = (await cluster.instance("vm-1"))["status"]["nodeName"]
        own = (await cluster.engine.admin.list(PODS, cluster.engine.sample.namespace, "kubevirt.io=virt-handler")).items
        pod = next(one for one in own if one["spec"]["nodeName"] == source)
        await cluster.engine.admin.delete(PODS, pod["metadata"]["name"], pod["metadata"]["namespace"])
        await failed(cluster, name)
        await cluster.passes(5.0)
        node = await cluster.engine.admin.get(Ref("", "v1", "nodes"), source)
        assert node["metadata"]["labels"]["kubevirt.io/schedulable"] == "true"


async def test_a_machine_that_is_deleted_while_memory_flows() -> None:
    async with engine_of("4.19") as cluster:
        name = await begun(cluster)
        await cluster.engine.admin.delete(MACHINES, "vm-1", cluster.namespace)
        await cluster.gone(name)

        async def nothing_left() -> bool:
            found = [*(await cluster.engine.admin.list(VMIS, cluster.namespace)).items, *(await cluster.engine.admin.list(PODS, cluster.namespace)).items]
            return not [one for one in found if one["metadata"]["name"] == "vm-1" or one["metadata"]["name"].startswith("virt-launcher-vm-1-")]

        await cluster.until(nothing_left)


async def test_a_lost_target_node_is_given_up() -> None:
    async with engine_of("4.19") as cluster:
        await describe(cluster, {"dirty-rate": "0", "nonzero": "100%"})
        await cluster.settings(progressTimeout=20, bandwidthPerMigration=STORIES["post-copy"].settings["bandwidthPerMigration"])
        name = await cluster.migrate("vm-1")
        await cluster.phase(name, "Running")
        cluster.engine.runtime.power_off((await cluster.instance("vm-1"))["status"]["migrationState"]["targetNode"])
        assert (await failed(cluster, name))["failureReason"] == "Live migration stuck for 21 seconds and has been aborted"


async def test_an_engine_that_starts_again_goes_on(tmp_path: pathlib.Path) -> None:
    """The copy begins anew: what was on its way is gone with the processes."""
    options = Options(cluster="lab", release="4.19", speed="max", data_dir=tmp_path)
    engine = Engine(options)
    await engine.start()
    async with Migrating(engine, t.cast("t.Any", None)) as cluster:
        name = await begun(cluster)
        await engine.admin.patch(MACHINES, "vm-1", {"metadata": {"annotations": {"engine.okd.virt/hang-migration": None}}}, "shop")
    await engine.stop()
    engine = Engine(options)
    await engine.start()
    try:
        async with Migrating(engine, t.cast("t.Any", None)) as cluster:
            await cluster.phase(name, "Succeeded")
    finally:
        await engine.stop()


async def test_a_guest_whose_post_copy_breaks_is_lost() -> None:
    """Part of its memory is on either side: neither can go on."""
    async with engine_of("4.19") as cluster:
        story = STORIES["post-copy"]
        await describe(cluster, {**story.load, "working-set": "3Gi"})
        await cluster.settings(**story.settings)
        before = await cluster.instance("vm-1")
        store, runtime = cluster.engine.store, cluster.engine.runtime

        def break_it(event: StoreEvent) -> None:
            state = (event.stored.value.get("status") or {}).get("migrationState") or {}
            if event.stored.resource[1] == VMIS.plural and state.get("mode") == "PostCopy" and not state.get("completed"):
                target = store.get(("", "pods"), cluster.namespace, state["targetPod"])
                assert target is not None
                asyncio.get_running_loop().call_soon(runtime.exited, target.value["metadata"]["uid"], 1)

        store.observers.append(break_it)
        await cluster.phase(await cluster.migrate("vm-1"), "Failed")

        async def another() -> bool:
            found = [one for one in (await cluster.engine.admin.list(VMIS, cluster.namespace)).items if one["metadata"]["name"] == "vm-1"]
            return bool(found) and found[0]["metadata"]["uid"] != before["metadata"]["uid"] and found[0]["status"].get("phase") == "Running"

        await cluster.until(another)
        ended = [obj["status"] for _when, resource, _kind, obj in cluster.seen
                 if resource == VMIS.plural and obj["metadata"]["uid"] == before["metadata"]["uid"] and obj["status"]["phase"] == "Failed"]
        assert ended[0]["migrationState"]["failed"]


async def test_a_guest_whose_target_goes_in_the_moment_that_it_arrives_has_ended() -> None:
    async with engine_of("4.19") as cluster:
        await describe(cluster, STORIES["success"].load)
        before = await cluster.instance("vm-1")
        store, runtime = cluster.engine.store, cluster.engine.runtime

        def end_it(event: StoreEvent) -> None:
            state = (event.stored.value.get("status") or {}).get("migrationState") or {}
            if event.stored.resource[1] == VMIS.plural and state.get("targetNodeDomainReadyTimestamp") and not state.get("completed"):
                target = store.get(("", "pods"), cluster.namespace, state["targetPod"])
                assert target is not None
                asyncio.get_running_loop().call_soon(runtime.exited, target.value["metadata"]["uid"], 1)

        store.observers.append(end_it)
        await cluster.migrate("vm-1")

        async def another() -> bool:
            found = [one for one in (await cluster.engine.admin.list(VMIS, cluster.namespace)).items if one["metadata"]["name"] == "vm-1"]
            return bool(found) and found[0]["metadata"]["uid"] != before["metadata"]["uid"] and found[0]["status"].get("phase") == "Running"

        await cluster.until(another)


async def test_the_launcher_that_a_guest_leaves_ends_also_when_its_migration_was_told_of_another() -> None:
    """Of two migrations let in at once the second still names the pod that the first has emptied."""
    async with engine_of("4.19") as cluster:
        await describe(cluster, {"copy-seconds": "3"})
        first = await cluster.migrate("vm-1")
        body = await cluster.get(first)
        twin = {**body, "metadata": {**body["metadata"], "name": "twin", "uid": "00000000-0000-4000-8000-000000000001"}, "status": {}}
        cluster.engine.admin.adopt(VMIMS, twin)
        await cluster.over(first)
        await cluster.over("twin")
        assert {(await cluster.get(name))["status"]["phase"] for name in (first, "twin")} == {"Succeeded"}
        await cluster.passes(5)
        launchers = (await cluster.engine.admin.list(PODS, cluster.namespace, "vm.kubevirt.io/name=vm-1")).items
        assert len(launchers) == 3
        running = {pod["spec"]["nodeName"] for pod in launchers if pod["status"]["phase"] == "Running"}
        assert running == {(await cluster.instance("vm-1"))["status"]["nodeName"]}


async def test_the_launcher_that_a_guest_leaves_ends_also_when_the_answer_to_its_hand_over_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    update, lost = LocalCluster.update, list[Object]()

    async def lossy(cluster: LocalCluster, ref: Ref, obj: Object, subresource: str = "") -> Object:
        made = await update(cluster, ref, obj, subresource)
        if ref.plural == VMIS.plural and not lost and ((obj.get("status") or {}).get("migrationState") or {}).get("completed"):
            lost.append(made)
            raise errors.internal("connection reset by peer")
        return made

    async with engine_of("4.19") as cluster:
        await describe(cluster, {"copy-seconds": "3"})
        monkeypatch.setattr(LocalCluster, "update", lossy)
        name = await cluster.migrate("vm-1")
        await cluster.phase(name, "Succeeded")
        assert len(lost) == 1
        state = (await cluster.instance("vm-1"))["status"]["migrationState"]
        assert state["completed"] is True
        await assert_pods(cluster, state)
