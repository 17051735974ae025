# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which version of a KubeVirt component serves: that of its Deployment's image once its replicas run it.

Source: KubeVirt pkg/virt-operator/resource/apply/core.go (images carry the version as their tag).
"""
from __future__ import annotations

from ..store.store import Store
from .virt_controller.cluster_config import deployed_version
from .virt_controller.configuration import Version

_DEPLOYMENTS = ("apps", "deployments")
DEFAULT: Version = (1, 5, 3)


class ComponentVersion:
    """The version of one component, kept until its Deployment changes. While it rolls over, the one that ran before counts."""

    def __init__(self, store: Store, namespace: str, deployment: str) -> None:
        self._store, self._namespace, self._deployment = store, namespace, deployment
        self._seen = -1
        self._version: Version | None = None
        self._replicas = 1

    def _look(self) -> None:
        stored = self._store.get(_DEPLOYMENTS, self._namespace, self._deployment)
        seen = stored.version if stored is not None else 0
        if seen == self._seen:
            return
        self._seen = seen
        value = stored.value if stored is not None else None
        status = (value or {}).get("status") or {}
        self._replicas = int(status.get("availableReplicas") or 0)
        version = deployed_version(value)
        if version is not None:
            self._version = version

    @property
    def version(self) -> Version:
        self._look()
        return self._version or DEFAULT

    @property
    def replicas(self) -> int:
        """How many of it can answer."""
        self._look()
        return self._replicas
