# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documented procedure from 4.18 to 4.19, typed as the documentation has it, with the real kubectl."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import RunningEngine
from ansible_collections.okd.virt.tests.support.api import Api
from ansible_collections.okd.virt.tests.support.kubectl import Kubectl
from ansible_collections.okd.virt.tests.support.lab import Lab, Target

RECORDED = Path(__file__).resolve().parent.parent / "conformance" / "recorded" / "kubevirt-1.4.1" / "kv-rbac-doc"
ROLE = "kubevirt.io:upgrademigrate"
MIGRATIONS = "virtualmachineinstancemigrations.kubevirt.io"


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Aggregation follows a change of roles within milliseconds, but it follows."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_documented_procedure(fresh_engine: Callable[..., RunningEngine], tmp_path: Path) -> None:
    engine = fresh_engine()
    kubectl = Kubectl(engine.kubeconfig, tmp_path / "home")
    api = Api(engine.kubeconfig)
    target = Target.of(api)
    trusted, other = Lab(api, engine.kubeconfig).holders_of("admin")[:2]

    def can(user: str, namespace: str) -> list[str]:
        who = ("-n", namespace, f"--as={user}")
        subresource = ("update", "virtualmachines.subresources.kubevirt.io", "--subresource=migrate")
        questions = (("create", MIGRATIONS), ("delete", MIGRATIONS), subresource)
        return [kubectl("auth", "can-i", *question, *who).stdout.strip() for question in questions]

    yes, no = ["yes"] * 3, ["no"] * 3
    everybody = [(holder.person.name, holder.namespace) for holder in (trusted, other)]
    until(lambda: [can(*pair) for pair in everybody] == [yes, yes])

    manifest = json.loads((RECORDED / "corrected-kubectl-apply.json").read_text(encoding="utf-8"))["stdin"]
    kubectl.ok("apply", "-f", "-", stdin=manifest)
    kubectl.ok("wait", f"clusterrole/{ROLE}", "--for=create", "--timeout=10s")

    where = ("-n", target.namespace)
    plans = kubectl.ok("get", "installplan", *where, "--no-headers").split()
    assert plans == [target.plan, target.csv, "Manual", "false"]
    approve = ("patch", "installplan", target.plan, *where, "--type", "merge", "--patch", '{"spec":{"approved":true}}')
    assert kubectl.ok(*approve) == f"installplan.operators.coreos.com/{target.plan} patched\n"
    kubectl.ok("wait", f"csv/{target.csv}", *where, "--for=create", "--timeout=60s")
    kubectl.ok("wait", f"csv/{target.csv}", *where, "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    version = "--for=jsonpath={.status.versions[?(@.name=='operator')].version}=" + target.version
    kubectl.ok("wait", "hyperconverged/kubevirt-hyperconverged", *where, version, "--timeout=60s")
    kubectl.ok("wait", "hyperconverged/kubevirt-hyperconverged", *where, "--for=condition=Available", "--timeout=60s")
    assert kubectl.ok("get", "csv", *where, "-o", "name").split() == [
        f"clusterserviceversion.operators.coreos.com/{target.csv}"
    ]
    until(lambda: [can(*pair) for pair in everybody] == [yes, yes])

    bind = ("create", "rolebinding", "kvmigrate", "--clusterrole=kubevirt.io:migrate", f"--user={trusted.person.name}")
    kubectl.ok(*bind, "-n", trusted.namespace)
    assert kubectl.ok("delete", "clusterrole", ROLE) == f'clusterrole.rbac.authorization.k8s.io "{ROLE}" deleted\n'
    until(lambda: [can(*pair) for pair in everybody] == [yes, no])

    label = "rbac.authorization.k8s.io/aggregate-to-admin=true"
    labelled = kubectl.ok("label", "--overwrite", "clusterrole", "kubevirt.io:migrate", label)
    assert labelled == "clusterrole.rbac.authorization.k8s.io/kubevirt.io:migrate labeled\n"
    until(lambda: [can(*pair) for pair in everybody] == [yes, yes])
