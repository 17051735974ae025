# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether migrations use the network, from what virt-handler's pods and migrations say."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._networks.attachment import Attachment, attachment
from ansible_collections.okd.virt.plugins.module_utils._networks.use import use

Json = dict[str, t.Any]
CONFIG = json.dumps({"type": "macvlan", "ipam": {"type": "whereabouts", "range": "192.0.2.0/24"}})
FOUND = attachment({"metadata": {"name": "fast", "namespace": "cnv"}, "spec": {"config": CONFIG}})


def handler(node: str, *addresses: str, networks: str = "fast@migration0", status: str | None = None, since: str = "2026-01-01T00:10:00Z") -> Json:
    entries = [{"name": "ovn-kubernetes", "interface": "eth0", "ips": ["10.128.0.1"]}, {"name": "cnv/fast", "interface": "migration0", "ips": list(addresses)}]
    text = json.dumps(entries) if status is None else status
    return {
        "metadata": {"name": f"virt-handler-{node}", "annotations": {"k8s.v1.cni.cncf.io/networks": networks, "k8s.v1.cni.cncf.io/network-status": text}},
        "spec": {"nodeName": node}, "status": {"containerStatuses": [{"state": {"running": {"startedAt": since}}}]},
    }


def migration(node: str, address: str, began: str = "2026-01-01T00:20:00Z") -> Json:
    state = {"targetNode": node, "targetNodeAddress": address, "startTimestamp": began}
    return {"metadata": {"name": f"m-{began}", "namespace": "shop"}, "spec": {"vmiName": "db"}, "status": {"migrationState": state}}


def test_addresses_and_migrations_agree() -> None:
    handlers = [handler("a", "192.0.2.1"), handler("b", "192.0.2.2")]
    assert use("fast", FOUND, handlers, []).is_used is True
    found = use("fast", FOUND, handlers, [migration("b", "192.0.2.2")])
    assert found.is_used is True
    assert found.to_dict() | {"sentence": ""} == {
        "name": "fast", "ranges": ["192.0.2.0/24"], "addresses": {"a": ["192.0.2.1"], "b": ["192.0.2.2"]}, "without": [], "used": True, "sentence": "",
        "migrations": [
            {"migration": "m-2026-01-01T00:20:00Z", "vm": "shop/db", "node": "b", "address": "192.0.2.2", "on_network": True, "at": "2026-01-01T00:20:00Z"},
        ],
    }


@pytest.mark.parametrize(("handlers", "migrations", "found", "is_used", "part"), [
    ([handler("a", "192.0.2.1"), handler("b")], [], FOUND, False, "no address of fast on b"),
    ([handler("a", "192.0.2.1"), handler("b", "192.0.2.2", networks="")], [], FOUND, False, "no address of fast on b"),
    ([handler("a", "192.0.2.1")], [migration("a", "10.0.0.1")], FOUND, False, "shop/db to a went to 10.0.0.1"),
    ([handler("a", "192.0.2.1")], [migration("a", "10.0.0.1", "2026-01-01T00:05:00Z")], FOUND, True, "no migration has begun since"),
    ([handler("a", status="")], [], FOUND, None, "not known yet"),
    ([handler("a", status="{")], [migration("a", "192.0.2.9")], FOUND, True, "went to them"),
    ([handler("a", status="{}")], [migration("a", "10.0.0.1")], FOUND, False, "went to 10.0.0.1"),
    ([handler("a", status="")], [migration("a", "10.0.0.1")], None, None, "not known yet"),
    ([], [migration("a", "10.0.0.1")], FOUND, None, "not known yet"),
])
def test_what_is_told(handlers: list[Json], migrations: list[Json], found: Attachment | None, is_used: bool | None, part: str) -> None:
    result = use("fast", found, handlers, migrations)
    assert result.is_used is is_used
    assert part in result.sentence()


def test_a_virt_handler_that_goes_or_does_not_run_tells_nothing() -> None:
    going = handler("a")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    starting = handler("b", "192.0.2.2")
    starting["status"] = {"containerStatuses": [{"state": {"waiting": {}}}]}
    found = use("fast", FOUND, [going, starting], [migration("b", "10.0.0.1")])
    assert (found.without, found.targets) == ([], [])
