# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubevirt.core's modules and inventory on the engine, as on a cluster."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import yaml

from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import RunningEngine
from ansible_collections.okd.virt.tests.support.api import Api
from ansible_collections.okd.virt.tests.support.paths import program
from ansible_collections.okd.virt.tests.support.peers import COLLECTIONS
from ansible_collections.okd.virt.tests.support.playbook import environment, run_playbook
from ansible_collections.okd.virt.tests.support.processes import run

MACHINES = Path(__file__).resolve().parent / "kubevirt_core" / "machines.yml"
PEERS = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}


@pytest.fixture
def busy(api: Api) -> str:
    """The namespace with the most running instances."""
    instances = api.items("/apis/kubevirt.io/v1/virtualmachineinstances")
    counted: Counter[str] = Counter(instance["metadata"]["namespace"] for instance in instances)
    return counted.most_common(1)[0][0]


def test_modules(engine: RunningEngine, namespace: str, busy: str, tmp_path: Path) -> None:
    variables = {"where": namespace, "busy": busy}
    done = run_playbook(str(MACHINES), engine.kubeconfig, tmp_path, variables, added=PEERS).passed()
    assert done.changed == ["Define a machine", "Change it", "Define another one by a generated name", "Delete it"]


def test_inventory(engine: RunningEngine, api: Api, busy: str, tmp_path: Path) -> None:
    """Every machine of a namespace is a host, with what the API says of it."""
    source = tmp_path / "lab.kubevirt.yml"
    settings = {"plugin": "kubevirt.core.kubevirt", "kubeconfig": str(engine.kubeconfig), "namespaces": [busy], "create_groups": True}
    source.write_text(yaml.safe_dump(settings), encoding="utf-8")
    command = [program("ansible-inventory"), "-i", str(source), "--list"]
    finished = run(command, environment=environment(engine.kubeconfig, tmp_path, **PEERS), cwd=tmp_path, timeout=60)
    assert finished.returncode == 0, finished.stderr
    hosts = json.loads(finished.stdout)["_meta"]["hostvars"]
    machines = {one["metadata"]["name"]: one for one in api.items(f"/apis/kubevirt.io/v1/namespaces/{busy}/virtualmachines")}
    instances = api.items(f"/apis/kubevirt.io/v1/namespaces/{busy}/virtualmachineinstances")
    nodes = {f"{busy}-{one['metadata']['name']}": one["status"]["nodeName"] for one in instances}
    assert set(hosts) == {f"{busy}-{name}" for name in machines}
    # What comes from a cluster is no template, and is marked so.
    assert {name: values["vmi_node_name"]["__ansible_unsafe"] for name, values in hosts.items() if "vmi_node_name" in values} == nodes
