# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who decides a setting: HyperConverged, its jsonpatch annotation, or somebody who has edited the KubeVirt."""

from __future__ import annotations

import json
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils.tuning.effective import (
    JSON_PATCH,
    differences,
    patched_keys,
    settings,
)
from ansible_collections.okd.virt.plugins.module_utils.tuning.fields import BY_KEY, ONLY_IN_KUBEVIRT, cautions, same

Json = dict[str, t.Any]
WHOLE = (*BY_KEY, *ONLY_IN_KUBEVIRT)


def hyperconverged(patch: t.Any = None, **config: t.Any) -> Json:
    text = patch if patch is None or isinstance(patch, str) else json.dumps(patch)
    return {"metadata": {"annotations": {JSON_PATCH: text} if text else {}}, "spec": {"liveMigrationConfig": config}}


def kubevirt(**migrations: t.Any) -> Json:
    return {"spec": {"configuration": {"migrations": migrations}}}


@pytest.mark.parametrize(("patch", "keys"), [
    (None, ()),
    ("nonsense", ()),
    ({"op": "add"}, ()),
    (["x"], ()),
    ([{"op": "add", "path": "/spec/configuration/migrations/network", "value": "x"}], ("network",)),
    ([{"op": "add", "path": "/spec/configuration/migrations", "value": {}}], WHOLE),
    ([{"op": "add", "path": "/spec/configuration", "value": {}}], WHOLE),
    ([{"op": "add", "path": "/spec/configuration/developerConfiguration/x", "value": 1}], ()),
    ([{"op": "add", "path": "/spec/configuration/migrationsOfAnotherKind", "value": 1}], ()),
])
def test_what_a_patch_touches(patch: t.Any, keys: tuple[str, ...]) -> None:
    assert patched_keys(hyperconverged(patch)) == keys


def test_each_difference_with_its_cause() -> None:
    patch = [{"op": "add", "path": "/spec/configuration/migrations/disableTLS", "value": True}]
    found = differences(hyperconverged(patch, progressTimeout=150), kubevirt(progressTimeout=77, disableTLS=True, parallelMigrationsPerCluster=5))
    assert [(one.key, one.hyperconverged, one.kubevirt, one.cause) for one in found] == [
        ("progressTimeout", 150, 77, "out_of_band"), ("disableTLS", None, True, "json_patch"),
    ]
    assert differences(hyperconverged(), None) == []


def test_what_holds_is_what_kubevirt_has() -> None:
    found = settings(hyperconverged(progressTimeout=150), kubevirt(progressTimeout=77), [{"metadata": {"name": "p"}, "spec": {"allowPostCopy": True}}])
    assert found["progress_timeout"] == {"value": 77, "default": 150, "hyperconverged": 150, "kubevirt": 77, "policies": {}}
    assert found["allow_post_copy"]["policies"] == {"p": True}
    assert settings(hyperconverged(), None, [])["parallel_migrations_per_cluster"]["value"] == 5


@pytest.mark.parametrize(("key", "one", "other", "alike"), [
    ("bandwidthPerMigration", "1Gi", "1024Mi", True), ("bandwidthPerMigration", None, "0", True), ("bandwidthPerMigration", "1Gi", "1G", False),
    ("progressTimeout", None, 150, True), ("progressTimeout", 0, None, False), ("network", None, "", True), ("network", "a", "b", False),
    ("allowPostCopy", None, False, True), ("allowPostCopy", True, None, False),
])
def test_values_that_mean_the_same(key: str, one: t.Any, other: t.Any, alike: bool) -> None:
    for first, second in ((one, other), (other, one)):
        assert same(key, first, second) is alike


@pytest.mark.parametrize(("values", "word"), [
    ({"parallelMigrationsPerCluster": 2, "parallelOutboundMigrationsPerNode": 3}, "the latter holds"), ({"allowPostCopy": True}, "the VM is lost"),
    ({"completionTimeoutPerGiB": 0}, "for ever"), ({"progressTimeout": 0}, "is stuck"),
])
def test_what_is_risky_is_said(values: Json, word: str) -> None:
    (said,) = cautions(values)
    assert word in said
    assert not cautions({"parallelMigrationsPerCluster": 5, "parallelOutboundMigrationsPerNode": 2})
