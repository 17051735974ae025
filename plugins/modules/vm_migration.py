#!/usr/bin/python
# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vm_migration
short_description: Live-migrate single VMs, or cancel their migrations
description:
  - Makes VirtualMachineInstanceMigrations, exactly as many as KubeVirt has free slots for, and follows each to its end.
  - Before anything is made it is known whether each VM can migrate. One that can't refuses the task, with KubeVirt's own reason and what to do about it.
  - A migration that is under way already is followed and not doubled, whoever made it. A task that was killed goes on like this when it is started again.
  - A migration is no state that a VM is in, so that V(migrated) moves VMs each time it is asked for. With O(from_nodes), O(run) or O(target_node_selector) it
    does so only where something is to be done, and a second run changes nothing.
extends_documentation_fragment:
  - okd.virt.attributes
  - okd.virt.auth
attributes:
  idempotent:
    support: partial
    details:
      - With O(state=cancelled), or with O(from_nodes), O(run) or O(target_node_selector).
options:
  state:
    description:
      - V(migrated) moves the VMs to other nodes.
      - V(cancelled) deletes the unfinished migrations of the VMs, whoever made them, and waits until they have stopped. One in post-copy is never touched,
        since that would lose the VM; the others are stopped, and then the task fails and says which goes on.
    type: str
    choices: [migrated, cancelled]
    default: migrated
  namespace:
    description: Namespace of the VMs.
    type: str
    required: true
  names:
    description: Names of VMs. Each must run, unless O(state=cancelled).
    type: list
    elements: str
    default: []
    aliases: [name, vm]
  label_selector:
    description: VMs that run, by the labels of their VirtualMachineInstances.
    type: str
  from_nodes:
    description: Only VMs that are on one of these nodes are moved.
    type: list
    elements: str
    default: []
  target_node_selector:
    description:
      - Labels of the nodes to which the VMs are to go. A VM that is on such a node already is not moved.
      - Needs a KubeVirt whose migrations have C(spec.addedNodeSelector), 1.6 or later. Where the server does not have it the task fails and changes nothing.
    type: dict
    default: {}
  run:
    description:
      - A name for what is done here, such as that of a change. It becomes the label C(okd.virt/migration-run) of the migrations.
      - A VM that a migration of this run has moved is not moved again, as long as KubeVirt keeps that migration (the last five of each VM).
    type: str
  on_unmigratable:
    description: What to do with VMs that can't live-migrate. V(refuse) changes nothing and says why. V(skip) leaves them where they are.
    type: str
    choices: [refuse, skip]
    default: refuse
  wait:
    description: With V(false) all migrations are made at once and left to KubeVirt, which lets those wait that find no slot.
    type: bool
    default: true
  deadline:
    description:
      - How long all of it may take, in seconds. Then the task fails with what is pending and why.
      - Migrations under way are not stopped by that.
    type: int
    default: 3600
requirements:
  - kubernetes >= 28.1.0
notes:
  - Rules needed in the namespace - C(get), C(list) and C(watch) on C(virtualmachineinstances.kubevirt.io); C(get) on C(virtualmachines.kubevirt.io); C(list),
    C(watch), and C(create) or C(delete) on C(virtualmachineinstancemigrations.kubevirt.io), which C(kubevirt.io:migrate) gives.
  - C(list) and C(watch) on C(virtualmachineinstancemigrations.kubevirt.io) in the whole cluster, and C(get) on C(virtualmachineinstances.kubevirt.io), let the
    slots be counted that others take. Without them there is a warning.
  - C(list) on C(events) in the namespace makes the reasons of failures more precise.
  - C(list) on C(kubevirts.kubevirt.io), which everybody has, tells the limits.
  - With O(target_node_selector) also C(list) on C(nodes).
  - It uses the VirtualMachineInstanceMigration API and not the subresource C(virtualmachines/migrate), which answers before there is a migration and does not
    say which.
seealso:
  - module: okd.virt.migration_info
  - module: okd.virt.node_drain
author:
  - The okd.virt contributors (@okd-virt)
"""

EXAMPLES = r"""
- name: Move a VM to another node, and wait until it is there
  okd.virt.vm_migration:
    namespace: shop
    names: [vm-1]

- name: Take the VMs of a tier away from two nodes, those that are there
  okd.virt.vm_migration:
    namespace: shop
    label_selector: tier=gold
    from_nodes: [worker-3, worker-4]
    on_unmigratable: skip
    deadline: 1800

- name: Move each VM once, however often the job is started
  okd.virt.vm_migration:
    namespace: shop
    label_selector: tier=gold
    run: CHG-4711

- name: Stop the migration of a VM
  okd.virt.vm_migration:
    namespace: shop
    names: [vm-1]
    state: cancelled
"""

RETURN = r"""
msg:
  description: What was done, in one sentence.
  returned: always
  type: str
  sample: "1 VMs have moved, 1 of them by migrations of this run; 0 stay where they are."
vms:
  description: Each VM with what became of it, or would become of it. Also of a failed task.
  returned: always
  type: list
  elements: dict
  contains:
    namespace:
      description: Namespace of the VM.
      type: str
      returned: always
      sample: shop
    name:
      description: Name of the VM.
      type: str
      returned: always
      sample: vm-1
    state:
      description:
        - C(moved), C(failed), C(migrating), C(followed), C(waiting), C(stayed), C(cancelled) or C(not_cancelled). In check mode C(migrate), C(follow),
          C(stayed), C(cancel) or C(not_cancelled).
      type: str
      returned: unless the task was refused
      sample: moved
    code:
      description: Why, in a word that stays the same.
      type: str
      returned: always
      sample: moved
    reason:
      description: Why, in a sentence.
      type: str
      returned: always
      sample: it has moved to node04
    raw_reason:
      description: KubeVirt's own words for a failure.
      type: str
      returned: after O(state=migrated)
      sample: ""
    migration:
      description: Name of the VirtualMachineInstanceMigration.
      type: str
      returned: when there is one
      sample: okd-virt-migration-3f1c0a9d2b
    from:
      description: The node on which the VM was.
      type: str
      returned: unless the task was refused
      sample: node02
    to:
      description: The node on which it is now.
      type: str
      returned: when it has moved
      sample: node04
    seconds:
      description: How long its migration took, from being made to its end.
      type: float
      returned: after O(state=migrated)
      sample: 41.2
run:
  description: The run that stands on the migrations as C(okd.virt/migration-run).
  returned: after O(state=migrated)
  type: str
  sample: CHG-4711
summary:
  description: Numbers of VMs.
  returned: always
  type: dict
  sample: {"vms": 1, "moved": 1, "failed": 0, "stayed": 0, "started": 1, "pending": 0}
refused:
  description: VMs for which the task was refused, with C(code), C(reason) and C(remedy).
  returned: when it was refused for VMs
  type: list
  elements: dict
  sample: []
code:
  description:
    - Why the task failed, in one word - C(not_migratable), C(not_running), C(no_such_vm), C(no_slots), C(no_target_node_selector), C(deadline), C(post_copy).
    - Or the reason of the first migration that failed, such as C(too_slow), C(no_progress), C(target_unschedulable), C(target_not_started), C(target_down),
      C(quota), C(source_failed), C(cancelled), C(vmi_gone), C(refused).
  returned: on failure
  type: str
  sample: not_migratable
actions:
  description: Everything that was written, or would be.
  returned: always
  type: list
  elements: dict
  sample:
    - {"verb": "create", "kind": "VirtualMachineInstanceMigration", "namespace": "shop", "name": "vm-1", "reason": "it is moved away from node02",
       "before": null, "after": {"spec": {"vmiName": "vm-1"}}}
timeline:
  description: What happened when, in seconds from the start.
  returned: always
  type: list
  elements: dict
  sample:
    - offset: 3.2
      event: "VM shop/vm-1: Running, to node04"
"""

from ansible_collections.okd.virt.plugins.module_utils._module import run_module
from ansible_collections.okd.virt.plugins.module_utils.migration.verb import VERB


def main() -> None:
    run_module(VERB)


if __name__ == "__main__":
    main()
