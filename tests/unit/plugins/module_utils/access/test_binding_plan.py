# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import itertools
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.module_utils._plan import Change
from ansible_collections.okd.virt.plugins.module_utils.access import binding_plan, binding_subjects
from ansible_collections.okd.virt.plugins.module_utils.access.binding_plan import RoleRefConflict, Wanted, plan_binding
from ansible_collections.okd.virt.plugins.module_utils.access.roles import MIGRATE_ROLE

Json = dict[str, t.Any]
ALICE, BOB, CAROL = (binding_subjects.user(name) for name in ("alice", "bob", "carol"))
DEVS = binding_subjects.group("devs")
ROBOT = binding_subjects.service_account("ci:robot")
EVERYONE = (ALICE, BOB, CAROL, DEVS, ROBOT)


def binding(*bound: Json, role: str = MIGRATE_ROLE, name: str = "kvmigrate", interim: bool = False) -> Json:
    body = binding_plan.body(Wanted("RoleBinding", "kvmigrate", "present", ()), "team", list(bound), interim=interim)
    body["metadata"].update(uid=f"uid-{name}", resourceVersion="7")
    body["roleRef"] = {**body["roleRef"], "name": role}
    return body


def wanted(state: str, *bound: Json, replace: bool = False) -> Wanted:
    return Wanted("RoleBinding", "kvmigrate", state, bound, replace)


def run(objects: dict[str, Json], steps: t.Iterable[Change]) -> dict[str, Json]:
    """What an API server's namespace holds after these steps; refuses what it would refuse."""
    result = dict(objects)
    for step in steps:
        if step.verb == "create":
            assert step.name not in result
            assert step.after is not None
            result[step.name] = {
                **step.after,
                "metadata": {**step.after["metadata"], "uid": "new", "resourceVersion": "8"},
            }
        elif step.verb == "delete":
            del result[step.name]
        else:
            assert step.verb == "patch"
            assert step.after is not None
            assert step.after["roleRef"] == result[step.name]["roleRef"]
            result[step.name] = {**result[step.name], "subjects": step.after["subjects"]}
    return result


def plan(objects: dict[str, Json], want: Wanted) -> list[Change]:
    interim = objects.get("kvmigrate-replacement") if want.looks_for_interim else None
    return plan_binding(want, "team", objects.get("kvmigrate"), interim)


def bound_in(objects: dict[str, Json]) -> list[str] | None:
    found = objects.get("kvmigrate")
    return None if found is None else [binding_subjects.text_of(subject) for subject in found["subjects"]]


CASES: list[tuple[str, Wanted, Json | None, list[str], list[str] | None]] = [
    (
        "create",
        wanted("present", ALICE, DEVS, ROBOT),
        None,
        ["create"],
        ["user:alice", "group:devs", "serviceaccount:ci:robot"],
    ),
    ("append keeps others", wanted("present", ALICE), binding(BOB), ["patch"], ["user:bob", "user:alice"]),
    ("already there", wanted("present", ALICE), binding(BOB, ALICE), [], ["user:bob", "user:alice"]),
    ("exact removes others", wanted("exact", ALICE), binding(BOB, ALICE), ["patch"], ["user:alice"]),
    ("exact in another order", wanted("exact", ALICE, BOB), binding(BOB, ALICE), [], ["user:bob", "user:alice"]),
    ("exact creates", wanted("exact", ALICE), None, ["create"], ["user:alice"]),
    ("absent takes one", wanted("absent", ALICE), binding(BOB, ALICE), ["patch"], ["user:bob"]),
    ("absent takes the last", wanted("absent", ALICE), binding(ALICE), ["delete"], None),
    ("absent takes all", wanted("absent"), binding(ALICE, BOB), ["delete"], None),
    ("absent of what is not bound", wanted("absent", CAROL), binding(ALICE), [], ["user:alice"]),
    ("absent of no binding", wanted("absent"), None, [], None),
    ("absent leaves another role's binding", wanted("absent"), binding(ALICE, role="edit"), [], ["user:alice"]),
    ("a binding without subjects", wanted("present", ALICE), binding(), ["patch"], ["user:alice"]),
    (
        "replace keeps the others",
        wanted("present", ALICE, replace=True),
        binding(BOB, role="edit"),
        ["create", "delete", "create", "delete"],
        ["user:bob", "user:alice"],
    ),
    (
        "replace exactly",
        wanted("exact", ALICE, replace=True),
        binding(BOB, role="edit"),
        ["create", "delete", "create", "delete"],
        ["user:alice"],
    ),
    ("replace has nothing to do", wanted("present", ALICE, replace=True), binding(ALICE), [], ["user:alice"]),
]


@pytest.mark.parametrize(
    ("want", "existing", "verbs", "bound"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_steps_and_their_end(want: Wanted, existing: Json | None, verbs: list[str], bound: list[str] | None) -> None:
    objects = {"kvmigrate": existing} if existing is not None else {}
    steps = plan(objects, want)
    assert [step.verb for step in steps] == verbs
    assert all(step.reason for step in steps)
    end = run(objects, steps)
    assert bound_in(end) == bound
    assert plan(end, want) == []


@pytest.mark.parametrize("state", ["present", "exact"])
def test_a_binding_to_another_role_is_refused(state: str) -> None:
    with pytest.raises(RoleRefConflict) as caught:
        plan({"kvmigrate": binding(ALICE, role="edit")}, wanted(state, ALICE))
    assert (caught.value.namespace, caught.value.name, caught.value.role) == ("team", "kvmigrate", "ClusterRole/edit")


def test_a_role_of_the_same_name_is_another_role() -> None:
    existing = binding(ALICE)
    existing["roleRef"]["kind"] = "Role"
    with pytest.raises(RoleRefConflict):
        plan({"kvmigrate": existing}, wanted("present", ALICE))


def test_subjects_without_api_group_are_the_same_subjects() -> None:
    existing = binding(
        {"kind": "User", "name": "alice"},
        {"kind": "ServiceAccount", "namespace": "ci", "name": "robot", "apiGroup": ""},
    )
    assert plan({"kvmigrate": existing}, wanted("exact", ALICE, ROBOT)) == []


subjects = st.lists(st.sampled_from(EVERYONE), max_size=5)
states = st.sampled_from(["present", "exact", "absent"])


@given(states, subjects, st.none() | subjects, st.sampled_from([MIGRATE_ROLE, "edit", "view"]), st.none() | subjects)
def test_whatever_happens_on_the_way_a_second_run_ends_in_the_same_state(
    state: str, asked: list[Json], existing: list[Json] | None, role: str, interim: list[Json] | None
) -> None:
    if state != "absent" and not asked:
        return
    want = wanted(state, *asked, replace=True)
    objects: dict[str, Json] = {}
    if existing is not None:
        objects["kvmigrate"] = binding(*existing, role=role)
    if interim is not None:
        objects["kvmigrate-replacement"] = binding(*interim, name="kvmigrate-replacement", interim=True)
    steps = plan(objects, want)
    end = run(objects, steps)
    assert plan(end, want) == []
    for done in range(len(steps)):
        interrupted = run(objects, steps[:done])
        assert plan(interrupted, want) == steps[done:] or bound_in(
            run(interrupted, plan(interrupted, want))
        ) == bound_in(end)
        resumed = run(interrupted, plan(interrupted, want))
        assert sorted(resumed) == sorted(end)
        assert {name: sorted(map(binding_subjects.text_of, obj["subjects"])) for name, obj in resumed.items()} == {
            name: sorted(map(binding_subjects.text_of, obj["subjects"])) for name, obj in end.items()
        }


@given(subjects.filter(bool), subjects)
def test_nobody_is_unknown_to_the_cluster_while_a_binding_is_replaced(asked: list[Json], existing: list[Json]) -> None:
    want = wanted("present", *asked, replace=True)
    objects = {"kvmigrate": binding(*existing, role="edit")}
    steps = plan(objects, want)
    needed = {binding_subjects.key_of(subject) for subject in existing}
    for done in range(len(steps) + 1):
        held = run(objects, steps[:done])
        known = {binding_subjects.key_of(subject) for obj in held.values() for subject in obj["subjects"]}
        assert needed <= known


@given(subjects, subjects)
def test_merging_and_removing(one: list[Json], other: list[Json]) -> None:
    union = binding_subjects.merged(one, other)
    assert binding_subjects.same(union, itertools.chain(one, other))
    assert len({binding_subjects.key_of(subject) for subject in union}) == len(union)
    assert binding_subjects.same(binding_subjects.without(union, other), binding_subjects.without(one, other))


@pytest.mark.parametrize("text", ["", "name", "ns:", ":name", "a:b:c", "system:serviceaccount:ns"])
def test_a_service_account_needs_namespace_and_name(text: str) -> None:
    with pytest.raises(binding_subjects.InvalidSubject):
        binding_subjects.service_account(text)


def test_the_user_name_of_a_service_account_is_that_service_account() -> None:
    assert binding_subjects.user("system:serviceaccount:ci:robot") == ROBOT
    with pytest.raises(binding_subjects.InvalidSubject):
        binding_subjects.user("  ")
