# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The procedure on the engine has the history that it had on real KubeVirt 1.4.1 and 1.5.3."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import RunningEngine
from ansible_collections.okd.virt.tests.support.api import MERGE_PATCH, RBAC, Api

from .stories import BINDINGS, RECORDED, TEMPORARY, Object, Stage, binding, comparable, recorded

LABELS = {"story-no-temp": (), "story-temp-admin": ("admin",), "story-temp-edit": ("edit",), "story-temp-both": ("admin", "edit")}
OLD, NEW = "kubevirt-1.4.1", "kubevirt-1.5.3"
TWICE_BOUND = "u-edit-late"
LATE = ("u-late", TWICE_BOUND)
TWICE_REASONS = tuple(
    f'RBAC: allowed by RoleBinding "{name}/proc" of ClusterRole "{role}" to User "{TWICE_BOUND}"'
    for name, role in (("kvmigrate", "kubevirt.io:migrate"), (f"rb-{TWICE_BOUND}", "edit"))
)


@pytest.fixture
def stage(fresh_engine: Callable[..., RunningEngine]) -> Stage:
    return Stage(Api(fresh_engine(cluster="empty").kubeconfig))


def temporary_role(targets: tuple[str, ...]) -> Object:
    body: Object = recorded(f"{OLD}/story-temp-admin/201-1a-create-temp-role.json")["request"]["body"]
    labels = {f"rbac.authorization.k8s.io/aggregate-to-{target}": "true" for target in targets}
    return {**body, "metadata": {**body["metadata"], "labels": labels}}


def holds(stage: Stage, path: str) -> None:
    """Compare access with a recorded moment, user by user, reasons included."""
    moment = recorded(path)
    found, expected = stage.matrix(moment["matrix"]), moment["matrix"]
    for right, (allowed, reason) in found[TWICE_BOUND].items():
        # Which of two bindings that allow it is named depends on the order of a Go map: any of them is right.
        wanted = expected[TWICE_BOUND].pop(right)
        assert allowed == wanted[0], (path, right)
        assert (reason in TWICE_REASONS) == (wanted[1] in TWICE_REASONS), (path, right, reason, wanted[1])
    del found[TWICE_BOUND], expected[TWICE_BOUND]
    assert found == expected
    if "attempts" in moment:
        expected = {user: dict(tried) for user, tried in moment["attempts"].items()}
        assert stage.attempts(expected) == expected


def holds_if_recorded(stage: Stage, path: str) -> bool:
    if not (RECORDED / path).exists():
        return False
    holds(stage, path)
    return True


def same_rules(stage: Stage, path: str) -> None:
    """Compare a role with the recorded one, rule for rule and in order."""
    body = recorded(path)["response"]["body"]
    found = stage.role(body["metadata"]["name"])
    assert found is not None
    assert found["rules"] == body["rules"]


def gets(story: str, moment: str) -> list[str]:
    """Recorded roles of one moment of a story."""
    return sorted(f"{OLD}/{story}/{path.name}" for path in (RECORDED / OLD / story).glob(f"200-{moment}[a-z]-clusterrole-*.json"))


@pytest.mark.parametrize("story", LABELS)
def test_a_story_has_its_recorded_moments(story: str, stage: Stage) -> None:
    stage.settled()
    compared = int(holds_if_recorded(stage, f"{OLD}/{story}/0-before.json"))
    if LABELS[story]:
        stage.api.expect(201, "POST", f"{RBAC}/clusterroles", temporary_role(LABELS[story]))
        stage.settled()
        compared += holds_if_recorded(stage, f"{OLD}/{story}/1-temp-role-made.json")
        for path in gets(story, "1"):
            same_rules(stage, path)
    stage.update()
    compared += holds_if_recorded(stage, f"{OLD}/{story}/2-updated.json")
    roles = gets(story, "2")
    assert roles
    for path in roles:
        same_rules(stage, path)
    stage.api.expect(201, "POST", BINDINGS, binding("kvmigrate", "kubevirt.io:migrate", *LATE))
    compared += holds_if_recorded(stage, f"{OLD}/{story}/3-bound.json")
    if LABELS[story]:
        stage.api.expect(200, "DELETE", f"{RBAC}/clusterroles/{TEMPORARY}")
        stage.settled()
        compared += holds_if_recorded(stage, f"{OLD}/{story}/4-temp-role-deleted.json")
    assert compared >= 2


def test_access_as_installed_and_after_the_migrate_role_is_labelled(stage: Stage) -> None:
    stage.settled()
    holds(stage, f"{OLD}/kv-access/matrix.json")
    stage.update()
    for target in ("admin", "edit"):
        label = f"rbac.authorization.k8s.io/aggregate-to-{target}"
        role = f"{RBAC}/clusterroles/kubevirt.io:migrate"
        stage.api.expect(200, "PATCH", role, {"metadata": {"labels": {label: "true"}}}, content_type=MERGE_PATCH)
        stage.settled()
        holds(stage, f"{OLD}/kv-rbac-label/matrix-labelled-{target}.json")
        stage.api.expect(200, "PATCH", role, {"metadata": {"labels": {label: None}}}, content_type=MERGE_PATCH)
        stage.settled()


BEFORE_UPDATE = ("201-rolebinding-before-role",)
AFTER_UPDATE = (
    "404-ns-admin-binds-missing-role",
    "403-ns-admin-creates-clusterrole",
    "403-ns-admin-binds-migrate",
    "201-rolebinding-create",
    "409-rolebinding-create-again",
    "422-roleref-patch",
    "201-subject-no-apigroup",
    "201-clusterrolebinding-create",
    "200-delete-role-with-bindings",
)
WHILE_TEMPORARY = ("201-ns-admin-binds-migrate-while-temp", "200-delete-temp-while-aggregated")


def answers_as_recorded(stage: Stage, name: str) -> None:
    case = recorded(f"{OLD}/kv-rbac-misc/{name}.json")
    answer = stage.send(case)
    assert answer.status == case["response"]["status"], (name, answer.body)
    assert comparable(answer.body) == comparable(case["response"]["body"]), name


def test_requests_about_roles_and_bindings_are_answered_as_recorded(stage: Stage) -> None:
    stage.api.expect(200, "DELETE", f"{BINDINGS}/rb-u-early")
    for name in BEFORE_UPDATE:
        answers_as_recorded(stage, name)
    stage.update()
    for name in AFTER_UPDATE:
        answers_as_recorded(stage, name)
    stage.api.expect(201, "POST", f"{RBAC}/clusterroles", temporary_role(("admin",)))
    stage.settled()
    for name in WHILE_TEMPORARY:
        answers_as_recorded(stage, name)
    stage.settled()
    same_rules(stage, f"{OLD}/kv-rbac-misc/200-admin-after.json")
    everything = {path.stem for path in (RECORDED / OLD / "kv-rbac-misc").glob("*.json")}
    assert everything == {*BEFORE_UPDATE, *AFTER_UPDATE, *WHILE_TEMPORARY, "200-admin-after"}


def test_what_the_operator_leaves_is_as_recorded(stage: Stage) -> None:
    view = f"{RBAC}/clusterroles/kubevirt.io:view"
    migrate = f"{RBAC}/clusterroles/kubevirt.io:migrate"
    stage.api.expect(201, "POST", f"{RBAC}/clusterroles", temporary_role(("admin",)))
    stage.api.expect(200, "PATCH", view, {"metadata": {"labels": {"user-label": "x"}}}, content_type=MERGE_PATCH)
    stage.settled()
    holds(stage, f"{NEW}/kv-operator/matrix-1-temp-role.json")
    stage.update()
    label = {"rbac.authorization.k8s.io/aggregate-to-admin": "true"}
    stage.api.expect(200, "PATCH", migrate, {"metadata": {"labels": label}}, content_type=MERGE_PATCH)
    uid = (stage.role("kubevirt.io:migrate") or {})["metadata"]["uid"]
    stage.api.expect(200, "DELETE", migrate)
    stage.until("the migrate role made again", lambda: (stage.role("kubevirt.io:migrate") or {"metadata": {"uid": uid}})["metadata"]["uid"] != uid)
    for name in ("edit-after", "migrate-after-delete", "temp-role-after-update", "view-user-label"):
        body = recorded(f"{NEW}/kv-operator/200-{name}.json")["response"]["body"]
        found = stage.role(body["metadata"]["name"])
        assert found is not None
        assert comparable(found) == comparable(body)
    stage.api.expect(200, "DELETE", f"{RBAC}/clusterroles/{TEMPORARY}")
    stage.settled()
    holds(stage, f"{NEW}/kv-operator/matrix-3-temp-deleted.json")
