# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""virt-launcher pods: equal to what virt-controller 1.4.1 and 1.5.3 made, and asking for what KubeVirt's rules say."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.quantities import canonical_quantity, quantity
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller import launcher
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller.configuration import (
    Configuration,
    Migrations,
    bytes_of,
)
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubevirt.virt_controller.launcher_scheduling import (
    HostModelUnknown,
)

RECORDED = Path(__file__).parents[6] / "conformance" / "recorded"
VERSIONS = {"1.4.1": (1, 4, 1), "1.5.3": (1, 5, 3)}
MIB = 1024 * 1024
Object = dict[str, t.Any]


def instance(memory: str = "1Gi", cores: int = 1, **domain: t.Any) -> Object:
    return {
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance", "metadata": {"name": "vm", "namespace": "ns", "uid": "u-1"},
        "spec": {"architecture": "amd64", "domain": {
            "cpu": {"cores": cores, "sockets": 1, "threads": 1, "model": "host-model"}, "memory": {"guest": memory},
            "resources": {"requests": {"memory": memory}}, "devices": {}, **domain,
        }},
    }


def recorded(version: str, name: str) -> dict[str, Object]:
    found: dict[str, Object] = json.loads((RECORDED / f"kubevirt-{version}" / "launcher" / f"{name}.json").read_text(encoding="utf-8"))
    return found


def as_rendered(pod: Object) -> Object:
    """The recorded pod without what the API server, the scheduler and the label synchronisation put into it."""
    made: Object = json.loads(json.dumps(pod))
    metadata = {key: made["metadata"][key] for key in ("generateName", "namespace", "labels", "annotations", "ownerReferences")}
    metadata["labels"].pop("topology.kubernetes.io/zone", None)
    defaulted = ("nodeName", "schedulerName", "tolerations", "priority", "preemptionPolicy", "dnsPolicy", "serviceAccountName", "serviceAccount")
    spec = {key: value for key, value in made["spec"].items() if key not in defaulted}
    for container in spec["containers"] + spec.get("initContainers", []):
        del container["terminationMessagePath"], container["terminationMessagePolicy"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def normal(pod: Object) -> Object:
    """Without the jitter of a time-out and the order of volume mounts, which has no meaning."""
    text = json.dumps(pod, sort_keys=True)
    made: Object = json.loads(text)
    for container in made["spec"]["containers"]:
        for key in ("command", "args"):
            words = container.get(key) or []
            for index, word in enumerate(words[:-1]):
                if word in ("--qemu-timeout", "--socket-timeout"):
                    assert 240 <= int(words[index + 1][:-1]) < 360
                    words[index + 1] = "jitter"
        container["volumeMounts"].sort(key=lambda mount: str(mount["mountPath"]))
        container["env"] = sorted(container.get("env") or [], key=lambda one: str(one["name"]))
    return made


@pytest.mark.parametrize("version", VERSIONS)
def test_the_first_pod_is_what_virt_controller_made(version: str) -> None:
    case = recorded(version, "first-start")
    # As it was before it had a node; labels that came later reach the pod by other means.
    vmi = {key: value for key, value in case["vmi"].items() if key != "status"}
    vmi["metadata"] = {**vmi["metadata"], "labels": {"kubevirt.io/vm": "a"}}
    del case["pod"]["metadata"]["labels"]["kubevirt.io/nodeName"]
    assert normal(launcher.launcher_pod(vmi, VERSIONS[version])) == normal(as_rendered(case["pod"]))


def test_a_machine_type_is_asked_for_from_1_5_on() -> None:
    vmi = instance(machine={"type": "q35"})
    assert launcher.launcher_pod(vmi, (1, 5, 3))["spec"]["nodeSelector"]["machine-type.node.kubevirt.io/q35"] == "true"
    assert "machine-type.node.kubevirt.io/q35" not in launcher.launcher_pod(vmi, (1, 4, 1))["spec"]["nodeSelector"]
    vmi["status"] = {"machine": {"type": "pc-q35-rhel9.6.0"}}
    assert launcher.launcher_pod(vmi, (1, 5, 3))["spec"]["nodeSelector"]["machine-type.node.kubevirt.io/pc-q35-rhel9.6.0"] == "true"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_target_pod_is_what_virt_controller_made(version: str) -> None:
    case = recorded(version, "migration-target")
    node = {"metadata": {"name": "n", "labels": {
        "host-model-cpu.node.kubevirt.io/Skylake-Client-IBRS": "true", "host-model-required-features.node.kubevirt.io/vmx": "true",
        "cpu-model.node.kubevirt.io/Haswell": "true",
    }}}
    made = launcher.launcher_pod(
        case["vmi"], VERSIONS[version], migration=case["migration"], source_pod=case["source_pod"], source_node=node
    )
    assert normal(made) == normal(as_rendered(case["pod"]))


TABLE = [
    ("1Gi", 1, 1278), ("2Gi", 1, 2304), ("4Gi", 2, 4364), ("8Gi", 4, 8484), ("64Gi", 16, 66036),
]


@pytest.mark.parametrize(("memory", "cores", "request_mib"), TABLE)
def test_memory_of_common_guests(memory: str, cores: int, request_mib: int) -> None:
    asked = launcher.launcher_memory(instance(memory, cores), (1, 5, 3), Configuration())
    # The page tables are counted on the value rounded up to whole kB, so a few bytes are off.
    assert abs(asked - request_mib * MIB) < 4096
    older = launcher.launcher_memory(instance(memory, cores), (1, 4, 1), Configuration())
    assert asked - older == 5 * MIB


OVERHEADS = [
    ("graphics off", {"devices": {"autoattachGraphicsDevice": False}}, -16),
    ("one GPU", {"devices": {"gpus": [{"name": "g", "deviceName": "nvidia.com/A10"}]}}, 1024),
    ("SR-IOV", {"devices": {"interfaces": [{"name": "fast", "sriov": {}}]}}, 1024),
    ("TPM", {"devices": {"tpm": {}}}, 53),
    ("SEV", {"launchSecurity": {"sev": {}}}, 256),
    ("dedicated CPUs", {"cpu": {"cores": 1, "dedicatedCpuPlacement": True}}, 100),
    ("guaranteed", {"resources": {"requests": {"memory": "1Gi", "cpu": "1"}, "limits": {"memory": "1Gi", "cpu": "1"}}}, 100),
]


@pytest.mark.parametrize(("domain", "more_mib"), [case[1:] for case in OVERHEADS], ids=[case[0] for case in OVERHEADS])
@pytest.mark.parametrize("version", VERSIONS.values())
def test_what_a_guest_costs_on_top(version: tuple[int, int, int], domain: Object, more_mib: int) -> None:
    plain = launcher.memory_overhead(instance(), version, Configuration())
    assert launcher.memory_overhead(instance(**domain), version, Configuration()) - plain == more_mib * MIB


def test_probes_that_run_a_command_and_metrics_disks_cost_memory() -> None:
    vmi = instance()
    plain = launcher.memory_overhead(vmi, (1, 5, 3), Configuration())
    vmi["spec"]["livenessProbe"] = {"exec": {"command": ["true"]}}
    assert launcher.memory_overhead(vmi, (1, 5, 3), Configuration()) - plain == 110 * MIB
    vmi["spec"]["readinessProbe"] = {"exec": {"command": ["true"]}}
    assert launcher.memory_overhead(vmi, (1, 5, 3), Configuration()) - plain == 120 * MIB
    vmi["spec"]["livenessProbe"] = vmi["spec"]["readinessProbe"] = {"httpGet": {"port": 80}}
    vmi["spec"]["volumes"] = [{"name": "metrics", "downwardMetrics": {}}]
    assert launcher.memory_overhead(vmi, (1, 5, 3), Configuration()) - plain == 1 * MIB


def test_the_ratio_multiplies_all_or_all_but_the_pinned() -> None:
    config = Configuration(additional_guest_memory_overhead_ratio=2.0)
    vmi = instance(cpu={"cores": 1, "dedicatedCpuPlacement": True})
    for version, pinned in (((1, 4, 1), 100), ((1, 5, 2), 100), ((1, 5, 3), 200)):
        base = launcher.memory_overhead(vmi, version, Configuration()) - 100 * MIB
        assert abs(launcher.memory_overhead(vmi, version, config) - (2 * base + pinned * MIB)) < 2000


def resources(vmi: Object, config: Configuration | None = None) -> Object:
    found: Object = launcher.launcher_pod(vmi, (1, 5, 3), config or Configuration())["spec"]["containers"][0]["resources"]
    return found


def test_cpu_is_shared_by_the_allocation_ratio() -> None:
    assert resources(instance(cores=4))["requests"]["cpu"] == "400m"
    assert resources(instance(cores=15))["requests"]["cpu"] == "1500m"
    assert resources(instance(cores=3), Configuration(cpu_allocation_ratio=1))["requests"]["cpu"] == "3"
    said = instance(resources={"requests": {"memory": "1Gi", "cpu": "2"}})
    assert resources(said)["requests"]["cpu"] == "2"


def test_dedicated_cpus_are_guaranteed() -> None:
    made = resources(instance(cpu={"cores": 2, "sockets": 2, "dedicatedCpuPlacement": True, "isolateEmulatorThread": True}))
    assert made["requests"]["cpu"] == made["limits"]["cpu"] == "5"
    assert made["requests"]["memory"] == made["limits"]["memory"]
    pod = launcher.launcher_pod(instance(cpu={"cores": 2, "dedicatedCpuPlacement": True}), (1, 5, 3))
    assert pod["spec"]["nodeSelector"]["cpumanager"] == "true"
    assert all(one["resources"]["requests"]["cpu"] == one["resources"]["limits"]["cpu"] for one in pod["spec"]["containers"])


def test_huge_pages_hold_the_guest() -> None:
    vmi = instance("4Gi")
    vmi["spec"]["domain"]["memory"]["hugepages"] = {"pageSize": "1Gi"}
    made = resources(vmi)
    assert made["requests"]["hugepages-1Gi"] == made["limits"]["hugepages-1Gi"] == "4Gi"
    assert bytes_of(made["requests"]["memory"]) == launcher.memory_overhead(vmi, (1, 5, 3), Configuration())
    volumes = launcher.launcher_pod(vmi, (1, 5, 3))["spec"]["volumes"]
    assert {"name": "hugepages", "emptyDir": {"medium": "HugePages"}} in volumes


def test_overcommitment_and_limits() -> None:
    over = instance("4Gi", resources={})
    config = Configuration(memory_overcommit=200)
    overhead = launcher.memory_overhead(over, (1, 5, 3), config)
    assert bytes_of(resources(over, config)["requests"]["memory"]) == 2048 * MIB + overhead
    limited = instance(resources={"requests": {"memory": "1Gi"}, "limits": {"memory": "2Gi"}})
    overhead = launcher.memory_overhead(limited, (1, 5, 3), Configuration())
    made = resources(limited)
    assert bytes_of(made["limits"]["memory"]) == 2048 * MIB + overhead
    bare = instance(resources={"requests": {"memory": "1Gi"}, "overcommitGuestOverhead": True})
    assert resources(bare)["requests"]["memory"] == "1Gi"


def test_devices_are_extended_resources() -> None:
    devices = {"gpus": [{"name": "a", "deviceName": "nvidia.com/A10"}, {"name": "b", "deviceName": "nvidia.com/A10"}],
               "hostDevices": [{"name": "c", "deviceName": "intel.com/qat"}], "interfaces": [{"name": "default", "masquerade": {}, "model": "e1000"}]}
    made = resources(instance(devices=devices))
    assert made["requests"]["nvidia.com/A10"] == made["limits"]["nvidia.com/A10"] == "2"
    assert made["requests"]["intel.com/qat"] == "1"
    assert made["requests"]["devices.kubevirt.io/tun"] == "1"
    assert "devices.kubevirt.io/vhost-net" not in made["requests"]


def test_named_models_features_and_other_labels_choose_nodes() -> None:
    vmi = instance(cpu={"model": "Haswell-noTSX", "features": [{"name": "vmx"}, {"name": "avx", "policy": "require"}, {"name": "hle", "policy": "forbid"}]})
    vmi["spec"]["nodeSelector"] = {"zone": "a"}
    pod = launcher.launcher_pod(vmi, (1, 4, 1), Configuration(node_selectors={"site": "x", "zone": "b"}))
    assert pod["spec"]["nodeSelector"] == {
        "kubevirt.io/schedulable": "true", "kubernetes.io/arch": "amd64", "site": "x", "zone": "a", "cpu-model.node.kubevirt.io/Haswell-noTSX": "true",
        "cpu-feature.node.kubevirt.io/vmx": "true", "cpu-feature.node.kubevirt.io/avx": "true",
    }
    terms = pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms == [{"matchExpressions": [{"key": "cpu-feature.node.kubevirt.io/hle", "operator": "DoesNotExist"}]}]


def test_every_alternative_of_the_users_affinity_rejects_obsolete_models() -> None:
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    vmi = instance()
    term = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
    vmi["spec"]["affinity"] = {"nodeAffinity": {required: {"nodeSelectorTerms": [term, {}]}}, "podAffinity": {"x": 1}}
    made = launcher.launcher_pod(vmi, (1, 5, 3))["spec"]["affinity"]
    rejection = {"key": "node-labeller.kubevirt.io/obsolete-host-model", "operator": "DoesNotExist"}
    assert made["nodeAffinity"][required]["nodeSelectorTerms"] == [
        {"matchExpressions": [{"key": "a", "operator": "Exists"}, rejection]}, {"matchExpressions": [rejection]},
    ]
    assert made["podAffinity"] == {"x": 1}
    assert vmi["spec"]["affinity"]["nodeAffinity"][required]["nodeSelectorTerms"] == [term, {}]


MIGRATION = {"metadata": {"name": "m", "uid": "m-1"}}


def test_the_needs_of_the_first_node_stay() -> None:
    source = {"spec": {"nodeSelector": {"cpu-model-migration.node.kubevirt.io/Old": "true", "kubernetes.io/arch": "amd64"}}}
    node = {"metadata": {"labels": {"host-model-cpu.node.kubevirt.io/New": "true"}}}
    made = launcher.launcher_pod(instance(), (1, 5, 3), migration=MIGRATION, source_pod=source, source_node=node)
    assert [key for key in made["spec"]["nodeSelector"] if key.startswith("cpu-model-migration")] == ["cpu-model-migration.node.kubevirt.io/Old"]


def test_a_node_that_does_not_know_its_cpu_has_no_target() -> None:
    with pytest.raises(HostModelUnknown, match="does not contain labal"):
        launcher.launcher_pod(instance(), (1, 5, 3), migration=MIGRATION, source_pod={"spec": {}}, source_node={"metadata": {}})
    named = instance(cpu={"model": "Haswell"})
    made = launcher.launcher_pod(named, (1, 5, 3), migration=MIGRATION, source_pod={"spec": {}}, source_node={"metadata": {}})
    assert made["metadata"]["labels"]["kubevirt.io/migrationJobUID"] == "m-1"


def test_the_level_of_the_source_is_kept_unless_that_is_off() -> None:
    vmi = instance(cpu={"model": "Haswell"})
    vmi["status"] = {"selinuxContext": "system_u:object_r:container_file_t:s0:c1,c2"}
    made = launcher.launcher_pod(vmi, (1, 5, 3), migration=MIGRATION, source_pod={"spec": {}}, source_node={"metadata": {}})
    assert made["spec"]["securityContext"]["seLinuxOptions"] == {"level": "s0:c1,c2"}
    off = Configuration(migrations=Migrations(match_selinux_level_on_migration=False))
    made = launcher.launcher_pod(vmi, (1, 5, 3), off, migration=MIGRATION, source_pod={"spec": {}}, source_node={"metadata": {}})
    assert "seLinuxOptions" not in made["spec"]["securityContext"]


def test_claims_are_block_devices_or_directories() -> None:
    vmi = instance()
    vmi["spec"]["volumes"] = [{"name": "root", "persistentVolumeClaim": {"claimName": "r"}}, {"name": "data", "dataVolume": {"name": "d"}},
                              {"name": "hot", "persistentVolumeClaim": {"claimName": "h", "hotpluggable": True}}]
    claims = {"r": {"spec": {"volumeMode": "Block"}}, "d": {"spec": {"volumeMode": "Filesystem"}}}
    pod = launcher.launcher_pod(vmi, (1, 5, 3), claims=claims)
    compute = pod["spec"]["containers"][0]
    assert compute["volumeDevices"] == [{"name": "root", "devicePath": "/dev/root"}]
    assert {"name": "data", "mountPath": "/var/run/kubevirt-private/vmi-disks/data"} in compute["volumeMounts"]
    assert [volume["name"] for volume in pod["spec"]["volumes"]][-3:] == ["root", "data", "hotplug-disks"]
    vmi["status"] = {"volumeStatus": [{"name": "root", "persistentVolumeClaimInfo": {"claimName": "r", "volumeMode": "Block"}}]}
    assert launcher.launcher_pod(vmi, (1, 5, 3))["spec"]["containers"][0]["volumeDevices"] == [{"name": "root", "devicePath": "/dev/root"}]


def test_the_console_is_logged_unless_that_is_off() -> None:
    def names(vmi: Object, config: Configuration) -> list[str]:
        return [one["name"] for one in launcher.launcher_pod(vmi, (1, 5, 3), config)["spec"]["containers"]]

    off = Configuration(disable_serial_console_log=True)
    assert names(instance(), Configuration()) == ["compute", "guest-console-log"]
    assert names(instance(), off) == ["compute"]
    assert names(instance(devices={"logSerialConsole": True}), off) == ["compute", "guest-console-log"]
    assert names(instance(devices={"autoattachSerialConsole": False}), Configuration()) == ["compute"]


QUANTITIES = st.sampled_from(["128Mi", "1Gi", "1G", "1500M", "4096Mi", "33333333", "64Gi"])
DOMAINS = st.fixed_dictionaries(
    {"cpu": st.fixed_dictionaries({"cores": st.integers(1, 64), "sockets": st.integers(1, 4)}, optional={"dedicatedCpuPlacement": st.booleans()})},
    optional={
        "resources": st.fixed_dictionaries({}, optional={
            "requests": st.fixed_dictionaries({"memory": QUANTITIES}), "overcommitGuestOverhead": st.booleans(),
        }),
        "memory": st.fixed_dictionaries({"guest": QUANTITIES}, optional={"hugepages": st.just({"pageSize": "2Mi"})}),
    },
)


@given(DOMAINS, st.sampled_from(sorted(VERSIONS.values())), st.integers(1, 20), st.sampled_from([50, 100, 150]))
def test_what_a_pod_asks_for_holds_together(domain: Object, version: tuple[int, int, int], ratio: int, overcommit: int) -> None:
    vmi = instance()
    vmi["spec"]["domain"] |= domain
    before = json.dumps(vmi)
    config = Configuration(cpu_allocation_ratio=ratio, memory_overcommit=overcommit)
    made = launcher.launcher_pod(vmi, version, config)
    assert json.dumps(vmi) == before
    asked = made["spec"]["containers"][0]["resources"]
    for name, limit in asked["limits"].items():
        assert quantity(asked["requests"][name]) <= quantity(limit)
    for amount in asked["requests"].values():
        assert canonical_quantity(amount) == amount
    if not (domain.get("resources") or {}).get("overcommitGuestOverhead"):
        assert bytes_of(asked["requests"]["memory"]) >= launcher.memory_overhead(vmi, version, config)
    assert made == launcher.launcher_pod(vmi, version, config)
