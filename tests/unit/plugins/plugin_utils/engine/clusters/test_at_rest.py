# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is loaded is what the controllers would have made: they find nothing to do."""

from __future__ import annotations

import asyncio
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.local import LocalCluster
from ansible_collections.okd.virt.plugins.plugin_utils.engine.clock import Clock
from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options

WATCHED = (
    ("kubevirt.io", "virtualmachines"), ("kubevirt.io", "virtualmachineinstances"), ("kubevirt.io", "virtualmachineinstancemigrations"),
    ("", "pods"), ("", "persistentvolumeclaims"), ("", "events"), ("policy", "poddisruptionbudgets"), ("apps", "controllerrevisions"),
)


@pytest.mark.parametrize(("cluster", "release"), [("lab", "4.18"), ("lab", "4.19"), ("generated", "4.19")])
async def test_machines_that_are_loaded_get_no_writes(cluster: str, release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"vms": 20, "namespaces": 5, "bindings": 5} if cluster == "generated" else {}
    engine = Engine(Options(cluster=cluster, release=release, speed="max", parameters=sizes))
    loaded: list[int] = []
    build = engine.sample.build

    async def noting(admin: LocalCluster, clock: Clock) -> None:
        await build(admin, clock)
        loaded.append(engine.store.version)

    monkeypatch.setattr(engine.sample, "build", noting)
    await engine.start()
    try:
        await asyncio.sleep(1.5)
        machines: list[t.Any] = engine.store.list(("kubevirt.io", "virtualmachines"))
        tenants = {one.namespace for one in machines}
        written = [
            f"{resource[1]} {one.namespace}/{one.name}" for resource in WATCHED for one in engine.store.list(resource)
            if one.namespace in tenants and one.version > loaded[0]
        ]
        written += [one.name for one in engine.store.list(("kubevirt.io", "kubevirts")) if one.version > loaded[0]]
        assert {one.value["status"]["printableStatus"] for one in machines} == {"Running"}
        assert written == []
    finally:
        await engine.stop()
