# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What annotations say of a guest's load, and how migrations under way come to their ends."""
from __future__ import annotations

import math
import random
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.precopy import (
    Copy,
    FixedCopy,
    Guest,
    Pattern,
    Settings,
    Writer,
)
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_handler import loads
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_handler.monitor import Limits, Mode
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_handler.transfers import (
    ABORTED,
    LOST,
    SECONDS_TO_MISS,
    Outcome,
    Transfers,
)


def _vmi(**settings: t.Any) -> dict[str, t.Any]:
    return {"spec": {"domain": {"memory": {"guest": "4Gi"}}}, "status": {"migrationState": {"migrationConfiguration": settings}}}


def test_a_guest_as_described() -> None:
    said = {"dirty-rate": "200Mi", "working-set": "512Mi", "nonzero": "75%", "pattern": "hot", "writer": "closed"}
    assert loads.guest(_vmi(), said) == Guest(4096, 3072, 512, 200, Pattern.HOT, Writer.CLOSED)


@pytest.mark.parametrize("said", [{}, {"dirty-rate": "much", "nonzero": "x%", "pattern": "zigzag", "writer": ""}])
def test_a_guest_that_says_nothing_sensible(said: dict[str, str]) -> None:
    assert loads.guest(_vmi(), said) == Guest(4096, 2048, 128, 10, Pattern.UNIFORM, Writer.OPEN)


def test_the_instance_is_asked_before_its_machine() -> None:
    vmi, machine = ({"metadata": {"annotations": {f"engine.okd.virt/{name}": value for name, value in said.items()}}}
                    for said in ({"dirty-rate": "1Mi"}, {"dirty-rate": "2Mi", "nonzero": "1Gi"}))
    assert loads.said_of(vmi, machine) == {"dirty-rate": "1Mi", "nonzero": "1Gi"}
    assert loads.said_of(None, {"metadata": {}}) == {}


def test_settings_as_virt_launcher_gives_them() -> None:
    plain = loads.settings(_vmi(bandwidthPerMigration="64Mi", allowAutoConverge=True))
    assert (plain.bandwidth, plain.multifd, plain.tls, plain.auto_converge) == (64.0, 8, True, True)
    assert loads.settings(_vmi(allowPostCopy=True)).multifd == 0
    assert loads.settings(_vmi(disableTLS=True)).tls is False


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", loads.Trouble()), ("true", loads.Trouble(-1)), ("3", loads.Trouble(3)), ("1@PreparingTarget", loads.Trouble(1, "PreparingTarget")),
     ("often", loads.Trouble())],
)  # fmt: skip
def test_trouble(text: str, expected: loads.Trouble) -> None:
    assert loads.trouble({"fail-migration": text}) == expected


KEY, NONE = ("shop", "vm-1"), Limits()


def _begun(copy: Copy | FixedCopy, limits: Limits = NONE, **more: t.Any) -> Transfers:
    transfers = Transfers(lambda link: 0.0 if link == "nowhere" else 100.0)
    transfers.begin(KEY, "uid", ("a", "b"), copy, limits, 10.0, **more)
    return transfers


def _play(transfers: Transfers) -> list[tuple[float, str, Outcome | None]]:
    """Go from event to event, as virt-handler does."""
    found, now = [], 10.0
    while (due := min(transfers.next_event(now))) < math.inf:
        now = due
        for key in transfers.run(now):
            transfer = transfers.get(key)
            assert transfer is not None
            found.append((round(now, 2), transfer.mode.value, transfer.outcome))
    return found


def test_a_copy_ends_when_its_memory_is_over() -> None:
    assert _play(_begun(FixedCopy(1024, 3, 10.0))) == [(13.0, "PreCopy", Outcome())]
    ((moment, _mode, outcome),) = _play(_begun(Copy(Guest(1024, 1000), Settings(), 10.0)))
    assert outcome == Outcome()
    assert 19.5 < moment < 20.5


def test_one_that_hangs_is_stuck() -> None:
    (end,) = _play(_begun(Copy(Guest(1024, 1000), Settings(), 10.0), Limits(1000, 20), hangs=True))
    assert end[2] == Outcome("Live migration stuck for 21 seconds and has been aborted", aborted=True)


def test_one_that_is_to_fail_fails() -> None:
    (end,) = _play(_begun(FixedCopy(1024, 30, 10.0), fails_after=2.0))
    assert end[0] == 12.0
    assert end[2] is not None
    assert end[2].reason.startswith("Live migration failed ")


@pytest.mark.parametrize("post_copy", [True, False])
def test_one_that_is_late_is_helped(post_copy: bool) -> None:
    busy = Copy(Guest(2048, 2048, 1024, 500), Settings(), 10.0)
    helped, end = _play(_begun(busy, Limits(60, 150, assist=True, post_copy=post_copy)))
    assert helped == (71.2, Mode.POST_COPY.value if post_copy else Mode.PAUSED.value, None)
    assert end[2] == Outcome()


def test_looking_in_between_changes_nothing() -> None:
    def seen(step: float) -> list[t.Any]:
        transfers, told = _begun(Copy(Guest(2048, 2048, 1024, 500), Settings(), 10.0), Limits(60, 150, assist=True)), []
        transfers.begin(("shop", "vm-2"), "uid2", ("a", "c"), Copy(Guest(512, 300), Settings(), 10.0), Limits(60, 150), 10.0)
        now = 10.0
        while now < 200:
            now = min(now + step, *transfers.next_event(now))
            if math.isinf(now):
                break
            list(transfers.progress(now))
            told += [(key, round(now, 4)) for key in transfers.run(now)]
        return told

    assert seen(1000.0) == seen(0.77)


@pytest.mark.parametrize("seed", [1, 2, 3, 18, 27, 96])
def test_those_that_come_and_go_in_between_change_nothing(seed: int) -> None:
    """Whether all is looked at all the time, or only when something is to be told."""

    def seen(step: float) -> list[t.Any]:
        chance = random.Random(seed)
        transfers, told, now = Transfers(lambda dummy: 600.0), [], 0.0
        for number in range(30):
            moment = number * 1.7
            while (due := min(now + step, *transfers.next_event(now))) < moment:
                now = due
                told += [(key, round(now, 3), transfers.get(key).outcome) for key in transfers.run(now)]  # type: ignore[union-attr]
            now = moment
            guest = Guest(2048, chance.choice([100, 500, 1500]), 400, chance.choice([0, 100, 600]))
            copy = Copy(guest, Settings(bandwidth=chance.choice([0, 64, 200])), now)
            nodes = chance.choice([("a", "b"), ("a", "c"), ("d", "b"), ("e", "f")])
            transfers.begin(("shop", str(number)), str(number), nodes, copy, Limits(chance.choice([0, 30]), 10), now)
            if number % 5 == 4:
                transfers.drop(("shop", str(number - 3)), now)
        return told

    assert seen(1000.0) == seen(0.037)


def test_one_that_is_over_before_anybody_looks_is_told() -> None:
    transfers = _begun(FixedCopy(1024, 3, 10.0))
    transfers.begin(("shop", "vm-2"), "uid2", ("a", "c"), FixedCopy(1024, 30, 13.5), NONE, 13.5)
    assert transfers.next_event(13.5) == (13.5, math.inf)
    assert transfers.run(13.5) == [KEY]
    assert transfers.next_event(13.5) == (43.5, math.inf)


def test_an_end_from_outside() -> None:
    transfers = _begun(FixedCopy(1024, 30, 10.0))
    assert transfers.end(KEY, Outcome(ABORTED, aborted=True), 12.0)
    assert not transfers.end(KEY, Outcome(ABORTED, aborted=True), 12.0)
    assert transfers.next_event(12.0) == (math.inf, math.inf)
    transfers.drop(KEY, 13.0)
    assert len(transfers) == 0


@pytest.mark.parametrize("copy", [FixedCopy(1024.0, 400.0), Copy(Guest(4096, 4096, 128, 10, Pattern.UNIFORM, Writer.OPEN), Settings(bandwidth=16.0))])
def test_a_target_that_is_gone_is_missed_after_a_while_and_nothing_arrives(copy: FixedCopy | Copy) -> None:
    down: set[str] = set()
    all_of_them = Transfers(lambda link: 0.0 if link.partition("/")[2] in down else 1000.0)
    key = ("shop", "vm")
    all_of_them.begin(key, "uid", ("here", "there"), copy, Limits(800, 1000), 0.0)
    all_of_them.run(10.0)
    down.add("there")
    all_of_them.cut_off("there", 10.0)
    all_of_them.links_changed(10.0)
    left = copy.remaining(10.0)
    assert all_of_them.run(10.0 + SECONDS_TO_MISS - 1) == []
    assert copy.remaining(10.0 + SECONDS_TO_MISS - 1) >= left
    assert all_of_them.run(10.0 + SECONDS_TO_MISS) == [key]
    transfer = all_of_them.get(key)
    assert transfer is not None
    assert transfer.outcome == Outcome(LOST)


def test_a_copy_of_given_time_does_not_end_when_its_source_is_gone() -> None:
    all_of_them = Transfers(lambda _link: 1000.0)
    all_of_them.begin(("shop", "vm"), "uid", ("here", "there"), FixedCopy(1024.0, 40.0), Limits(800, 1000), 0.0)
    all_of_them.cut_off("here", 10.0)
    assert all_of_them.run(100.0) == []
