# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import typing as t

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.report.access import Moment, Outlook, Pair, table
from ansible_collections.okd.virt.plugins.plugin_utils.report.rehearsal import Stage, report

KEEPS = Outlook(False, "bound to kubevirt.io:migrate")
LOSES = Outlook(True, "edit loses it with 4.19")
ANN, BOB, OPS = "user:ann", "user:bob", "group:ops"


def moment(label: str, **holders: Outlook) -> Moment:
    """Holders written subject__namespace, with the subjects ann, bob, ops."""
    subjects = {"ann": ANN, "bob": BOB, "ops": OPS}
    pairs = {Pair(subjects[name.split("__")[0]], name.split("__")[1]): outlook for name, outlook in holders.items()}
    return Moment(label, pairs)


BEFORE = moment("4.18", ann__shop=LOSES, bob__shop=LOSES, bob__lab=LOSES, ops__shop=KEEPS)
UPDATED = moment("updated", ann__shop=LOSES, ops__shop=KEEPS)
AFTER = moment("retired", ann__shop=KEEPS, ops__shop=KEEPS)
STAGES = [Stage("update", 3.0, [{"verb": "approve", "kind": "InstallPlan", "name": "install-a", "after": {}}], UPDATED), Stage("retire", 1.0, [], AFTER)]


def nobody(pair: Pair) -> bool:
    return False


def test_a_loss_that_was_announced_passes_and_names_its_stage() -> None:
    found = report(BEFORE, STAGES, nobody, {"total": 4.0})
    assert found["result"] == "passed"
    assert [(entry["subject"], entry["namespace"], entry["stage"], entry["announced"]) for entry in found["access"]["lost"]] == [
        (BOB, "lab", "update", True),
        (BOB, "shop", "update", True),
    ]
    assert {finding["id"] for finding in found["findings"]} == {"lost-as-announced"}
    assert [entry["subject"] for entry in found["access"]["after"]] == [OPS, ANN]
    assert found["stages"][0]["actions"] == [{"verb": "approve", "kind": "InstallPlan", "namespace": "", "name": "install-a", "reason": ""}]


def test_a_trusted_subject_that_lost_access_fails() -> None:
    found = report(BEFORE, STAGES, lambda pair: pair == Pair(BOB, "shop"), {})
    assert found["result"] == "failed"
    assert [finding["id"] for finding in found["findings"]] == ["lost-as-announced", "trusted-lost"]


def test_a_loss_that_nobody_announced_fails() -> None:
    before = moment("4.18", bob__shop=KEEPS)
    found = report(before, [Stage("update", 1.0, [], moment("updated"))], nobody, {})
    assert found["result"] == "failed"
    assert "did not announce" in found["findings"][0]["sentence"]


def test_trusted_who_were_without_access_in_between_are_a_warning() -> None:
    found = report(BEFORE, [Stage("update", 1.0, [], moment("updated")), Stage("grant_access", 1.0, [], AFTER)], lambda pair: pair.subject == ANN, {})
    assert found["result"] == "passed"
    (finding,) = [finding for finding in found["findings"] if finding["id"] == "trusted-interrupted"]
    assert finding["sentence"] == "user:ann is trusted and could not live-migrate in shop at: updated"


def test_a_moment_is_read_from_an_audit() -> None:
    common = {"loses": True, "reason": "because"}
    audit = {
        "access": [
            {"subject": ANN, "scope": "namespaces", "namespaces": ["shop", "lab"], "may_migrate": True, **common},
            {"subject": OPS, "scope": "cluster", "namespaces": [], "may_migrate": True, **common},
            {"subject": BOB, "scope": "namespaces", "namespaces": ["shop"], "may_migrate": False, **common},
        ]
    }
    assert Moment.of("now", audit).holders.keys() == {Pair(ANN, "shop"), Pair(ANN, "lab"), Pair(OPS, "*")}


def test_a_stage_that_failed_is_an_error_and_access_is_that_of_the_last_moment() -> None:
    found = report(BEFORE, [STAGES[0], Stage("grant_access", 0.5, [], None, "no such namespace")], nobody, {})
    assert found["result"] == "failed"
    assert found["stages"][1] == {
        "name": "grant_access", "result": "failed", "error": "no such namespace", "duration": 0.5, "changed": False, "actions": [], "access": None,
    }  # fmt: skip
    assert len(found["access"]["after"]) == 2


def test_without_a_cluster_there_is_still_a_report() -> None:
    found = report(None, [], nobody, {}, error="the port is in use")
    assert found["result"] == "failed"
    assert found["findings"] == [{"id": "failed", "severity": "error", "object": "rehearsal", "sentence": "rehearsal: the port is in use"}]


def test_table_puts_namespaces_that_fare_alike_in_one_row() -> None:
    assert table([BEFORE, UPDATED, AFTER]) == [
        "subject    namespaces  4.18  updated  retired  announced",
        "---------  ----------  ----  -------  -------  ---------",
        "group:ops  shop        yes   yes      yes      keeps it",
        "user:ann   shop        yes   yes      yes      loses it",
        "user:bob   lab, shop   yes   -        -        loses it",
    ]


def test_access_to_the_whole_cluster_is_access_to_each_namespace() -> None:
    before = Moment("4.18", {Pair(ANN, "*"): LOSES})
    after = Moment("bound", {Pair(ANN, "shop"): KEEPS})
    assert [line.split() for line in table([before, after])[2:]] == [
        ["user:ann", "(all)", "yes", "-", "loses", "it"],
        ["user:ann", "shop", "yes", "yes", "loses", "it"],
    ]
    found = report(before, [Stage("grant_access", 1.0, [], after)], lambda pair: pair == Pair(ANN, "shop"), {})
    assert [entry["namespace"] for entry in found["access"]["lost"]] == ["*"]
    assert found["result"] == "passed"


pairs = st.builds(Pair, st.sampled_from([ANN, BOB, OPS]), st.sampled_from(["*", "a", "b", "c", "d", "e", "f"]))
moments = st.lists(st.dictionaries(pairs, st.sampled_from([KEEPS, LOSES])), min_size=1, max_size=4)


@given(moments)
def test_table_has_every_subject_and_is_rectangular(holders: list[dict[Pair, t.Any]]) -> None:
    lines = table([Moment(str(number), held) for number, held in enumerate(holders)])
    subjects = {pair.subject for held in holders for pair in held}
    assert {line.split()[0] for line in lines[2:]} == subjects
    assert all(len(line) <= len(lines[1]) for line in lines)


@given(moments)
def test_lost_is_exactly_what_was_held_first_and_is_not_held_last(holders: list[dict[Pair, t.Any]]) -> None:
    before, *rest = [Moment(str(number), held) for number, held in enumerate(holders)]
    found = report(before, [Stage(m.label, 0.0, [], m) for m in rest], nobody, {})
    last = rest[-1] if rest else before
    expected = {pair for pair in before.holders if pair not in last.holders and Pair(pair.subject, "*") not in last.holders}
    assert {(entry["subject"], entry["namespace"]) for entry in found["access"]["lost"]} == expected
    assert all(entry["stage"] for entry in found["access"]["lost"])
