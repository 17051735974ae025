#!/usr/bin/python
# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: readiness_info
short_description: Find what stands in the way of live migrations and drains
description:
  - Reads the cluster once and says what would stop VMs from moving, or nodes from being emptied, each with a remedy.
  - A finding has an id that stays the same, a severity, the object that it is about, a sentence, a remedy and the data that it rests on.
    The guide lists all ids.
  - The cluster is ready when no V(blocker) is left that was not accepted. The module does not fail when it isn't; the role C(okd.virt.preflight) does.
extends_documentation_fragment:
  - okd.virt.attributes.info
  - okd.virt.auth
  - okd.virt.loads
options:
  nodes_at_once:
    description:
      - How many nodes are drained at the same time, for the rule of spare memory.
      - Without it this is C(maxUnavailable) of O(machine_config_pool), or one where there is no such pool.
    type: int
  machine_config_pool:
    description: Name of the MachineConfigPool of the nodes with VMs.
    type: str
    default: worker
  accepted:
    description:
      - Findings that are known and lived with, each by its id alone, or for one object as C(ID:NAMESPACE/NAME) (C(ID:NAME) for a node).
      - They stay in the result, marked as accepted, and do not count.
    type: list
    elements: str
    default: []
requirements:
  - kubernetes >= 28.1.0
notes:
  - Rules needed - C(list) on C(nodes), C(pods), C(poddisruptionbudgets.policy), C(virtualmachineinstances.kubevirt.io),
    C(virtualmachineinstancemigrations.kubevirt.io), C(virtualmachines.kubevirt.io), C(kubevirts.kubevirt.io) and
    C(migrationpolicies.migrations.kubevirt.io), and on C(namespaces) where there are policies, or pods whose affinity asks for the labels of namespaces;
    without O(nodes_at_once) also C(get) on C(machineconfigpools.machineconfiguration.openshift.io).
  - Where loads are known and O(link_speed) is not given also C(list) on C(nodenetworkstates.nmstate.io), without which the links are assumed to carry 10 Gbit/s.
  - Where migrations have a network of their own also C(list) on C(network-attachment-definitions.k8s.cni.cncf.io) and C(nodenetworkstates.nmstate.io), and
    C(get) on C(networks.config.openshift.io); what can't be read of it is not judged.
  - Who may migrate is read where C(list) on C(clusterroles), C(clusterrolebindings), C(roles) and C(rolebindings) of C(rbac.authorization.k8s.io) is given, and
    what an update waits for with C(list) on C(subscriptions), C(installplans) and C(clusterserviceversions) of C(operators.coreos.com) and on
    C(hyperconvergeds.hco.kubevirt.io) in KubeVirt's namespace. Without these rights a note says so.
  - VMs of which nobody says how fast they write are not judged by it.
seealso:
  - module: okd.virt.node_drain
  - module: okd.virt.live_migration_config
  - module: okd.virt.migrate_access_info
author:
  - The okd.virt contributors (@okd-virt)
"""

EXAMPLES = r"""
- name: Find what stands in the way of a drain
  okd.virt.readiness_info:
  register: found

- name: The VMs that can't move, with what to do about it
  ansible.builtin.debug:
    msg: "{{ found.findings | selectattr('id', 'in', ['not_migratable', 'storage_not_shared']) | map(attribute='remedy') }}"

- name: Two nodes at once, and one VM that everybody knows of
  okd.virt.readiness_info:
    nodes_at_once: 2
    accepted: ["not_migratable:analytics/gpu-1", bandwidth_unlimited]

- name: Whether a busy database would get over
  okd.virt.readiness_info:
    link_speed: 25G
    loads:
      - {namespace: shop, name: database, dirty_rate: 400Mi, working_set: 6Gi, non_zero: 28Gi}
"""

RETURN = r"""
msg:
  description: The verdict, in a sentence.
  returned: always
  type: str
  sample: "Not ready: 3 blockers, 2 warnings, 2 notes, 0 accepted."
ready:
  description: Whether no blocker is left that was not accepted.
  returned: always
  type: bool
  sample: false
findings:
  description: What was found, the gravest first.
  returned: always
  type: list
  elements: dict
  contains:
    id:
      description: What kind of finding it is.
      type: str
      returned: always
      sample: storage_not_shared
    severity:
      description: C(blocker), C(warning) or C(note).
      type: str
      returned: always
      sample: blocker
    kind:
      description: Kind of the object.
      type: str
      returned: always
      sample: VirtualMachineInstance
    namespace:
      description: Its namespace, empty for what has none.
      type: str
      returned: always
      sample: legacy
    name:
      description: Its name.
      type: str
      returned: always
      sample: vm-1
    sentence:
      description: What was found.
      type: str
      returned: always
      sample: "it can't live-migrate (DisksNotLiveMigratable: ...), and with evictionStrategy LiveMigrate a drain that evicts it never ends"
    remedy:
      description: What helps.
      type: str
      returned: always
      sample: Put its disks on storage that several nodes can write (PersistentVolumeClaims with ReadWriteMany).
    text:
      description: The object, the sentence and the remedy in one line.
      type: str
      returned: always
      sample: "VirtualMachineInstance legacy/vm-1: it can't live-migrate (DisksNotLiveMigratable: ...). Put its disks on storage that ..."
    accepted:
      description: Whether O(accepted) names it.
      type: bool
      returned: always
      sample: false
    data:
      description: What the finding rests on.
      type: dict
      returned: always
      sample: {"reason": "DisksNotLiveMigratable", "eviction_strategy": "LiveMigrate", "node": "node01"}
spare_memory:
  description:
    - What the documentation recommends, in bytes - nodes that are drained at once, times the highest total of VM memory requests on a node - and what is free
      on the nodes that take VMs, less the roomiest C(nodes_at_once) of them, which may be those that are away.
  returned: always
  type: dict
  sample: {"needed_bytes": 68719476736, "free_bytes": 137438953472, "nodes_at_once": 1, "largest_node": "worker-3"}
versions:
  description:
    - The operator's ClusterServiceVersion, the versions of HyperConverged and KubeVirt, how updates are approved, and the ClusterServiceVersion that waits for
      approval; null where there is none, or it can't be read.
  returned: always
  type: dict
  sample: {"csv": "kubevirt-hyperconverged-operator.v1.14.1", "hyperconverged": "1.14.1", "kubevirt": "v1.4.1", "approval": "Manual", "offered": null}
unused_acceptances:
  description: What was accepted and is not there any more.
  returned: always
  type: list
  elements: str
  sample: []
summary:
  description: Findings by severity that were not accepted, and how much was looked at.
  returned: always
  type: dict
  sample: {"blocker": 3, "warning": 2, "note": 2, "accepted": 0, "vms": 44, "nodes": 6}
actions:
  description: Always empty, since nothing is changed.
  returned: always
  type: list
  elements: dict
  sample: []
timeline:
  description: What happened when, in seconds from the start.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible_collections.okd.virt.plugins.module_utils._module import run_module
from ansible_collections.okd.virt.plugins.module_utils.readiness.info import VERB


def main() -> None:
    run_module(VERB)


if __name__ == "__main__":
    main()
