# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which virt-controller runs and what the KubeVirt object tells it, as it is at this moment.

Source: KubeVirt pkg/virt-config/configuration.go (ClusterConfig).
"""
from __future__ import annotations

import re
import typing as t

from ...clock import Clock
from ...controller import Controller, EventRecorder, Informer, Informers
from ...interface import KUBEVIRTS, Cluster, Object, Ref
from .configuration import Configuration, Version, configuration
from .launcher import launcher_image

DEPLOYMENTS = Ref("apps", "v1", "deployments")
COMPONENT = "virt-controller"
_IMAGE = re.compile(r":v(\d+)\.(\d+)\.(\d+)")


def version_of(text: str) -> Version | None:
    """The version in a tag or a text such as `v1.5.3`."""
    found = _IMAGE.search(":" + text.removeprefix(":") if text.startswith("v") else text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def deployed_version(deployment: Object | None) -> Version | None:
    """The version of a Deployment's image once all its replicas run it; None before."""
    if deployment is None:
        return None
    status, spec = deployment.get("status") or {}, deployment["spec"]
    replicas = spec.get("replicas", 1)
    up = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 1)
    if not up or not status.get("updatedReplicas", 0) == status.get("replicas", 0) == replicas:
        return None
    return version_of(spec["template"]["spec"]["containers"][0].get("image", ""))


class ClusterConfig(Controller):
    """What all controllers of virt-controller go by. Started first and stopped last; holds the informers that they share."""

    name = "virt-config"

    def __init__(self, namespace: str) -> None:
        super().__init__()
        self.namespace = namespace
        self.configuration = Configuration()
        self.version: Version = (1, 5, 3)
        self._known = False
        self._changed: list[t.Callable[[], None]] = []

    def on_change(self, function: t.Callable[[], None]) -> None:
        """Called when the settings or the version are others than before."""
        self._changed.append(function)

    @property
    def launcher_image(self) -> str:
        return launcher_image(self.version)

    @property
    def kubevirt(self) -> Object | None:
        return next((one for one in self.kubevirts.list() if one["metadata"].get("namespace") == self.namespace), None)

    def setup(self) -> None:
        self.kubevirts = self.informer(KUBEVIRTS)
        # A real virt-controller is its version; this one looks at what is rolled out, which it may not do by itself.
        self.deployments = self.informer(DEPLOYMENTS, field_selector=f"metadata.name={COMPONENT}", cluster=self.observer)
        self.kubevirts.add_handler(self._heard)
        self.deployments.add_handler(self._heard)

    def _heard(self, _event: str, obj: Object, _before: Object | None) -> None:
        if obj["metadata"].get("namespace") != self.namespace:
            return
        version = deployed_version(self.deployments.get(COMPONENT, self.namespace))
        kubevirt = self.kubevirt
        if version is None and not self._known:
            version = version_of(((kubevirt or {}).get("status") or {}).get("observedKubeVirtVersion") or "")
        if version is not None:
            self._known = True
        version = version or self.version
        made = configuration(kubevirt, version)
        if (made, version) != (self.configuration, self.version):
            self.configuration, self.version = made, version
            for function in self._changed:
                function()

    async def reconcile(self, key: t.Any) -> float | None:
        return None

    async def stop(self) -> None:
        await super().stop()
        if self._shared is not None:
            await self._shared.stop()


class VirtControllerPart(Controller):
    """A controller of virt-controller: it works once the settings are known, and records events as virt-controller does."""

    recorder = "virtualmachine-controller"

    def __init__(self, config: ClusterConfig) -> None:
        super().__init__()
        self.config = config

    def start(self, cluster: Cluster, clock: Clock, workers: int = 1, informers: Informers | None = None) -> None:
        self.events = EventRecorder(cluster, clock, self.recorder)
        self._informers.extend(self.config_informers())
        super().start(cluster, clock, workers, informers)

    def config_informers(self) -> list[Informer]:
        return [self.config.kubevirts, self.config.deployments]
