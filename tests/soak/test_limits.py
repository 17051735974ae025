# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the soak of the limits would notice."""

from __future__ import annotations

import typing as t

import pytest

from . import limits
from .limits_history import JOB, Limits, Object, Replay, Seen, limits_of

VMIS, VMIMS = "virtualmachineinstances", "virtualmachineinstancemigrations"


class History:
    """Events in the order in which they are written down."""

    def __init__(self) -> None:
        self.replay = Replay()
        self._version = 0
        self.now = 0.0

    def add(self, plural: str, obj: Object, kind: str = "MODIFIED") -> None:
        self._version += 1
        self.replay.feed(Seen(self._version, self.now, 0.0, plural, kind, obj))

    def instance(self, name: str, node: str = "node01") -> None:
        """An instance that runs, with its pod."""
        self.add(VMIS, {"metadata": {"namespace": "shop", "name": name, "uid": f"uid-{name}"}, "status": {"phase": "Running", "nodeName": node}})
        self.pod(name, "source")

    def pod(self, name: str, role: str, phase: str = "Running") -> None:
        labels = {"kubevirt.io/created-by": f"uid-{name}"} | ({JOB: f"job-{name}"} if role == "target" else {})
        owner = [{"name": name}]
        metadata = {"namespace": "shop", "name": f"{name}-{role}", "uid": f"{name}-{role}", "labels": labels, "ownerReferences": owner}
        known = f"{name}-{role}" in self.replay.pods
        self.add("pods", {"metadata": metadata, "status": {"phase": phase}}, "MODIFIED" if known else "ADDED")

    def migration(self, name: str, phase: str) -> None:
        self.add(VMIMS, {"metadata": {"namespace": "shop", "name": name, "uid": f"job-{name}"}, "spec": {"vmiName": name}, "status": {"phase": phase}})

    def kubevirt(self, cluster: int, node: int) -> None:
        asked = {"parallelMigrationsPerCluster": cluster, "parallelOutboundMigrationsPerNode": node}
        self.add("kubevirts", {"spec": {"configuration": {"migrations": asked}}})


@pytest.fixture
def history() -> History:
    made = History()
    made.kubevirt(2, 1)
    made.now = 10.0
    for number in range(4):
        made.instance(f"vm-{number}", f"node0{number % 3}")
    return made


def test_what_is_asked_for_has_defaults() -> None:
    assert limits_of({"spec": {}}) == Limits(5, 2)


def test_a_target_too_many_in_the_cluster_is_noticed(history: History) -> None:
    for name in ("vm-0", "vm-1", "vm-2"):
        history.migration(name, "Pending")
        history.pod(name, "target", "Pending")
    assert history.replay.problems == ["2 migrations were active, 2 allowed, when vm-2-target was made"]
    assert history.replay.most_active == 3


def test_a_target_too_many_out_of_a_node_is_noticed(history: History) -> None:
    for name in ("vm-0", "vm-3"):
        history.migration(name, "Pending")
        history.pod(name, "target", "Pending")
    assert history.replay.problems == ["1 migrations left node00, 1 allowed, when vm-3-target was made"]
    assert history.replay.most_outbound == 2


def test_wider_limits_count_from_when_they_hold_and_narrower_ones_a_moment_later(history: History) -> None:
    history.migration("vm-0", "Running")
    history.migration("vm-1", "Running")
    history.kubevirt(3, 1)
    history.pod("vm-2", "target", "Pending")
    history.migration("vm-2", "Running")
    history.kubevirt(1, 1)
    assert history.replay.problems == []
    history.now = 20.0
    history.migration("vm-0", "Succeeded")
    history.migration("vm-2", "Succeeded")
    history.pod("vm-2", "other", "Pending")
    history.migration("vm-3", "Pending")
    history.pod("vm-3", "target", "Pending")
    assert history.replay.problems == ["1 migrations were active, 1 allowed, when vm-3-target was made"]


@pytest.mark.parametrize(("phase", "idle"), [("Pending", 7.0), ("", 0.0), ("Scheduling", 0.0)])
def test_a_slot_that_stands_empty_is_noticed(history: History, phase: str, idle: float) -> None:
    history.migration("vm-0", phase)
    history.now = 17.0
    history.migration("vm-0", "Failed")
    assert history.replay.longest_idle == idle


def test_who_waits_for_a_slot_that_is_taken_does_not_make_one_empty(history: History) -> None:
    history.migration("vm-0", "Running")
    history.migration("vm-3", "Pending")
    history.now = 30.0
    history.migration("vm-0", "Succeeded")
    assert history.replay.longest_idle == 0
    history.now = 33.0
    history.pod("vm-3", "target", "Pending")
    assert history.replay.longest_idle == 3
    assert history.replay.problems == []


def test_migrations_keep_to_the_limits_and_use_the_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: t.Any = (limits.Case("4.18", evacuated=False), limits.Case("4.19", evacuated=True))
    monkeypatch.setattr(limits, "CASES", chosen)
    report = limits.run(limits.QUICK_MACHINES, seed=419)
    assert report.failures == []
    assert report.tried == report.held == 8
