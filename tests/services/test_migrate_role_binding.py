# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._cluster.connection import connect
from ansible_collections.okd.virt.plugins.module_utils._errors import Forbidden, OptionError, PreconditionFailed
from ansible_collections.okd.virt.plugins.module_utils._plan import SilentListener
from ansible_collections.okd.virt.plugins.module_utils._verb import Context
from ansible_collections.okd.virt.plugins.module_utils.access import bindings
from ansible_collections.okd.virt.plugins.module_utils.access.roles import MIGRATE_ROLE

from ..support.api import RBAC, Api
from .verbs import Verbs

NAME = "migrate_role_binding"
Bind = t.Callable[..., None]


def bound(api: Api, namespace: str, name: str = "kvmigrate") -> list[str] | None:
    """The names in a RoleBinding, None when there is no such binding."""
    answer = api.request("GET", f"{RBAC}/namespaces/{namespace}/rolebindings/{name}")
    if answer.status == 404:
        return None
    assert answer.body["roleRef"]["name"] == MIGRATE_ROLE
    return [subject["name"] for subject in answer.body.get("subjects") or []]


def may_migrate(api: Api, user: str, namespace: str) -> bool:
    attributes = {
        "group": "kubevirt.io",
        "resource": "virtualmachineinstancemigrations",
        "verb": "create",
        "namespace": namespace,
    }
    return api.allowed(user, (), attributes)


def test_present_in_namespaces_gives_the_right_there_only(
    api: Api, verbs: Verbs, namespaces: list[str], migrate_role: None, unique: str
) -> None:
    options: dict[str, t.Any] = {
        "namespaces": namespaces[:2],
        "users": [unique],
        "groups": ["devs"],
        "service_accounts": ["ci:robot"],
    }
    assert verbs.four_times(NAME, **options) == [True, True, False, False]
    assert bound(api, namespaces[0]) == [unique, "devs", "robot"]
    assert may_migrate(api, unique, namespaces[1])
    assert not may_migrate(api, unique, namespaces[2])


def test_one_run_reaches_all_namespaces_of_a_selector_in_few_requests(
    api: Api, verbs: Verbs, namespaces: list[str], unique: str
) -> None:
    options: dict[str, t.Any] = {"namespace_selector": f"tenant={unique}", "groups": ["vm-operators"]}
    outcome = verbs(NAME, **options)
    assert outcome.summary["created"] == 3
    assert [entry["namespace"] for entry in outcome.result["bindings"]] == namespaces
    assert verbs(NAME, **options).changed is False
    assert verbs.requests == 3
    assert all(bound(api, name) == ["vm-operators"] for name in namespaces)


def test_before_the_update_the_binding_is_inert_and_says_so(
    api: Api, verbs: Verbs, namespaces: list[str], unique: str
) -> None:
    if api.request("GET", f"{RBAC}/clusterroles/{MIGRATE_ROLE}").status == 200:
        pytest.skip("the cluster is updated already")
    outcome = verbs(NAME, namespaces=namespaces[:1], users=[unique])
    assert outcome.changed
    assert outcome.result["inert"] is True
    assert any("give nothing until the update" in warning for warning in outcome.warnings)
    assert not may_migrate(api, unique, namespaces[0])


def test_append_exact_and_absent(api: Api, verbs: Verbs, namespaces: list[str]) -> None:
    where: dict[str, t.Any] = {"namespaces": namespaces[:1]}
    verbs(NAME, **where, users=["alice"])
    assert verbs.four_times(NAME, **where, users=["bob"]) == [True, True, False, False]
    assert bound(api, namespaces[0]) == ["alice", "bob"]
    assert verbs.four_times(NAME, **where, users=["carol", "bob"], state="exact") == [True, True, False, False]
    assert bound(api, namespaces[0]) == ["carol", "bob"]
    assert verbs.four_times(NAME, **where, users=["bob", "nobody"], state="absent") == [True, True, False, False]
    assert bound(api, namespaces[0]) == ["carol"]
    assert verbs.four_times(NAME, **where, state="absent") == [True, True, False, False]
    assert bound(api, namespaces[0]) is None


def test_cluster_scope(api: Api, verbs: Verbs, unique: str) -> None:
    options: dict[str, t.Any] = {"scope": "cluster", "name": unique, "groups": [unique]}
    try:
        assert verbs.four_times(NAME, **options) == [True, True, False, False]
        made = api.get(f"{RBAC}/clusterrolebindings/{unique}")
        assert made["roleRef"]["name"] == MIGRATE_ROLE
        assert [subject["kind"] for subject in made["subjects"]] == ["Group"]
    finally:
        assert verbs.four_times(NAME, **options, state="absent") == [True, True, False, False]


def test_missing_namespaces_are_named_and_nothing_is_changed(api: Api, verbs: Verbs, namespaces: list[str]) -> None:
    for wanted in ([*namespaces, "no-such-place"], [namespaces[0], "no-such-place"]):
        with pytest.raises(PreconditionFailed, match="no-such-place") as caught:
            verbs(NAME, namespaces=wanted, users=["alice"])
        assert caught.value.details["namespaces"] == ["no-such-place"]
        assert bound(api, namespaces[0]) is None
    assert verbs(NAME, namespaces=["no-such-place"], state="absent").changed is False


def test_a_binding_to_another_role_is_refused_before_anything_is_written(
    api: Api, verbs: Verbs, namespaces: list[str], bind: Bind
) -> None:
    bind(namespaces[2], "alice", "edit", "kvmigrate")
    with pytest.raises(PreconditionFailed, match="replace_role_ref") as caught:
        verbs(NAME, namespaces=namespaces, users=["bob"])
    assert caught.value.details["conflicts"] == [
        {"namespace": namespaces[2], "name": "kvmigrate", "role": "ClusterRole/edit"}
    ]
    assert bound(api, namespaces[0]) is None


def test_a_binding_to_another_role_is_replaced_when_asked(
    api: Api, verbs: Verbs, namespaces: list[str], bind: Bind
) -> None:
    bind(namespaces[0], "alice", "edit", "kvmigrate")
    options: dict[str, t.Any] = {"namespaces": namespaces[:1], "users": ["bob"], "replace_role_ref": True}
    assert verbs.four_times(NAME, **options) == [True, True, False, False]
    assert bound(api, namespaces[0]) == ["alice", "bob"]
    assert bound(api, namespaces[0], "kvmigrate-replacement") is None


def test_a_replacement_that_was_killed_half_way_is_finished(
    api: Api, verbs: Verbs, namespaces: list[str], bind: Bind
) -> None:
    """The state right after the old binding was deleted."""
    bind(namespaces[0], "alice", MIGRATE_ROLE, "kvmigrate-replacement")
    marks = {"labels": {"okd.virt/interim": "true"}, "annotations": {"okd.virt/replaces": "kvmigrate"}}
    path = f"{RBAC}/namespaces/{namespaces[0]}/rolebindings/kvmigrate-replacement"
    api.expect(200, "PATCH", path, {"metadata": marks}, content_type="application/merge-patch+json")
    outcome = verbs(NAME, namespaces=namespaces[:1], users=["bob"], replace_role_ref=True)
    assert [action["verb"] for action in outcome.actions] == ["create", "delete"]
    assert bound(api, namespaces[0]) == ["alice", "bob"]
    assert bound(api, namespaces[0], "kvmigrate-replacement") is None


def test_what_others_write_meanwhile_is_kept(engine: t.Any, api: Api, namespaces: list[str]) -> None:
    """Between reading and writing somebody else appends a subject, and deletes another binding."""
    for name in namespaces[:2]:
        Verbs(engine.kubeconfig)(NAME, namespaces=[name], users=["alice"])
    options: dict[str, t.Any] = {
        "state": "present", "scope": "namespace", "name": "kvmigrate", "namespaces": namespaces, "namespace_selector": None,
        "users": ["bob"], "groups": [], "service_accounts": [], "replace_role_ref": False,
    }  # fmt: skip
    with connect({"kubeconfig": str(engine.kubeconfig)}, environment={}) as cluster:
        context = Context(cluster, options, SilentListener(time.monotonic), time.monotonic())
        observed = bindings.observe(context)
        planned = bindings.plan(observed, options)
        Verbs(engine.kubeconfig)(NAME, namespaces=namespaces[:1], users=["carol"])
        Verbs(engine.kubeconfig)(NAME, namespaces=namespaces[2:], users=["dave"])
        api.expect(200, "DELETE", f"{RBAC}/namespaces/{namespaces[1]}/rolebindings/kvmigrate")
        outcome = bindings.apply(context, observed, planned)
    assert [bound(api, name) for name in namespaces] == [["alice", "carol", "bob"], ["bob"], ["dave", "bob"]]
    assert [action["verb"] for action in outcome.actions] == ["patch", "create", "patch"]


def test_absent_leaves_a_binding_to_another_role(api: Api, verbs: Verbs, namespaces: list[str], bind: Bind) -> None:
    bind(namespaces[0], "alice", "edit", "kvmigrate")
    outcome = verbs(NAME, namespaces=namespaces[:1], state="absent")
    assert outcome.changed is False
    assert any("left as it is" in warning for warning in outcome.warnings)


def test_a_namespace_admin_is_told_what_is_missing(
    engine: t.Any, namespaces: list[str], migrate_role: None, bind: Bind
) -> None:
    bind(namespaces[0], "ns-admin", "admin")
    as_admin = Verbs(engine.kubeconfig, impersonate_user="ns-admin")
    with pytest.raises(Forbidden):
        as_admin(NAME, namespaces=namespaces[:1], users=["bob"])


@pytest.mark.parametrize(
    "options",
    [
        {"namespaces": ["default"]},
        {"users": ["alice"]},
        {"namespaces": ["default"], "service_accounts": ["robot"]},
        {"scope": "cluster", "namespaces": ["default"], "users": ["alice"]},
        {"namespaces": ["default"], "state": "exact"},
        {"namespaces": ["default"], "users": [""]},
    ],
)
def test_options_that_cannot_be_are_refused(verbs: Verbs, options: dict[str, t.Any]) -> None:
    with pytest.raises(OptionError):
        verbs(NAME, **options)
    assert verbs.requests == 0
