# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Machine Config Operator: pools of nodes that are brought to a configuration, a few at a time. Source: openshift/machine-config-operator."""
from __future__ import annotations

from ...clock import Clock
from ...controller import Controller
from ...interface import Cluster
from ...kubernetes.runtime import Runtime
from .controller import Pools
from .daemons import Daemons
from .drains import Drains
from .names import CONTROLLER, DAEMON, MACHINE_CONFIGS, NAMESPACE, POOLS

RULES = {
    CONTROLLER: [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["pods/eviction"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
        {"apiGroups": ["machineconfiguration.openshift.io"], "resources": ["*"], "verbs": ["*"]},
    ],
    DAEMON: [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": [""], "resources": ["events"], "verbs": ["create", "patch"]},
    ],
}
"""What the service accounts in NAMESPACE may do in the whole cluster."""


def start(cluster: Cluster, clock: Clock, runtime: Runtime) -> list[Controller]:
    """Start its controllers; the given cluster is only used to take on their identities."""
    account = cluster.as_service_account(NAMESPACE, CONTROLLER)
    drains = Drains(account)
    parts: list[tuple[Controller, Cluster]] = [
        (drains, account), (Pools(drains), account), (Daemons(runtime), cluster.as_service_account(NAMESPACE, DAEMON)),
    ]
    for controller, identity in parts:
        controller.start(identity, clock)
    return [controller for controller, dummy in parts]


__all__ = ("CONTROLLER", "DAEMON", "MACHINE_CONFIGS", "NAMESPACE", "POOLS", "RULES", "start")
