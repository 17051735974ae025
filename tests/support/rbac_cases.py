# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random roles, bindings, aggregations and questions, from few names so that they often concern each other."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .rbac import Object, Person

GROUP = "rbac.authorization.k8s.io"
_GROUPS = ("", "apps", "kubevirt.io", "subresources.kubevirt.io")
_RESOURCES = ("configmaps", "pods", "deployments", "virtualmachines", "virtualmachineinstancemigrations")
_SUBRESOURCES = ("migrate", "eviction", "status")
_VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "impersonate", "bind", "escalate")
_NAMES = ("one", "two", "three")
_PATHS = ("/metrics", "/healthz/etcd", "/api/v1", "/logs/kubelet/x", "/")
_TIERS = ("gold", "silver", "bronze")


@dataclass(frozen=True)
class Question:
    """One request: who, where ("" for the whole cluster), and what, as in a review (`path` instead of a resource for a URL)."""

    person: Person
    namespace: str
    attributes: dict[str, str]


class Cases:
    """Draws from one seed. `prefix` begins every name that is drawn, `namespaces` are those in which things are drawn."""

    def __init__(self, seed: int, prefix: str, namespaces: tuple[str, ...]) -> None:
        self._draw = random.Random(seed)
        self._prefix, self._namespaces = prefix, namespaces
        self.people = (
            Person.user(f"{prefix}ann"),
            Person.user(f"{prefix}bob", f"{prefix}devs"),
            Person.user(f"{prefix}eve", f"{prefix}devs", f"{prefix}ops"),
            *(Person.service_account(namespace, "robot") for namespace in namespaces),
        )

    def _some(self, values: tuple[str, ...], most: int, everything: float = 0.2) -> list[str]:
        if self._draw.random() < everything:
            return ["*"]
        return self._draw.sample(values, self._draw.randint(1, most))

    def rule(self, cluster: bool) -> Object:
        """A rule about resources, or in a ClusterRole now and then about URLs."""
        if cluster and self._draw.random() < 0.15:
            urls = [self._draw.choice([path, path.rsplit("/", 1)[0] + "/*"]) for path in self._some(_PATHS, 2, 0)]
            return {"nonResourceURLs": self._draw.choice([urls, ["*"]]), "verbs": self._some(("get", "post"), 2)}
        resources = []
        for resource in self._some(_RESOURCES, 4):
            part = self._draw.choice(("", "", f"/{self._draw.choice(_SUBRESOURCES)}"))
            resources.append("*/" + part[1:] if part and self._draw.random() < 0.3 else resource + (part if resource != "*" else ""))
        rule: Object = {"apiGroups": self._some(_GROUPS, 3), "resources": resources, "verbs": self._some(_VERBS, 8)}
        if self._draw.random() < 0.2:
            rule["resourceNames"] = self._draw.sample(_NAMES, self._draw.randint(1, 2))
        return rule

    def _rules(self, cluster: bool) -> list[Object]:
        return [self.rule(cluster) for _number in range(self._draw.randint(1, 4))]

    def cluster_roles(self) -> list[Object]:
        """Ten with labels or without, two that select by them, and one that selects also those two."""
        found = []
        for number in range(10):
            labels = {f"{self._prefix}tier": self._draw.choice(_TIERS)} if self._draw.random() < 0.7 else {}
            found.append(self._role("ClusterRole", f"r{number}", rules=self._rules(cluster=True), labels=labels))
        tier = f"{self._prefix}tier"
        selectors: list[list[Object]] = [
            [{"matchLabels": {tier: "gold"}}],
            [{"matchExpressions": [{"key": tier, "operator": "In", "values": ["silver", "bronze"]}]}, {"matchLabels": {tier: "none"}}],
            [{"matchExpressions": [{"key": f"{self._prefix}level", "operator": "Exists"}]}],
        ]
        for number, chosen in enumerate(selectors):
            labels = {f"{self._prefix}level": "one"} if number < 2 else {}
            found.append(self._role("ClusterRole", f"all{number}", rules=None, labels=labels, aggregationRule={"clusterRoleSelectors": chosen}))
        return found

    def roles(self) -> list[Object]:
        return [
            self._role("Role", f"r{number}", namespace, rules=self._rules(cluster=False)) for namespace in self._namespaces for number in range(3)
        ]

    def _role(self, kind: str, name: str, namespace: str = "", labels: Object | None = None, **content: object) -> Object:
        metadata: Object = {"name": self._prefix + name, "labels": labels or {}}
        if namespace:
            metadata["namespace"] = namespace
        return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": metadata, **content}

    def bindings(self) -> list[Object]:
        """Few for the whole cluster, more for a namespace; some mean roles that do not exist."""
        found = []
        for number in range(16):
            namespace = "" if number < 3 else self._draw.choice(self._namespaces)
            kind = "Role" if namespace and self._draw.random() < 0.4 else "ClusterRole"
            name = f"r{self._draw.randrange(4)}" if kind == "Role" else self._draw.choice([f"r{self._draw.randrange(11)}", "all0", "all1", "all2"])
            metadata = {"name": f"{self._prefix}b{number}", **({"namespace": namespace} if namespace else {})}
            found.append({
                "apiVersion": f"{GROUP}/v1", "kind": "RoleBinding" if namespace else "ClusterRoleBinding", "metadata": metadata,
                "roleRef": {"apiGroup": GROUP, "kind": kind, "name": self._prefix + name},
                "subjects": [self._subject(namespace) for _number in range(self._draw.randint(0, 2))],
            })  # fmt: skip
        return found

    def _subject(self, namespace: str) -> Object:
        kind = self._draw.choice(("User", "Group", "ServiceAccount"))
        if kind == "ServiceAccount":
            return {"kind": kind, "name": "robot", "namespace": namespace or self._draw.choice(self._namespaces)}
        names = ("ann", "bob", "eve") if kind == "User" else ("devs", "ops")
        name = self._prefix + self._draw.choice(names)
        if kind == "Group" and self._draw.random() < 0.2:
            name = f"system:serviceaccounts:{self._draw.choice(self._namespaces)}"
        return {"kind": kind, "name": name, "apiGroup": GROUP}

    def changed(self, roles: list[Object]) -> list[Object]:
        """Some of these roles with other rules or labels."""
        found = []
        for role in roles:
            if self._draw.random() < 0.5 and not role.get("aggregationRule"):
                labels = {f"{self._prefix}tier": self._draw.choice(_TIERS)} if role["kind"] == "ClusterRole" else {}
                rules = self._rules(role["kind"] == "ClusterRole")
                found.append({**role, "metadata": {**role["metadata"], "labels": labels}, "rules": rules})
        return found

    def some(self, values: list[Object]) -> list[Object]:
        return [value for value in values if self._draw.random() < 0.3]

    def question(self) -> Question:
        person, verb = self._draw.choice(self.people), self._draw.choice(_VERBS)
        if self._draw.random() < 0.1:
            return Question(person, "", {"path": self._draw.choice(_PATHS), "verb": self._draw.choice(("get", "post"))})
        attributes = {"verb": verb, "group": self._draw.choice(_GROUPS), "resource": self._draw.choice(_RESOURCES)}
        if self._draw.random() < 0.3:
            attributes["subresource"] = self._draw.choice(_SUBRESOURCES)
        if self._draw.random() < 0.5:
            attributes["name"] = self._draw.choice(_NAMES)
        return Question(person, self._draw.choice(("", *self._namespaces, *self._namespaces)), attributes)
