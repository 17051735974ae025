# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The physics against migrations measured on QEMU 10.0.2: status always, total time within 5 % (median) and 25 % (90th percentile)."""
from __future__ import annotations

import csv
import io
import json
import math
import pathlib
import statistics
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine import __main__ as engine
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.precopy import (
    Copy,
    Guest,
    Network,
    Settings,
    command,
)

ROWS = list(csv.DictReader((pathlib.Path(__file__).parent / "measured.csv").open(encoding="utf-8")))
PATTERNS = {"seq": "sequential", "rand": "uniform", "hot": "hot"}
WRITERS = {"clock": "open", "spin": "closed"}


def _link(row: dict[str, str]) -> float:
    return float(row["link Mbit"]) * 1e6 / 8 / 1048576


def _request(row: dict[str, str]) -> dict[str, t.Any]:
    """What the row says, in the words of the command; a small guest adds 0.4 MiB of its own, a Linux 62 MiB and 2 % of its memory."""
    memory = float(row["RAM"])
    own = 0.4 if row["guest"] == "bare" else 62 + 0.02 * memory
    return {
        "memory_mib": memory, "nonzero_mib": min(memory, float(row["fill"]) + own), "working_set_mib": float(row["WS"]),
        "dirty_mib_s": float(row["rate"]), "pattern": PATTERNS[row["pattern"]], "writer": WRITERS[row["pace"]],
        "bandwidth_mib_s": float(row["cap"]), "raw_mib_s": 190.0 if row["TLS"] == "1" else 650.0,
        "downtime_limit_ms": float(row["limit ms"]), "auto_converge": row["AC"] == "1",
        "post_copy_after_s": float(row["PC after s"]) or None, "post_copy_mib_s": float(row["PC cap"]),
        "cancel_after_s": float(row["cancel s"]) or None, "tls": row["TLS"] == "1", "multifd": int(row["mfd"]),
    }  # fmt: skip


def _error(row: dict[str, str], total: float) -> float:
    return abs(total * 1000 / float(row["total ms"]) - 1)


def _judge(errors: list[float], median: float, most: float) -> None:
    assert statistics.median(errors) <= median
    assert statistics.quantiles(errors, n=10)[8] <= most


def test_what_was_measured_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [row for row in ROWS if row["conc"] == "1" and not _link(row)]
    assert len(rows) > 30
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(json.dumps(_request(row)) + "\n" for row in rows)))
    assert engine.main(["precopy"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["status"] for answer in answers] == [row["status"] for row in rows]
    _judge([_error(row, answer["total_ms"] / 1000) for row, answer in zip(rows, answers, strict=True)], 0.05, 0.25)
    throttled = [abs(answer["throttle_percent"] - float(row["throttle %"])) for row, answer in zip(rows, answers, strict=True) if row["AC"] == "1"]
    assert max(throttled) <= 10


def test_what_was_measured_on_a_shared_link() -> None:
    errors = []
    for row in (row for row in ROWS if _link(row)):
        request = command.read(json.dumps(_request(row)))
        network: Network[str] = Network({"link": _link(row)}.__getitem__)
        copies = [Copy(request.guest, request.settings) for dummy in range(int(row["conc"]))]
        for number, copy in enumerate(copies):
            network.add(str(number), copy, ("link",), 0.0)
        network.advance(60.0)
        assert [copy.phase.value for copy in copies] == [row["status"]] * len(copies)
        errors += [_error(row, copy.ended) for copy in copies]
    _judge(errors, 0.10, 0.25)


def test_a_guest_that_nobody_touched() -> None:
    copy = Copy(Guest(2048, 0), Settings())
    copy.advance(10.0)
    assert 0.13 < copy.ended < 0.13 + 2048 * 0.00018


def test_a_small_working_set_converges_at_any_rate_and_a_slightly_larger_one_never() -> None:
    small, large = Copy(Guest(512, 256, 18, 5000), Settings(bandwidth=64)), Copy(Guest(512, 256, 24, 5000), Settings(bandwidth=64))
    for copy in (small, large):
        copy.advance(3600.0)
    assert small.phase.value == "completed"
    assert small.ended < 5
    assert large.phase.value == "active"
    assert math.isclose(large.sent, 3600 * 65.05, rel_tol=0.001)


def test_post_copy_ends_what_never_would() -> None:
    copy = Copy(Guest(512, 256, 128, 400), Settings(bandwidth=128, post_copy_bandwidth=128))
    assert copy.start_post_copy(4.0)
    assert not copy.cancel(4.5)
    copy.advance(60.0)
    assert copy.phase.value == "completed"
    assert copy.stop < 0.05


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "the line is not JSON"),
        ("[]", "not a JSON object"),
        ('{"nonzero_mib": 1}', "memory_mib is missing"),
        ('{"memory_mib": "512", "nonzero_mib": 1}', 'memory_mib is "512": it has to be a number'),
        ('{"memory_mib": 512, "nonzero_mib": 513}', "nonzero_mib is 513: that is more than memory_mib (512)"),
        ('{"memory_mib": 512, "nonzero_mib": 1, "dirty_mib_s": -1}', "dirty_mib_s is -1"),
        ('{"memory_mib": 512, "nonzero_mib": 1, "dirty_mib_s": NaN}', "dirty_mib_s is NaN"),
        ('{"memory_mib": 512, "nonzero_mib": 1, "pattern": "rand"}', "pattern is \"rand\": it has to be one of sequential, uniform, hot"),
        ('{"memory_mib": 512, "nonzero_mib": 1, "pattern": ["hot"]}', "pattern is [\"hot\"]"),
        ('{"memory_mib": 512, "nonzero_mib": 1, "tls": "yes"}', 'tls is "yes": it has to be true or false'),
        ('{"memory_mib": 512, "nonzero_mib": 1, "tls": {}}', "tls is {}: it has to be true or false"),
        ('{"memory_mib": 512, "nonzero_mib": 1, "multifd": 2.5}', "multifd is 2.5"),
        ('{"memory_mib": 512, "nonzero_mib": 1, "raw_mib_s": 0}', "raw_mib_s is 0"),
        ('{"memory_mib": 512, "nonzero_mib": 1, "bandwith_mib_s": 3}', "bandwith_mib_s is no field: is bandwidth_mib_s meant?"),
    ],
)
def test_a_bad_line_is_a_sentence_and_the_others_are_answered(line: str, said: str) -> None:
    out = io.StringIO()
    assert command.run([line, "", '{"memory_mib": 64, "nonzero_mib": 8}'], out) == 1
    bad, good = (json.loads(answer) for answer in out.getvalue().splitlines())
    assert bad["error"].startswith("line 1: ")
    assert said in bad["error"]
    assert good["status"] == "completed"
