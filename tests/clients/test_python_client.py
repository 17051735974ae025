# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The `kubernetes` library, typed and dynamic, against the engine."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config, dynamic, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import ConflictError, NotFoundError

from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import RunningEngine

# The library's own watches have no types.
Watch: Any = watch.Watch


@pytest.fixture(scope="module")
def connection(engine: RunningEngine) -> Any:
    """The library's transport."""
    return config.new_client_from_config(str(engine.kubeconfig))  # type: ignore[no-untyped-call]


@pytest.fixture
def discovered(connection: Any, tmp_path: Path) -> Any:
    """The dynamic client with a discovery of its own."""
    return dynamic.DynamicClient(connection, cache_file=str(tmp_path / "discovery.json"))  # type: ignore[no-untyped-call]


def test_typed_client_reads_and_writes(connection: Any, namespace: str) -> None:
    core: Any = client.CoreV1Api(connection)
    created = core.create_namespaced_config_map(
        namespace, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="settings"), data={"colour": "red"})
    )
    assert isinstance(created.metadata.creation_timestamp, datetime.datetime)
    assert created.metadata.creation_timestamp.tzinfo is not None
    assert core.read_namespaced_config_map("settings", namespace).data == {"colour": "red"}
    patched = core.patch_namespaced_config_map("settings", namespace, {"data": {"colour": "blue"}})
    assert patched.data == {"colour": "blue"}
    created.data = {"colour": "green"}
    with pytest.raises(ApiException) as stale:
        core.replace_namespaced_config_map("settings", namespace, created)
    assert (stale.value.status, stale.value.reason) == (409, "Conflict")
    core.delete_namespaced_config_map("settings", namespace)
    with pytest.raises(ApiException) as missing:
        core.read_namespaced_config_map("settings", namespace)
    assert missing.value.status == 404
    nodes = core.list_node().items
    assert len(nodes) == 9
    assert all(node.status.allocatable["memory"] for node in nodes)


def test_typed_rbac_and_reviews(connection: Any, namespace: str) -> None:
    rbac: Any = client.RbacAuthorizationV1Api(connection)
    admin = rbac.read_cluster_role("admin")
    assert admin.aggregation_rule.cluster_role_selectors[0].match_labels == {
        "rbac.authorization.k8s.io/aggregate-to-admin": "true"
    }
    rbac.create_namespaced_role_binding(
        namespace,
        client.V1RoleBinding(
            metadata=client.V1ObjectMeta(name="owner"),
            role_ref=client.V1RoleRef(api_group="rbac.authorization.k8s.io", kind="ClusterRole", name="admin"),
            subjects=[client.RbacV1Subject(api_group="rbac.authorization.k8s.io", kind="User", name="owner")],
        ),
    )
    reviews: Any = client.AuthorizationV1Api(connection)
    review = reviews.create_subject_access_review(
        client.V1SubjectAccessReview(
            spec=client.V1SubjectAccessReviewSpec(
                user="owner",
                resource_attributes=client.V1ResourceAttributes(
                    namespace=namespace,
                    verb="create",
                    group="kubevirt.io",
                    resource="virtualmachineinstancemigrations",
                ),
            )
        )
    )
    assert review.status.allowed is True
    assert review.status.reason == f'RBAC: allowed by RoleBinding "owner/{namespace}" of ClusterRole "admin" to User "owner"'


def test_custom_objects(connection: Any) -> None:
    custom: Any = client.CustomObjectsApi(connection)
    page = custom.list_cluster_custom_object("kubevirt.io", "v1", "virtualmachines", limit=7)
    names = [machine["metadata"]["uid"] for machine in page["items"]]
    while page["metadata"].get("continue"):
        token = page["metadata"]["continue"]
        page = custom.list_cluster_custom_object("kubevirt.io", "v1", "virtualmachines", limit=7, _continue=token)
        names += [machine["metadata"]["uid"] for machine in page["items"]]
    assert len(names) == len(set(names)) >= 40
    with pytest.raises(ApiException) as missing:
        custom.get_namespaced_custom_object("kubevirt.io", "v1", "default", "virtualmachines", "nope")
    assert missing.value.status == 404


def test_dynamic_client_with_every_kind_of_write(discovered: Any, namespace: str) -> None:
    maps = discovered.resources.get(api_version="v1", kind="ConfigMap")
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "1"}}
    created = maps.create(body=body, namespace=namespace)
    assert created.metadata.resourceVersion
    patched = maps.patch(
        name="settings", namespace=namespace, body={"data": {"b": "2"}}, content_type="application/merge-patch+json"
    )
    assert patched.data.to_dict() == {"a": "1", "b": "2"}
    operations = [{"op": "remove", "path": "/data/a"}]
    patched = maps.patch(
        name="settings", namespace=namespace, body=operations, content_type="application/json-patch+json"
    )
    assert patched.data.to_dict() == {"b": "2"}
    with pytest.raises(ConflictError):
        maps.replace(body=created.to_dict(), namespace=namespace)
    applied = maps.server_side_apply(
        name="settings",
        namespace=namespace,
        field_manager="tests",
        body={"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"c": "3"}},
    )
    assert applied.data.to_dict() == {"b": "2", "c": "3"}
    maps.delete(name="settings", namespace=namespace)
    with pytest.raises(NotFoundError):
        maps.get(name="settings", namespace=namespace)


def test_dynamic_client_finds_kinds_by_name(discovered: Any) -> None:
    machines = discovered.resources.get(api_version="kubevirt.io/v1", kind="VirtualMachine")
    assert (machines.name, machines.namespaced) == ("virtualmachines", True)
    listed = machines.get(limit=5)
    assert listed.kind == "VirtualMachineList"
    assert len(listed.items) == 5
    reviews = discovered.resources.get(api_version="authorization.k8s.io/v1", kind="SelfSubjectAccessReview")
    answer = reviews.create(body={"spec": {"resourceAttributes": {"verb": "list", "resource": "nodes"}}})
    assert answer.status.allowed is True


@pytest.fixture
def writer(connection: Any, namespace: str) -> Iterator[threading.Event]:
    """Creates a ConfigMap every few milliseconds until told to stop."""
    core: Any = client.CoreV1Api(connection)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.wait(0.01) and number < 200:
            metadata = client.V1ObjectMeta(name=f"w{number:03}")
            core.create_namespaced_config_map(namespace, client.V1ConfigMap(metadata=metadata))
            number += 1

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    yield stop
    stop.set()
    thread.join(10)


def test_watch_resumes_where_it_stopped(connection: Any, namespace: str, writer: threading.Event) -> None:
    """Many short watches, each begun at the version at which the last one ended, see everything once and in order."""
    core: Any = client.CoreV1Api(connection)
    version = core.list_namespaced_config_map(namespace, limit=1, field_selector="metadata.name=none").metadata.resource_version
    seen: list[str] = []
    deadline = time.monotonic() + 30
    while len(seen) < 40 and time.monotonic() < deadline:
        source = Watch()
        events = source.stream(core.list_namespaced_config_map, namespace, resource_version=version, timeout_seconds=5)
        for taken, event in enumerate(events, start=1):
            assert event["type"] == "ADDED"
            seen.append(event["object"].metadata.name)
            version = event["object"].metadata.resource_version
            if taken == 7:
                source.stop()
    writer.set()
    written = [name for name in seen if name.startswith("w")]
    assert written == [f"w{number:03}" for number in range(len(written))]
    assert len(written) >= 35


def test_watch_from_before_the_retained_history_is_gone(connection: Any) -> None:
    core: Any = client.CoreV1Api(connection)
    with pytest.raises(ApiException) as gone:
        for _event in Watch().stream(core.list_namespace, resource_version="1", timeout_seconds=5):
            pass
    assert gone.value.status == 410
