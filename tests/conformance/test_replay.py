# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recorded requests of a real API server, asked again: every difference is known, and has a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import RunningEngine
from ansible_collections.okd.virt.tests.conformance import replaying

DIFFERENCES = replaying.HERE / "differences.yml"


def known() -> dict[str, str]:
    """Case to reason."""
    listed: dict[str, str] = yaml.safe_load(DIFFERENCES.read_text(encoding="utf-8"))["differences"] or {}
    return listed


def test_every_listed_difference_has_a_reason_and_a_recording() -> None:
    recorded = {f"{path.parent.name}/{path.stem[4:] if path.stem[:3].isdigit() else path.stem}" for path in replaying.RECORDED.glob("*/*.json")}
    assert set(known()) <= recorded
    assert all(len(reason) > 20 for reason in known().values())


@pytest.fixture(scope="module")
def answers(fresh_engine: Callable[..., RunningEngine], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a fresh engine answers to the recorder."""
    # Time runs as on the recorded server: several cases say what happens within a second or two.
    engine = fresh_engine(speed="1", release="4.19")
    return replaying.record(engine.kubeconfig, tmp_path_factory.mktemp("replay"))


def test_the_engine_answers_as_the_real_server_did(answers: Path) -> None:
    count, differences = replaying.compare(answers)
    found = {difference.case: difference for difference in differences}
    assert count == len(list(replaying.RECORDED.glob("*/*.json")))
    assert replaying.counted_by_the_original(answers) == count - len(differences)
    unlisted = [str(difference) for case, difference in found.items() if case not in known()]
    assert not unlisted, "\n".join(unlisted)
    gone = sorted(known().keys() - found.keys())
    assert not gone, f"no longer different, so no longer to be listed: {gone}"
