# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verbs beside the same work done with kubernetes.core, on the same engine."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from ansible_collections.okd.virt.plugins.plugin_utils.engine import process

from ..support.api import RBAC, Api
from ..support.lab import Lab, Target
from ..support.peers import COLLECTIONS
from ..support.playbook import Run, run_playbook
from ..support.rbac import MIGRATION_RIGHTS
from .measuring import Entry, interleaved

ROUNDS = 5
TARGET_RATIO = 1 / 5
BASELINE = Path(__file__).resolve().parent / "baseline_kubernetes_core" / "update_4_19.yml"


def _baseline_variables(api: Api, lab: Lab, target: Target) -> dict[str, Any]:
    """What the baseline needs to know: the bindings as they are, and a review for each right of each of the trusted."""
    reviews = [
        {"user": person.name, "groups": sorted(person.groups), "resourceAttributes": {**right, "namespace": namespace}}
        for person, namespace in lab.trusted().pairs
        for right in MIGRATION_RIGHTS
    ]
    places = sorted({place for entry in lab.trusted().option for place in entry["namespaces"]})
    bindings = [
        {"namespace": place, "subjects": api.get(f"{RBAC}/namespaces/{place}/rolebindings/kvmigrate")["subjects"]}
        for place in places
    ]
    return {
        "operator_namespace": target.namespace,
        "target_csv": target.csv,
        "target_version": target.version,
        "trusted_bindings": bindings,
        "reviews": reviews,
    }


def _unchanged(run: Run) -> None:
    run.passed()
    if run.changed:
        raise AssertionError(f"It changed something, so this is no unchanged run: {run.changed}")


def measure() -> list[Entry]:
    """The whole procedure on a lab that has been through it."""
    directory = Path(tempfile.mkdtemp(prefix="okd-virt-bench-verbs-"))
    engine = process.start(process.EngineOptions(directory=directory / "engine", speed="max", watch_pid=os.getpid()))
    try:
        api = Api(engine.kubeconfig)
        lab, target = Lab(api, engine.kubeconfig), Target.of(api)
        ours = {"update_4_19_target_version": target.version, "update_4_19_trusted": lab.trusted().option}
        run_playbook("okd.virt.update_4_19", engine.kubeconfig, directory / "first", ours).passed()
        theirs = _baseline_variables(api, lab, target)
        peers = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}

        def collection() -> None:
            _unchanged(run_playbook("okd.virt.update_4_19", engine.kubeconfig, directory / "ours", ours))

        def baseline() -> None:
            where = directory / "baseline"
            _unchanged(run_playbook(str(BASELINE), engine.kubeconfig, where, theirs, added=peers, timeout=300))

        what = "ansible-playbook on an updated lab, start to end: okd.virt.update_4_19 beside the same steps with kubernetes.core"
        measured, beside = interleaved([collection, baseline], ROUNDS)
        return [Entry.of("procedure_unchanged", measured, beside, what)]
    finally:
        process.stop(directory / "engine")
        shutil.rmtree(directory, ignore_errors=True)


def missed(entry: Entry) -> str:
    """Why the target is missed; empty when it is met."""
    return "" if entry.ratio <= TARGET_RATIO else f"the ratio may be {TARGET_RATIO:g} at most"
