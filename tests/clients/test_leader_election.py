# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Candidates of the `kubernetes` library elect a leader by a Lease."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.leaderelection.electionconfig import Config
from kubernetes.leaderelection.leaderelection import LeaderElection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import RunningEngine
from ansible_collections.okd.virt.tests.support.api import Api

LEASE_SECONDS, RENEW_SECONDS, RETRY_SECONDS = 3, 2, 1


@pytest.fixture
def default_client(engine: RunningEngine) -> Iterator[None]:
    """The library's locks take the default client."""
    before = client.Configuration.get_default_copy()
    config.load_kube_config(str(engine.kubeconfig))  # type: ignore[no-untyped-call]
    yield
    client.Configuration.set_default(before)


class Candidate:
    """One process that wants to lead, in a thread."""

    def __init__(self, name: str, namespace: str) -> None:
        self.leading, self.stopped = threading.Event(), threading.Event()
        lock: Any = LeaseLock("leader", namespace, name)  # type: ignore[no-untyped-call]
        self._cut, update = threading.Event(), lock.update
        lock.update = lambda *given: not self._cut.is_set() and update(*given)
        settings = Config(lock, LEASE_SECONDS, RENEW_SECONDS, RETRY_SECONDS, self.leading.set, self.stopped.set)  # type: ignore[no-untyped-call]
        threading.Thread(target=LeaderElection(settings).run, daemon=True).start()  # type: ignore[no-untyped-call]

    def cut_off(self) -> None:
        """Its renewals reach nobody from now on."""
        self._cut.set()


def lead(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_one_leads_until_it_can_not_renew(default_client: None, api: Api, namespace: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/leader"
    one = Candidate("one", namespace)
    assert one.leading.wait(10)
    two = Candidate("two", namespace)
    first = api.get(path)["spec"]
    assert (first["holderIdentity"], first["leaseDurationSeconds"]) == ("one", LEASE_SECONDS)
    lead(lambda: bool(api.get(path)["spec"]["renewTime"] > first["renewTime"]))
    renewed = api.get(path)["spec"]
    assert renewed["acquireTime"] == first["acquireTime"]
    assert datetime.datetime.fromisoformat(renewed["renewTime"]).microsecond
    assert not two.leading.is_set()
    one.cut_off()
    assert one.stopped.wait(10)
    assert two.leading.wait(10)
    assert api.get(path)["spec"]["holderIdentity"] == "two"
    # Whoever still has the former state may not write it.
    stale = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "leader", "resourceVersion": "1"}, "spec": first}
    assert api.request("PUT", path, stale).status == 409
    two.cut_off()
    assert two.stopped.wait(10)
