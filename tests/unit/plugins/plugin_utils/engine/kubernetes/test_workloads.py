# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Roll-outs of Deployments, DaemonSets and StatefulSets, played step by step without a cluster."""
from __future__ import annotations

import datetime
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import Object
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubernetes import daemon_set_status as daemons
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubernetes import deployment_status as rolling
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubernetes import stateful_sets
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubernetes.workload_status import (
    first_to_go,
    rolled_out,
    template_hash,
)

NOW = "2026-11-23T10:00:00Z"
MOMENT = datetime.datetime.fromisoformat(NOW)
_AMOUNTS = st.one_of(st.integers(0, 4), st.sampled_from(["0%", "25%", "50%", "100%"]))


def deployment(replicas: int, **rolling_update: t.Any) -> Object:
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "main", "image": "app:2"}]}}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "default", "uid": "1", "generation": 2},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": template,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling_update},
        },
    }


def replica_set(name: str, replicas: int, available: int) -> Object:
    return {
        "metadata": {"name": name, "creationTimestamp": NOW}, "spec": {"replicas": replicas},
        "status": {"replicas": replicas, "availableReplicas": available, "readyReplicas": available},
    }


@pytest.mark.parametrize(("replicas", "given_", "expected"), [
    (4, {}, (1, 1)), (1, {}, (1, 0)), (10, {"maxSurge": "25%", "maxUnavailable": "25%"}, (3, 2)), (3, {"maxSurge": 0, "maxUnavailable": 0}, (0, 1)),
    (2, {"maxSurge": 0, "maxUnavailable": 5}, (0, 2)),
])
def test_bounds(replicas: int, given_: Object, expected: tuple[int, int]) -> None:
    assert rolling.bounds(deployment(replicas, **given_)) == expected


@given(st.integers(0, 8), _AMOUNTS, _AMOUNTS, st.integers(0, 8), st.randoms(use_true_random=False))
def test_a_roll_out_keeps_its_bounds_and_comes_to_its_end(replicas: int, surge: int | str, missing: int | str, healthy: int, draw: t.Any) -> None:
    wanted = deployment(replicas, maxSurge=surge, maxUnavailable=missing)
    most, least = replicas + rolling.bounds(wanted)[0], replicas - rolling.bounds(wanted)[1]
    old = replica_set("web-old", replicas, min(replicas, healthy))
    new = replica_set("web-new", 0, 0)
    started = old["status"]["availableReplicas"]
    for dummy in range(200):
        grown = rolling.grown(wanted, new, [old, new])
        if grown != new["spec"]["replicas"]:
            new["spec"]["replicas"] = grown
        else:
            left = rolling.shrunk(wanted, new, [old]).get("web-old", old["spec"]["replicas"])
            # What is not ready goes first.
            old["status"]["availableReplicas"] = min(old["status"]["availableReplicas"], left)
            old["spec"]["replicas"] = left
        assert old["spec"]["replicas"] + new["spec"]["replicas"] <= max(most, replicas)
        available = old["status"]["availableReplicas"] + new["status"]["availableReplicas"]
        assert available >= min(least, started)
        if draw.random() < 0.7 and new["status"]["availableReplicas"] < new["spec"]["replicas"]:
            new["status"]["availableReplicas"] += 1
        if not old["spec"]["replicas"] and new["status"]["availableReplicas"] == replicas:
            break
    assert (old["spec"]["replicas"], new["status"]["availableReplicas"]) == (0, replicas)


def test_the_status_tells_of_the_way_and_the_end() -> None:
    wanted = deployment(2)
    old, new = replica_set("web-old", 2, 2), replica_set("web-new", 1, 0)
    status = rolling.status_of(wanted, new, [old, new], NOW)
    assert {key: status[key] for key in status if key != "conditions"} == {
        "observedGeneration": 2, "replicas": 3, "updatedReplicas": 1, "readyReplicas": 2, "availableReplicas": 2, "unavailableReplicas": 1}
    assert [(one["type"], one["status"], one["reason"]) for one in status["conditions"]] == [
        ("Available", "True", "MinimumReplicasAvailable"), ("Progressing", "True", "ReplicaSetUpdated")]
    assert not rolled_out({**wanted, "status": status})
    stuck = rolling.status_of({**wanted, "status": status}, new, [old, new], "2026-11-23T10:10:00Z", late=True)
    assert stuck["conditions"][1]["reason"] == "ProgressDeadlineExceeded"
    assert stuck["conditions"][1]["status"] == "False"
    done = rolling.status_of({**wanted, "status": status}, replica_set("web-new", 2, 2), [replica_set("web-new", 2, 2)], NOW)
    assert done["conditions"][1]["message"] == 'ReplicaSet "web-new" has successfully progressed.'
    assert "unavailableReplicas" not in done
    assert rolled_out({**wanted, "status": done})
    assert rolling.status_of({**wanted, "status": done}, replica_set("web-new", 2, 2), [replica_set("web-new", 2, 2)], "2026-11-23T11:00:00Z") == done


def test_a_replica_set_is_known_by_its_template() -> None:
    wanted = deployment(2)
    made = rolling.new_replica_set(wanted, 3, 1)
    digest = template_hash(wanted["spec"]["template"])
    assert made["metadata"]["name"] == f"web-{digest}"
    assert made["spec"]["selector"]["matchLabels"] == made["spec"]["template"]["metadata"]["labels"] == {"app": "web", "pod-template-hash": digest}
    assert rolling.same_template(made, wanted)
    assert rolling.revision(made) == 3
    other = deployment(2)
    other["spec"]["template"]["spec"]["containers"][0]["image"] = "app:3"
    assert not rolling.same_template(made, other)
    assert template_hash(other["spec"]["template"]) != digest
    assert template_hash(wanted["spec"]["template"], 1) != digest


def pod(name: str, node: str = "", ready: bool = True, phase: str = "Running", labels: Object | None = None, going: bool = False, since: str = NOW) -> Object:
    metadata: Object = {"name": name, "labels": labels or {}, "creationTimestamp": since, **({"deletionTimestamp": NOW} if going else {})}
    conditions = [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": since}]
    return {"metadata": metadata, "spec": {"nodeName": node} if node else {}, "status": {"phase": phase, "conditions": conditions}}


def test_who_goes_first_when_there_are_too_many() -> None:
    pods = [
        pod("old", "n1", since="2026-11-23T09:00:00Z"), pod("new", "n2"), pod("unready", "n3", ready=False), pod("pending", "n4", ready=False, phase="Pending"),
        pod("nowhere", phase="Pending", ready=False), pod("crowded", "n1", since="2026-11-23T09:30:00Z"),
    ]
    assert [one["metadata"]["name"] for one in first_to_go(pods)] == ["nowhere", "pending", "unready", "crowded", "old", "new"]


def node(name: str, taint: Object | None = None, **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": labels}, "spec": {"taints": [taint]} if taint else {}}


def daemon_set(**update: t.Any) -> Object:
    template = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "main"}], "nodeSelector": {"role": "worker"}}}
    return {
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d", "namespace": "default", "uid": "2", "generation": 1},
        "spec": {"selector": {"matchLabels": {"app": "d"}}, "template": template, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": update}},
    }


@pytest.mark.parametrize(("where", "expected"), [
    (node("n", role="worker"), (True, True)), (node("n", role="master"), (False, False)),
    (node("n", {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}, role="worker"), (True, True)),
    (node("n", {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute"}, role="worker"), (True, True)),
    (node("n", {"key": "special", "effect": "NoSchedule"}, role="worker"), (False, True)),
    (node("n", {"key": "special", "effect": "NoExecute"}, role="worker"), (False, False)),
])
def test_where_daemons_belong(where: Object, expected: tuple[bool, bool]) -> None:
    assert daemons.should_run(daemons.pod_spec(daemon_set()), where) == expected


def test_a_daemon_has_its_node_and_no_other() -> None:
    wanted = daemon_set()
    made = daemons.pod_for(wanted, daemons.pod_spec(wanted), "n7", "hash")
    assert daemons.target_node(made) == "n7"
    assert made["metadata"]["labels"] == {"app": "d", "controller-revision-hash": "hash", "pod-template-generation": "1"}
    assert daemons.is_updated(made, "hash")


def test_one_daemon_on_each_node() -> None:
    by_node = {
        "empty-elsewhere": [pod("away", "empty-elsewhere")], "twice": [pod("second", "twice"), pod("first", "twice", since="2026-11-23T09:00:00Z")],
        "ended": [pod("failed", "ended", phase="Failed")], "leaving": [pod("leaving", "leaving", going=True)], "gone": [pod("lost", "gone")],
    }
    nodes = dict.fromkeys(("none", "twice", "ended", "leaving"), (True, True)) | {"empty-elsewhere": (False, False)}
    plan = daemons.manage(by_node, nodes)
    assert plan.create == ["none"]
    assert sorted(one["metadata"]["name"] for one in plan.delete) == ["away", "failed", "lost", "second"]
    assert [one["metadata"]["name"] for one in plan.failed] == ["failed"]


_STATES = st.lists(st.sampled_from(["old", "new", "unready", "none"]), min_size=12, max_size=12)


@given(st.integers(1, 12), st.one_of(st.integers(1, 5), st.sampled_from(["10%", "50%"])), _STATES)
def test_as_many_daemons_give_way_as_may_be_missing(count: int, most: int | str, states: list[str]) -> None:
    by_node: dict[str, list[Object]] = {}
    for number, state in enumerate(states[:count]):
        if state != "none":
            labels = {"controller-revision-hash": "new" if state == "new" else "old"}
            by_node[f"n{number}"] = [pod(f"p{number}", f"n{number}", ready=state != "unready", labels=labels)]
    wanted = [f"n{number}" for number in range(count)]
    going = daemons.outdated(daemon_set(maxUnavailable=most), by_node, wanted, "new", MOMENT)
    serving = [one for one in going if one["status"]["conditions"][0]["status"] == "True"]
    missing = sum(state in ("none", "unready") for state in states[:count])
    allowed = most if isinstance(most, int) else max(1, -(-int(most[:-1]) * count // 100))
    assert len(serving) <= max(0, allowed - missing)
    assert len(going) - len(serving) == states[:count].count("unready")
    assert not any(daemons.is_updated(one, "new") for one in going)
    if states[:count].count("old") and missing < allowed:
        assert serving


def stateful_set(replicas: int, **more: t.Any) -> Object:
    template = {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "main"}]}}
    return {
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db", "namespace": "default", "uid": "3", "generation": 1},
        "spec": {"replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}}, "template": template, **more},
    }


def member(number: int, revision: str = "db-1", **more: t.Any) -> Object:
    return pod(f"db-{number}", f"n{number}", labels={"controller-revision-hash": revision}, **more)


@pytest.mark.parametrize(("spec", "pods", "create", "delete"), [
    ({}, [], [0], []), ({}, [member(0, ready=False)], [], []), ({}, [member(0)], [1], []), ({"podManagementPolicy": "Parallel"}, [], [0, 1, 2], []),
    ({}, [member(number) for number in range(5)], [], ["db-4"]), ({}, [member(0), member(1, phase="Failed"), member(2)], [], ["db-1"]),
    ({}, [member(0), member(1, going=True), member(2)], [], []), ({}, [member(number, "db-0") for number in range(3)], [], ["db-2"]),
    ({}, [member(0, "db-0"), member(1, "db-0"), member(2)], [], ["db-1"]), ({}, [member(0, "db-0"), member(1, "db-0"), member(2, ready=False)], [], []),
    ({"updateStrategy": {"rollingUpdate": {"partition": 2}}}, [member(0, "db-0"), member(1, "db-0"), member(2)], [], []),
    ({"updateStrategy": {"type": "OnDelete"}}, [member(number, "db-0") for number in range(3)], [], []),
])
def test_stateful_pods_come_and_go_in_their_order(spec: Object, pods: list[Object], create: list[int], delete: list[str]) -> None:
    held = {stateful_sets.ordinal(one): one for one in pods}
    made, gone = stateful_sets.next_steps(stateful_set(3, **spec), held, "db-1", MOMENT)
    assert (made, [one["metadata"]["name"] for one in gone]) == (create, delete)


def test_a_stateful_pod_has_its_name_its_number_and_its_claims() -> None:
    claim = {"metadata": {"name": "data"}, "spec": {}}
    made = stateful_sets.pod_number(stateful_set(3, volumeClaimTemplates=[claim]), 2, "x")
    assert made["metadata"]["name"] == made["spec"]["hostname"] == "db-2"
    assert made["spec"]["subdomain"] == "db"
    assert made["spec"]["volumes"] == [{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-2"}}]
    assert made["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == "2"
