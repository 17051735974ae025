#!/usr/bin/python
# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: live_migration_config
short_description: Set how VMs live-migrate, for good or for a while
description:
  - Sets the fields of C(spec.liveMigrationConfig) in the HyperConverged, and waits until KubeVirt has taken them over.
  - Says for each setting what HyperConverged and KubeVirt have, what holds, and which MigrationPolicies say otherwise for their VMs.
    Without any setting that is all it does.
  - Refuses values that HyperConverged takes although nothing would work with them, such as no migration at once, or a bandwidth that
    KubeVirt rounds to unlimited.
  - Settings for a while (O(state=temporary)) are put back by O(state=restored), by any later run, on any machine - what was there before stands on the
    HyperConverged itself, in its annotation C(okd.virt/temporary-live-migration-config), from the moment on in which they are changed.
  - A profile (O(profile)) is a set of settings computed from the cluster for a purpose. Check mode and the result say what it sets, why, and what is
    predicted for the slowest VMs before and after.
extends_documentation_fragment:
  - okd.virt.attributes
  - okd.virt.auth
  - okd.virt.loads
  - okd.virt.wait
options:
  state:
    description:
      - V(present) sets what is given, for good.
      - V(temporary) does so for a while and records what was there before, in one write. What is set for a while can't be set for good until it is restored.
      - V(restored) puts back what was there before. What somebody has changed in the meantime stays, with a warning.
    type: str
    choices: [present, temporary, restored]
    default: present
  namespace:
    description: Namespace of the HyperConverged. Without it all namespaces are searched, which needs the right to list them everywhere.
    type: str
  parallel_migrations_per_cluster:
    description: How many VMs may migrate at once in the cluster. HyperConverged has 5 by default.
    type: int
  parallel_outbound_migrations_per_node:
    description: How many VMs may migrate out of a node at once. HyperConverged has 2 by default.
    type: int
  bandwidth_per_migration:
    description:
      - The most that one migration sends, in bytes per second, as a quantity such as V(64Mi). V(0) is unlimited, and so is the default.
      - Less than V(1Mi) is refused, since KubeVirt rounds it to unlimited.
    type: str
  completion_timeout_per_gib:
    description:
      - Seconds for each begun 10^9 bytes of memory after which a migration is given up, or turned to post-copy. 150 by default, V(0) for never.
    type: int
  progress_timeout:
    description: Seconds without progress after which a migration is given up. 150 by default, V(0) for never.
    type: int
  allow_auto_converge:
    description: Whether the CPUs of a VM are slowed down when it writes faster than it is copied. Not by default.
    type: bool
  allow_post_copy:
    description:
      - Whether a VM that is not copied in time goes on at the target while the rest of its memory follows. Not by default.
      - If either node or the network fails in the meantime the VM is lost.
    type: bool
  network:
    description:
      - Name of the NetworkAttachmentDefinition for migrations, in the namespace of the HyperConverged. The network of pods by default.
      - Before it is set it is looked at as far as the API tells, and refused with a C(code), the object and a remedy where it can't do - see RV(network).
      - Setting it rolls out virt-handler anew on every node, which is waited for. That virt-handler has an address of it everywhere is then verified.
    type: str
  accepted_network_problems:
    description:
      - Problems of the network, by their codes, with which it is set all the same. They become warnings.
      - The others can't be accepted, since virt-handler would start on no node any more.
    type: list
    elements: str
    choices:
      - network_range_too_small
      - network_addresses_not_unique
      - network_overlap
      - network_link_missing
      - network_resource_missing
      - network_not_on_every_node
    default: []
  defaults:
    description: Settings that go back to the default of HyperConverged.
    type: list
    elements: str
    choices:
      - parallel_migrations_per_cluster
      - parallel_outbound_migrations_per_node
      - bandwidth_per_migration
      - completion_timeout_per_gib
      - progress_timeout
      - allow_auto_converge
      - allow_post_copy
      - network
    default: []
  take_over:
    description: With O(state=temporary), whether to add to the settings that somebody else has for a while. All of them are restored together.
    type: bool
    default: false
  profile:
    description:
      - Settings computed from the number of nodes, the VMs that run, the settings that hold, and the speed of the links. What is given beside it wins.
      - V(balanced) leaves half of a link to the VMs and the storage. V(fast_window) empties nodes as fast as a window allows. V(heavy_workloads) gives each
        migration all that there is, and more time, for large and busy VMs. V(gentle) moves one VM after the other out of a node with a fifth of its link.
      - A profile sets both limits of migrations at once, the bandwidth and both time-outs. It leaves the network alone, and auto-converge and post-copy too,
        but for O(profile_may).
      - A profile is computed when the task runs. When the cluster becomes another one its numbers stay until it is run again.
    type: str
    choices: [balanced, fast_window, heavy_workloads, gentle]
  profile_may:
    description:
      - What V(heavy_workloads) may switch on, where VMs whose load is known would not get over otherwise. Without it the result says what it would do.
      - V(auto_converge) slows down the CPUs of VMs that write faster than they are copied.
      - V(post_copy) lets a VM go on at the target before its memory is there. If either node or the network fails in the meantime the VM is lost.
      - What is switched on holds for all VMs; a MigrationPolicy does so for some.
    type: list
    elements: str
    choices: [auto_converge, post_copy]
    default: []
  wait_timeout:
    description: Seconds to wait at most until KubeVirt has taken over the settings, and virt-handler runs with the network.
    type: int
    default: 600
requirements:
  - kubernetes >= 28.1.0
notes:
  - Rules needed - C(list), C(watch) and C(patch) on C(hyperconvergeds.hco.kubevirt.io); C(list) and C(watch) on C(kubevirts.kubevirt.io).
  - For O(network) also C(list), or at least C(get), on C(network-attachment-definitions.k8s.cni.cncf.io), C(list) and C(watch) on C(daemonsets.apps).
    To look at the network well and to verify it, C(list) on C(nodes), on C(pods) in the namespace of the HyperConverged, on
    C(virtualmachineinstancemigrations.kubevirt.io) and C(nodenetworkstates.nmstate.io), and C(get) on C(networks.config.openshift.io). What can't be read is
    said not to be known.
  - HyperConverged is read and written in C(v1beta1) as long as the cluster serves it, else in C(v1), where the settings are in
    C(spec.virtualization.liveMigrationConfig). Defaults are those of the cluster's own schema.
  - For O(profile) and O(loads) also C(list) on C(nodes), C(namespaces), C(virtualmachineinstances.kubevirt.io), C(virtualmachines.kubevirt.io) and
    C(migrationpolicies.migrations.kubevirt.io), and without O(link_speed) on C(nodenetworkstates.nmstate.io), else 10 Gbit/s are assumed.
  - To say which policies matter, C(list) on C(migrationpolicies.migrations.kubevirt.io). Without it a warning tells that it is not known.
seealso:
  - module: okd.virt.migration_policy
  - module: okd.virt.readiness_info
  - module: okd.virt.rolling_drain
  - module: okd.virt.migration_info
author:
  - The okd.virt contributors (@okd-virt)
"""

EXAMPLES = r"""
- name: Three VMs at once out of a node, each with at most 512 MiB a second
  okd.virt.live_migration_config:
    parallel_outbound_migrations_per_node: 3
    bandwidth_per_migration: 512Mi

- name: Back to the defaults
  okd.virt.live_migration_config:
    defaults: [parallel_outbound_migrations_per_node, bandwidth_per_migration]

- name: A drain with more migrations at once, and the old settings afterwards in any case
  block:
    - name: More at once for the window
      okd.virt.live_migration_config:
        state: temporary
        parallel_migrations_per_cluster: 10
        parallel_outbound_migrations_per_node: 4

    - name: Drain the node
      okd.virt.node_drain:
        names: [worker-3]
  always:
    - name: Put the settings back
      okd.virt.live_migration_config:
        state: restored

- name: Migrations over a network of their own, which overlaps another one on purpose
  okd.virt.live_migration_config:
    network: migration-network
    accepted_network_problems: [network_overlap]

- name: What would be set for a window, why, and what it means for the slowest VMs
  okd.virt.live_migration_config:
    profile: fast_window
    link_speed: 25G
  check_mode: true
  register: found

- name: Busy databases get over, slowed down if it must be, but never by post-copy
  okd.virt.live_migration_config:
    state: temporary
    profile: heavy_workloads
    profile_may: [auto_converge]
    loads:
      - {namespace: shop, name: database, dirty_rate: 400Mi, working_set: 6Gi, non_zero: 28Gi}

- name: Would this VM get over with the settings that hold now, and what would help
  okd.virt.live_migration_config:
    loads:
      - {namespace: shop, name: database, dirty_rate: 400Mi, working_set: 6Gi}
  register: found

- name: Only show what holds
  okd.virt.live_migration_config:
  register: found
"""

RETURN = r"""
msg:
  description: What was done, in a sentence.
  returned: always
  type: str
  sample: "HyperConverged kubevirt-hyperconverged/kubevirt-hyperconverged: parallelOutboundMigrationsPerNode 2 -> 3."
settings:
  description:
    - Each setting by its option, with the C(value) that holds, its C(default), what C(hyperconverged) and C(kubevirt) say, and the C(policies) that
      say otherwise for the VMs that they match.
    - In check mode they are as they are before the change.
  returned: always
  type: dict
  sample:
    progress_timeout: {"value": 150, "default": 150, "hyperconverged": 150, "kubevirt": 150, "policies": {}}
differences:
  description:
    - Settings of the KubeVirt that are not what HyperConverged says. The C(cause) is C(json_patch) for the annotation
      C(kubevirt.kubevirt.io/jsonpatch), or C(out_of_band) for a change of the KubeVirt itself.
  returned: always
  type: list
  elements: dict
  sample:
    - {"key": "allowWorkloadDisruption", "hyperconverged": null, "kubevirt": true, "cause": "json_patch", "reason": "allowWorkloadDisruption is true ..."}
network:
  description:
    - The network for migrations - the one that is set, in check mode the one that is asked for. Null when they use the network of pods.
    - C(ranges) are its addresses as far as its configuration says, C(addresses) those that virt-handler has on its interface C(migration0), by node, and
      C(without) the nodes on which it has none.
    - C(migrations) are those that began since virt-handler has started on their target, each with the C(address) that it went to, and whether that is C(on_network).
    - C(used) says whether migrations use it, null while neither addresses nor migrations tell. C(sentence) says so in words.
    - C(problems) are what stands in its way, each with C(code), C(object), C(sentence), C(remedy) and C(data). C(unknown) are sentences on what could not be looked at.
  returned: always
  type: dict
  sample:
    name: migration-network
    ranges: [192.168.250.0/24]
    addresses: {"worker-1": ["192.168.250.1"], "worker-2": ["192.168.250.2"]}
    without: []
    migrations:
      - {"migration": "kubevirt-migrate-vm-7xk2p", "vm": "shop/db", "node": "worker-2", "address": "192.168.250.2", "on_network": true,
         "at": "2026-05-01T22:10:00Z"}
    used: true
    sentence: virt-handler has addresses of migration-network on 2 nodes, and 1 migrations since went to them
    problems: []
    unknown: []
temporary:
  description: What is set for a while, by whom and since when, with the values before. Null when nothing is.
  returned: always
  type: dict
  sample: {"holder": "admin", "since": "2026-05-01T22:00:00Z", "before": {"progressTimeout": 150}, "set": {"progressTimeout": 300}}
profile:
  description:
    - The profile that was asked for, null for none - the C(link) speed and where it is known from (C(option), C(node_network_state), C(assumption)), how many
      C(nodes) take VMs, how many C(vms) run, of how many the load is known, and each of its C(settings) with the reason. C(overruled_by) is what was given
      beside it. C(notes) say what it does not do.
  returned: always
  type: dict
  sample:
    name: balanced
    link: {"bits_per_second": 10000000000, "source": "option", "sentence": "the nodes' links carry 10 Gbit/s, as link_speed says"}
    nodes: 6
    vms: 41
    vms_of_known_load: 3
    settings:
      - option: bandwidth_per_migration
        value: 254Mi
        reason: "half of the link is left to the VMs and the storage: 596 MiB/s of 1192 MiB/s for 2 at once, less the 17% that ..."
        overruled_by: null
    notes: []
predictions:
  description:
    - With O(profile) or O(loads), the VMs that do not get over or take longest, the worst first - what is predicted C(before) and C(after), on which
      C(assumptions), where the load is known from (C(load_from)), whether the answer is C(close) to being the other one, and which C(remedies) would get it over,
      each with its settings and its predicted time.
    - The C(outcome) is C(converges), C(post_copy), C(paused), C(given_up) or C(never_ends).
  returned: always
  type: list
  elements: dict
  sample:
    - namespace: shop
      name: database
      before: {"outcome": "given_up", "converges": false, "seconds": 7804.7, "sentence": "KubeVirt gives it up after 7800 s (completionTimeoutPerGiB)"}
      after: {"outcome": "converges", "converges": true, "seconds": 84.0, "sentence": "it is over after 84 s"}
summary:
  description: Counts.
  returned: always
  type: dict
  sample: {"changes": 1, "differences": 0}
code:
  description:
    - Why it failed, in one word. Nothing was changed with C(temporary), C(held), and the problems of a network - C(network_missing),
      C(network_config_invalid), C(network_without_addresses), and those that can be accepted.
    - With C(network_not_used) the network is set, and virt-handler has no address of it on some node.
  returned: on failure
  type: str
  sample: network_missing
actions:
  description: The changes made, or in check mode the changes that would be made.
  returned: always
  type: list
  elements: dict
  sample:
    - {"verb": "patch", "kind": "HyperConverged", "namespace": "kubevirt-hyperconverged", "name": "kubevirt-hyperconverged",
       "reason": "progressTimeout 150 -> 300", "before": {"spec": {"liveMigrationConfig": {"progressTimeout": 150}}},
       "after": {"spec": {"liveMigrationConfig": {"progressTimeout": 300}}}}
problems:
  description: The problems of a network that is refused, as in RV(network).
  returned: when a network is refused
  type: list
  elements: dict
  sample:
    - {"code": "network_missing", "object": "NetworkAttachmentDefinition kubevirt-hyperconverged/fast", "sentence": "it is not there; one of that name is ...",
       "remedy": "Make it in kubevirt-hyperconverged, ...", "data": {"elsewhere": ["default"]}}
timeline:
  description: What happened when, in seconds from the start.
  returned: always
  type: list
  elements: dict
  sample: []
"""

from ansible_collections.okd.virt.plugins.module_utils._module import run_module
from ansible_collections.okd.virt.plugins.module_utils.tuning.config import VERB


def main() -> None:
    run_module(VERB)


if __name__ == "__main__":
    main()
