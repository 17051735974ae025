#!/usr/bin/python
# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: migration_policy
short_description: Give some VMs other settings of live migration
description:
  - Makes, changes and removes a MigrationPolicy, which says otherwise than the HyperConverged for the VMs that it selects by labels.
  - The policy is brought to exactly what is given; a setting that is not given is taken out of it.
  - Says for which running VMs the policy holds, for which it selects in vain since another policy lists more of their labels, and where only the names
    of two policies decide.
extends_documentation_fragment:
  - okd.virt.attributes
  - okd.virt.auth
options:
  name:
    description: Name of the policy.
    type: str
    required: true
  state:
    description: Whether the policy is there.
    type: str
    choices: [present, absent]
    default: present
  namespace_selector:
    description: Labels that a VM's namespace must have, all of them.
    type: dict
    default: {}
  virtual_machine_instance_selector:
    description: Labels that a VM's instance must have, all of them.
    type: dict
    default: {}
  match_all:
    description: Whether a policy without any label is meant, which selects every VM.
    type: bool
    default: false
  allow_auto_converge:
    description: Whether the CPUs of a VM are slowed down when it writes faster than it is copied.
    type: bool
  allow_post_copy:
    description:
      - Whether a VM that is not copied in time goes on at the target while the rest of its memory follows. It is lost if either node fails meanwhile.
      - Where O(allow_workload_disruption) is not given KubeVirt takes this for it too.
    type: bool
  allow_workload_disruption:
    description: Whether a VM that is not copied in time may be paused. Known to KubeVirt 1.5 and later.
    type: bool
  bandwidth_per_migration:
    description: The most that one migration sends, in bytes per second, as a quantity such as V(64Mi). V(0) is unlimited. Less than V(1Mi) is refused.
    type: str
  completion_timeout_per_gib:
    description: Seconds for each begun 10^9 bytes of memory after which a migration is given up, or turned to post-copy. V(0) for never.
    type: int
requirements:
  - kubernetes >= 28.1.0
notes:
  - Rules needed - C(list), C(create), C(patch) and C(delete) on C(migrationpolicies.migrations.kubevirt.io).
  - To say for which VMs it holds, C(list) on C(namespaces) and C(virtualmachineinstances.kubevirt.io). Without it a warning tells that it is not known.
  - A policy is read when a migration begins. Those under way go on as they were.
seealso:
  - module: okd.virt.live_migration_config
author:
  - The okd.virt contributors (@okd-virt)
"""

EXAMPLES = r"""
- name: Databases are slowed down when they can't be copied otherwise
  okd.virt.migration_policy:
    name: databases
    virtual_machine_instance_selector:
      workload: database
    allow_auto_converge: true
    completion_timeout_per_gib: 300

- name: Test machines shall not take much of the link
  okd.virt.migration_policy:
    name: tests
    namespace_selector:
      stage: test
    bandwidth_per_migration: 64Mi

- name: Remove it
  okd.virt.migration_policy:
    name: tests
    state: absent
"""

RETURN = r"""
msg:
  description: What was done, in a sentence.
  returned: always
  type: str
  sample: "MigrationPolicy databases: allowAutoConverge True, completionTimeoutPerGiB 300."
holds_for:
  description: Running VMs for which the policy holds, as NAMESPACE/NAME.
  returned: always
  type: list
  elements: str
  sample: [prod/db-1, prod/db-2]
overruled:
  description: VMs that it selects, and for which another policy holds, which lists more of their labels.
  returned: always
  type: list
  elements: dict
  sample: [{"vm": "prod/db-3", "by": "large-databases"}]
ties:
  description: VMs for which another policy lists as many labels, so that the first name in the alphabet holds.
  returned: always
  type: list
  elements: dict
  sample: []
summary:
  description: Counts.
  returned: always
  type: dict
  sample: {"changes": 1, "vms": 2, "overruled": 1, "ties": 0}
actions:
  description: The changes made, or in check mode the changes that would be made.
  returned: always
  type: list
  elements: dict
  sample:
    - {"verb": "create", "kind": "MigrationPolicy", "namespace": "", "name": "tests", "reason": "bandwidthPerMigration 64Mi", "before": null,
       "after": {"spec": {"selectors": {"namespaceSelector": {"stage": "test"}}, "bandwidthPerMigration": "64Mi"}}}
timeline:
  description: What happened when, in seconds from the start.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible_collections.okd.virt.plugins.module_utils._module import run_module
from ansible_collections.okd.virt.plugins.module_utils.tuning.policy import VERB


def main() -> None:
    run_module(VERB)


if __name__ == "__main__":
    main()
