# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The people of a sample cluster: who is bound to what where, and who of them shall be trusted in 4.19.

Read from the cluster itself and its kubeconfig, so that tests hold for whatever the sample cluster holds.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID

from .api import OPERATORS, RBAC, Api
from .rbac import MIGRATION_RIGHTS, Person, Rbac

STANDARD_ROLES = ("cluster-admin", "admin", "edit", "view")


@dataclass(frozen=True)
class Holder:
    """A person in a namespace, with the names of the roles bound to them there (cluster-wide ones included)."""

    person: Person
    namespace: str
    roles: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class Trusted:
    """Who shall be able to live-migrate in 4.19: as the option of the playbook, and as persons in namespaces."""

    option: list[dict[str, Any]]
    pairs: list[tuple[Person, str]]


class Lab:
    """People, namespaces and bindings of a running sample cluster, as they are when this is made."""

    def __init__(self, api: Api, kubeconfig: Path) -> None:
        self.api = api
        self.rbac = Rbac()
        for resource in self.rbac.objects:
            for value in api.items(f"{RBAC}/{resource}"):
                self.rbac.set(resource, value)
        machines = api.items("/apis/kubevirt.io/v1/virtualmachines")
        bound = {
            place
            for (place, _name), binding in self.rbac.objects["rolebindings"].items()
            if binding["roleRef"]["name"] in STANDARD_ROLES
        }
        self.namespaces = sorted(bound | {machine["metadata"]["namespace"] for machine in machines})
        self.people = [*people_of(kubeconfig), *self._service_accounts()]

    def _service_accounts(self) -> list[Person]:
        found = {
            Person.service_account(subject.get("namespace") or place, subject["name"])
            for resource in ("clusterrolebindings", "rolebindings")
            for (place, _name), binding in self.rbac.objects[resource].items()
            for subject in binding.get("subjects") or ()
            if subject["kind"] == "ServiceAccount" and (subject.get("namespace") or place) in self.namespaces
        }
        return sorted(found, key=lambda person: person.name)

    def pairs(self) -> list[tuple[Person, str]]:
        """Everybody in every namespace that matters."""
        return [(person, namespace) for person in self.people for namespace in self.namespaces]

    def holders(self) -> list[Holder]:
        """The same, with the roles bound; those without any included."""
        return [Holder(person, place, frozenset(self._roles(person, place))) for person, place in self.pairs()]

    def holders_of(self, role: str) -> list[Holder]:
        """Those bound to this role, and to none of the other standard ones but view."""
        others = set(STANDARD_ROLES) - {role, "view"}
        return [holder for holder in self.holders() if role in holder.roles and not holder.roles & others]

    def own_rights(self, holder: Holder) -> list[bool]:
        """Which of the two rights a role gives that is neither a standard nor a shipped one."""
        custom = [name for name in holder.roles if name not in STANDARD_ROLES and not name.startswith("kubevirt.io:")]
        return [any(self._grants(name, holder.namespace, right) for name in custom) for right in MIGRATION_RIGHTS]

    def _grants(self, role: str, namespace: str, right: Mapping[str, str]) -> bool:
        alone = Rbac()
        for place in ("", namespace):
            resource = "roles" if place else "clusterroles"
            value = self.rbac.objects[resource].get((place, role))
            if value is not None:
                alone.set(resource, value)
                alone.set(
                    "rolebindings",
                    {
                        "metadata": {"namespace": namespace, "name": f"{resource}"},
                        "roleRef": {"kind": value.get("kind") or ("Role" if place else "ClusterRole"), "name": role},
                        "subjects": [{"kind": "User", "name": "somebody"}],
                    },
                )
        return alone.allowed(Person.user("somebody"), namespace, right)

    def _roles(self, person: Person, namespace: str) -> Iterator[str]:
        for (place, _name), binding in (
            *self.rbac.objects["clusterrolebindings"].items(),
            *self.rbac.objects["rolebindings"].items(),
        ):
            subjects = binding.get("subjects") or ()
            if place in {"", namespace} and any(_is(subject, person, place) for subject in subjects):
                yield binding["roleRef"]["name"]

    def trusted(self) -> Trusted:
        """One of each that has the right in 4.18: a user, a group and a service account of admin and of edit, as far as there are any."""
        option: list[dict[str, Any]] = []
        pairs: list[tuple[Person, str]] = []
        for role in ("admin", "edit"):
            for kind, key in (("User", "users"), ("Group", "groups"), ("ServiceAccount", "service_accounts")):
                found = next(self._subjects(role, kind), None)
                if found is not None:
                    place, name, people = found
                    option.append({"namespaces": [place], key: [name]})
                    pairs.extend((person, place) for person in people)
        return Trusted(option, pairs)

    def _subjects(self, role: str, kind: str) -> Iterator[tuple[str, str, list[Person]]]:
        """Namespace, name as the collection's options write it, and the people meant, of each subject bound to a role."""
        for (place, _name), binding in sorted(self.rbac.objects["rolebindings"].items()):
            if place not in self.namespaces or binding["roleRef"]["name"] != role:
                continue
            for subject in binding.get("subjects") or ():
                people = [person for person in self.people if _is(subject, person, place)]
                if subject["kind"] == kind and people:
                    service_account = f"{subject.get('namespace') or place}:{subject['name']}"
                    yield place, service_account if kind == "ServiceAccount" else subject["name"], people


def _is(subject: Mapping[str, Any], person: Person, namespace: str) -> bool:
    if subject["kind"] == "ServiceAccount":
        return person.name == f"system:serviceaccount:{subject.get('namespace') or namespace}:{subject['name']}"
    return subject["name"] == person.name if subject["kind"] == "User" else subject["name"] in person.groups


def people_of(kubeconfig: Path) -> list[Person]:
    """Everybody whom the kubeconfig has a client certificate for, the administrator left out."""
    found = []
    for user in yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))["users"]:
        certificate = x509.load_pem_x509_certificate(base64.b64decode(user["user"]["client-certificate-data"]))
        names = {
            oid: [str(each.value) for each in certificate.subject.get_attributes_for_oid(oid)]
            for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
        }
        groups = names[NameOID.ORGANIZATION_NAME]
        if "system:masters" not in groups:
            found.append(Person.user(names[NameOID.COMMON_NAME][0], *groups))
    return found


@dataclass(frozen=True)
class Target:
    """What the catalogue offers."""

    csv: str
    version: str
    namespace: str
    plan: str

    @classmethod
    def of(cls, api: Api) -> Target:
        """From the InstallPlan that waits for approval; it comes within seconds of the start of a cluster."""
        deadline = time.monotonic() + 30
        while not (waiting := [plan for plan in api.items(f"{OPERATORS}/installplans") if not plan["spec"].get("approved")]):
            if time.monotonic() > deadline:
                raise AssertionError("No InstallPlan waits for approval")
            time.sleep(0.1)
        (plan,) = waiting
        (csv,) = plan["spec"]["clusterServiceVersionNames"]
        return cls(csv, csv.partition(".v")[2], plan["metadata"]["namespace"], plan["metadata"]["name"])


def answers(api: Api, person: Person, namespace: str) -> list[bool]:
    """What access reviews say about the two rights."""
    groups = sorted(person.groups)
    return [api.allowed(person.name, groups, {**right, "namespace": namespace}) for right in MIGRATION_RIGHTS]
