# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""virt-api at work on the engine: evictions, migrations, instances that others may not change."""
from __future__ import annotations

import asyncio
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.errors import StatusError
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import PODS, Object, Ref

from ..support.api import Api

VMIS = Ref("kubevirt.io", "v1", "virtualmachineinstances")
VMIMS = Ref("kubevirt.io", "v1", "virtualmachineinstancemigrations")
INTERCEPTOR = 'admission webhook "virt-launcher-eviction-interceptor.kubevirt.io" denied the request: '


@pytest.fixture(params=["4.18", "4.19"])
async def engine(request: pytest.FixtureRequest) -> t.AsyncIterator[Engine]:
    made = Engine(Options(cluster="lab", release=request.param, speed="max"))
    await made.start()
    yield made
    await made.stop()


async def _launcher(engine: Engine, namespace: str, name: str) -> str:
    found = await engine.admin.list(PODS, namespace, f"vm.kubevirt.io/name={name}")
    return str(found.items[0]["metadata"]["name"])


async def _evict(engine: Engine, namespace: str, pod: str, dry_run: bool = False) -> StatusError | None:
    body: Object = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
    if dry_run:
        body["deleteOptions"] = {"dryRun": ["All"]}
    try:
        await engine.admin.create(PODS, body, namespace, "eviction", pod)
    except StatusError as error:
        return error
    return None


async def test_an_eviction_marks_the_instance_and_is_refused(engine: Engine) -> None:
    pod = await _launcher(engine, "team-blue", "vm-1")
    refused = await _evict(engine, "team-blue", pod, dry_run=True)
    assert refused is not None
    assert "evacuationNodeName" not in (await engine.admin.get(VMIS, "vm-1", "team-blue"))["status"]
    refused = await _evict(engine, "team-blue", pod)
    assert refused is not None
    assert refused.to_status() == {
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 429,
        "message": INTERCEPTOR + 'Eviction triggered evacuation of VMI "team-blue/vm-1"',
    }
    vmi = await engine.admin.get(VMIS, "vm-1", "team-blue")
    assert vmi["status"]["evacuationNodeName"] == vmi["status"]["nodeName"]


async def test_what_cannot_migrate_is_refused_for_good(engine: Engine) -> None:
    refused = await _evict(engine, "legacy", await _launcher(engine, "legacy", "vm-1"))
    assert refused is not None
    assert refused.message == INTERCEPTOR + "VMI vm-1 is configured with an eviction strategy but is not live-migratable"


async def test_sixty_evictions_at_once_are_too_many(engine: Engine) -> None:
    pod = await _launcher(engine, "shop", "vm-2")
    answers = await asyncio.gather(*(_evict(engine, "shop", pod, dry_run=True) for dummy in range(120)))
    texts = [answer.message for answer in answers if answer is not None]
    late = [text for text in texts if text.endswith("?timeout=10s\": context deadline exceeded")]
    assert len(texts) == 120
    assert len(late) > 100
    assert late[0].startswith('Internal error occurred: failed calling webhook "virt-launcher-eviction-interceptor.kubevirt.io": failed to call webhook: Post ')


async def test_nobody_else_writes_the_status_of_an_instance(engine: Engine) -> None:
    before = await engine.admin.get(VMIS, "vm-2", "team-blue")
    after = await engine.admin.patch(VMIS, "vm-2", {"status": {"evacuationNodeName": "node01", "phase": "Failed"}}, "team-blue")
    assert after["status"] == before["status"]
    with pytest.raises(StatusError, match="update of VMI object is restricted"):
        await engine.admin.patch(VMIS, "vm-2", {"spec": {"terminationGracePeriodSeconds": 1}}, "team-blue")
    with pytest.raises(StatusError, match=r"modification of the following reserved kubevirt\.io/ labels on a VMI object is prohibited"):
        await engine.admin.patch(VMIS, "vm-2", {"metadata": {"labels": {"kubevirt.io/nodeName": "other"}}}, "team-blue")
    own = await engine.admin.patch(VMIS, "vm-2", {"metadata": {"labels": {"colour": "red"}}}, "team-blue")
    assert own["metadata"]["labels"]["colour"] == "red"
    controller = engine.admin.as_service_account(engine.sample.namespace, "kubevirt-controller")
    marked = await controller.patch(VMIS, "vm-2", {"status": {"evacuationNodeName": None}}, "team-blue")
    assert "evacuationNodeName" not in marked["status"]


def _migration(name: str, namespace: str = "team-blue") -> Object:
    return {
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration",
        "metadata": {"generateName": "by-hand-", "namespace": namespace}, "spec": {"vmiName": name},
    }


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        (_migration("nope"), 400, 'the VMI "team-blue/nope" does not exist'),
        (_migration(""), 422, "vmiName is missing"),
        ({**_migration("x"), "spec": {"vmiName": 5}}, 422, 'spec.vmiName in body must be of type string: "number"'),
        (_migration("vm-1", "legacy"), 400, "Cannot migrate VMI, Reason: DisksNotLiveMigratable, Message: cannot migrate VMI: PVC vm-1 is not shared"),
    ],
)
async def test_migrations_that_are_refused(engine: Engine, body: Object, code: int, text: str) -> None:
    with pytest.raises(StatusError) as caught:
        await engine.admin.create(VMIMS, body)
    assert caught.value.code == code
    assert f"denied the request: {text}" in caught.value.message


async def test_a_migration_is_labelled_and_one_at_a_time(engine: Engine) -> None:
    made = await engine.admin.create(VMIMS, _migration("vm-3"))
    assert made["metadata"]["labels"] == {"kubevirt.io/vmi-name": "vm-3"}
    assert made["metadata"]["finalizers"] == ["kubevirt.io/migrationJobFinalize"]
    with pytest.raises(StatusError) as caught:
        await engine.admin.create(VMIMS, _migration("vm-3"))
    assert caught.value.code == 400
    uid = made["metadata"]["uid"]
    assert f"in-flight migration detected. Active migration job ({uid}) is currently already in progress for VMI vm-3." in caught.value.message
    with pytest.raises(StatusError, match="update of Migration object's spec is restricted"):
        await engine.admin.patch(VMIMS, made["metadata"]["name"], {"spec": {"vmiName": "vm-4"}}, "team-blue")


@pytest.mark.parametrize(("release", "version"), [("4.18", "v1.4.1"), ("4.19", "v1.5.3")])
def test_virt_api_says_what_it_is(release: str, version: str, start: t.Callable[..., Api]) -> None:
    api = start(cluster="empty", release=release)
    for group_version in ("v1", "v1alpha3"):
        path = f"/apis/subresources.kubevirt.io/{group_version}"
        assert api.get(f"{path}/version")["gitVersion"] == version
        assert api.get(f"{path}/guestfs") == {"registry": "quay.io/kubevirt", "tag": version, "digest": "", "imagePrefix": "", "gsImage": ""}
        assert api.get(f"{path}/healthz")["apiserver"] == {"connectivity": "ok", "version": api.get("/version")}
        assert api.request("PUT", f"{path}/version", {}).status in (403, 405)
    assert api.request("GET", "/apis/subresources.kubevirt.io/v1/version", user="somebody", groups=("system:authenticated",)).status == 200
    assert api.request("GET", "/apis/subresources.kubevirt.io/v1/no-such", accept="*/*").status == 404
