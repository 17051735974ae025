# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""/metrics over HTTP: who may see it, and what it shows while a guest moves and afterwards."""
from __future__ import annotations

import re
import typing as t
from collections.abc import Callable

from ..support.api import MERGE_PATCH, Api
from .waiting import eventually

VMIMS = "/apis/kubevirt.io/v1/namespaces/shop/virtualmachineinstancemigrations"
VM = "/apis/kubevirt.io/v1/namespaces/shop/virtualmachines/vm-1"
_SAMPLE = re.compile(r'(?P<name>[a-z_]+)(\{(?P<labels>.*)\})? (?P<value>\S+)')
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
Samples = dict[str, list[tuple[dict[str, str], float]]]


def scrape(api: Api) -> Samples:
    """Every sample by its metric's name; each metric is described before its first sample."""
    answer = api.request("GET", "/metrics", accept="text/plain")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    found: Samples = {}
    described: set[str] = set()
    for line in str(answer.body).splitlines():
        if line.startswith("# TYPE "):
            described.add(line.split()[2])
        elif not line.startswith("#"):
            match = _SAMPLE.fullmatch(line)
            assert match, line
            assert re.sub("_(bucket|sum|count)$", "", match["name"]) in described or match["name"] in described
            found.setdefault(match["name"], []).append((dict(_LABEL.findall(match["labels"] or "")), float(match["value"])))
    return found


def value(samples: Samples, metric: str, /, **labels: str) -> float | None:
    return next((number for had, number in samples.get(metric, ()) if labels.items() <= had.items()), None)


def migrate(api: Api, name: str) -> None:
    body = {"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstanceMigration", "metadata": {"name": name}, "spec": {"vmiName": "vm-1"}}
    api.expect(201, "POST", VMIMS, body)


def test_only_who_is_allowed_may_look(admin: Api) -> None:
    assert admin.request("GET", "/metrics", user="nobody-special").status == 403
    rules = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "scraper"},
             "rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]}
    binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "scraper"},
               "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "scraper"},
               "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "scraper"}]}
    admin.expect(201, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", rules)
    admin.expect(201, "POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    eventually(lambda: admin.request("GET", "/metrics", user="scraper").status == 200)


def test_a_migration_as_it_goes(start: Callable[..., Api]) -> None:
    api = start(cluster="lab", release="4.19", speed="max")
    before = scrape(api)
    assert value(before, "kubevirt_vmi_migrations_in_running_phase") == 0
    assert "kubevirt_vmi_migration_data_total_bytes" not in before
    assert value(before, "kubevirt_vmi_info", namespace="shop", name="vm-1", phase="running", evictable="true") == 1
    assert value(before, "kubevirt_hco_hyperconverged_cr_exists") == 1
    # One that nothing gets through and nobody gives up: it stays as it is.
    hyperconverged = api.items("/apis/hco.kubevirt.io/v1beta1/hyperconvergeds")[0]["metadata"]
    path = f"/apis/hco.kubevirt.io/v1beta1/namespaces/{hyperconverged['namespace']}/hyperconvergeds/{hyperconverged['name']}"
    settings = {"spec": {"liveMigrationConfig": {"progressTimeout": 0, "completionTimeoutPerGiB": 0}}}
    api.expect(200, "PATCH", path, settings, content_type=MERGE_PATCH)
    eventually(lambda: api.items("/apis/kubevirt.io/v1/kubevirts")[0]["spec"]["configuration"]["migrations"].get("progressTimeout") == 0)
    trouble = {"metadata": {"annotations": {"engine.okd.virt/hang-migration": "true"}}}
    api.expect(200, "PATCH", VM, trouble, content_type=MERGE_PATCH)
    migrate(api, "first")
    eventually(lambda: value(scrape(api), "kubevirt_vmi_migrations_in_running_phase") == 1
               and "kubevirt_vmi_migration_data_total_bytes" in scrape(api))
    during = scrape(api)
    where = {"namespace": "shop", "name": "vm-1"}
    total = value(during, "kubevirt_vmi_migration_data_total_bytes", **where)
    remaining, processed = (value(during, f"kubevirt_vmi_migration_data_{name}_bytes", **where) for name in ("remaining", "processed"))
    assert total is not None
    assert total >= 2**30
    assert 0 < t.cast("float", remaining) <= total
    assert processed == 0
    assert value(during, "kubevirt_vmi_migration_disk_transfer_rate_bytes", **where) == 0
    assert value(during, "kubevirt_vmi_migration_start_time_seconds", **where)
    assert value(during, "kubevirt_vmi_migration_end_time_seconds", **where) is None
    api.expect(200, "DELETE", f"{VMIMS}/first")
    eventually(lambda: api.request("GET", f"{VMIMS}/first").status == 404)
    api.expect(200, "PATCH", VM, {"metadata": {"annotations": {"engine.okd.virt/hang-migration": None}}}, content_type=MERGE_PATCH)
    migrate(api, "second")
    eventually(lambda: value(scrape(api), "kubevirt_vmi_migration_succeeded", vmi="vm-1", vmim="second", namespace="shop") == 1)
    after = scrape(api)
    assert "kubevirt_vmi_migration_data_total_bytes" not in after
    assert value(after, "kubevirt_vmi_migration_end_time_seconds", status="succeeded", migration_name="second", **where)
    name = "kubevirt_vmi_migration_phase_transition_time_from_creation_seconds"
    assert value(after, f"{name}_count", phase="Succeeded") == value(after, f"{name}_bucket", phase="Succeeded", le="+Inf") == 1
