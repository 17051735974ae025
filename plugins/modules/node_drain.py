#!/usr/bin/python
# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_drain
short_description: Drain nodes so that their VMs live-migrate
description:
  - Cordons nodes, moves every VM away by live migration, evicts the other pods, and ends exactly when nothing is left that had to go.
  - Before anything is changed it is known what becomes of each pod. A pod that can't leave refuses the drain, with the reason and what to do about it.
    C(--check) returns exactly the plan that a run follows.
  - An eviction that is answered with 429 is no failure. By it KubeVirt says that a migration has begun, and a budget that it is closed for now.
  - As many migrations are under way as the limits of KubeVirt have slots, the largest VMs first. A migration that has to wait for a slot starves.
  - Whose the node is stands in its annotation C(okd.virt/drain), with a lease. A run that was killed goes on when it is started again.
    A second operator is refused with the name of the first.
extends_documentation_fragment:
  - okd.virt.attributes
  - okd.virt.auth
  - okd.virt.drain
options:
  state:
    description:
      - V(drained) empties the nodes and leaves them cordoned.
      - V(cordoned) and V(uncordoned) only say whether new pods may come.
      - V(evacuation_cancelled) stops a drain, of this run or of another. Migrations of ours are deleted unless they are in post-copy, and the nodes are
        uncordoned, unless they were cordoned before the drain began.
    type: str
    choices: [drained, cordoned, uncordoned, evacuation_cancelled]
    default: drained
  deadline:
    description:
      - How long all of it may take, in seconds. When nodes are not empty by then the task fails with what is left, why, and since when.
      - Migrations under way are not stopped by that; they end by themselves. The nodes stay cordoned.
    type: int
    default: 3600
  wait:
    description: With V(false) the drain is begun, as far as there are free slots, and not followed.
    type: bool
    default: true
  max_parallel:
    description: How many nodes may be drained at the same time.
    type: int
    default: 1
  clear_marks:
    description:
      - With O(state=evacuation_cancelled), whether to clear the marks by which KubeVirt goes on moving VMs after an eviction.
      - Only KubeVirt's own service account can do that. It is impersonated, which needs a right that few should have.
    type: bool
    default: false
  require_room:
    description:
      - Whether a VM that fits on no other node refuses the drain (codes C(no_node_fits) and C(target_cpu_missing)), with the reason for each node.
      - With V(false) it is tried all the same. KubeVirt gives its migrations up after five minutes without a node; they are tried again
        O(migration_attempts) times.
      - Everything that pods ask for is judged (memory, CPU, huge pages, devices, number of pods, host ports), CPU model and features, node selectors, node affinity,
        taints, and required affinity and anti-affinity among pods. Volumes are not.
    type: bool
    default: true
requirements:
  - kubernetes >= 28.1.0
notes:
  - Rules needed in the cluster - C(get), C(list), C(watch) and C(patch) on C(nodes); C(list) and C(watch) on C(pods), C(virtualmachineinstances.kubevirt.io),
    C(virtualmachineinstancemigrations.kubevirt.io) and C(kubevirts.kubevirt.io); C(list) on C(poddisruptionbudgets.policy); C(create) on C(pods/eviction).
    Without C(list) on all C(nodes) and C(pods) the plan does not say where VMs fit, and a warning tells so. C(list) on C(namespaces) where affinity among
    pods asks for the labels of namespaces.
  - With O(move_by=migration) also C(create) and C(delete) on C(virtualmachineinstancemigrations.kubevirt.io), which C(kubevirt.io:migrate) gives.
  - With O(on_unmigratable=stop_and_restart) also C(update) on C(virtualmachines/restart) of C(subresources.kubevirt.io).
  - With O(machine_config_pool) also C(get) on C(machineconfigpools.machineconfiguration.openshift.io).
  - With O(clear_marks) also C(impersonate) on the service account C(kubevirt-controller) of KubeVirt's namespace.
seealso:
  - module: okd.virt.migration_info
  - module: okd.virt.vm_migration
  - name: kubernetes.core.k8s_drain
    link: https://docs.ansible.com/ansible/latest/collections/kubernetes/core/k8s_drain_module.html
    description: Takes the first 429, by which KubeVirt says that a migration has begun, for a failure.
author:
  - The okd.virt contributors (@okd-virt)
"""

EXAMPLES = r"""
- name: Show what a drain would do
  okd.virt.node_drain:
    names: [worker-3]
  check_mode: true

- name: Empty a node for maintenance
  okd.virt.node_drain:
    names: [worker-3]
    delete_emptydir_data: true
    deadline: 1800

- name: Move only the VMs, two nodes at a time
  okd.virt.node_drain:
    machine_config_pool: worker
    pod_selector: kubevirt.io=virt-launcher
    max_parallel: 2

- name: Give the node back in the middle of a drain
  okd.virt.node_drain:
    names: [worker-3]
    state: evacuation_cancelled

- name: Take new pods again
  okd.virt.node_drain:
    names: [worker-3]
    state: uncordoned
"""

RETURN = r"""
msg:
  description: What was done, in one sentence.
  returned: always
  type: str
  sample: "worker-3: drained, 12 VMs have moved, 5 other pods were evicted."
nodes:
  description:
    - Each node with what became of it. In check mode, and when nothing had to be done, C(pods) has the fate of each pod; after a run there are C(moved),
      C(evicted), C(left) and C(pending).
    - Each entry has a C(code), which stays the same, and a C(reason) for people.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the node.
      type: str
      returned: always
      sample: worker-3
    state:
      description: One of C(drained), C(incomplete), C(not_begun), C(cancelled).
      type: str
      returned: after a drain
      sample: drained
    pods:
      description:
        - Each pod with the way it leaves, in the order in which they go.
        - The C(fit) of a VM has how many nodes have room for it now, the first five of them, a C(target) that has a place for it together with all others,
          and the reasons of the other nodes, with their number and the first five.
      type: list
      elements: dict
      returned: in check mode
      sample:
        - {"kind": "VirtualMachineInstance", "namespace": "prod", "name": "db-1", "pod": "virt-launcher-db-1-x7k2p", "way": "migrate", "code": "migrates",
           "reason": "VM prod/db-1 live-migrates", "fit": {"target": "worker-5", "fits": 1, "nodes": ["worker-5"],
           "why_not": [{"reason": "insufficient memory", "number": 2, "nodes": ["worker-1", "worker-2"]}]}}
    expected:
      description: How long the migrations out of the node may take, in seconds (null for no end), and the assumptions that this rests on.
      type: dict
      returned: in check mode
      sample: {"seconds": 95.0, "assumptions": ["all of the guest's memory is in use and is sent"]}
    moved:
      description: VMs that have moved, to where, in how many seconds, at which attempt.
      type: list
      elements: dict
      returned: after a drain
      sample: [{"namespace": "prod", "name": "db-1", "to": "worker-5", "seconds": 41.2, "attempt": 1}]
    pending:
      description: What has not left, with the reason and since when.
      type: list
      elements: dict
      returned: after a drain
      sample: []
placement:
  description:
    - Whether all VMs together find places on the other nodes - C(fits) wherever the scheduler puts them, C(tight) where it depends on that, C(does_not_fit).
  returned: in check mode, where nodes and pods of the whole cluster can be listed
  type: str
  sample: fits
spare_memory:
  description:
    - Bytes that are free on the nodes that stay, before and after the VMs have come, and what the rule asks for - nodes that are drained at once, times the
      highest total of VM memory requests on a node.
  returned: in check mode
  type: dict
  sample: {"before_bytes": 137438953472, "after_bytes": 85899345920, "rule_bytes": 68719476736, "rule_holds": true}
placement:
  description:
    - Whether all VMs of the drain find a place. With C(fits) a node is left for each, however those that come before it are spread. With C(tight) that is not certain.
      With C(does_not_fit) there are no places for all.
  returned: in check mode
  type: str
  sample: fits
summary:
  description: Numbers of nodes, VMs and pods, and of requests that were sent.
  returned: always
  type: dict
  sample: {"nodes": 1, "drained": 1, "vms_moved": 12, "pods_evicted": 5, "pending": 0, "requests": 61}
code:
  description: Why the task failed, in one word - C(cannot_leave), C(held), C(deadline), C(stuck), C(lost), C(node_gone).
  returned: on failure
  type: str
  sample: deadline
actions:
  description: Everything that was written, or would be.
  returned: always
  type: list
  elements: dict
  sample:
    - {"verb": "patch", "kind": "Node", "namespace": "", "name": "worker-3", "reason": "no new pods while it is drained",
       "before": {"spec": {"unschedulable": false}}, "after": {"spec": {"unschedulable": true}}}
timeline:
  description: What happened when, in seconds from the start.
  returned: always
  type: list
  elements: dict
  sample:
    - offset: 3.2
      event: "worker-3: VM prod/db-1 migrates"
"""

from ansible_collections.okd.virt.plugins.module_utils._module import run_module
from ansible_collections.okd.virt.plugins.module_utils.drain.verb import VERB


def main() -> None:
    run_module(VERB)


if __name__ == "__main__":
    main()
