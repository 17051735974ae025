# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every namespace has a ServiceAccount "default". Source: Kubernetes pkg/controller/serviceaccount/serviceaccounts_controller.go."""
from __future__ import annotations

from ..controller import Controller
from ..errors import StatusError
from ..interface import NAMESPACES, SERVICE_ACCOUNTS, Object

_DEFAULT = "default"


class ServiceAccountController(Controller):
    name = "service-account-controller"

    def setup(self) -> None:
        self._namespaces = self.informer(NAMESPACES, cluster=self.observer)
        self._namespaces.add_handler(self._namespace)
        self._accounts = self.informer(SERVICE_ACCOUNTS, field_selector=f"metadata.name={_DEFAULT}", cluster=self.observer)
        self._accounts.add_handler(self._account)

    def _namespace(self, event: str, obj: Object, _before: Object | None) -> None:
        if event != "DELETED":
            self.queue.add(obj["metadata"]["name"])

    def _account(self, event: str, obj: Object, _before: Object | None) -> None:
        if event == "DELETED":
            self.queue.add(obj["metadata"]["namespace"])

    async def reconcile(self, key: str) -> float | None:
        namespace = self._namespaces.get(key)
        if namespace is None or namespace["metadata"].get("deletionTimestamp") or self._accounts.get(_DEFAULT, key):
            return None
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": _DEFAULT, "namespace": key}}
        try:
            await self.cluster.create(SERVICE_ACCOUNTS, account, key)
        except StatusError as error:
            # It is there already, or the namespace has gone in the meantime.
            if error.reason not in ("AlreadyExists", "NotFound") and "being terminated" not in error.message:
                raise
        return None
