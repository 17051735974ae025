# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What virt-operator does, one change after the other, beside its recorded timelines: an update, and what users change reverted.

Compared are the order in which objects are first written, and for roles what each change left of labels and rules. Of the times it is
said only how long a step may take at most: the recorded operator took seconds for each, as its resync and its client's limits had it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import Ref

from ..support.api import MERGE_PATCH, RBAC, Object
from ..support.held_engine import HeldEngine
from ..support.migration_history import Seen
from .stories import Stage, recorded

UPDATE, RECONCILE = (recorded(f"kubevirt-1.5.3/kv-operator/timeline-{name}.json")["timeline"] for name in ("update-1.5.3", "reconcile"))
ROLES = Ref("rbac.authorization.k8s.io", "v1", "clusterroles")
REFS = {
    ref.plural: ref
    for ref in (
        ROLES, Ref("rbac.authorization.k8s.io", "v1", "clusterrolebindings"), Ref("rbac.authorization.k8s.io", "v1", "roles"),
        Ref("rbac.authorization.k8s.io", "v1", "rolebindings"), Ref("apiextensions.k8s.io", "v1", "customresourcedefinitions"),
        Ref("", "v1", "services"), Ref("", "v1", "serviceaccounts"), Ref("apps", "v1", "deployments"), Ref("apps", "v1", "daemonsets"),
    )
}  # fmt: skip
FOREIGN = ("admin", "edit", "view", "kubevirt-operator")
"""Roles that others write: the aggregation, and whoever installs the operator."""
REVERTED = 8.0
"""Engine seconds within which a change is reverted; recorded were 2 to 5."""
AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-admin"


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    with HeldEngine(tmp_path, cluster="empty", release="4.18") as started:
        yield started


def until(what: str, holds: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.005)


def first_written(names: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Each object where it is written first."""
    return list(dict.fromkeys(names))


def test_an_update_writes_in_the_recorded_order(engine: HeldEngine) -> None:
    real = first_written([(one["resource"], one["name"]) for one in UPDATE if one.get("resource") in REFS and one["name"] not in FOREIGN])
    stage = Stage(engine.api)
    seen = engine.followed(*REFS.values())
    stage.update()
    known = set(real)
    here = [(resource, obj["metadata"]["name"]) for _when, resource, _kind, obj in sorted(seen, key=lambda one: int(one[3]["metadata"]["resourceVersion"]))]
    assert first_written([one for one in here if one in known]) == real


def role(obj: Object) -> tuple[str, str | None, int]:
    """Name, whether it is aggregated to admin, number of rules."""
    return obj["metadata"]["name"], (obj["metadata"].get("labels") or {}).get(AGGREGATE), len(obj.get("rules") or ())


def test_changes_of_shipped_roles_are_reverted_as_recorded(engine: HeldEngine) -> None:
    stage = Stage(engine.api)
    stage.update()
    seen = engine.followed(ROLES)
    real = [(one["type"], one["name"], one["labels"].get(AGGREGATE), one["rules"]) for one in RECONCILE if "mark" not in one and one["name"] not in FOREIGN]
    change = Changes(engine, seen)
    change("kubevirt.io:migrate", {"metadata": {"labels": {AGGREGATE: "true"}}}, comes_back=False)
    change("kubevirt.io:admin", {"metadata": {"labels": {AGGREGATE: "false"}}})
    rules = change.role("kubevirt.io:edit")["rules"]
    change("kubevirt.io:edit", {"rules": [*rules, {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]})
    change("kubevirt.io:migrate", {"rules": change.role("kubevirt.io:migrate")["rules"][:1]})
    change("kubevirt.io:migrate", None)
    change("kubevirt.io:migrate", {"metadata": {"labels": {AGGREGATE: "true"}}}, comes_back=False)
    here = [(kind, *role(obj)) for _when, _resource, kind, obj in seen if obj["metadata"]["name"] not in FOREIGN]
    assert here == real
    assert all(0.0 <= seconds <= REVERTED for seconds in change.took), change.took


class Changes:
    """What a user changes, and how many engine seconds it took the operator to take it back."""

    def __init__(self, engine: HeldEngine, seen: list[Seen]) -> None:
        self.api, self.seen = engine.api, seen
        self.took: list[float] = []

    def role(self, name: str) -> Object:
        return self.api.get(f"{RBAC}/clusterroles/{name}")

    def __call__(self, name: str, patch: Object | None, comes_back: bool = True) -> None:
        before = len(self._of(name))
        path = f"{RBAC}/clusterroles/{name}"
        if patch is None:
            self.api.expect(200, "DELETE", path)
        else:
            self.api.expect(200, "PATCH", path, patch, content_type=MERGE_PATCH)
        wanted = before + 1 + comes_back
        until(f"what follows for {name}", lambda: len(self._of(name)) >= wanted)
        changed, *back = [when for when, _resource, _kind, _obj in self._of(name)][before:]
        self.took += [one - changed for one in back]

    def _of(self, name: str) -> list[Seen]:
        return [one for one in self.seen if one[3]["metadata"]["name"] == name]
