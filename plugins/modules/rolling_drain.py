#!/usr/bin/python
# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rolling_drain
short_description: Drain many nodes in turn, and give them back
description:
  - Drains nodes as M(okd.virt.node_drain) does, one after the other or a few at a time, and lets each take new pods again when it is done.
  - The spare-memory rule always holds. A node is begun only when the VMs of all nodes that are being drained have room on the others.
  - Each VM moves as seldom as possible. Nodes whose turn is yet to come get the taint C(okd.virt/still-to-come) with effect C(PreferNoSchedule), so that VMs
    go to nodes that are done, or are not meant; and more than one node at a time is begun only when there is room on those. The taint is taken off in any case.
  - A node that can't be emptied is put aside, and the rest goes on, up to O(max_quarantined). The task then fails, with the list.
  - Which nodes are done stands on them (annotation C(okd.virt/rolling)) until all are. A run that was killed, or did not come to its end, goes on with the
    others.
extends_documentation_fragment:
  - okd.virt.attributes
  - okd.virt.auth
  - okd.virt.drain
options:
  deadline:
    description: How long all of it may take, in seconds. No node is begun after that; those under way stay cordoned.
    type: int
    default: 14400
  node_deadline:
    description: How long one node may take, in seconds. After that it is put aside.
    type: int
    default: 3600
  max_parallel:
    description:
      - How many nodes may be away at the same time, those included that are empty and wait for the end of O(soak_time).
      - By default C(maxUnavailable) of O(machine_config_pool), or 1 without a pool.
    type: int
  max_quarantined:
    description: How many nodes may be put aside. With one more, no further node is begun.
    type: int
    default: 0
  quarantine:
    description: How a node that is put aside is left.
    type: str
    choices: [cordoned, uncordoned]
    default: cordoned
  uncordon:
    description: Whether nodes take new pods again when they are done.
    type: bool
    default: true
  soak_time:
    description: Seconds that an empty node stays as it is before it counts as done.
    type: int
    default: 0
  health:
    description: What must hold before another node is begun. As long as something does not, those under way go on and no other begins.
    type: list
    elements: dict
    default: []
    suboptions:
      api_version:
        description: API version of the object.
        type: str
        default: v1
      kind:
        description: Kind of the object.
        type: str
        required: true
      name:
        description: Name of the object. Without it O(health[].query) is asked of the list of all objects.
        type: str
      namespace:
        description: Namespace of the object, or of those that are listed.
        type: str
      label_selector:
        description: Which objects are listed.
        type: str
      query:
        description: A JMESPath expression that must be true of the object or the list.
        type: str
        required: true
      sentence:
        description: What is said when it does not hold.
        type: str
  end_by:
    description:
      - A time with its offset from UTC, such as V(2026-05-01T04:00:00+02:00). No node is begun that would not be done by then, if it takes as long as the
        slowest one so far.
    type: str
  restart:
    description: Whether to begin anew with nodes that an earlier run has done.
    type: bool
    default: false
requirements:
  - kubernetes >= 28.1.0
  - jmespath, for O(health)
notes:
  - Rules needed in the cluster - those of M(okd.virt.node_drain), with C(list) and C(watch) on all C(pods) and C(nodes).
  - With O(health) also C(get) or C(list) on what it names.
seealso:
  - module: okd.virt.node_drain
author:
  - The okd.virt contributors (@okd-virt)
"""

EXAMPLES = r"""
- name: Drain all workers in turn in the maintenance window
  okd.virt.rolling_drain:
    machine_config_pool: worker
    delete_emptydir_data: true
    max_quarantined: 2
    end_by: "2026-05-01T04:00:00+02:00"
    health:
      - kind: HyperConverged
        api_version: hco.kubevirt.io/v1beta1
        query: "[0].status.conditions[?type=='Available'].status | [0] == 'True'"
        sentence: OKD Virtualization is not available

- name: Show what would become of each node
  okd.virt.rolling_drain:
    label_selector: topology.kubernetes.io/zone=a
  check_mode: true
"""

RETURN = r"""
msg:
  description: What was done, in one sentence.
  returned: always
  type: str
  sample: "20 nodes are done, 428 VMs have moved."
nodes:
  description:
    - Each node with its C(state) (C(done), C(quarantined) or C(to_come)); what was moved, evicted, left and is pending as in M(okd.virt.node_drain); and what
      blocked it.
  returned: always
  type: list
  elements: dict
  sample:
    - {"name": "worker-3", "state": "done", "seconds": 212.5, "moved": [], "evicted": [], "left": [], "pending": []}
placement:
  description:
    - Whether all VMs find a place when the turn of their node comes. With C(fits) they do wherever all others are by then. With C(tight) that is not certain. With
      C(does_not_fit) there is a node that can't be emptied, since the others have no places for all VMs.
    - It is missing with O(uncordon=false), and where nodes and pods of the whole cluster can't be listed.
  returned: in check mode
  type: str
  sample: fits
summary:
  description: Numbers of nodes and VMs, and of requests that were sent.
  returned: always
  type: dict
  sample: {"nodes": 20, "drained": 20, "quarantined": 0, "not_begun": 0, "vms_moved": 428, "requests": 1243}
code:
  description: Why the task failed, in one word - C(quarantined), C(not_done), C(cannot_leave), C(held).
  returned: on failure
  type: str
  sample: quarantined
actions:
  description: Everything that was written for the drains, or would be.
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
    - offset: 1.8
      event: "worker-3: its turn has come (0 of 20 nodes are done)"
"""

from ansible_collections.okd.virt.plugins.module_utils._module import run_module
from ansible_collections.okd.virt.plugins.module_utils.drain.rolling import VERB


def main() -> None:
    run_module(VERB)


if __name__ == "__main__":
    main()
