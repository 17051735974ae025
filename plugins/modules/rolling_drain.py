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
  - A node whose drain somebody cancels or takes over is left to them, and not begun again.
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
    description: Seconds that a node stays as it is before it counts as done, when it is empty and the site has handed it back.
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
  stop_on_alerts:
    description:
      - Alerts that hold back further nodes while they fire, read from an Alertmanager to which the API server leads. As long as they can't be read no node is
        begun either.
      - The API server passes no login on to what is behind its proxy. The Alertmanager of OKD's own monitoring asks for one, so that it can't be read in this
        way; use O(health) on objects there, such as C(status.systemHealthStatus) of the HyperConverged.
    type: dict
    suboptions:
      path:
        description: Path of the API server that leads to it, such as V(/api/v1/namespaces/monitoring/services/http:alertmanager-main:9093/proxy).
        type: str
        required: true
      names:
        description: Names of alerts that count, whatever their severity.
        type: list
        elements: str
        default: []
      severities:
        description: Severities that count, whatever the name.
        type: list
        elements: str
        default: [critical]
      ignore:
        description: Names of alerts that do not count in any case.
        type: list
        elements: str
        default: []
  end_by:
    description:
      - A time with its offset from UTC, such as V(2026-05-01T04:00:00+02:00). No node is begun that is not expected to be done by then, the first one
        included; a smaller one may still be. What is expected is what the plan says of the VMs that are on the node by then, times as much as nodes have
        taken longer than expected so far, and 30 s for other pods; O(soak_time), and O(site_time) or the longest that the site has had a node, are added.
    type: str
  restart:
    description: Whether to begin anew with nodes that an earlier run has done.
    type: bool
    default: false
  hold_for:
    description:
      - At what moments the site has something to do with each node - V(before) anything leaves it, or V(after) it is empty. It is cordoned by then.
      - The task then ends when all nodes under way are in the hands of the site, with RV(held). It is called again with O(step) and O(handed_back), until
        RV(held) is empty. The role P(okd.virt.drain#role) does that.
    type: list
    elements: str
    choices: [before, after]
    default: []
  hold_time:
    description: Seconds for which nobody else may take a node that the site has. Whoever began the run may go on with it at any time.
    type: int
    default: 3600
  site_time:
    description: Seconds that the site is expected to have a node, for the plan and O(end_by). What it has really taken counts when that is more.
    type: int
    default: 0
  step:
    description: RV(step) of the task before, for the next step of the same run. O(deadline) counts from the first.
    type: dict
    suboptions:
      run:
        description: Name of the run.
        type: str
        required: true
      began:
        description: When it began.
        type: str
        required: true
  handed_back:
    description: The nodes of which the site is done. Those that are not named stay with it.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the node.
        type: str
        required: true
      failed:
        description: What went wrong. The node is put aside then.
        type: str
requirements:
  - kubernetes >= 28.1.0
  - jmespath, for O(health)
notes:
  - Rules needed in the cluster - those of M(okd.virt.node_drain), with C(list) and C(watch) on all C(pods) and C(nodes).
  - With O(health) also C(get) or C(list) on what it names. With O(stop_on_alerts) also C(get) on C(services/proxy) of that service.
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

- name: No further node while anything critical fires in an Alertmanager of the site
  okd.virt.rolling_drain:
    machine_config_pool: worker
    stop_on_alerts:
      path: /api/v1/namespaces/monitoring/services/http:alertmanager-main:9093/proxy
      names: [VMCannotBeEvicted]
      ignore: [Watchdog]

- name: Drain nodes until the site has one that is empty
  okd.virt.rolling_drain:
    machine_config_pool: worker
    hold_for: [after]
  register: turn

- name: Hand it back, and go on
  okd.virt.rolling_drain:
    machine_config_pool: worker
    hold_for: [after]
    step: "{{ turn.step }}"
    handed_back: "{{ turn.held }}"
  register: turn
  when: turn.held | length > 0

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
    - Each node with its C(state) (C(done), C(quarantined), C(to_come), or C(preparing) and C(empty) for what the site has); C(vms_moved) by this run, earlier
      steps included; what this task has moved and evicted, what is left and pending as in M(okd.virt.node_drain); what blocked it; and why it was not done,
      with C(code) and C(reason).
  returned: always
  type: list
  elements: dict
  sample:
    - {"name": "worker-3", "state": "done", "vms_moved": 21, "seconds": 212.5, "moved": [], "evicted": [], "left": [], "pending": []}
quarantined:
  description: The nodes that are put aside, each with C(code) (C(cannot_leave), C(stuck), C(deadline), C(site_failed)) and C(reason).
  returned: always
  type: list
  elements: dict
  sample:
    - {"name": "worker-7", "code": "site_failed", "reason": "what the site does after the drain failed: Flash the firmware: no such firmware"}
held:
  description: The nodes that the site has, each with its C(moment), C(before) or C(after) its drain. Empty when the run is over, and in check mode.
  returned: always
  type: list
  elements: dict
  sample:
    - {"name": "worker-3", "moment": "after"}
step:
  description: What the next task takes as O(step), as long as the site has nodes.
  returned: always
  type: dict
  sample: {"run": "5f0c2a91", "began": "2026-05-01T01:00:00Z"}
order:
  description:
    - The turns as they are expected to come, up to 100 of them - when each node begins and ends, in seconds from the start (C(null) for never), C(beside) which
      others, how many C(vms) move and how many of those C(again) later, and the memory that is free on the other nodes before and after.
    - The scheduler, not the plan, says where VMs go, so that a run may choose another order from the second turn on.
  returned: in check mode, where nodes and pods of the whole cluster can be listed
  type: list
  elements: dict
  sample:
    - {"name": "worker-3", "begins": 0.0, "ends": 41.5, "beside": [], "vms": 12, "again": 4,
       "spare_memory": {"before_bytes": 412316860416, "after_bytes": 309237645312}}
placement:
  description:
    - Whether all nodes in turn find places on the other nodes - C(fits) wherever the scheduler puts them, C(tight) where it depends on that, C(does_not_fit).
  returned: in check mode, where nodes and pods of the whole cluster can be listed, and nodes are given back
  type: str
  sample: fits
spare_memory:
  description:
    - The least memory that is free on the nodes that stay, at any turn; what is recommended (C(max_parallel) times the highest total of VM memory requests on a
      node); and whether all that leaves has room at each turn.
  returned: as RV(order)
  type: dict
  sample: {"lowest_bytes": 309237645312, "rule_bytes": 128849018880, "rule_holds": true}
expected:
  description: Seconds that all of it may take, and the assumptions that this rests on.
  returned: as RV(order)
  type: dict
  sample: {"seconds": 831.0, "assumptions": ["all of the guest's memory is in use and is sent"]}
held_back:
  description: Why the rest would not be begun, where the plan does not get to the end. Empty otherwise.
  returned: as RV(order)
  type: str
  sample: ""
not_foreseen:
  description: How many nodes RV(order) does not have.
  returned: as RV(order)
  type: int
  sample: 0
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
  sample: {"nodes": 20, "drained": 20, "quarantined": 0, "not_begun": 0, "held": 0, "vms_moved": 428, "requests": 1243}
code:
  description: Why the task failed, in one word - C(quarantined), C(not_done), C(cannot_leave), C(held), C(lost).
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
