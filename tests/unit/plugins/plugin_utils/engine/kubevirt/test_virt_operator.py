# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import Object
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt import kubevirt_status
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_operator import VirtOperator

OLD, NEW = "v1.4.1", "v1.5.3"
NOW = "2026-11-23T10:18:49Z"


class Cached:
    """A cache that has not heard of anything since the update began."""

    def __init__(self, *objects: Object) -> None:
        self._objects = list(objects)

    def list(self) -> list[Object]:
        return self._objects


class Stored:
    """What the API server would answer, and what it is asked to write."""

    def __init__(self, kubevirt: Object) -> None:
        self.kubevirt = kubevirt
        self.written: list[Object] = []

    async def get(self, *_where: t.Any) -> Object:
        return self.kubevirt

    async def update(self, _ref: t.Any, obj: Object, *_rest: t.Any) -> Object:
        self.written.append(obj)
        return obj


async def test_an_update_that_the_cache_has_not_seen_the_end_of_is_not_begun_again(monkeypatch: pytest.MonkeyPatch) -> None:
    bare: Object = {"metadata": {"name": "kubevirt", "namespace": "kubevirt", "generation": 1}, "status": {}}
    before = {**bare, "status": kubevirt_status.ready(bare, OLD, NOW)}
    during = {**bare, "status": kubevirt_status.updating(before, NEW, NOW)}
    after = {**bare, "status": kubevirt_status.ready(during, NEW, NOW)}
    operator, cluster = VirtOperator("kubevirt"), Stored(after)
    applied: list[str] = []

    async def nothing(plan: t.Any, *_pace: float) -> None:
        applied.append(plan.version)

    monkeypatch.setattr(operator, "cluster", cluster, raising=False)
    monkeypatch.setattr(operator, "_kubevirts", Cached(during), raising=False)
    monkeypatch.setattr(operator, "_version", lambda: NEW)
    monkeypatch.setattr(operator, "_apply_rbac", nothing)
    monkeypatch.setattr(operator, "_delete_leftovers", nothing)
    assert await operator.reconcile("kubevirt") is None
    assert cluster.written == []
    assert applied == [NEW, NEW]
