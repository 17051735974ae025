# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""readiness_info on a cluster with 20,000 VMs, beside reading the same lists with nothing done about them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import kubernetes

from ansible_collections.okd.virt.plugins.plugin_utils.engine import process

from ..services.verbs import Verbs
from .measuring import Entry, interleaved

SIZES = ("vms=20000", "nodes=1000", "node_memory_gib=256", "namespaces=100")
ROUNDS = 3
TARGET_SECONDS = 10.0
LISTS = (
    "/apis/kubevirt.io/v1/virtualmachineinstances", "/apis/kubevirt.io/v1/virtualmachineinstancemigrations", "/api/v1/nodes", "/api/v1/pods",
    "/apis/policy/v1/poddisruptionbudgets",
)
_PAGE = 500


def _plainly(kubeconfig: Path) -> Callable[[], None]:
    """All pages of the same lists through the kubernetes library, decoded by the standard library."""
    client = kubernetes.config.new_client_from_config(str(kubeconfig))  # type: ignore[no-untyped-call]

    def read() -> None:
        for path in LISTS:
            token = ""
            while True:
                query = urlencode({"limit": _PAGE} | ({"continue": token} if token else {}))
                answer = client.call_api("GET", f"{client.configuration.host}{path}?{query}", {"Accept": "application/json"})
                token = json.loads(answer.read())["metadata"].get("continue") or ""
                if not token:
                    break

    return read


def measure() -> list[Entry]:
    """The verb, and the plain reading, in turns."""
    with tempfile.TemporaryDirectory(prefix="okd-virt-bench-readiness-") as name:
        directory = Path(name) / "engine"
        running = process.start(process.EngineOptions(directory=directory, cluster="generated", sizes=SIZES, speed="1", watch_pid=os.getpid()), timeout=300)
        try:
            verbs, found = Verbs(running.kubeconfig), []
            ours, plain = interleaved([lambda: found.append(verbs("readiness_info")), _plainly(running.kubeconfig)], ROUNDS)
            outcome = found[-1]
            what = f"{outcome.summary['vms']} VMs on {outcome.summary['nodes']} nodes, {len(outcome.result['findings'])} findings, {verbs.requests} requests"
            return [Entry.of("readiness_info", ours, plain, what)]
        finally:
            process.stop(directory)


def missed(entry: Entry) -> str:
    """Why a comparison is not good enough; empty when it is."""
    return "" if entry.ours < TARGET_SECONDS else f"{entry.ours:g} s, {TARGET_SECONDS:g} s is the target"
