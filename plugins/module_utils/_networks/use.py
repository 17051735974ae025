# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether live migrations go over the network that is set: the addresses of virt-handler, and those that migrations went to. Pure.

Private to this collection. Source: k8snetworkplumbingwg multi-network de-facto standard 1.3 (network-status annotation); KubeVirt api/core/v1/types.go
(migrationState.targetNodeAddress, interface migration0).
"""

from __future__ import annotations

import json
import typing as t
from dataclasses import dataclass, field

from .attachment import Attachment

Json = dict[str, t.Any]
NETWORKS, STATUS, INTERFACE = "k8s.v1.cni.cncf.io/networks", "k8s.v1.cni.cncf.io/network-status", "migration0"
HANDLERS = "kubevirt.io=virt-handler"
"""Label selector of virt-handler's pods."""


@dataclass
class Use:
    """C(addresses) by node, of virt-handler on migration0; C(without) are nodes whose virt-handler has none, C(silent) those whose pod says nothing.

    C(targets) are the migrations that began since, with the address that each went to.
    """

    network: str
    ranges: tuple[str, ...] = ()
    addresses: dict[str, list[str]] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    targets: list[Json] = field(default_factory=list)

    @property
    def elsewhere(self) -> list[Json]:
        """Migrations that went to another address."""
        return [one for one in self.targets if not one["on_network"]]

    @property
    def is_used(self) -> bool | None:
        """None while neither addresses nor migrations tell."""
        if self.without or self.elsewhere:
            return False
        return True if self.targets or (self.addresses and not self.silent) else None

    def sentence(self) -> str:
        """What is known, in a sentence."""
        if self.without:
            return f"virt-handler has no address of {self.network} on {', '.join(sorted(self.without))}"
        if self.elsewhere:
            one = self.elsewhere[-1]
            return f"the migration of {one['vm']} to {one['node']} went to {one['address']}, which is no address of {self.network}"
        if self.targets:
            return f"virt-handler has addresses of {self.network} on {len(self.addresses)} nodes, and {len(self.targets)} migrations since went to them"
        if self.is_used:
            return f"virt-handler has addresses of {self.network} on {len(self.addresses)} nodes; no migration has begun since"
        return f"whether migrations use {self.network} is not known yet: virt-handler's pods do not say which addresses they have, and none has begun since"

    def to_dict(self) -> Json:
        return {
            "name": self.network, "ranges": list(self.ranges), "addresses": dict(sorted(self.addresses.items())), "without": sorted(self.without),
            "migrations": self.targets, "used": self.is_used, "sentence": self.sentence(),
        }


def use(network: str, found: Attachment | None, handlers: t.Iterable[Json], migrations: t.Iterable[Json]) -> Use:
    """Of virt-handler's pods and the VirtualMachineInstanceMigrations. C(found) gives the range, where it is known."""
    result = Use(network, tuple(str(one) for one in found.networks) if found is not None else ())
    since: dict[str, str] = {}
    for pod in handlers:
        on = str((pod.get("spec") or {}).get("nodeName") or "")
        if not on or pod["metadata"].get("deletionTimestamp"):
            continue
        addresses = addresses_of(pod)
        if addresses is None:
            result.silent.append(on)
        elif not addresses:
            result.without.append(on)
        else:
            result.addresses[on] = addresses
        since[on] = _started(pod)
    for migration in migrations:
        state = (migration.get("status") or {}).get("migrationState") or {}
        began, node, address = state.get("startTimestamp"), state.get("targetNode"), state.get("targetNodeAddress")
        # RFC 3339 in UTC, which sorts as text.
        if began and address and node in since and since[node] and str(began) >= since[node]:
            known = result.addresses.get(str(node))
            fits: bool | None = address in found.addresses if found is not None and found.networks else None
            if known:
                fits = address in known
            if fits is not None:
                vm = f"{migration['metadata'].get('namespace')}/{(migration.get('spec') or {}).get('vmiName')}"
                result.targets.append({"migration": migration["metadata"]["name"], "vm": vm, "node": node, "address": address, "on_network": fits, "at": began})
    result.targets.sort(key=lambda one: (one["at"], one["migration"]))
    return result


def addresses_of(pod: Json) -> list[str] | None:
    """What a virt-handler has on migration0; None where its pod does not say, or can't be read."""
    annotations = pod["metadata"].get("annotations") or {}
    if INTERFACE not in str(annotations.get(NETWORKS) or ""):
        return []
    try:
        entries = json.loads(annotations.get(STATUS) or "")
    except ValueError:
        return None
    if not isinstance(entries, list):
        return None
    mine = next((one for one in entries if isinstance(one, dict) and one.get("interface") == INTERFACE), None)
    return [str(one) for one in (mine or {}).get("ips") or ()]


def _started(pod: Json) -> str:
    """When its containers ran last, RFC 3339; empty while they do not."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or ()
    times = [str(((one.get("state") or {}).get("running") or {}).get("startedAt") or "") for one in statuses]
    return max(times, default="") if all(times) else ""
