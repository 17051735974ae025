# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real kubectl with workloads, nodes, kinds of its own making, and with what the engine leaves out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest

from ansible_collections.okd.virt.tests.support.api import Api
from ansible_collections.okd.virt.tests.support.kubectl import Kubectl

NODE = "node06"
GADGETS = "gadgets.clients.example.com"
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": GADGETS},
    "spec": {
        "group": "clients.example.com",
        "scope": "Namespaced",
        "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "shortNames": ["gd"], "categories": ["all"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"}},
                "selectableFields": [{"jsonPath": ".spec.colour"}],
                "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "description": "A thing that a test makes.",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["size"],
                                "properties": {
                                    "size": {"type": "integer", "minimum": 1, "description": "How large it is."},
                                    "colour": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                                },
                            },
                            "status": {"type": "object", "properties": {"size": {"type": "integer"}}},
                        },
                    }
                },
            }
        ],
    },
}


def gadget(name: str, **spec: object) -> str:
    return json.dumps({"apiVersion": "clients.example.com/v1", "kind": "Gadget", "metadata": {"name": name}, "spec": spec})


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def deployment(kubectl: Kubectl, namespace: str) -> str:
    """A Deployment with two pods that run."""
    kubectl.ok("create", "deployment", "web", "-n", namespace, "--image=registry.invalid/web:1", "--replicas=2")
    kubectl.ok("rollout", "status", "deployment/web", "-n", namespace, "--timeout=30s")
    return "web"


def test_rollout(kubectl: Kubectl, namespace: str, deployment: str) -> None:
    where = ("-n", namespace)
    target = f"deployment/{deployment}"
    rows = kubectl.ok("get", "deployment", deployment, *where).splitlines()
    assert rows[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert rows[1].split()[:4] == [deployment, "2/2", "2", "2"]
    pods = kubectl.ok("get", "pods", "-l", "app=web", *where).splitlines()
    assert pods[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert [line.split()[1:4] for line in pods[1:]] == [["1/1", "Running", "0"]] * 2
    assert kubectl.ok("set", "image", target, "web=registry.invalid/web:2", *where) == f"deployment.apps/{deployment} image updated\n"
    assert "successfully rolled out" in kubectl.ok("rollout", "status", target, "--timeout=30s", *where)
    images = kubectl.ok("get", "pods", "-l", "app=web", *where, "-o", "jsonpath={.items[*].spec.containers[0].image}")
    assert set(images.split()) == {"registry.invalid/web:2"}
    history = kubectl.ok("rollout", "history", target, *where).splitlines()
    assert [line.split()[0] for line in history[2:] if line] == ["1", "2"]
    assert kubectl.ok("rollout", "undo", target, *where) == f"deployment.apps/{deployment} rolled back\n"
    kubectl.ok("rollout", "status", target, "--timeout=30s", *where)
    image = kubectl.ok("get", target, *where, "-o", "jsonpath={.spec.template.spec.containers[0].image}")
    assert image == "registry.invalid/web:1"
    assert kubectl.ok("rollout", "restart", target, *where) == f"deployment.apps/{deployment} restarted\n"
    kubectl.ok("rollout", "status", target, "--timeout=30s", *where)
    assert kubectl.ok("wait", target, *where, "--for=condition=Available", "--timeout=20s") == "deployment.apps/web condition met\n"
    kubectl.ok("scale", target, "--replicas=0", *where)
    kubectl.ok("wait", "pods", "-l", "app=web", *where, "--for=delete", "--timeout=60s")


def test_edit_changes_what_the_editor_changed(kubectl: Kubectl, namespace: str) -> None:
    kubectl.ok("create", "configmap", "settings", "-n", namespace, "--from-literal=colour=red")
    kubectl.environment["KUBE_EDITOR"] = "sed -i s/red/blue/"
    assert kubectl.ok("edit", "configmap", "settings", "-n", namespace) == "configmap/settings edited\n"
    assert kubectl.object("configmap", "settings", "-n", namespace)["data"] == {"colour": "blue"}
    kubectl.environment["KUBE_EDITOR"] = "true"
    again = kubectl("edit", "configmap", "settings", "-n", namespace)
    assert (again.returncode, "no changes made" in again.stderr) == (0, True)


def test_events_are_told_of_an_object(kubectl: Kubectl, api: Api, namespace: str) -> None:
    involved = {"kind": "ConfigMap", "namespace": namespace, "name": "settings", "apiVersion": "v1"}
    kubectl.ok("create", "configmap", "settings", "-n", namespace)
    for reason in ("Found", "Lost"):
        event = {
            "apiVersion": "v1", "kind": "Event", "metadata": {"generateName": "settings."}, "involvedObject": involved, "reason": reason,
            "message": f"was {reason}", "type": "Normal", "count": 2, "firstTimestamp": "2026-01-01T00:00:00Z",
            "lastTimestamp": "2026-01-01T00:00:10Z", "source": {"component": "tests"},
        }  # fmt: skip
        api.expect(201, "POST", f"/api/v1/namespaces/{namespace}/events", event)
    listed = kubectl.ok("events", "-n", namespace, "--for=configmap/settings").splitlines()
    assert listed[0].split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert sorted(line.split()[-1] for line in listed[1:]) == ["Found", "Lost"]
    rows = kubectl.ok("get", "events", "-n", namespace, "--field-selector=reason=Lost").splitlines()
    assert rows[0].split() == ["LAST", "SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]
    assert len(rows) == 2


@pytest.fixture
def definition(kubectl: Kubectl) -> Iterator[str]:
    """A kind that exists from one command to the next."""
    assert kubectl.ok("create", "-f", "-", stdin=json.dumps(DEFINITION)) == (
        f"customresourcedefinition.apiextensions.k8s.io/{GADGETS} created\n"
    )
    yield GADGETS
    kubectl.ok("delete", "crd", GADGETS, "--ignore-not-found", "--timeout=30s")


def test_a_kind_is_used_as_soon_as_it_is_made(kubectl: Kubectl, namespace: str, definition: str) -> None:
    where = ("-n", namespace)
    kubectl.ok("wait", f"crd/{definition}", "--for=condition=Established", "--timeout=10s")
    assert kubectl.ok("create", *where, "-f", "-", stdin=gadget("one", size=3)) == "gadget.clients.example.com/one created\n"
    kubectl.ok("apply", "--server-side", *where, "-f", "-", stdin=gadget("two", size=5, colour="blue"))
    rows = kubectl.ok("get", "gd", *where).splitlines()
    assert [line.split() for line in rows] == [["NAME", "SIZE"], ["one", "3"], ["two", "5"]]
    assert kubectl.ok("get", "gd", *where, "--field-selector=spec.colour=blue", "-o", "name") == "gadget.clients.example.com/two\n"
    assert "gadget.clients.example.com/one" in kubectl.ok("get", "all", *where)
    assert kubectl.ok("scale", "gadget/one", "--replicas=9", *where) == "gadget.clients.example.com/one scaled\n"
    assert kubectl.object("gadget", "one", *where)["spec"] == {"size": 9, "colour": "red"}
    refused = kubectl("apply", *where, "-f", "-", stdin=gadget("three", size=0, colour="green"))
    assert refused.returncode == 1
    assert 'spec.colour: Unsupported value: "green": supported values: "red", "blue"' in refused.stderr
    assert "spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1" in refused.stderr
    refused = kubectl("create", *where, "-f", "-", stdin=gadget("three", size=1, weight=4))
    assert 'unknown field "spec.weight"' in refused.stderr
    explained = kubectl.ok("explain", "gadget.spec.size")
    assert "How large it is." in explained
    assert "FIELD: size <integer>" in explained
    patch = ("patch", "gadget", "one", *where, "--subresource=status", "--type=merge", "-p", '{"status":{"size":9},"spec":{"size":1}}')
    kubectl.ok(*patch)
    found = kubectl.object("gadget", "one", *where)
    assert (found["spec"]["size"], found["status"]) == (9, {"size": 9})
    kubectl.ok("delete", "crd", definition, "--timeout=30s")
    gone = kubectl("get", "gadgets", *where)
    assert gone.returncode == 1
    assert "the server could not find the requested resource" in gone.stderr or "the server doesn't have a resource type" in gone.stderr


def test_taint_cordon_and_drain_of_a_node_without_machines(kubectl: Kubectl, api: Api, namespace: str) -> None:
    def node() -> dict[str, object]:
        found: dict[str, object] = kubectl.object("node", NODE)["spec"]
        return found

    assert kubectl.ok("taint", "node", NODE, "clients.example.com/tests=yes:NoSchedule") == f"node/{NODE} tainted\n"
    assert {"key": "clients.example.com/tests", "value": "yes", "effect": "NoSchedule"} in node()["taints"]  # type: ignore[operator]
    assert kubectl.ok("taint", "node", NODE, "clients.example.com/tests-") == f"node/{NODE} untainted\n"
    pod = {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "alone", "labels": {"app": "alone"}},
        "spec": {"nodeName": NODE, "containers": [{"name": "c", "image": "registry.invalid/pause:1"}]},
    }  # fmt: skip
    kubectl.ok("create", "-n", namespace, "-f", "-", stdin=json.dumps(pod))
    kubectl.ok("wait", "pod/alone", "-n", namespace, "--for=condition=Ready", "--timeout=30s")
    try:
        only = ("--ignore-daemonsets", "--pod-selector=app=alone", "--timeout=60s")
        refused = kubectl("drain", NODE, *only)
        assert refused.returncode == 1
        assert "cannot delete" in refused.stderr
        assert node()["unschedulable"] is True
        until(lambda: any(taint["key"] == "node.kubernetes.io/unschedulable" for taint in node().get("taints", [])))  # type: ignore[attr-defined]
        drained = kubectl("drain", NODE, *only, "--force")
        assert (drained.returncode, drained.stdout.splitlines()[-1]) == (0, f"node/{NODE} drained")
        assert "pod/alone evicted\n" in drained.stdout
        assert kubectl("get", "pod", "alone", "-n", namespace).returncode == 1
    finally:
        assert kubectl.ok("uncordon", NODE) == f"node/{NODE} uncordoned\n"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("top", "nodes"), "Metrics API not available"),
        (("exec", "alone", "--", "true"), "pods/exec is not served"),
        (("attach", "alone"), "pods/attach is not served"),
        (("logs", "alone"), "pods/log is not served"),
        (("port-forward", "pod/alone", ":80"), "pods/portforward is not served"),
    ],
    ids=["top", "exec", "attach", "logs", "port-forward"],
)
def test_what_is_left_out_is_refused_clearly(kubectl: Kubectl, namespace: str, command: tuple[str, ...], said: str) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "alone"}, "spec": {"containers": [{"name": "c", "image": "pause"}]}}
    kubectl.ok("create", "-n", namespace, "-f", "-", stdin=json.dumps(pod))
    kubectl.ok("wait", "pod/alone", "-n", namespace, "--for=condition=Ready", "--timeout=30s")
    refused = kubectl("-n", namespace, *command, timeout=30)
    assert refused.returncode != 0
    assert said in refused.stderr
