# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of OKD that an update of Virtualization goes through."""
from __future__ import annotations

from ..clock import Clock
from ..controller import Controller
from ..interface import Cluster
from . import olm
from .hyperconverged import HyperConverged


def start(cluster: Cluster, clock: Clock, namespace: str) -> list[Controller]:
    """Start OLM, and the operator of the HyperConverged in its namespace; the given cluster is only used to take on identities."""
    operator = HyperConverged(namespace)
    controllers = [*olm.start(cluster, clock), operator]
    operator.start(cluster.as_service_account(namespace, "hyperconverged-cluster-operator"), clock)
    return controllers
