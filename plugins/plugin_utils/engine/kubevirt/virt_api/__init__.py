# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""virt-api: what it makes of objects that are written, its answer to evictions, and the subresources of machines and instances."""
from __future__ import annotations

from ...apiserver.chain import ApiServer
from ...clock import Clock
from ...interface import Cluster
from ..versions import ComponentVersion
from . import defaults, eviction, information, instances, machines, migrations, validation
from .throttle import Throttle
from .webhooks import VirtApi

ACCOUNT = "kubevirt-apiserver"


def register(api: ApiServer, cluster: Cluster, clock: Clock, namespace: str) -> None:
    """Have the API server ask virt-api, installed in the namespace. The given cluster is only used to take on its identity."""
    version = ComponentVersion(api.store, namespace, "virt-api")
    virt_api = VirtApi(
        api.store, cluster.as_service_account(namespace, ACCOUNT).with_user_agent("virt-api"), clock, namespace, version, Throttle(clock, version)
    )
    eviction.register(api, virt_api)
    instances.register(api, virt_api)
    migrations.register(api, virt_api)
    machines.register(api, virt_api)
    defaults.register(api, virt_api)
    validation.register(api, virt_api)
    information.register(api, virt_api)
