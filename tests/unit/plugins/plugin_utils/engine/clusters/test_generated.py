# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generated clusters: their VMs are what the API would have made one by one, and fit on their nodes."""
from __future__ import annotations

import re
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.quantities import quantity
from ansible_collections.okd.virt.plugins.plugin_utils.engine.clusters.stamping import maker
from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options
from ansible_collections.okd.virt.plugins.plugin_utils.engine.interface import NODES, PODS, Object, Ref

VMS = Ref("kubevirt.io", "v1", "virtualmachines")
VMIS = Ref("kubevirt.io", "v1", "virtualmachineinstances")
BUDGETS = Ref("policy", "v1", "poddisruptionbudgets")
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text("abc-", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc-", max_size=4), inner, max_size=3),
)


def _replaced(value: t.Any, words: dict[str, str]) -> t.Any:
    if isinstance(value, str):
        return re.sub("a-|bc", lambda found: words[found[0]], value)
    if isinstance(value, list):
        return [_replaced(member, words) for member in value]
    if isinstance(value, dict):
        return {_replaced(key, words): _replaced(member, words) for key, member in value.items()}
    return value


@given(json_values)
def test_copies_differ_from_their_sample_in_its_own_words_only(value: t.Any) -> None:
    words = {"a-": "X", "bc": "Y"}
    make = maker(value, re.compile("(a-|bc)"))
    assert (make(words) if make is not None else value) == _replaced(value, words)


@pytest.fixture
async def engine() -> t.AsyncIterator[Engine]:
    made = Engine(Options(cluster="generated", speed="max", parameters={"vms": 150, "nodes": 8, "namespaces": 5, "bindings": 3}))
    await made.start()
    yield made
    await made.stop()


async def test_every_vm_is_whole_and_its_own(engine: Engine) -> None:
    machines = (await engine.admin.list(VMS)).items
    instances = {(vmi["metadata"]["namespace"], vmi["metadata"]["name"]): vmi for vmi in (await engine.admin.list(VMIS)).items}
    pods = (await engine.admin.list(PODS, label_selector="kubevirt.io=virt-launcher")).items
    budgets = (await engine.admin.list(BUDGETS)).items
    assert (len(machines), len(instances), len(pods)) == (150, 150, 150)
    for listed in (machines, list(instances.values()), pods, budgets):
        assert len({obj["metadata"]["uid"] for obj in listed}) == len(listed)
        assert len({(obj["metadata"]["namespace"], obj["metadata"]["name"]) for obj in listed}) == len(listed)
    by_owner = {pod["metadata"]["ownerReferences"][0]["uid"]: pod for pod in pods}
    guarded = {budget["spec"]["selector"]["matchLabels"]["kubevirt.io/created-by"] for budget in budgets}
    for machine in machines:
        vmi = instances[machine["metadata"]["namespace"], machine["metadata"]["name"]]
        pod = by_owner[vmi["metadata"]["uid"]]
        assert vmi["metadata"]["ownerReferences"][0]["uid"] == machine["metadata"]["uid"]
        assert pod["spec"]["nodeName"] == vmi["status"]["nodeName"] == vmi["metadata"]["labels"]["kubevirt.io/nodeName"]
        assert vmi["status"]["activePods"] == {pod["metadata"]["uid"]: pod["spec"]["nodeName"]}
        assert pod["metadata"]["name"].startswith(f"virt-launcher-{machine['metadata']['name']}-")
        assert vmi["metadata"]["uid"] in guarded


def _memory(pod: Object) -> int:
    return sum(int(quantity(one["resources"]["requests"].get("memory", "0"))) for one in pod["spec"]["containers"] if "resources" in one)


async def test_no_node_holds_more_than_it_can(engine: Engine) -> None:
    pods = (await engine.admin.list(PODS, label_selector="kubevirt.io=virt-launcher")).items
    for node in (await engine.admin.list(NODES)).items:
        used = sum(_memory(pod) for pod in pods if pod["spec"]["nodeName"] == node["metadata"]["name"])
        assert used <= quantity(node["status"]["allocatable"]["memory"])


async def test_more_vms_than_room_are_refused_in_a_sentence() -> None:
    crowded = Engine(Options(cluster="generated", speed="max", parameters={"vms": 500, "nodes": 2, "namespaces": 2, "bindings": 0}))
    with pytest.raises(ValueError, match="500 VMs do not fit on 2 nodes of 128 GiB: give more nodes"):
        await crowded.start()
