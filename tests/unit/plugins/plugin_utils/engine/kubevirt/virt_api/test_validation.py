# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What virt-api refuses in machines and instances, and in which words."""

from __future__ import annotations

import typing as t

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.errors import Cause
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_api import validation

Object = dict[str, t.Any]
AT = "spec.template.spec"


def machine(spec: Object | None = None, **domain: t.Any) -> Object:
    devices = {"disks": [{"name": "d"}], "interfaces": [{"name": "n"}], **domain.pop("devices", {})}
    template = {
        "domain": {"devices": devices, **domain}, "volumes": [{"name": "d", "containerDisk": {"image": "i"}}], "networks": [{"name": "n", "pod": {}}],
    }
    return {"spec": {"runStrategy": "Always", "template": {"spec": {**template, **(spec or {})}}}}


CASES: list[tuple[Object, list[Cause]]] = [
    (machine(), []),
    (machine(devices={"disks": [{"name": "nope"}]}), [
        Cause("FieldValueInvalid", f"{AT}.domain.devices.disks[0].Name 'nope' not found.", f"{AT}.domain.devices.disks[0].name"),
    ]),
    (machine(devices={"interfaces": [{"name": "other"}]}), [
        Cause("FieldValueInvalid", f"{AT}.domain.devices.interfaces[0].name 'other' not found.", f"{AT}.domain.devices.interfaces[0].name"),
    ]),
    (machine({"volumes": [{"name": "d", "emptyDisk": {}}, {"name": "d", "emptyDisk": {}}]}), [
        Cause("FieldValueInvalid", f"{AT}.volumes[1] and {AT}.volumes[0] must not have the same Name.", f"{AT}.volumes[1].name"),
    ]),
    (machine({"volumes": [{"name": "d"}]}), [Cause("FieldValueInvalid", f"{AT}.volumes[0] must have exactly one source type set", f"{AT}.volumes[0]")]),
    (machine(resources={"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}), [Cause(
        "FieldValueInvalid", f"{AT}.domain.resources.requests.memory '2Gi' is greater than {AT}.domain.resources.limits.memory '1Gi'",
        f"{AT}.domain.resources.requests.memory",
    )]),
    ({"spec": {}}, [Cause("FieldValueRequired", "missing virtual machine template.", "spec.template")]),
]


@pytest.mark.parametrize(("vm", "causes"), CASES)
def test_what_is_refused(vm: Object, causes: list[Cause]) -> None:
    assert list(validation.machine_causes(vm)) == causes


@pytest.mark.parametrize(("said", "text"), [
    ({"running": True, "runStrategy": "Always"}, "Running and RunStrategy are mutually exclusive"), ({}, "RunStrategy must be specified"),
    ({"runStrategy": "Sometimes"}, "Invalid RunStrategy (Sometimes)"), ({"running": False}, ""), ({"runStrategy": "Once"}, ""),
])
def test_run_strategies(said: Object, text: str) -> None:
    vm = machine()
    del vm["spec"]["runStrategy"]
    vm["spec"] |= said
    found = [cause.message for cause in validation.machine_causes(vm)]
    assert len(found) == bool(text)
    assert not text or found[0].startswith(text)


def test_templates_of_data_volumes_are_used() -> None:
    vm = machine()
    vm["spec"]["dataVolumeTemplates"] = [{"metadata": {"name": "x"}}]
    assert [cause.field for cause in validation.machine_causes(vm)] == ["spec.dataVolumeTemplate[0]"]
    vm["spec"]["template"]["spec"]["volumes"][0] = {"name": "d", "dataVolume": {"name": "x"}}
    assert list(validation.machine_causes(vm)) == []
