# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What comes and goes with a namespace: its content on deletion, and the CA certificate in a ConfigMap.

Source: Kubernetes pkg/controller/namespace/deletion/{namespaced_resources_deleter,status_condition_utils}.go,
pkg/controller/certificates/rootcacertpublisher/publisher.go.
"""
from __future__ import annotations

import collections

from ..controller import Controller
from ..errors import StatusError
from ..interface import CONFIG_MAPS, NAMESPACES, PODS, Object
from .resources import Discover, Served

_ROOT_CA = "kube-root-ca.crt"
_DESCRIPTION = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or "
    "kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."
)
_LOOK_AGAIN = 1.0


class NamespaceController(Controller):
    name = "namespace-controller"

    def __init__(self, discover: Discover) -> None:
        super().__init__()
        self._discover = discover

    def setup(self) -> None:
        self._namespaces = self.informer(NAMESPACES, cluster=self.observer)
        self._namespaces.add_handler(self._changed)

    def _changed(self, event: str, obj: Object, _before: Object | None) -> None:
        if event != "DELETED" and obj["metadata"].get("deletionTimestamp"):
            self.queue.add(obj["metadata"]["name"])

    async def reconcile(self, key: str) -> float | None:
        namespace = await self._get(key)
        if namespace is None or not namespace["metadata"].get("deletionTimestamp"):
            return None
        if "kubernetes" not in ((namespace.get("spec") or {}).get("finalizers") or ()):
            return None
        remaining = await self._delete_content(key)
        namespace = await self._get(key)
        if namespace is None:
            return None
        namespace = await self._report(namespace, remaining)
        if remaining:
            # Nothing tells this controller when the last object of every kind has gone; looking again must not move time.
            self.queue.add_after(key, _LOOK_AGAIN, background=True)
            return None
        spec = namespace.get("spec") or {}
        kept = [name for name in spec.get("finalizers") or () if name != "kubernetes"]
        await self.cluster.update(NAMESPACES, {**namespace, "spec": {**spec, "finalizers": kept}}, subresource="finalize")
        return None

    async def _get(self, name: str) -> Object | None:
        try:
            return await self.cluster.get(NAMESPACES, name)
        except StatusError as error:
            if error.code == 404:
                return None
            raise

    async def _delete_content(self, namespace: str) -> list[tuple[Served, list[Object]]]:
        """Delete everything in the namespace; what is left has a finalizer or time to end."""
        remaining = []
        for served in self._discover():
            if not served.namespaced:
                continue
            for obj in (await self.cluster.list(served.ref, namespace)).items:
                if served.ref == PODS or not obj["metadata"].get("deletionTimestamp"):
                    await self._delete(served, obj)
            left = (await self.cluster.list(served.ref, namespace)).items
            if left:
                remaining.append((served, left))
        return remaining

    async def _delete(self, served: Served, obj: Object) -> None:
        metadata = obj["metadata"]
        try:
            await self.cluster.delete(served.ref, metadata["name"], metadata["namespace"], propagation="Background")
        except StatusError as error:
            if error.code not in (404, 405, 409):
                raise

    async def _report(self, namespace: Object, remaining: list[tuple[Served, list[Object]]]) -> Object:
        status = dict(namespace.get("status") or {})
        conditions = {one["type"]: one for one in status.get("conditions") or ()}
        if not remaining and not conditions:
            return namespace
        now, changed = self.clock.timestamp(), False
        for kind, value, reason, message in _conditions(remaining):
            known = conditions.get(kind)
            if known and (known["status"], known["reason"], known["message"]) == (value, reason, message):
                continue
            since = known["lastTransitionTime"] if known and known["status"] == value else now
            conditions[kind] = {"type": kind, "status": value, "lastTransitionTime": since, "reason": reason, "message": message}
            changed = True
        if not changed:
            return namespace
        status["conditions"] = list(conditions.values())
        return await self.cluster.update(NAMESPACES, {**namespace, "status": status}, subresource="status")


def _conditions(remaining: list[tuple[Served, list[Object]]]) -> list[tuple[str, str, str, str]]:
    finalizers: collections.Counter[str] = collections.Counter()
    for _served, objects in remaining:
        for obj in objects:
            finalizers.update(obj["metadata"].get("finalizers") or ())
    parts = sorted(
        f"{served.ref.plural}.{served.ref.group} has {len(objects)} resource instances" for served, objects in remaining
    )
    content = f"Some resources are remaining: {', '.join(parts)}"
    holding = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(finalizers.items()))
    return [
        ("NamespaceDeletionDiscoveryFailure", "False", "ResourcesDiscovered", "All resources successfully discovered"),
        ("NamespaceDeletionGroupVersionParsingFailure", "False", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
        (
            "NamespaceDeletionContentFailure", "False", "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        ("NamespaceContentRemaining", "True", "SomeResourcesRemain", content)
        if parts else ("NamespaceContentRemaining", "False", "ContentRemoved", "All content successfully removed"),
        (
            "NamespaceFinalizersRemaining", "True", "SomeFinalizersRemain",
            f"Some content in the namespace has finalizers remaining: {holding}",
        )
        if holding else
        ("NamespaceFinalizersRemaining", "False", "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
    ]


class RootCertificatePublisher(Controller):
    """Keeps the ConfigMap kube-root-ca.crt in every namespace."""

    name = "root-ca-cert-publisher"

    def __init__(self, certificate_authority: str) -> None:
        super().__init__()
        self._data = {"ca.crt": certificate_authority}

    def setup(self) -> None:
        self._namespaces = self.informer(NAMESPACES, cluster=self.observer)
        self._namespaces.add_handler(lambda event, obj, _before: self.queue.add(obj["metadata"]["name"]))
        self._maps = self.informer(CONFIG_MAPS, field_selector=f"metadata.name={_ROOT_CA}", cluster=self.observer)
        self._maps.add_handler(lambda event, obj, _before: self.queue.add(obj["metadata"]["namespace"]))

    async def reconcile(self, key: str) -> float | None:
        namespace = self._namespaces.get(key)
        if namespace is None or namespace["metadata"].get("deletionTimestamp"):
            return None
        known = self._maps.get(_ROOT_CA, key)
        annotations = {"kubernetes.io/description": _DESCRIPTION}
        if known is not None:
            held = known["metadata"].get("annotations") or {}
            if known.get("data") == self._data and held.get("kubernetes.io/description") == _DESCRIPTION:
                return None
            wanted = {**known, "metadata": {**known["metadata"], "annotations": {**held, **annotations}}, "data": self._data}
            await self.cluster.update(CONFIG_MAPS, wanted)
            return None
        metadata = {"name": _ROOT_CA, "namespace": key, "annotations": annotations}
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": self._data}
        try:
            await self.cluster.create(CONFIG_MAPS, made, key)
        except StatusError as error:
            if error.reason not in ("AlreadyExists", "NotFound") and "being terminated" not in error.message:
                raise
        return None
