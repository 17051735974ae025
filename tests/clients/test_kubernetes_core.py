# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubernetes.core's k8s and k8s_info do the documented procedure on the engine, as they would on a cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import RunningEngine
from ansible_collections.okd.virt.tests.support.api import RBAC, Api
from ansible_collections.okd.virt.tests.support.lab import Lab, Target, answers
from ansible_collections.okd.virt.tests.support.peers import COLLECTIONS
from ansible_collections.okd.virt.tests.support.playbook import run_playbook

HERE = Path(__file__).resolve().parent / "kubernetes_core"
PROCEDURE, MODULES, WORKLOADS = HERE / "procedure.yml", HERE / "modules.yml", HERE / "workloads.yml"


def test_documented_procedure(fresh_engine: Callable[..., RunningEngine], tmp_path: Path) -> None:
    engine = fresh_engine()
    api = Api(engine.kubeconfig)
    target = Target.of(api)
    trusted, other = Lab(api, engine.kubeconfig).holders_of("admin")[:2]
    variables = {
        "target_version": target.version,
        "target_csv": target.csv,
        "operator_namespace": target.namespace,
        "trusted_user": trusted.person.name,
        "trusted_namespace": trusted.namespace,
    }
    added = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    run = run_playbook(str(PROCEDURE), engine.kubeconfig, tmp_path, variables, added=added).passed()
    assert run.changed == [
        "Make the temporary role",
        "Approve it",
        "Bind kubevirt.io:migrate to the trusted",
        "Delete the temporary role",
    ]
    assert api.request("GET", f"{RBAC}/clusterroles/kubevirt.io:upgrademigrate").status == 404
    assert answers(api, trusted.person, trusted.namespace) == [True, True]
    assert answers(api, other.person, other.namespace) == [False, False]


def test_modules_and_lookup(engine: RunningEngine, api: Api, namespace: str, tmp_path: Path) -> None:
    """Each task changes what it should, and nothing the second time; the playbook holds the answers against what is true."""
    added = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    variables = {"where": namespace, "node": "node05"}
    run = run_playbook(str(MODULES), engine.kubeconfig, tmp_path, variables, added=added).passed()
    assert run.changed == [
        "Create a ConfigMap",
        "Apply it, client-side",
        "Apply it with less",
        "Apply it, server-side",
        "Change it in check mode only",
        "Patch it by JSON",
        "Taint a node",
        "Take the taint away",
        "Delete the ConfigMap",
    ]
    assert api.get("/api/v1/nodes/node05")["spec"].get("taints") in (None, [])


def test_pods_and_a_drain_without_machines(engine: RunningEngine, api: Api, namespace: str, tmp_path: Path) -> None:
    added = {"ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS)}
    variables = {"where": namespace, "node": "node05"}
    run = run_playbook(str(WORKLOADS), engine.kubeconfig, tmp_path, variables, added=added).passed()
    assert run.changed == [
        "Create a Deployment and wait for it",
        "Scale it up",
        "Delete the Deployment and wait until it is gone",
        "Run a pod without a controller",
        "Drain its node of it",
        "Let pods onto the node again",
    ]
    assert "unschedulable" not in api.get("/api/v1/nodes/node05")["spec"]
