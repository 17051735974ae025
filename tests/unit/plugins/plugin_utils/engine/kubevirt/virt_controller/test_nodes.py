# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a node's virt-handler counts as gone, and what still runs on such a node."""

from __future__ import annotations

import datetime
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller import nodes

MOMENT = datetime.datetime(2026, 11, 23, 12, 0, 0, tzinfo=datetime.UTC)
Object = dict[str, t.Any]


def node(beat: str | None) -> Object:
    return {"metadata": {"name": "n", "annotations": {} if beat is None else {"kubevirt.io/heartbeat": beat}}}


@pytest.mark.parametrize(("found", "gone"), [
    (node("2026-11-23T11:59:00Z"), False), (node("2026-11-23T11:55:00Z"), False), (node("2026-11-23T11:54:59Z"), True),
    (node("2026-11-23T12:30:00Z"), False), (node(None), False), (node("yesterday"), False), (None, True),
])
def test_five_minutes_of_silence_are_too_long(found: Object | None, gone: bool) -> None:
    assert nodes.is_unresponsive(found, MOMENT) is gone


@pytest.mark.parametrize(("phase", "states", "alive"), [
    ("Running", [{"running": {}}, {"terminated": {}}], True), ("Running", [{"terminated": {}}, {"terminated": {}}], False), ("Pending", [], True),
    ("Succeeded", [{"terminated": {}}], False), ("Failed", [], False),
])
def test_a_pod_lives_while_anything_in_it_does(phase: str, states: list[Object], alive: bool) -> None:
    assert nodes.is_alive({"status": {"phase": phase, "containerStatuses": [{"name": "c", "state": state} for state in states]}}) is alive
