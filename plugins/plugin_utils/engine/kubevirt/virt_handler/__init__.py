# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""virt-handler of every node: its heartbeat, and the guests that run on it.

One object plays all of them; nothing is done for a guest that only runs.
"""
from __future__ import annotations

from ...clock import Clock
from ...controller import Controller, Informers, Stoppable
from ...interface import Cluster
from ...kubernetes.runtime import Runtime
from .controller import VirtHandler
from .heartbeats import HEARTBEAT, SCHEDULABLE, Heartbeats

__all__ = ["HEARTBEAT", "SCHEDULABLE", "Heartbeats", "VirtHandler", "start"]

ACCOUNT = "kubevirt-handler"


def start(cluster: Cluster, clock: Clock, namespace: str, runtime: Runtime) -> tuple[VirtHandler, list[Stoppable]]:
    """Start them as virt-handler's ServiceAccount; what they see on the nodes they see as others, the given cluster takes on identities."""
    identity = cluster.as_service_account(namespace, ACCOUNT).with_user_agent("virt-handler")
    informers = Informers(identity, clock)
    heartbeats, handler = Heartbeats(namespace, runtime), VirtHandler(runtime)
    heartbeats.observer = cluster.as_service_account("kube-system", "daemon-set-controller")
    handler.observer = cluster.as_service_account(namespace, "kubevirt-controller")
    heartbeats.on_end(handler.proxies_end)
    handler.migration_address = heartbeats.migration_address
    started: list[Controller] = [heartbeats, handler]
    for controller in started:
        controller.start(identity, clock, informers=informers)
    return handler, [informers, *started]
