# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real kubectl does on the engine what it does on a cluster."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from ansible_collections.okd.virt.tests.support.api import RBAC, Api
from ansible_collections.okd.virt.tests.support.kubectl import Kubectl
from ansible_collections.okd.virt.tests.support.processes import kill_tree

CONFIG_MAP = """
apiVersion: v1
kind: ConfigMap
metadata:
  name: settings
data:
  colour: {colour}
"""


@pytest.fixture(scope="module")
def machine(api: Api) -> dict[str, Any]:
    """A virtual machine of the sample cluster."""
    return api.items("/apis/kubevirt.io/v1/virtualmachines")[0]


def test_get_shows_the_columns_of_a_cluster(kubectl: Kubectl, machine: dict[str, Any]) -> None:
    name, namespace = machine["metadata"]["name"], machine["metadata"]["namespace"]
    nodes = kubectl.ok("get", "nodes").splitlines()
    assert nodes[0].split() == ["NAME", "STATUS", "ROLES", "AGE", "VERSION"]
    assert all(line.split()[1] == "Ready" for line in nodes[1:])
    assert len(nodes) == 10
    wide = kubectl.ok("get", "nodes", "-o", "wide").splitlines()[0]
    assert "INTERNAL-IP" in wide
    assert "CONTAINER-RUNTIME" in wide
    machines = kubectl.ok("get", "vm", "-n", namespace).splitlines()
    assert machines[0].split() == ["NAME", "AGE", "STATUS", "READY"]
    assert any(line.split()[0] == name for line in machines[1:])
    instances = kubectl.ok("get", "vmi", "-A").splitlines()
    assert instances[0].split() == ["NAMESPACE", "NAME", "AGE", "PHASE", "IP", "NODENAME", "READY"]
    assert len(instances) > 40
    # Also by the single name, by selector and by another form of the same resource.
    assert kubectl.ok("get", "virtualmachines.kubevirt.io", name, "-n", namespace, "-o", "name") == (
        f"virtualmachine.kubevirt.io/{name}\n"
    )
    assert kubectl.ok("get", "namespaces", "-l", f"kubernetes.io/metadata.name={namespace}", "-o", "name") == (
        f"namespace/{namespace}\n"
    )
    bindings = kubectl.ok("get", "clusterrolebindings", "-o", "wide").splitlines()
    assert bindings[0].split() == ["NAME", "ROLE", "AGE", "USERS", "GROUPS", "SERVICEACCOUNTS"]


def test_get_yaml_is_the_object(kubectl: Kubectl, api: Api) -> None:
    shown = yaml.safe_load(kubectl.ok("get", "clusterrole", "admin", "-o", "yaml"))
    stored = api.get(f"{RBAC}/clusterroles/admin")
    stored["metadata"].pop("managedFields")
    assert json.loads(json.dumps(shown, default=str)) == stored
    assert "managedFields" in kubectl.ok("get", "clusterrole", "admin", "-o", "yaml", "--show-managed-fields")


def test_get_of_what_is_not_there(kubectl: Kubectl, namespace: str) -> None:
    finished = kubectl("get", "configmap", "nope", "-n", namespace)
    assert (finished.returncode, finished.stderr) == (
        1,
        'Error from server (NotFound): configmaps "nope" not found\n',
    )
    finished = kubectl("get", "widgets")
    assert (finished.returncode, finished.stderr) == (1, 'error: the server doesn\'t have a resource type "widgets"\n')
    assert kubectl("get", "secrets", "-n", namespace).stderr == f"No resources found in {namespace} namespace.\n"


def test_get_watch_shows_each_change(kubectl: Kubectl, namespace: str) -> None:
    watcher = kubectl.start("get", "configmaps", "-n", namespace, "-w", "--output-watch-events", "--no-headers")
    # A watch that never answers ends the test, not the run.
    guard = threading.Timer(30, kill_tree, [watcher.pid])
    guard.start()
    try:
        assert watcher.stdout is not None
        lines: Iterator[str] = (
            line for line in iter(watcher.stdout.readline, "") if line.split()[1:2] == ["settings"]
        )
        kubectl.ok("create", "configmap", "settings", "-n", namespace, "--from-literal=colour=red")
        assert next(lines).split()[:3] == ["ADDED", "settings", "1"]
        kubectl.ok("patch", "configmap", "settings", "-n", namespace, "-p", '{"data":{"size":"large"}}')
        assert next(lines).split()[:3] == ["MODIFIED", "settings", "2"]
        kubectl.ok("delete", "configmap", "settings", "-n", namespace)
        assert next(lines).split()[:3] == ["DELETED", "settings", "2"]
    finally:
        guard.cancel()
        kill_tree(watcher.pid)
        watcher.communicate(timeout=10)


def test_wait_ends_when_the_condition_holds(kubectl: Kubectl, namespace: str) -> None:
    kubectl.ok("create", "configmap", "settings", "-n", namespace, "--from-literal=colour=red")
    change = threading.Timer(
        0.5, kubectl.ok, ["patch", "configmap", "settings", "-n", namespace, "-p", '{"data":{"colour":"blue"}}']
    )
    change.start()
    waited = kubectl.ok(
        "wait", "configmap/settings", "-n", namespace, "--for=jsonpath={.data.colour}=blue", "--timeout=20s"
    )
    change.join()
    assert waited == "configmap/settings condition met\n"
    kubectl.ok("delete", "configmap", "settings", "-n", namespace)
    assert kubectl("wait", "configmap/settings", "-n", namespace, "--for=delete", "--timeout=20s").returncode == 0


def test_describe(kubectl: Kubectl, api: Api, machine: dict[str, Any]) -> None:
    name, namespace = machine["metadata"]["name"], machine["metadata"]["namespace"]
    described = kubectl.ok("describe", "namespace", namespace)
    assert f"Name:         {namespace}\n" in described
    assert "Status:       Active\n" in described
    node = api.items("/api/v1/nodes")[0]["metadata"]["name"]
    described = kubectl.ok("describe", "node", node)
    for title in ("Conditions:", "Capacity:", "Allocatable:", "System Info:", "Non-terminated Pods:", "Allocated resources:"):
        assert f"\n{title}" in described
    pod = next(pod for pod in api.items("/api/v1/pods") if pod["metadata"]["name"].startswith("virt-launcher-"))
    described = kubectl.ok("describe", "pod", pod["metadata"]["name"], "-n", pod["metadata"]["namespace"])
    assert f"Node:             {pod['spec']['nodeName']}" in described
    assert "Containers:\n  compute:" in described
    described = kubectl.ok("describe", "clusterrole", "kubevirt.io:default")
    assert "PolicyRule:" in described
    assert "kubevirts.kubevirt.io" in described
    described = kubectl.ok("describe", "vm", name, "-n", namespace)
    assert "Kind:         VirtualMachine\n" in described
    assert "Printable Status:" in described


@pytest.mark.parametrize("server_side", [(), ("--server-side",)], ids=["client-side", "server-side"])
def test_apply_creates_changes_and_prunes_fields(kubectl: Kubectl, namespace: str, server_side: tuple[str, ...]) -> None:
    apply = ("apply", *server_side, "-n", namespace, "-f", "-")
    done = {"created": "created", "changed": "configured", "same": "unchanged"}
    if server_side:
        done = dict.fromkeys(done, "serverside-applied")
    first = CONFIG_MAP.format(colour="red") + "  size: large\n"
    assert kubectl.ok(*apply, stdin=first) == f"configmap/settings {done['created']}\n"
    assert kubectl.ok(*apply, stdin=first) == f"configmap/settings {done['same']}\n"
    assert kubectl.ok(*apply, stdin=CONFIG_MAP.format(colour="blue")) == f"configmap/settings {done['changed']}\n"
    found = kubectl.object("configmap", "settings", "-n", namespace)
    assert found["data"] == {"colour": "blue"}
    assert kubectl("diff", *server_side, "-n", namespace, "-f", "-", stdin=CONFIG_MAP.format(colour="blue")).returncode == 0
    changed = kubectl("diff", *server_side, "-n", namespace, "-f", "-", stdin=CONFIG_MAP.format(colour="green"))
    assert changed.returncode == 1
    assert "+  colour: green" in changed.stdout


def test_server_side_apply_conflict_names_manager_and_field(kubectl: Kubectl, namespace: str) -> None:
    kubectl.ok("apply", "--server-side", "--field-manager=one", "-n", namespace, "-f", "-", stdin=CONFIG_MAP.format(colour="red"))
    conflict = kubectl(
        "apply", "--server-side", "--field-manager=two", "-n", namespace, "-f", "-", stdin=CONFIG_MAP.format(colour="blue")
    )
    assert conflict.returncode == 1
    assert 'conflict with "one": .data.colour' in conflict.stderr
    forced = ("apply", "--server-side", "--force-conflicts", "--field-manager=two", "-n", namespace, "-f", "-")
    kubectl.ok(*forced, stdin=CONFIG_MAP.format(colour="blue"))
    assert kubectl.object("configmap", "settings", "-n", namespace)["data"] == {"colour": "blue"}


def test_apply_of_an_invalid_object_is_refused_with_the_field(kubectl: Kubectl, namespace: str) -> None:
    refused = kubectl("apply", "-n", namespace, "-f", "-", stdin=CONFIG_MAP.format(colour="red") + "colour: red\n")
    assert refused.returncode == 1
    assert 'unknown field "colour"' in refused.stderr
    assert kubectl("get", "configmap", "settings", "-n", namespace).returncode == 1


def test_create_of_bindings_and_roles(kubectl: Kubectl, namespace: str) -> None:
    bind = (
        "create", "rolebinding", "kvmigrate", "--clusterrole=kubevirt.io:migrate", "--user=alice", "--group=devs",
        "--serviceaccount=ci:deployer", "-n", namespace,
    )  # fmt: skip
    assert kubectl.ok(*bind) == "rolebinding.rbac.authorization.k8s.io/kvmigrate created\n"
    again = kubectl(*bind)
    assert (again.returncode, again.stderr) == (
        1,
        'error: failed to create rolebinding: rolebindings.rbac.authorization.k8s.io "kvmigrate" already exists\n',
    )
    found = kubectl.object("rolebinding", "kvmigrate", "-n", namespace)
    group = "rbac.authorization.k8s.io"
    assert found["roleRef"] == {"apiGroup": group, "kind": "ClusterRole", "name": "kubevirt.io:migrate"}
    assert found["subjects"] == [
        {"apiGroup": group, "kind": "User", "name": "alice"},
        {"apiGroup": group, "kind": "Group", "name": "devs"},
        {"kind": "ServiceAccount", "name": "deployer", "namespace": "ci"},
    ]
    assert kubectl.ok("create", "role", "reader", "--verb=get,list", "--resource=vmi", "-n", namespace) == (
        "role.rbac.authorization.k8s.io/reader created\n"
    )
    assert kubectl.ok("create", "serviceaccount", "robot", "-n", namespace) == "serviceaccount/robot created\n"
    token = kubectl.ok("create", "token", "robot", "-n", namespace).strip()
    who = json.loads(kubectl.ok("auth", "whoami", "-o", "json", "--token", token))
    # A client certificate goes before a token, so this asks who the certificate's holder is.
    assert who["status"]["userInfo"]["username"]
    assert kubectl.ok("create", "namespace", f"{namespace}-two") == f"namespace/{namespace}-two created\n"
    assert kubectl.ok("delete", "namespace", f"{namespace}-two") == f'namespace "{namespace}-two" deleted\n'


def test_label_and_annotate(kubectl: Kubectl, namespace: str) -> None:
    kubectl.ok("create", "configmap", "settings", "-n", namespace)
    target = ("configmap", "settings", "-n", namespace)
    assert kubectl.ok("label", *target, "tier=gold") == "configmap/settings labeled\n"
    refused = kubectl("label", *target, "tier=silver")
    assert (refused.returncode, refused.stderr) == (
        1,
        "error: 'tier' already has a value (gold), and --overwrite is false\n",
    )
    assert kubectl.ok("label", "--overwrite", *target, "tier=silver") == "configmap/settings labeled\n"
    assert kubectl.object(*target)["metadata"]["labels"] == {"tier": "silver"}
    assert kubectl.ok("get", "configmaps", "-n", namespace, "-l", "tier=silver", "-o", "name") == "configmap/settings\n"
    assert kubectl.ok("label", *target, "tier-") == "configmap/settings unlabeled\n"
    assert "labels" not in kubectl.object(*target)["metadata"]
    assert kubectl.ok("annotate", *target, "note=x") == "configmap/settings annotated\n"
    assert kubectl.object(*target)["metadata"]["annotations"] == {"note": "x"}


@pytest.mark.parametrize(
    ("type_", "patch", "expected"),
    [
        ("merge", '{"data":{"a":null,"b":"2"}}', {"b": "2"}),
        ("json", '[{"op":"test","path":"/data/a","value":"1"},{"op":"add","path":"/data/b","value":"2"}]', {"a": "1", "b": "2"}),
        ("strategic", '{"data":{"$patch":"replace","b":"2"}}', {"b": "2"}),
    ],
)
def test_patch_of_each_type(kubectl: Kubectl, namespace: str, type_: str, patch: str, expected: dict[str, str]) -> None:
    kubectl.ok("create", "configmap", "settings", "-n", namespace, "--from-literal=a=1")
    command = ("patch", "configmap", "settings", "-n", namespace, f"--type={type_}", "-p", patch)
    assert kubectl.ok(*command) == "configmap/settings patched\n"
    assert kubectl.object("configmap", "settings", "-n", namespace)["data"] == expected


def test_failing_json_patch_test_changes_nothing(kubectl: Kubectl, namespace: str) -> None:
    kubectl.ok("create", "configmap", "settings", "-n", namespace, "--from-literal=a=1")
    patch = '[{"op":"test","path":"/data/a","value":"9"},{"op":"remove","path":"/data/a"}]'
    refused = kubectl("patch", "configmap", "settings", "-n", namespace, "--type=json", "-p", patch)
    assert refused.returncode == 1
    assert kubectl.object("configmap", "settings", "-n", namespace)["data"] == {"a": "1"}


def test_replace_edit_scale_and_delete(kubectl: Kubectl, namespace: str) -> None:
    kubectl.ok("create", "configmap", "settings", "-n", namespace, "--from-literal=a=1")
    current = kubectl.object("configmap", "settings", "-n", namespace)
    kubectl.ok("label", "configmap", "settings", "-n", namespace, "later=yes")
    stale = kubectl("replace", "-f", "-", stdin=json.dumps(current))
    assert stale.returncode == 1
    assert "the object has been modified; please apply your changes to the latest version and try again" in stale.stderr
    kubectl.ok("create", "deployment", "web", "-n", namespace, "--image=registry.invalid/web:1", "--replicas=1")
    assert kubectl.ok("scale", "deployment", "web", "-n", namespace, "--replicas=3") == "deployment.apps/web scaled\n"
    assert kubectl.object("deployment", "web", "-n", namespace)["spec"]["replicas"] == 3
    dry = kubectl.ok("delete", "deployment", "web", "-n", namespace, "--dry-run=server")
    assert "deleted" in dry
    assert kubectl.object("deployment", "web", "-n", namespace)["metadata"]["name"] == "web"
    for name in ("one", "two", "three"):
        kubectl.ok("create", "configmap", name, "-n", namespace)
        kubectl.ok("label", "configmap", name, "-n", namespace, "kind=temporary")
    deleted = kubectl.ok("delete", "configmaps", "-n", namespace, "-l", "kind=temporary").splitlines()
    assert sorted(line.split('"')[1] for line in deleted) == ["one", "three", "two"]
    assert kubectl("delete", "configmap", "one", "-n", namespace).returncode == 1
    assert kubectl.ok("delete", "configmap", "one", "-n", namespace, "--ignore-not-found") == ""


def test_auth_can_i(kubectl: Kubectl, namespace: str) -> None:
    kubectl.ok("create", "rolebinding", "viewers", "--clusterrole=view", "--group=watchers", "-n", namespace)
    kubectl.ok("create", "rolebinding", "owner", "--clusterrole=admin", "--user=owner", "-n", namespace)
    migrations = "virtualmachineinstancemigrations.kubevirt.io"
    assert kubectl.ok("auth", "can-i", "create", migrations, "-n", namespace) == "yes\n"

    def can(*question: str) -> tuple[int, str]:
        finished = kubectl("auth", "can-i", *question, "-n", namespace)
        return finished.returncode, finished.stdout

    assert can("list", migrations, "--as=somebody", "--as-group=watchers") == (0, "yes\n")
    assert can("create", migrations, "--as=somebody", "--as-group=watchers") == (1, "no\n")
    assert can("list", migrations, "--as=somebody") == (1, "no\n")
    assert can("create", migrations, "--as=owner") == (0, "yes\n")
    subresource = ("update", "virtualmachines.subresources.kubevirt.io", "--subresource=migrate")
    assert can(*subresource, "--as=owner") == (0, "yes\n")
    assert can(*subresource, "--as=somebody", "--as-group=watchers") == (1, "no\n")
    assert can("get", "/healthz", "--as=somebody")[1].startswith("yes")
    listed = kubectl.ok("auth", "can-i", "--list", "--as=owner", "-n", namespace)
    assert listed.splitlines()[0].split() == ["Resources", "Non-Resource", "URLs", "Resource", "Names", "Verbs"]
    assert "virtualmachines.subresources.kubevirt.io/migrate" in listed
    nobody = kubectl.ok("auth", "can-i", "--list", "--as=somebody", "-n", namespace)
    assert "selfsubjectaccessreviews.authorization.k8s.io" in nobody
    assert "virtualmachines.subresources.kubevirt.io/migrate" not in nobody


def test_auth_whoami(kubectl: Kubectl) -> None:
    rows = dict(line.split(maxsplit=1) for line in kubectl.ok("auth", "whoami").splitlines()[1:])
    assert "system:authenticated" in rows["Groups"]
    other = json.loads(kubectl.ok("auth", "whoami", "-o", "json", "--as=alice", "--as-group=devs"))["status"]["userInfo"]
    assert other["username"] == "alice"
    assert set(other["groups"]) == {"devs", "system:authenticated"}


def test_impersonation_is_bound_by_rbac(kubectl: Kubectl, namespace: str) -> None:
    refused = kubectl("get", "configmaps", "-n", namespace, "--as=alice")
    assert (refused.returncode, refused.stderr) == (
        1,
        'Error from server (Forbidden): configmaps is forbidden: User "alice" cannot list resource "configmaps" '
        f'in API group "" in the namespace "{namespace}"\n',
    )


def test_api_resources_and_versions(kubectl: Kubectl) -> None:
    lines = kubectl.ok("api-resources", "--no-headers").splitlines()
    found = {line.split()[0]: line.split()[1:] for line in lines}
    assert found["virtualmachines"] == ["vm,vms", "kubevirt.io/v1", "true", "VirtualMachine"]
    assert found["clusterroles"] == ["rbac.authorization.k8s.io/v1", "false", "ClusterRole"]
    assert found["installplans"] == ["ip", "operators.coreos.com/v1alpha1", "true", "InstallPlan"]
    assert {"hyperconvergeds", "kubevirts", "nodes", "pods", "selfsubjectaccessreviews"} <= found.keys()
    verbs = kubectl.ok("api-resources", "--api-group=kubevirt.io", "--verbs=create,deletecollection", "-o", "name")
    assert "virtualmachineinstancemigrations.kubevirt.io" in verbs.split()
    versions = kubectl.ok("api-versions").split()
    assert {"v1", "kubevirt.io/v1", "subresources.kubevirt.io/v1", "authorization.k8s.io/v1"} <= set(versions)


def test_explain_of_kinds_with_a_schema(kubectl: Kubectl) -> None:
    explained = kubectl.ok("explain", "configmap")
    assert "KIND:       ConfigMap" in explained
    assert "VERSION:    v1" in explained
    assert "data" in explained


def test_events_version_and_cluster_info(kubectl: Kubectl, namespace: str) -> None:
    assert kubectl("events", "-n", namespace).returncode == 0
    version = json.loads(kubectl.ok("version", "-o", "json"))
    assert version["serverVersion"]["major"] == "1"
    assert "running at" in kubectl.ok("cluster-info")
