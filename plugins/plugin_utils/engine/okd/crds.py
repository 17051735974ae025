# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The CustomResourceDefinitions of OLM, of OpenShift, and of those that come with OKD Virtualization beside KubeVirt.

Source: operator-framework/api crds/, openshift/api, machine-config-operator, HyperConverged deploy/crds/hco00.crd.yaml v1.14.0 and v1.15.0.
"""
from __future__ import annotations

from ..definitions import AGE, OPEN, Definition, boolean, conditions, integer, mapping, obj, text, texts
from ..interface import Object

_OPERATORS = "operators.coreos.com"
_OLM = ("olm",)
_BANDWIDTH = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"

_SUBSCRIPTION = obj(
    {
        "channel": text(), "config": OPEN, "installPlanApproval": text(), "name": text(), "source": text(), "sourceNamespace": text(),
        "startingCSV": text(),
    },
    ["name", "source", "sourceNamespace"],
)
_INSTALL_PLAN = obj(
    {
        "approval": text(), "approved": boolean(), "clusterServiceVersionNames": texts(), "generation": {"type": "integer"},
        "source": text(), "sourceNamespace": text(),
    },
    ["approval", "approved", "clusterServiceVersionNames"],
)


def olm() -> list[Object]:
    """The kinds of the Operator Lifecycle Manager."""
    table = (
        Definition(
            _OPERATORS, ("v1alpha1",), "Subscription", "subscriptions", ("sub", "subs"), categories=_OLM, spec=_SUBSCRIPTION, columns=(
                ("Package", "string", ".spec.name", 0), ("Source", "string", ".spec.source", 0), ("Channel", "string", ".spec.channel", 0),
            ),
        ),
        Definition(
            _OPERATORS, ("v1alpha1",), "ClusterServiceVersion", "clusterserviceversions", ("csv", "csvs"), categories=_OLM, columns=(
                ("Display", "string", ".spec.displayName", 0), ("Version", "string", ".spec.version", 0),
                ("Replaces", "string", ".spec.replaces", 0), ("Phase", "string", ".status.phase", 0),
            ),
        ),
        Definition(
            _OPERATORS, ("v1alpha1",), "InstallPlan", "installplans", ("ip",), categories=_OLM, spec=_INSTALL_PLAN, columns=(
                ("CSV", "string", ".spec.clusterServiceVersionNames[0]", 0), ("Approval", "string", ".spec.approval", 0),
                ("Approved", "boolean", ".spec.approved", 0),
            ),
        ),
        Definition(
            _OPERATORS, ("v1alpha1",), "CatalogSource", "catalogsources", ("catsrc",), categories=_OLM, columns=(
                ("Display", "string", ".spec.displayName", 0), ("Type", "string", ".spec.sourceType", 0),
                ("Publisher", "string", ".spec.publisher", 0), AGE,
            ),
        ),
        Definition(_OPERATORS, ("v1",), "OperatorGroup", "operatorgroups", ("og",), categories=_OLM, spec_required=False),
        Definition(
            _OPERATORS, ("v2",), "OperatorCondition", "operatorconditions", ("condition",), categories=_OLM, spec_required=False,
            spec=obj({"conditions": conditions(), "deployments": texts(), "overrides": conditions(), "serviceAccounts": texts()}),
            status=obj({"conditions": conditions()}),
        ),
    )
    return [definition.to_object() for definition in table]


def openshift() -> list[Object]:
    """The kinds of the platform that administrators of OKD Virtualization meet."""
    cluster_version = (
        ("Version", "string", '.status.history[?(@.state=="Completed")].version', 0),
        ("Available", "string", '.status.conditions[?(@.type=="Available")].status', 0),
        ("Progressing", "string", '.status.conditions[?(@.type=="Progressing")].status', 0),
        ("Since", "date", '.status.conditions[?(@.type=="Progressing")].lastTransitionTime', 0),
        ("Status", "string", '.status.conditions[?(@.type=="Progressing")].message', 0),
    )
    pool = (
        ("Config", "string", ".status.configuration.name", 0),
        *(
            (name, "string", f'.status.conditions[?(@.type=="{name}")].status', 0)
            for name in ("Updated", "Updating", "Degraded")
        ),
        ("MachineCount", "number", ".status.machineCount", 0), ("ReadyMachineCount", "number", ".status.readyMachineCount", 0),
        ("UpdatedMachineCount", "number", ".status.updatedMachineCount", 0),
        ("DegradedMachineCount", "number", ".status.degradedMachineCount", 0), AGE,
    )
    table = (
        Definition("config.openshift.io", ("v1",), "ClusterVersion", "clusterversions", namespaced=False, columns=cluster_version),
        Definition("config.openshift.io", ("v1",), "Network", "networks", namespaced=False, subresources=()),
        Definition(
            "machineconfiguration.openshift.io", ("v1",), "MachineConfigPool", "machineconfigpools", ("mcp",), namespaced=False, columns=pool,
        ),
        Definition(
            "machineconfiguration.openshift.io", ("v1",), "MachineConfig", "machineconfigs", ("mc",), namespaced=False, subresources=(),
            columns=(("IgnitionVersion", "string", ".spec.config.ignition.version", 0), AGE),
        ),
        # On a cluster an aggregated API serves it; to its clients that is no difference.
        Definition(
            "user.openshift.io", ("v1",), "Group", "groups", namespaced=False, subresources=(),
            properties={"users": {"type": "array", "nullable": True, "items": {"type": "string"}}}, columns=(("Users", "string", ".users", 0),),
        ),
        Definition(
            "k8s.cni.cncf.io", ("v1",), "NetworkAttachmentDefinition", "network-attachment-definitions", ("net-attach-def",),
            subresources=(), spec=obj({"config": text()}),
        ),
        Definition(
            "nodemaintenance.medik8s.io", ("v1beta1",), "NodeMaintenance", "nodemaintenances", ("nm",), namespaced=False,
            spec=obj({"nodeName": text(), "reason": text()}, ["nodeName"]),
        ),
    )
    return [definition.to_object() for definition in table]


def _certificates() -> Object:
    default = {"ca": {"duration": "48h0m0s", "renewBefore": "24h0m0s"}, "server": {"duration": "24h0m0s", "renewBefore": "12h0m0s"}}
    parts = {
        part: {**obj({name: text(default=value) for name, value in values.items()}), "default": values} for part, values in default.items()
    }
    return {**obj(parts), "default": default}


def hyperconverged(release: str) -> Object:
    """The HyperConverged kind of release "1.14" or "1.15"."""
    live_migration = {
        **obj({
            "allowAutoConverge": boolean(default=False), "allowPostCopy": boolean(default=False),
            "bandwidthPerMigration": text(pattern=_BANDWIDTH), "completionTimeoutPerGiB": integer(default=150), "network": text(),
            "parallelMigrationsPerCluster": integer("int32", default=5), "parallelOutboundMigrationsPerNode": integer("int32", default=2),
            "progressTimeout": integer(default=150),
        }),
        "default": {
            "allowAutoConverge": False, "allowPostCopy": False, "completionTimeoutPerGiB": 150, "parallelMigrationsPerCluster": 5,
            "parallelOutboundMigrationsPerNode": 2, "progressTimeout": 150,
        },
    }
    workload_update = {
        **obj(
            {
                "batchEvictionInterval": text(default="1m0s"), "batchEvictionSize": {"type": "integer", "default": 10},
                "workloadUpdateMethods": {
                    "type": "array", "items": text(enum=["LiveMigrate", "Evict"]), "default": ["LiveMigrate"],
                },
            },
            ["workloadUpdateMethods"],
        ),
        "default": {"batchEvictionInterval": "1m0s", "batchEvictionSize": 10, "workloadUpdateMethods": ["LiveMigrate"]},
    }
    serial_console = release == "1.14"
    spec = obj({
        "certConfig": _certificates(),
        "evictionStrategy": text(enum=["None", "LiveMigrate", "LiveMigrateIfPossible", "External"]),
        "featureGates": {**OPEN, "default": {}},
        "higherWorkloadDensity": {
            **obj({"memoryOvercommitPercentage": {"type": "integer", "minimum": 10, "default": 100}}),
            "default": {"memoryOvercommitPercentage": 100},
        },
        "infra": OPEN, "workloads": OPEN, "localStorageClassName": text(), "defaultCPUModel": text(), "defaultRuntimeClass": text(),
        "liveMigrationConfig": live_migration,
        "resourceRequirements": {
            **obj({"vmiCPUAllocationRatio": {"type": "integer", "minimum": 1, "default": 10}, "storageWorkloads": OPEN}),
            "default": {"vmiCPUAllocationRatio": 10},
        },
        "uninstallStrategy": text(
            enum=["RemoveWorkloads", "BlockUninstallIfWorkloadsExist"], default="BlockUninstallIfWorkloadsExist",
        ),
        "virtualMachineOptions": {
            **obj({"disableFreePageReporting": boolean(default=False), "disableSerialConsoleLog": boolean(default=serial_console)}),
            "default": {"disableFreePageReporting": False, "disableSerialConsoleLog": serial_console},
        },
        "workloadUpdateStrategy": workload_update,
        "enableCommonBootImageImport": boolean(default=True), "deployVmConsoleProxy": boolean(), "enableApplicationAwareQuota": boolean(),
        "tlsSecurityProfile": OPEN, "permittedHostDevices": OPEN, "mediatedDevicesConfiguration": OPEN, "logVerbosityConfig": OPEN,
        "dataImportCronTemplates": {"type": "array", "items": OPEN}, "defaultCPUModels": OPEN, "vmStateStorageClass": text(),
        "scratchSpaceStorageClass": text(), "storageImport": OPEN, "commonTemplatesNamespace": text(), "vddkInitImage": text(),
        "kubeSecondaryDNSNameServerIP": text(), "obsoleteCPUs": OPEN, "ksmConfiguration": OPEN, "networkBinding": OPEN,
        "applicationAwareConfig": OPEN, "kubeMacPoolConfiguration": OPEN, "labels": mapping(),
    })
    if release == "1.14":
        for newer in ("enableCommonBootImageImport", "deployVmConsoleProxy", "enableApplicationAwareQuota"):
            del spec["properties"][newer]
    return Definition(
        "hco.kubevirt.io", ("v1beta1",), "HyperConverged", "hyperconvergeds", ("hco", "hcos"), categories=("all",), columns=(AGE,),
        properties={
            "spec": {**spec, "default": {}},
            "status": OPEN,
        },
    ).to_object()
