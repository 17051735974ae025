# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CustomResourceDefinitions of KubeVirt and of the Containerized Data Importer.

Source: KubeVirt pkg/virt-operator/resource/generate/components/crds.go, v1.4.1 and v1.5.3; CDI v1.61.
"""
from __future__ import annotations

from ..definitions import AGE, OPEN, Definition, boolean, conditions, integer, mapping, moment, obj, text
from ..interface import Object

_STATUS = ("Status", "string", ".status.printableStatus", 0, "Human Readable Status")
_READY = ("Ready", "string", ".status.conditions[?(@.type=='Ready')].status", 0)
_PHASE = ("Phase", "string", ".status.phase", 0)
_BOTH = ("v1", "v1alpha3")
_OLD = ("v1alpha3",)
_ALL = ("all",)

_QUANTITY: Object = {
    "anyOf": [{"type": "integer"}, {"type": "string"}], "x-kubernetes-int-or-string": True,
    "pattern": r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$",
}
_MIGRATION_STATUS = obj({
    "conditions": conditions(),
    "migrationState": OPEN,
    "phase": text(),
    "phaseTransitionTimestamps": {
        "type": "array", "x-kubernetes-list-type": "atomic",
        "items": obj({"phase": text(), "phaseTransitionTimestamp": moment()}),
    },
})


def _migration_policy(release: str) -> Object:
    properties: Object = {
        "allowAutoConverge": boolean(), "allowPostCopy": boolean(), "bandwidthPerMigration": _QUANTITY,
        "completionTimeoutPerGiB": integer(),
        "selectors": obj({"namespaceSelector": mapping(), "virtualMachineInstanceSelector": mapping()}),
    }
    if release != "v1.4.1":
        properties["allowWorkloadDisruption"] = boolean()
    return obj(properties, ["selectors"])


def _kubevirt_spec(version: str) -> Object:
    """Exact where migrations are set up, open elsewhere."""
    migrations: Object = {
        "allowAutoConverge": boolean(), "allowPostCopy": boolean(), "bandwidthPerMigration": _QUANTITY, "completionTimeoutPerGiB": integer(),
        "disableTLS": boolean(), "matchSELinuxLevelOnMigration": boolean(), "network": text(), "nodeDrainTaintKey": text(),
        "parallelMigrationsPerCluster": integer("int32"), "parallelOutboundMigrationsPerNode": integer("int32"), "progressTimeout": integer(),
        "unsafeMigrationOverride": boolean(),
    }
    if version != "v1.4.1":
        migrations["allowWorkloadDisruption"] = boolean()
    configuration = {**OPEN, "properties": {
        "evictionStrategy": text(), "migrations": obj(migrations), "vmRolloutStrategy": {**text(enum=["Stage", "LiveUpdate"]), "nullable": True},
    }}
    return {**OPEN, "properties": {"configuration": configuration}}


def definitions(version: str) -> list[Object]:
    """Those of one KubeVirt version ("v1.4.1", "v1.5.3"), in the order in which virt-operator writes them."""
    clone_versions = ("v1alpha1",) if version == "v1.4.1" else ("v1beta1", "v1alpha1")
    table = (
        Definition(
            "kubevirt.io", _BOTH, "VirtualMachineInstance", "virtualmachineinstances", ("vmi", "vmis"), subresources=(), categories=_ALL,
            deprecated=_OLD, columns=(
                AGE, _PHASE, ("IP", "string", ".status.interfaces[0].ipAddress", 0), ("NodeName", "string", ".status.nodeName", 0), _READY,
                ("Live-Migratable", "string", ".status.conditions[?(@.type=='LiveMigratable')].status", 1),
                ("Paused", "string", ".status.conditions[?(@.type=='Paused')].status", 1),
            ),
        ),
        Definition(
            "kubevirt.io", _BOTH, "VirtualMachineInstancePreset", "virtualmachineinstancepresets", ("vmipreset", "vmipresets"),
            subresources=(), categories=_ALL, deprecated=_OLD,
        ),
        Definition(
            "kubevirt.io", _BOTH, "VirtualMachineInstanceReplicaSet", "virtualmachineinstancereplicasets", ("vmirs", "vmirss"),
            subresources=("status", "scale"), categories=_ALL, deprecated=_OLD, columns=(
                ("Desired", "integer", ".spec.replicas", 0), ("Current", "integer", ".status.replicas", 0),
                ("Ready", "integer", ".status.readyReplicas", 0), AGE,
            ),
        ),
        Definition(
            "kubevirt.io", _BOTH, "VirtualMachine", "virtualmachines", ("vm", "vms"), categories=_ALL, deprecated=_OLD,
            columns=(AGE, _STATUS, _READY),
        ),
        Definition(
            "kubevirt.io", _BOTH, "VirtualMachineInstanceMigration", "virtualmachineinstancemigrations", ("vmim", "vmims"),
            categories=_ALL, deprecated=_OLD, columns=(
                ("Phase", "string", ".status.phase", 0, "The current phase of VM instance migration"),
                ("VMI", "string", ".spec.vmiName", 0, "The name of the VMI to perform the migration on"),
            ),
            spec=obj({"vmiName": text()}), status=_MIGRATION_STATUS,
        ),
        Definition(
            "kubevirt.io", _BOTH, "KubeVirt", "kubevirts", ("kv", "kvs"), categories=_ALL, deprecated=_OLD, columns=(AGE, _PHASE),
            spec=_kubevirt_spec(version),
        ),
        Definition(
            "snapshot.kubevirt.io", ("v1beta1", "v1alpha1"), "VirtualMachineSnapshot", "virtualmachinesnapshots",
            ("vmsnapshot", "vmsnapshots"), categories=_ALL,
        ),
        Definition(
            "snapshot.kubevirt.io", ("v1beta1", "v1alpha1"), "VirtualMachineSnapshotContent", "virtualmachinesnapshotcontents",
            ("vmsnapshotcontent", "vmsnapshotcontents"), categories=_ALL,
        ),
        Definition(
            "snapshot.kubevirt.io", ("v1beta1", "v1alpha1"), "VirtualMachineRestore", "virtualmachinerestores", ("vmrestore", "vmrestores"),
            categories=_ALL,
        ),
        Definition(
            "instancetype.kubevirt.io", ("v1beta1",), "VirtualMachineInstancetype", "virtualmachineinstancetypes",
            ("vminstancetype", "vminstancetypes", "vmf", "vmfs"), subresources=(), categories=_ALL,
        ),
        Definition(
            "instancetype.kubevirt.io", ("v1beta1",), "VirtualMachineClusterInstancetype", "virtualmachineclusterinstancetypes",
            ("vmclusterinstancetype", "vmclusterinstancetypes", "vmcf", "vmcfs"), namespaced=False, subresources=(),
        ),
        Definition(
            "pool.kubevirt.io", ("v1alpha1",), "VirtualMachinePool", "virtualmachinepools", ("vmpool", "vmpools"),
            subresources=("status", "scale"), categories=_ALL,
        ),
        Definition(
            "migrations.kubevirt.io", ("v1alpha1",), "MigrationPolicy", "migrationpolicies", namespaced=False, categories=_ALL,
            spec=_migration_policy(version), status=obj({}),
        ),
        Definition(
            "instancetype.kubevirt.io", ("v1beta1",), "VirtualMachinePreference", "virtualmachinepreferences",
            ("vmpref", "vmprefs", "vmp", "vmps"), subresources=(), categories=_ALL,
        ),
        Definition(
            "instancetype.kubevirt.io", ("v1beta1",), "VirtualMachineClusterPreference", "virtualmachineclusterpreferences",
            ("vmcp", "vmcps"), namespaced=False, subresources=(),
        ),
        Definition(
            "export.kubevirt.io", ("v1beta1", "v1alpha1"), "VirtualMachineExport", "virtualmachineexports", ("vmexport", "vmexports"),
            categories=_ALL,
        ),
        Definition(
            "clone.kubevirt.io", clone_versions, "VirtualMachineClone", "virtualmachineclones", ("vmclone", "vmclones"), categories=_ALL,
        ),
    )
    return [definition.to_object() for definition in table]


def data_volumes() -> Object:
    """CDI's DataVolume."""
    columns = (_PHASE, ("Progress", "string", ".status.progress", 0), ("Restarts", "integer", ".status.restartCount", 0), AGE)
    return Definition("cdi.kubevirt.io", ("v1beta1",), "DataVolume", "datavolumes", ("dv", "dvs"), columns=columns, categories=_ALL).to_object()
