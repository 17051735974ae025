#!/usr/bin/python
# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_info
short_description: List live migrations, with phases, attempts, data and reasons
description:
  - Lists VirtualMachineInstanceMigrations, those under way first and then the newest, with the time that each phase took, nodes, attempts of the VM, and why a
    migration waits or has failed, in words beside KubeVirt's own.
  - Shows how many slots are used and free beside the limits of KubeVirt.
  - KubeVirt keeps the last five ended migrations of each VM. Older ones are not seen.
extends_documentation_fragment:
  - okd.virt.attributes.info
  - okd.virt.auth
options:
  namespace:
    description: Only migrations in this namespace.
    type: str
  names:
    description: Only migrations of these VMs.
    type: list
    elements: str
    default: []
    aliases: [name, vm]
  node:
    description: Only migrations out of this node, or to it. An ended one that failed before it had a target names no nodes.
    type: str
  phases:
    description: Only migrations in these phases. V(Unset) is one that KubeVirt has not taken up yet.
    type: list
    elements: str
    default: []
    choices: [Unset, Pending, Scheduling, Scheduled, PreparingTarget, TargetReady, Running, Succeeded, Failed]
  run:
    description:
      - Only migrations of this run of M(okd.virt.node_drain) or M(okd.virt.vm_migration), by the labels C(okd.virt/drain-run) and
        C(okd.virt/migration-run).
    type: str
  events:
    description: Whether to read the events on migrations, which tell more of those that failed before a copy began. Where they may not be listed they are not.
    type: bool
    default: true
  metrics_path:
    description:
      - A path of the API server at which KubeVirt's metrics are to be had, for the data that is still to be copied. An embedded cluster has V(/metrics).
      - A real cluster has them where its virt-handlers are scraped. The API server can hand on requests to a pod, as in
        V(/api/v1/namespaces/openshift-cnv/pods/https:virt-handler-x7k2p:8443/proxy/metrics) for the migrations out of the node of that pod.
    type: str
requirements:
  - kubernetes >= 28.1.0
notes:
  - Rules needed - C(list) on C(virtualmachineinstancemigrations.kubevirt.io) in the whole cluster, or in O(namespace), in which case the slots are not known;
    C(get) and, for more than 40 VMs, C(list) on C(virtualmachineinstances.kubevirt.io); C(list) on C(kubevirts.kubevirt.io), which everybody has.
  - With O(events) C(list) on C(events). With O(metrics_path) C(get) on that path, or on C(pods/proxy).
  - Ages are counted by the clock of the machine that runs this, or by the latest time that a migration shows if that is later.
seealso:
  - module: okd.virt.vm_migration
  - module: okd.virt.node_drain
author:
  - The okd.virt contributors (@okd-virt)
"""

EXAMPLES = r"""
- name: See what is moving
  okd.virt.migration_info:
    phases: [Unset, Pending, Scheduling, Scheduled, PreparingTarget, TargetReady, Running]
  register: moving

- name: Print why each of them is where it is
  ansible.builtin.debug:
    msg: "{{ item.namespace }}/{{ item.vm }}: {{ item.phase }} for {{ item.age_seconds }} s, {{ item.reason }}"
  loop: "{{ moving.migrations }}"
  loop_control:
    label: "{{ item.name }}"

- name: See why the migrations out of a node have failed
  okd.virt.migration_info:
    node: worker-3
    phases: [Failed]
"""

RETURN = r"""
msg:
  description: Numbers in one sentence.
  returned: always
  type: str
  sample: "14 migrations of 12 VMs: 2 under way, 0 waiting, 11 succeeded, 1 failed; 3 slots are free."
migrations:
  description: The migrations, those under way first, then the newest.
  returned: always
  type: list
  elements: dict
  contains:
    namespace:
      description: Namespace of the migration and of its VM.
      type: str
      returned: always
      sample: shop
    name:
      description: Name of the migration.
      type: str
      returned: always
      sample: okd-virt-drain-0f3c5a7b9d
    vm:
      description: Name of the VM.
      type: str
      returned: always
      sample: vm-1
    phase:
      description: Phase of the migration, C(Unset) while KubeVirt has not taken it up.
      type: str
      returned: always
      sample: Failed
    code:
      description:
        - Where it stands or why it failed, in a word that stays the same. Of unfinished ones C(not_seen), C(no_slot), C(waiting), C(back_off), C(quota),
          C(vm_not_running), C(target_starting), C(target_unschedulable), C(handing_over), C(copying), C(cancelling).
        - Of failed ones C(too_slow), C(no_progress), C(cancelled), C(target_down), C(target_unschedulable), C(target_not_started), C(quota), C(vmi_gone),
          C(taken_over), C(not_started), C(source_failed). Of others C(succeeded).
      type: str
      returned: always
      sample: too_slow
    reason:
      description: The same in a sentence.
      type: str
      returned: always
      sample: it did not complete within completionTimeoutPerGiB (Live migration is not completed after 301 seconds and has been aborted)
    raw_reason:
      description: KubeVirt's own words for a failure, if it has any.
      type: str
      returned: always
      sample: Live migration is not completed after 301 seconds and has been aborted
    active:
      description: Whether it holds one of the slots.
      type: bool
      returned: always
      sample: false
    attempt:
      description: Which attempt to move the VM it is since the last one that succeeded.
      type: int
      returned: always
      sample: 2
    migrations_of_vm:
      description: How many migrations of the VM the cluster knows.
      type: int
      returned: always
      sample: 3
    made_by:
      description: C(node_drain), C(vm_migration), C(evacuation), C(workload_update) or C(user).
      type: str
      returned: always
      sample: node_drain
    run:
      description: The run of this collection that made it.
      type: str
      returned: always
      sample: 7c1e9a0b4d2f
    age_seconds:
      description: Seconds since it was made.
      type: float
      returned: always
      sample: 304.0
    seconds:
      description: Seconds from being made to its end, or until now.
      type: float
      returned: always
      sample: 303.0
    source_node:
      description: The node it leaves; empty where it is not known.
      type: str
      returned: always
      sample: worker-3
    target_node:
      description: The node it goes to; empty before the hand-over.
      type: str
      returned: always
      sample: worker-5
    mode:
      description: C(PreCopy), C(PostCopy) or C(Paused), once the copy has begun.
      type: str
      returned: always
      sample: PreCopy
    copy_seconds:
      description: Seconds from the beginning of the copy to its end.
      type: float
      returned: always
      sample: 301.0
    phases:
      description: The phases that it has been through, since when, and for how many seconds.
      type: list
      elements: dict
      returned: always
      sample: [{"phase": "Pending", "since": "2026-11-24T10:00:00Z", "seconds": 2.0}]
    may_be_cancelled:
      description: Whether it may be cancelled, which it may not in post-copy.
      type: bool
      returned: unless it has ended
      sample: true
    data:
      description:
        - Bytes of the guest in all, processed and remaining, bytes per second that are sent and written anew, the share that is done in percent, and at this
          rate the seconds that remain. Empty without O(metrics_path), and while nothing is copied.
      type: dict
      returned: unless it has ended
      sample: {"total_bytes": 2147483648, "processed_bytes": 1610612736, "remaining_bytes": 536870912, "percent": 75}
    expected_seconds:
      description: How long it is predicted to take in all, by memory, bandwidth, and what annotations of the VM say of its load.
      type: float
      returned: unless it has ended
      sample: 35.5
slots:
  description:
    - Slots used and free, of the cluster and of nodes that have migrations under way.
    - Empty where the migrations of the whole cluster may not be listed.
  returned: always
  type: dict
  sample:
    {"parallel_migrations_per_cluster": 5, "used": 2, "free": 3, "parallel_outbound_migrations_per_node": 2,
     "nodes": [{"name": "worker-3", "used": 2, "free": 0}]}
limits:
  description: The cluster's settings for migrations, with KubeVirt's defaults.
  returned: always
  type: dict
  sample: {"parallel_migrations_per_cluster": 5, "parallel_outbound_migrations_per_node": 2, "bandwidth_per_migration": "64Mi"}
summary:
  description: Numbers of the migrations shown, by phase and by reason of failure, and of slots.
  returned: always
  type: dict
  sample: {"migrations": 14, "vms": 12, "active": 2, "waiting": 0, "succeeded": 11, "failed": 1, "failures": {"too_slow": 1}, "slots_used": 2, "slots_free": 3}
actions:
  description: Always empty.
  returned: always
  type: list
  elements: dict
  sample: []
timeline:
  description: Always empty.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible_collections.okd.virt.plugins.module_utils._module import run_module
from ansible_collections.okd.virt.plugins.module_utils.migration.info import VERB


def main() -> None:
    run_module(VERB)


if __name__ == "__main__":
    main()
