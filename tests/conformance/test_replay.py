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
RELEASES = ("4.18", "4.19")
CLUSTERS = (("lab", "4.18"), ("empty", "4.19"))
Answered = tuple[str, Path]


def known(release: str) -> dict[str, str]:
    """Case to reason."""
    listed: dict[str, dict[str, str]] = yaml.safe_load(DIFFERENCES.read_text(encoding="utf-8"))
    return {**listed["differences"], **listed.get(f"differences in {release}", {})}


def test_every_listed_difference_has_a_reason_and_a_recording() -> None:
    recorded = {f"{path.parent.name}/{path.stem[4:] if path.stem[:3].isdigit() else path.stem}" for path in replaying.RECORDED.glob("*/*.json")}
    for release in RELEASES:
        assert set(known(release)) <= recorded
        assert all(len(reason) > 20 for reason in known(release).values())


@pytest.fixture(scope="module", params=CLUSTERS, ids="-".join)
def answered(request: pytest.FixtureRequest, fresh_engine: Callable[..., RunningEngine], tmp_path_factory: pytest.TempPathFactory) -> Answered:
    """What a fresh engine answers to the recorder, started as anybody would, and its release."""
    cluster, release = request.param
    # Time runs as on the recorded server: several cases say what happens within a second or two.
    engine = fresh_engine(speed="1", cluster=cluster, release=release)
    return release, replaying.record(engine.kubeconfig, tmp_path_factory.mktemp("replay"))


def test_the_engine_answers_as_the_real_server_did(answered: Answered) -> None:
    release, answers = answered
    listed = known(release)
    count, differences = replaying.compare(answers)
    found = {difference.case: difference for difference in differences}
    assert count == len(list(replaying.RECORDED.glob("*/*.json")))
    assert replaying.counted_by_the_original(answers) == count - len(differences)
    unlisted = [str(difference) for case, difference in found.items() if case not in listed]
    assert not unlisted, "\n".join(unlisted)
    gone = sorted(listed.keys() - found.keys())
    assert not gone, f"no longer different, so no longer to be listed: {gone}"
