# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documented procedure as it was recorded on real KubeVirt, and the same people on an engine.

The recordings were made in namespace `proc` with KubeVirt installed in namespace `kubevirt`; on the engine it is installed by OLM in
`kubevirt-hyperconverged`. Neither shows in what is compared.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ..support.api import MERGE_PATCH, OPERATORS, RBAC, REVIEWS, Answer, Api

Object = dict[str, Any]

RECORDED = Path(__file__).parent / "recorded"
PROC = "proc"
BINDINGS = f"{RBAC}/namespaces/{PROC}/rolebindings"
KUBEVIRT = "/apis/kubevirt.io/v1"
MIGRATIONS = f"/apis/kubevirt.io/v1/namespaces/{PROC}/virtualmachineinstancemigrations"
TEMPORARY = "kubevirt.io:upgrademigrate"
PEOPLE = ("u-admin", "u-edit", "u-view", "u-early", "u-late", "u-edit-late", "u-none")
_BOUND = {"u-admin": "admin", "u-edit": "edit", "u-view": "view", "u-early": "kubevirt.io:migrate", "u-edit-late": "edit"}
_PATIENCE = 30.0


def recorded(path: str) -> Object:
    """A recorded case, by its path below tests/conformance/recorded."""
    found: Object = json.loads((RECORDED / path).read_text(encoding="utf-8"))
    return found


def binding(name: str, role: str, *users: str) -> Object:
    """A RoleBinding of users to a ClusterRole in the namespace of the recordings."""
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user} for user in users],
    }


def machine(name: str) -> Object:
    """A small VirtualMachine that is to run."""
    devices = {"interfaces": [{"name": "default", "masquerade": {}}]}
    domain = {"devices": devices, "resources": {"requests": {"memory": "128Mi"}}}
    spec = {"domain": domain, "networks": [{"name": "default", "pod": {}}]}
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name},
        "spec": {"runStrategy": "Always", "template": {"metadata": {"labels": {"kubevirt.io/vm": name}}, "spec": spec}},
    }


class Stage:
    """An engine with the people of the recordings."""

    def __init__(self, api: Api) -> None:
        self.api = api
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PROC}}
        api.expect(201, "POST", "/api/v1/namespaces", namespace)
        for user, role in _BOUND.items():
            api.expect(201, "POST", BINDINGS, binding(f"rb-{user}", role, user))
        for user in PEOPLE:
            for name in (user, f"{user}-put"):
                api.expect(201, "POST", f"{KUBEVIRT}/namespaces/{PROC}/virtualmachines", machine(name))
        self.until("the machines' instances", lambda: self._running() == 2 * len(PEOPLE))

    def _running(self) -> int:
        instances = self.api.items(f"{KUBEVIRT}/namespaces/{PROC}/virtualmachineinstances")
        return sum((one.get("status") or {}).get("phase") == "Running" and "migrationMethod" in one["status"] for one in instances)

    def until(self, what: str, holds: Any) -> None:
        """Wait for something; an AssertionError names it when it does not come."""
        deadline = time.monotonic() + _PATIENCE
        while not holds():
            if time.monotonic() > deadline:
                raise AssertionError(f"{what} did not happen")
            time.sleep(0.02)

    def role(self, name: str) -> Object | None:
        answer = self.api.request("GET", f"{RBAC}/clusterroles/{name}")
        return answer.body if answer.status == 200 else None

    def update(self) -> None:
        """Approve the update and wait until KubeVirt has it. Where it was recorded nothing migrated machines to the new virt-launcher."""
        hyperconverged = "/apis/hco.kubevirt.io/v1beta1/namespaces/kubevirt-hyperconverged/hyperconvergeds/kubevirt-hyperconverged"
        nothing: Object = {"spec": {"workloadUpdateStrategy": {"workloadUpdateMethods": []}}}
        self.api.expect(200, "PATCH", hyperconverged, nothing, content_type=MERGE_PATCH)
        plans = f"{OPERATORS}/namespaces/kubevirt-hyperconverged/installplans"
        self.until("the InstallPlan", lambda: self.api.items(plans))
        (plan,) = self.api.items(plans)
        path = f"{plans}/{plan['metadata']['name']}"
        self.api.expect(200, "PATCH", path, {"spec": {"approved": True}}, content_type=MERGE_PATCH)
        self.until("the update", lambda: self._observed() == "v1.5.3")
        self.settled()

    def _observed(self) -> str:
        (kubevirt,) = self.api.items("/apis/kubevirt.io/v1/kubevirts")
        return str(kubevirt["status"].get("observedKubeVirtVersion"))

    def settled(self) -> None:
        """Wait until aggregation has nothing left to do: admin and edit are the sum of what they select."""
        self.until("aggregation", self._aggregated)

    def _aggregated(self) -> bool:
        roles = {role["metadata"]["name"]: role for role in self.api.items(f"{RBAC}/clusterroles")}
        for target in ("view", "edit", "admin"):
            label = f"rbac.authorization.k8s.io/aggregate-to-{target}"
            wanted: list[Object] = []
            for name in sorted(roles):
                if (roles[name]["metadata"].get("labels") or {}).get(label) == "true":
                    wanted += [rule for rule in roles[name].get("rules") or () if rule not in wanted]
            if roles[target].get("rules") != wanted:
                return False
        return True

    def matrix(self, users: Object) -> Object:
        """What access reviews say of each user, in the form of the recordings: [allowed, reason]."""
        return {user: {right: self._review(user, right) for right in rights} for user, rights in users.items()}

    def _review(self, user: str, right: str) -> list[Any]:
        what, _space, verb = right.partition(" ")
        attributes = {"namespace": PROC, "verb": verb, "group": "kubevirt.io", "resource": "virtualmachineinstancemigrations"}
        if what == "virtualmachines/migrate":
            attributes |= {"group": "subresources.kubevirt.io", "resource": "virtualmachines", "subresource": "migrate"}
        spec = {"user": user, "groups": ["system:authenticated"], "resourceAttributes": attributes}
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        status = self.api.expect(201, "POST", f"{REVIEWS}/subjectaccessreviews", review)["status"]
        return [status["allowed"], status.get("reason", "")]

    def attempts(self, users: Object) -> Object:
        """What the API answers to each user's own requests: [status, message of a refusal]."""
        self.until("the end of earlier attempts", lambda: all(
            (one.get("status") or {}).get("phase") in ("Succeeded", "Failed") and not one["metadata"].get("finalizers")
            for one in self.api.items(MIGRATIONS)
        ))  # fmt: skip
        return {user: {name: self._attempt(user, name) for name in tried} for user, tried in users.items()}

    def _attempt(self, user: str, name: str) -> list[Any]:
        migration = {
            "apiVersion": "kubevirt.io/v1",
            "kind": "VirtualMachineInstanceMigration",
            "metadata": {"generateName": f"try-{user}-"},
            "spec": {"vmiName": user},
        }
        put = f"/apis/subresources.kubevirt.io/v1/namespaces/{PROC}/virtualmachines/{user}-put/migrate"
        method, path, body, kind = {
            "POST vmim": ("POST", f"{MIGRATIONS}?dryRun=All", migration, "application/json"),
            "PUT virtualmachines/X/migrate": ("PUT", put, {}, "application/json"),
            "GET vmims": ("GET", f"{MIGRATIONS}?limit=1", None, ""),
            "DELETE vmim (no such name)": ("DELETE", f"{MIGRATIONS}/no-such", None, ""),
            "PATCH vmim (no such name)": ("PATCH", f"{MIGRATIONS}/no-such", {"metadata": {"annotations": {"a": "b"}}}, MERGE_PATCH),
            "deletecollection (selector matching nothing)": ("DELETE", f"{MIGRATIONS}?labelSelector=nope%3Dnope", None, ""),
        }[name]
        answer = self.api.request(method, path, body, content_type=kind, user=user, accept="application/json, */*")
        message = answer.body.get("message") if answer.status >= 400 else None
        return [answer.status, message]

    def send(self, case: Object) -> Answer:
        """A recorded request, sent again."""
        request = case["request"]
        headers = {name.lower(): value for name, value in (request.get("headers") or {}).items()}
        body = request.get("body")
        if body is None and request.get("body_raw"):
            body = json.loads(request["body_raw"])
        kind = headers.get("content-type", "application/json")
        return self.api.request(request["method"], request["path"], body, content_type=kind, user=headers.get("impersonate-user", ""))


def comparable(obj: Object) -> Object:
    """An object or Status without what no two servers share."""
    kept = {key: value for key, value in obj.items() if key not in ("metadata", "details")}
    metadata = {
        key: value
        for key, value in (obj.get("metadata") or {}).items()
        if key not in ("uid", "resourceVersion", "creationTimestamp", "managedFields")
    }
    labels = metadata.get("labels")
    if labels is not None:
        metadata["labels"] = {key: value for key, value in labels.items() if not key.startswith("app.kubernetes.io/version")}
    annotations = metadata.get("annotations")
    if annotations is not None:
        ignored = ("kubevirt.io/install-strategy-identifier", "kubevirt.io/generation")
        metadata["annotations"] = {key: value for key, value in annotations.items() if key not in ignored}
    details = {key: value for key, value in (obj.get("details") or {}).items() if key != "uid"}
    return {**kept, "metadata": metadata, **({"details": details} if details else {})}
