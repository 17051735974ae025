"""Whether a VM costs the same whatever their number, and a thousand nodes can be drained in a coffee break."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import large_pages

from ..support.paths import REPOSITORY
from .measuring import Entry

SIZES = ((2_000, 100), (5_000, 250), (10_000, 500), (20_000, 1_000))
SAMPLE = 20
"""Nodes that are drained at each size."""
TARGETS = {"load_20000": 60.0, "memory_20000": 2048.0, "rolling_20000": 900.0}
GROWTH = 1.5
"""What a VM may cost in the largest cluster, of what it costs in the smallest."""
_PATIENCE = 3_000


def _run(vms: int, nodes: int, drained: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.scale_run", str(vms), str(nodes), str(drained)]
    # How far it is goes to the terminal as it comes.
    environment = {**large_pages(), **os.environ}
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, timeout=_PATIENCE, check=True, env=environment)
    return {key: float(value) for key, value in json.loads(done.stdout.splitlines()[-1]).items()}


def measure() -> list[Entry]:
    """A sample of nodes at each size, and all of them at the largest."""
    entries = []
    smallest = 0.0
    for vms, nodes in SIZES:
        found = _run(vms, nodes, SAMPLE)
        cost = found["processor_ms_per_vm"]
        smallest = smallest or cost
        what = f"{vms} VMs on {nodes} nodes: processor time for each of {found['moved']:.0f} VMs that left {SAMPLE} nodes, beside the smallest cluster"
        entries.append(Entry(f"cost_{vms}", "ms", round(cost, 2), round(smallest, 2), round(cost / smallest, 3), what))
    vms, nodes = SIZES[-1]
    found = _run(vms, nodes, nodes)
    for name, unit, ours, what in (
        (f"load_{vms}", "s", found["load_seconds"], "from nothing to all controllers at work"),
        (f"memory_{vms}", "MiB", found["loaded_mib"], "resident once loaded"),
        (f"rolling_{vms}", "s", found["wall_seconds"], f"all nodes drained, {found['moved']:.0f} moves, {found['engine_seconds']:.0f} s of the engine's time"),
    ):
        entries.append(Entry(name, unit, round(ours, 1), TARGETS[name], round(ours / TARGETS[name], 3), f"{what}, beside the most that it may be"))
    entries.append(Entry(
        f"memory_drained_{vms}", "MiB", round(found["drained_mib"]), round(found["loaded_mib"]), round(found["drained_mib"] / found["loaded_mib"], 3),
        "most memory while all nodes were drained, beside what was loaded",
    ))
    return entries


def missed(entry: Entry) -> str:
    """Why the target is missed; empty when it is met."""
    if entry.name in TARGETS:
        return "" if entry.ours < TARGETS[entry.name] else f"it may be {TARGETS[entry.name]:g} {entry.unit} at most"
    return "" if not entry.name.startswith("cost_") or entry.ratio <= GROWTH else f"it may be {GROWTH:g} times the smallest at most"
