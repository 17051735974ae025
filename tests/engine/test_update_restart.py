# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine that is killed in the middle of an update finishes it when it is started again on its data."""
from __future__ import annotations

import functools
import os
import pathlib
import signal
from collections.abc import Callable, Iterator

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine import process
from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import EngineOptions

from ..support.api import RBAC, Api
from .updating import Object, Update, written
from .waiting import eventually


def _installing(update: Update) -> bool:
    return bool(update.get("installplans", update.plan)["status"]["phase"] == "Installing")


def _deleting(update: Update) -> bool:
    return update.csvs().get(update.old) == "Deleting"


def _in_transition(update: Update) -> bool:
    (kubevirt,) = update.api.items("/apis/kubevirt.io/v1/kubevirts")
    return bool(kubevirt["status"]["targetKubeVirtVersion"] != kubevirt["status"]["observedKubeVirtVersion"])


def _rolling(update: Update) -> bool:
    return update.api.request("GET", f"{RBAC}/clusterroles/kubevirt.io:migrate").status == 200


MOMENTS = (_installing, _deleting, _in_transition, _rolling)


@pytest.fixture
def options(tmp_path: pathlib.Path) -> Iterator[EngineOptions]:
    found = EngineOptions(tmp_path / "engine", cluster="empty", speed="20", durable=True, watch_pid=os.getpid())
    yield found
    process.stop(found.directory)


def test_killed_again_and_again_the_update_is_finished(options: EngineOptions) -> None:
    engine = process.start(options)
    update = Update(Api(engine.kubeconfig))
    update.approve()
    for moment in MOMENTS:
        engine = killed_when(functools.partial(moment, update), engine.pid, options)
        update.api = Api(engine.kubeconfig)
    update.finished()
    assert [plan["status"]["phase"] for plan in update.api.items("/apis/operators.coreos.com/v1alpha1/installplans")] == ["Complete"]
    namespaces = sorted(one["metadata"]["name"] for one in update.api.items("/api/v1/namespaces"))
    eventually(lambda: sorted(shown(update.api)) == [(namespace, update.new) for namespace in namespaces])
    (said,) = update.get("operatorconditions", update.new)["status"]["conditions"]
    assert (said["status"], said["reason"]) == ("True", "Upgradeable")
    eventually(lambda: {kind for kind, _where, _name in written(update.api, 0.3)} <= {"v1/nodes"}, 20)
    # A virt-handler that was about to come back when the engine was killed has.
    eventually(lambda: all(schedulable(node) for node in update.api.items("/api/v1/nodes")), 20)


def shown(api: Api) -> list[tuple[str, str]]:
    """Namespace and name of every ClusterServiceVersion, copies too."""
    found = api.items("/apis/operators.coreos.com/v1alpha1/clusterserviceversions")
    return [(csv["metadata"]["namespace"], csv["metadata"]["name"]) for csv in found]


def schedulable(node: Object) -> bool:
    return bool(node["metadata"]["labels"].get("kubevirt.io/schedulable", "true") == "true")


def killed_when(holds: Callable[[], bool], pid: int, options: EngineOptions) -> process.RunningEngine:
    """Kill the engine when something holds, and start it again on its data."""
    eventually(holds, 30)
    os.kill(pid, signal.SIGKILL)
    process.stop(options.directory)
    return process.start(options)
