# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may live-migrate at each moment of the procedure: as recorded on real KubeVirt, for everybody in the lab.

Source of the table: KubeVirt 1.4.1 and 1.5.3 on kube-apiserver 1.36, access reviews at each moment for each way of labelling the temporary role.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine import process
from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import RunningEngine
from ansible_collections.okd.virt.tests.support.api import REVIEWS, Api
from ansible_collections.okd.virt.tests.support.history import RBAC_PATHS, UPDATE_PATHS, History
from ansible_collections.okd.virt.tests.support.kubectl import Kubectl
from ansible_collections.okd.virt.tests.support.lab import Holder, Lab, Target, Trusted
from ansible_collections.okd.virt.tests.support.rbac import MIGRATION_RIGHTS, Person

from .verbs import Verbs

Pair = tuple[Person, str]


OUTLOOKS = {
    (): "without_temporary_role",
    ("admin",): "aggregate_to_admin",
    ("edit",): "aggregate_to_edit",
    ("admin", "edit"): "aggregate_to_edit",
}


class Moment(enum.IntEnum):
    """The moments of the procedure, in order."""

    RELEASE_4_18 = 0
    TEMPORARY_ROLE_MADE = 1
    UPDATED = 2
    BOUND = 3
    TEMPORARY_ROLE_DELETED = 4


def expected(holder: Holder, own: list[bool], moment: Moment, aggregate_to: tuple[str, ...], bound: bool) -> list[bool]:
    """The two rights (create a migration, update virtualmachines/migrate) by the recorded table.

    `own` is what a role of the cluster's own gives, which no update touches.
    """
    if "cluster-admin" in holder.roles:
        return [True, True]
    by_admin, by_edit = "admin" in holder.roles, "edit" in holder.roles
    if moment <= Moment.TEMPORARY_ROLE_MADE:
        standard = by_admin or by_edit
    elif moment < Moment.TEMPORARY_ROLE_DELETED:
        # A role aggregated into edit reaches admin too, which aggregates edit.
        standard = (by_admin and bool(aggregate_to)) or (by_edit and "edit" in aggregate_to)
    else:
        standard = False
    if bound and moment >= Moment.BOUND:
        standard = True
    return [standard or right for right in own]


@dataclass
class Rehearsal:
    """One cluster on its way through the moments."""

    api: Api
    lab: Lab
    verbs: Verbs
    kubectl: Kubectl
    target: Target
    trusted: Trusted
    aggregate_to: tuple[str, ...]

    def expectation(self, moment: Moment) -> dict[Pair, list[bool]]:
        """What the table says for everybody everywhere."""
        return {
            (holder.person, holder.namespace): expected(
                holder,
                self.lab.own_rights(holder),
                moment,
                self.aggregate_to,
                (holder.person, holder.namespace) in self.trusted.pairs,
            )
            for holder in self.lab.holders()
        }

    def reviewed(self) -> dict[Pair, list[bool]]:
        """What everybody is told who asks for himself, as `kubectl auth can-i --as` does."""
        return {
            (person, namespace): [self._review(person, {**right, "namespace": namespace}) for right in MIGRATION_RIGHTS]
            for person, namespace in self.lab.pairs()
        }

    def _review(self, person: Person, attributes: dict[str, str]) -> bool:
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        path = f"{REVIEWS}/selfsubjectaccessreviews"
        groups = sorted(person.groups - {"system:authenticated"})
        answer = self.api.expect(201, "POST", path, review, user=person.name, groups=groups)
        return bool(answer["status"]["allowed"])

    def can_i(self, person: Person, namespace: str) -> list[bool]:
        """The same by the real kubectl."""
        who = [
            f"--as={person.name}",
            *(f"--as-group={group}" for group in person.groups if group != "system:authenticated"),
        ]
        questions = (
            ("create", "virtualmachineinstancemigrations.kubevirt.io"),
            ("update", "virtualmachines.subresources.kubevirt.io", "--subresource=migrate"),
        )
        return [
            self.kubectl("auth", "can-i", *question, "-n", namespace, *who).stdout == "yes\n" for question in questions
        ]

    def audited(self, outlook: str = "") -> dict[Pair, list[bool]]:
        """What the audit says: access now, or in an outlook on the update. A person has what his groups have."""
        audit = self.verbs("migrate_access_info", verify="all").to_result()
        entries, ways = audit["access"], audit["ways"]
        found = {pair: [False, False] for pair in self.lab.pairs()}
        for person, namespace in found:
            names = {_subject(person), *(f"group:{group}" for group in person.groups)}
            for entry in entries:
                if entry["subject"] in names and (entry["scope"] == "cluster" or namespace in entry["namespaces"]):
                    lost = ways[entry["way"]]["outlooks"][outlook] if outlook else []
                    for index, right in enumerate(("create", "migrate")):
                        found[person, namespace][index] |= entry["rights"][right] and right not in lost
        return found

    def check(self, moment: Moment) -> None:
        """Reviews, kubectl and audit say what the table says."""
        table = self.expectation(moment)
        reviewed = self.reviewed()
        wrong = {
            f"{pair[0].name} in {pair[1]}": (reviewed[pair], table[pair])
            for pair in table
            if reviewed[pair] != table[pair]
        }
        assert not wrong, f"{moment.name}: reviewed, expected: {wrong}"
        for person, namespace in self.sample():
            assert self.can_i(person, namespace) == table[person, namespace], (moment.name, person, namespace)

    def sample(self) -> list[Pair]:
        """One of each kind, for what is slow to ask."""
        holders = [next(iter(self.lab.holders_of(role))) for role in ("cluster-admin", "admin", "edit", "view")]
        own = next(holder for holder in self.lab.holders() if any(self.lab.own_rights(holder)))
        return [(holder.person, holder.namespace) for holder in (*holders, own)] + self.trusted.pairs[-1:]


def different(found: dict[Pair, list[bool]], table: dict[Pair, list[bool]]) -> list[str]:
    """Where something other than the table is said."""
    return [
        f"{person.name} in {namespace}: {found[person, namespace]} instead of {expectation}"
        for (person, namespace), expectation in table.items()
        if found[person, namespace] != expectation
    ]


def _subject(person: Person) -> str:
    service_account = person.name.removeprefix("system:serviceaccount:")
    return f"serviceaccount:{service_account}" if service_account != person.name else f"user:{person.name}"


@pytest.fixture
def rehearsal(request: pytest.FixtureRequest, fresh_engine: Callable[..., RunningEngine], tmp_path: Path) -> Iterator[Rehearsal]:
    """A fresh lab; the parameter says into what the temporary role is to be aggregated."""
    engine = fresh_engine()
    api = Api(engine.kubeconfig)
    lab = Lab(api, engine.kubeconfig)
    yield Rehearsal(
        api,
        lab,
        Verbs(engine.kubeconfig),
        Kubectl(engine.kubeconfig, tmp_path / "home"),
        Target.of(api),
        lab.trusted(),
        request.param,
    )
    process.stop(engine.directory)


def test_the_lab_has_every_way_to_come_by_the_right(engine: RunningEngine) -> None:
    lab = Lab(Api(engine.kubeconfig), engine.kubeconfig)
    assert len(lab.namespaces) >= 5
    for role in ("cluster-admin", "admin", "edit", "view"):
        assert lab.holders_of(role), role
    assert any(all(lab.own_rights(holder)) for holder in lab.holders()), "nobody has a role of the cluster's own"
    kinds = {key for entry in lab.trusted().option for key in entry}
    assert kinds == {"namespaces", "users", "groups", "service_accounts"}


@pytest.mark.parametrize(
    "rehearsal", [("admin",), ("admin", "edit"), ("edit",), ()], indirect=True, ids=["admin", "both", "edit", "none"]
)
def test_access_at_each_moment(rehearsal: Rehearsal) -> None:
    verbs, target = rehearsal.verbs, rehearsal.target
    rehearsal.check(Moment.RELEASE_4_18)
    # What the update will do is told beforehand, by name: with the documented label editors lose it.
    outlook = OUTLOOKS[rehearsal.aggregate_to]
    assert not different(rehearsal.audited(outlook), rehearsal.expectation(Moment.UPDATED)), outlook
    if rehearsal.aggregate_to:
        assert verbs("temporary_migrate_role", aggregate_to=list(rehearsal.aggregate_to)).changed
        rehearsal.check(Moment.TEMPORARY_ROLE_MADE)
    assert verbs("operator_update", target_version=target.version).changed
    rehearsal.check(Moment.UPDATED)
    for entry in rehearsal.trusted.option:
        assert verbs("migrate_role_binding", **entry).changed
    rehearsal.check(Moment.BOUND)
    if rehearsal.aggregate_to:
        assert verbs("temporary_migrate_role", state="absent").changed
    rehearsal.check(Moment.TEMPORARY_ROLE_DELETED)


@pytest.mark.parametrize("rehearsal", [()], indirect=True)
def test_without_the_temporary_role_access_ends_before_anything_has_been_updated(rehearsal: Rehearsal) -> None:
    api, target = rehearsal.api, rehearsal.target
    components = {
        "daemonsets": f"/apis/apps/v1/namespaces/{target.namespace}/daemonsets",
        "deployments": f"/apis/apps/v1/namespaces/{target.namespace}/deployments",
    }
    admin = rehearsal.lab.holders_of("admin")[0]
    editor = rehearsal.lab.holders_of("edit")[0]
    with History(api, RBAC_PATHS | UPDATE_PATHS | components) as history:
        rehearsal.verbs("operator_update", target_version=target.version)
        events = history.finish()
    state = {
        (resource, value["metadata"]["name"]): value for resource, values in history.initial.items() for value in values
    }
    rolled = {name: value["spec"]["template"] for (resource, name), value in state.items() if resource in components}
    (hyperconverged_before,) = (value for (resource, dummy), value in state.items() if resource == "hyperconvergeds")
    lost: set[str] = set()
    for event, rbac in history.replay(events):
        if event is None:
            assert rbac.may_migrate(admin.person, admin.namespace)
            assert rbac.may_migrate(editor.person, editor.namespace)
            continue
        state[event.resource, event.value["metadata"]["name"]] = event.value
        for holder, role in ((admin, "admin"), (editor, "edit")):
            if role in lost or rbac.may_migrate(holder.person, holder.namespace):
                continue
            lost.add(role)
            (kubevirt,) = (value for (resource, dummy), value in state.items() if resource == "kubevirts")
            (hyperconverged,) = (value for (resource, dummy), value in state.items() if resource == "hyperconvergeds")
            status = kubevirt["status"]
            assert status["targetKubeVirtVersion"] != status["observedKubeVirtVersion"]
            assert hyperconverged["status"]["versions"] == hyperconverged_before["status"]["versions"]
            for component in ("virt-handler", "virt-controller", "virt-api"):
                resource = "daemonsets" if component == "virt-handler" else "deployments"
                assert state[resource, component]["spec"]["template"] == rolled[component], f"{component} was first"
    assert lost == {"admin", "edit"}
    for component in ("virt-handler", "virt-controller", "virt-api"):
        resource = "daemonsets" if component == "virt-handler" else "deployments"
        assert state[resource, component]["spec"]["template"] != rolled[component], f"{component} was never updated"
