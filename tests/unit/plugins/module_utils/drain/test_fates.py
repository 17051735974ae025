# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What becomes of each kind of pod."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._budgets import judge
from ansible_collections.okd.virt.plugins.module_utils.drain.fates import Around, Way, fate
from ansible_collections.okd.virt.plugins.module_utils.drain.request import Request

from .objects import NODE, Json, budget, launcher, pod, vmi

EMPTY_DIR = {"spec": {"volumes": [{"name": "a", "emptyDir": {}}]}}
ATTACHMENT = pod("hp-volume-1", owner="Pod", labels={"kubevirt.io": "hotplug-disk"})


@pytest.mark.parametrize(("subject", "options", "way", "code"), [
    (pod(), {}, Way.EVICT, "evicted"),
    (pod(annotations={"kubernetes.io/config.mirror": "x"}, ), {}, Way.LEAVE, "mirror_pod"),
    (pod(owner="DaemonSet"), {}, Way.LEAVE, "daemon_set"),
    (pod(owner="DaemonSet"), {"ignore_daemonsets": False}, Way.BLOCKED, "daemon_set"),
    (pod(owner="DaemonSet", phase="Failed"), {}, Way.REMOVE, "finished"),
    (pod(owner=""), {}, Way.BLOCKED, "uncontrolled"),
    (pod(owner=""), {"evict_uncontrolled": True}, Way.EVICT, "evicted"),
    (pod(owner="", phase="Succeeded"), {}, Way.REMOVE, "finished"),
    (pod() | EMPTY_DIR, {}, Way.BLOCKED, "emptydir_data"),
    (pod() | EMPTY_DIR, {"delete_emptydir_data": True}, Way.EVICT, "evicted"),
    (pod(deletionTimestamp="2026-01-01T00:00:00Z"), {}, Way.WAIT, "terminating"),
    (ATTACHMENT, {"evict_uncontrolled": True}, Way.WAIT, "with_its_vm"),
])
def test_pods(subject: Json, options: dict[str, t.Any], way: Way, code: str) -> None:
    found = fate(subject, NODE, Around(pod_uids={"hp-volume-1-owner-uid"}), Request(**options))
    assert (found.way, found.code) == (way, code)


def test_an_attachment_pod_whose_launcher_has_left_is_evicted() -> None:
    assert fate(ATTACHMENT, NODE, Around(), Request()).way is Way.EVICT


@pytest.mark.parametrize(("instance", "options", "way", "code"), [
    (vmi("a"), {}, Way.MIGRATE, "migrates"),
    (vmi("a", strategy="None"), {}, Way.MIGRATE, "migrates"),
    (vmi("a", strategy="None"), {"move_by": "eviction"}, Way.BLOCKED, "strategy_none"),
    (vmi("a", strategy="None"), {"move_by": "eviction", "on_unmigratable": "stop_and_restart"}, Way.RESTART, "strategy_none_restarted"),
    (vmi("a", strategy="External"), {}, Way.EVICT, "external"),
    (vmi("a", migratable=None), {}, Way.WAIT, "not_reported"),
    (vmi("a", migratable=False), {}, Way.BLOCKED, "not_migratable"),
    (vmi("a", migratable=False), {"on_unmigratable": "skip"}, Way.LEAVE, "not_migratable_skipped"),
    (vmi("a", migratable=False), {"on_unmigratable": "stop_and_restart"}, Way.RESTART, "not_migratable_restarted"),
    (vmi("a", migratable=False, owned=False), {"on_unmigratable": "stop_and_restart"}, Way.BLOCKED, "bare_instance"),
    (vmi("a", node="elsewhere"), {}, Way.WAIT, "arriving"),
    (vmi("a") | {"status": {"nodeName": NODE, "phase": "Scheduled"}}, {}, Way.WAIT, "not_running"),
])
def test_launchers(instance: Json, options: dict[str, t.Any], way: Way, code: str) -> None:
    found = fate(launcher("a"), NODE, Around({("shop", "a"): instance}), Request(**options))
    assert (found.way, found.code) == (way, code)
    assert found.vmi == ("shop", "a")


def test_a_launcher_without_its_instance_ends_by_itself() -> None:
    assert fate(launcher("a"), NODE, Around(), Request()).code == "leaving"
    assert fate(launcher("a", "Succeeded"), NODE, Around(), Request()).way is Way.REMOVE


def test_the_reason_is_that_of_kubevirt_and_names_the_remedy() -> None:
    found = fate(launcher("a"), NODE, Around({("shop", "a"): vmi("a", migratable=False)}), Request())
    assert "DisksNotLiveMigratable: PVC x is not shared" in found.sentence
    assert "on_unmigratable" in found.sentence


@pytest.mark.parametrize(("budgets", "allowed", "never", "code"), [
    ([], True, False, ""),
    ([budget("a", allowed=1)], True, False, ""),
    ([budget("a", selector={"matchLabels": {"app": "other"}})], True, False, ""),
    ([budget("a", selector={})], False, False, "budget_closed"),
    ([budget("a")], False, False, "budget_closed"),
    ([budget("a", allowed=1), budget("b", allowed=1)], False, True, "several_budgets"),
    ([budget("a", allowed=1, generation=2)], False, False, "budget_not_observed"),
    ([budget("a", reason="SyncFailed", message="no scale")], False, True, "budget_cannot_be_computed"),
    ([budget("a", selector={"matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}]})], False, False, "budget_closed"),
    ([budget("a", selector={"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]})], True, False, ""),
    ([budget("a", selector={"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]})], True, False, ""),
    ([budget("a", selector={"matchExpressions": [{"key": "app", "operator": "Exists"}]})], False, False, "budget_closed"),
])
def test_budgets(budgets: list[Json], allowed: bool, never: bool, code: str) -> None:
    verdict = judge(pod(), budgets)
    assert (verdict.allowed, verdict.never, verdict.code) == (allowed, never, code)


def test_a_budget_that_never_opens_blocks_the_pod_and_a_closed_one_is_waited_for() -> None:
    blocked = fate(pod(), NODE, Around(budgets=[budget("a"), budget("b")]), Request())
    assert (blocked.way, blocked.code) == (Way.BLOCKED, "several_budgets")
    closed = fate(pod(), NODE, Around(budgets=[budget("a")]), Request())
    assert (closed.way, closed.code) == (Way.EVICT, "budget_closed")
    assert "needs 2 healthy pods and has 2" in closed.sentence
