# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes are drained, and how; the twin of drain_spec in module_utils/_options.py."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation shared by the verbs that drain nodes."""

    DOCUMENTATION = r"""
options:
  names:
    description: Names of nodes.
    type: list
    elements: str
    default: []
    aliases: [name, node]
  label_selector:
    description: Nodes by their labels.
    type: str
  machine_config_pool:
    description: Nodes of a MachineConfigPool, by its C(spec.nodeSelector).
    type: str
  pod_selector:
    description: Only pods with these labels, such as C(kubevirt.io=virt-launcher) for VMs alone. Other pods stay, and are not looked at.
    type: str
  vms_first:
    description: Whether other pods are evicted only when no VM is left that can move. A drain that is given up has then disturbed nobody else.
    type: bool
    default: true
  grace_period:
    description: Seconds that evicted pods get to end. V(0) means at once; without it each pod's own period holds.
    type: int
  delete_emptydir_data:
    description: Whether pods with C(emptyDir) volumes may be evicted, which loses what is in them. Launcher pods of VMs that migrate lose nothing.
    type: bool
    default: false
  ignore_daemonsets:
    description: Whether pods of DaemonSets are left alone. With V(false) they refuse the drain.
    type: bool
    default: true
  evict_uncontrolled:
    description: Whether pods that no controller would make anew may be evicted.
    type: bool
    default: false
  on_unmigratable:
    description:
      - What to do with VMs that can't live-migrate.
      - V(refuse) changes nothing and says why. V(skip) leaves them on the node. V(stop_and_restart) stops them and starts them again elsewhere.
    type: str
    choices: [refuse, skip, stop_and_restart]
    default: refuse
  move_by:
    description:
      - V(migration) makes the migrations itself, as many as there are free slots. No VM is marked, so that a drain can be cancelled without a trace,
        and also VMs whose C(evictionStrategy) is C(None) move in place of being shut down.
      - V(eviction) asks the API server to evict the launcher pods, as C(oc adm drain) does; KubeVirt marks the VMs and makes the migrations. It does not need
        the right to make migrations.
    type: str
    choices: [migration, eviction]
    default: migration
  marked_ahead:
    description: With O(move_by=eviction), how many VMs more than there are free slots may be marked.
    type: int
    default: 0
  migration_attempts:
    description: How often the migration of a VM may fail before it counts as one that can't leave. Between attempts there are 20 s, doubled each time.
    type: int
    default: 5
  take_over:
    description: Whether to go on in the place of somebody who is draining the node now.
    type: bool
    default: false
  metrics_path:
    description:
      - A path of the API server at which KubeVirt's metrics can be read (C(kubevirt_vmi_migration_data_*)). Signs of life then say how much of a VM's memory
        is copied. Needs C(get) on that path.
    type: str
"""
