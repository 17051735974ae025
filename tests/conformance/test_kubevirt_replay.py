# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recorded requests to KubeVirt, asked again amid the same scenes: every difference is known, and has a reason."""

from __future__ import annotations

from collections import Counter

import pytest

from ..support.held_engine import HeldEngine
from .kubevirt_cases import GROUPS, RECORDED, RELEASES, Allowed, recorded
from .kubevirt_scenes import SCENES
from .kubevirt_stage import Stage

ALLOWED = Allowed.read()
Answers = dict[str, dict[str, list[str]]]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Of each version and case, where the engine differs."""
    found: Answers = {}
    for version, release in RELEASES.items():
        with HeldEngine(tmp_path_factory.mktemp(version), cluster="empty", release=release) as engine:
            stage = Stage(engine, version, ALLOWED)
            for scene in SCENES:
                scene(stage)
            found[version] = stage.answered
    return found


def left(answers: Answers, version: str) -> dict[str, list[str]]:
    """The cases that differ in more than the fields that may."""
    remaining = {
        name: [line for line in lines if ALLOWED.rule(name, line) is None] for name, lines in answers[version].items()
    }
    return {f"{version} {name}": lines for name, lines in remaining.items() if lines}


def table(answers: Answers) -> str:
    """How many cases of each group there are, and how many differ."""
    lines = []
    for version, cases in answers.items():
        differing = Counter(name.split(" ")[1].split("/")[0] for name in left(answers, version))
        for group, number in Counter(name.split("/")[0] for name in cases).items():
            lines.append(f"{version} {group}: {number} cases, {differing[group]} differ")
    return "\n".join(lines)


def test_every_recorded_request_is_asked_again(answers: Answers) -> None:
    for version in RELEASES:
        assert answers[version].keys() == recorded(version).keys()
        folders = {folder.name for folder in (RECORDED / f"kubevirt-{version}").iterdir() if any(folder.glob("[0-9][0-9][0-9]-*.json"))}
        elsewhere = {name for name in folders if name.startswith(("kv-rbac-", "kv-roles", "kv-operator", "story-"))}
        assert folders - elsewhere <= set(GROUPS)


def test_the_engine_answers_as_kubevirt_did(answers: Answers, capsys: pytest.CaptureFixture[str]) -> None:
    found = {name: lines for version in RELEASES for name, lines in left(answers, version).items()}
    with capsys.disabled():
        print(f"\n{table(answers)}")
    unlisted = {name: lines for name, lines in found.items() if name not in ALLOWED.cases}
    assert not unlisted, "\n".join(f"{name}\n   " + "\n   ".join(lines) for name, lines in unlisted.items())
    gone = sorted(ALLOWED.cases.keys() - found.keys())
    assert not gone, f"no longer different, so no longer to be listed: {gone}"


def test_no_status_code_differs(answers: Answers) -> None:
    lines = [line for cases in answers.values() for differences in cases.values() for line in differences]
    assert not [line for line in lines if line.startswith(("status: ", "reason: ", "code: "))]


def test_every_rule_is_needed_and_has_a_reason(answers: Answers) -> None:
    used = {ALLOWED.rule(name, line) for cases in answers.values() for name, lines in cases.items() for line in lines}
    assert set(range(len(ALLOWED.fields))) <= used
    assert all(len(reason) > 20 for reason in (*ALLOWED.cases.values(), *(one[-1] for one in (*ALLOWED.fields, *ALLOWED.texts))))
    total = sum(len(cases) for cases in answers.values())
    assert len(ALLOWED.cases) < 0.035 * total
