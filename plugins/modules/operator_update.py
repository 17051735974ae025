#!/usr/bin/python
# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: operator_update
short_description: Update OKD Virtualization through OLM to exactly one version
description:
  - Finds the Subscription of OKD or OpenShift Virtualization, shows the whole InstallPlan, approves it when it installs exactly the version asked for,
    and follows the update until ClusterServiceVersion, HyperConverged and KubeVirt all have arrived and are healthy.
  - An InstallPlan is approved only in phase C(RequiresApproval), and only as it was shown. When it changes in between it is judged again.
  - While KubeVirt updates, it and the HyperConverged report C(Degraded) with reason C(KubeVirtDegraded). That is normal and waited out. What is not normal
    and lasts longer than O(problem_timeout) stops the task with its reason, and so does at once what never mends itself.
  - The run can be killed at any time and started again. It goes on where the cluster is.
extends_documentation_fragment:
  - okd.virt.attributes
  - okd.virt.auth
  - okd.virt.wait
options:
  target_version:
    description:
      - The version to update to, such as V(1.15.0) (OKD) or V(4.19.0) (OpenShift), or the name of its ClusterServiceVersion.
      - Needed with O(approve=true). A version without a patch number is refused, since it does not name one ClusterServiceVersion.
    type: str
  approve:
    description:
      - Whether to approve the InstallPlan. With V(false) nothing is ever written. An update to O(target_version) is followed if it runs already; without
        O(target_version) the module only reports where things stand.
    type: bool
    default: true
  intermediate_versions:
    description:
      - Versions that may be approved on the way to O(target_version) when the catalogue offers no direct step.
      - Each is followed to its end before the next approval.
    type: list
    elements: str
    default: []
  allow_other_operators:
    description:
      - Other operators whose ClusterServiceVersions may be in the InstallPlan. OLM makes one plan for all Subscriptions of a namespace,
        so its approval may update more than OKD Virtualization. Without this option such a plan is shown and refused.
      - Each is the name of a ClusterServiceVersion, of a package, or of an operator.
    type: list
    elements: str
    default: []
  on_automatic:
    description:
      - What to do when the Subscription approves updates by itself (C(installPlanApproval) V(Automatic)), so that nobody can hold the update back.
      - With V(follow) the update is followed with a warning; with V(fail) the task fails before anything is done.
    type: str
    choices: [follow, fail]
    default: follow
  namespace:
    description: Namespace of the Subscription, when there is more than one or when subscriptions may not be listed in the whole cluster.
    type: str
  subscription:
    description: Name of the Subscription, when it is not the one of the package of OKD or OpenShift Virtualization.
    type: str
  wait_timeout:
    description:
      - How long the whole update may take, in seconds.
      - When it has not arrived by then the task fails and says what is missing and why.
    type: int
    default: 3600
  install_plan_timeout:
    description: How long OLM may take to offer the InstallPlan, in seconds.
    type: int
    default: 600
  problem_timeout:
    description: How long something that a normal update does not show may last before the task stops, in seconds.
    type: int
    default: 300
requirements:
  - kubernetes >= 28.1.0
notes:
  - Rules needed in the operator's namespace - C(list) and C(watch) on C(subscriptions), C(installplans) and C(clusterserviceversions) of
    C(operators.coreos.com), on C(hyperconvergeds.hco.kubevirt.io) and on C(kubevirts.kubevirt.io), C(get) on C(operatorconditions.operators.coreos.com).
  - With O(approve=true) also C(get) and C(patch) on C(installplans.operators.coreos.com).
  - Rules needed in the whole cluster - C(list) on C(subscriptions.operators.coreos.com) unless O(namespace) is given. C(get) on
    C(clusterroles.rbac.authorization.k8s.io) tells whether the roles of 4.19 are in force; without it that is left open.
seealso:
  - module: okd.virt.migrate_access_info
  - module: okd.virt.temporary_migrate_role
author:
  - The okd.virt contributors (@okd-virt)
"""

EXAMPLES = r"""
- name: Update to 1.15.0 and wait until everything is there
  okd.virt.operator_update:
    target_version: 1.15.0
    wait_timeout: 3600

- name: Update although another operator is in the same InstallPlan
  okd.virt.operator_update:
    target_version: kubevirt-hyperconverged-operator.v4.19.0
    allow_other_operators: [kubernetes-nmstate-operator]

- name: Follow an update that somebody else approved
  okd.virt.operator_update:
    target_version: 1.15.0
    approve: false

- name: Look at the versions and at the InstallPlan without touching anything
  okd.virt.operator_update:
    approve: false
"""

RETURN = r"""
msg:
  description: What was done, in a sentence.
  returned: always
  type: str
  sample: OKD Virtualization is at 1.15.0 and healthy.
actions:
  description: The changes made, or in check mode the changes that would be made.
  returned: always
  type: list
  elements: dict
  sample:
    - verb: approve
      kind: InstallPlan
      namespace: kubevirt-hyperconverged
      name: install-abcde
      reason: it installs kubevirt-hyperconverged-operator.v1.15.0
summary:
  description: Counts.
  returned: always
  type: dict
  sample: {"approved": 1}
operator:
  description: Where the update stands.
  returned: always
  type: dict
  contains:
    step:
      description: What comes next (C(done), C(approve), C(wait for the InstallPlan), C(wait), C(stop)); empty without O(target_version).
      type: str
      returned: always
      sample: done
    namespace:
      description: The operator's namespace.
      type: str
      returned: always
      sample: kubevirt-hyperconverged
    subscription:
      description: The Subscription's name.
      type: str
      returned: always
      sample: hco-operatorhub
    package:
      description: The package it follows.
      type: str
      returned: always
      sample: community-kubevirt-hyperconverged
    flavour:
      description: V(OKD) or V(OpenShift).
      type: str
      returned: always
      sample: OKD
    approval:
      description: V(Manual) or V(Automatic).
      type: str
      returned: always
      sample: Manual
    state:
      description: The Subscription's state.
      type: str
      returned: always
      sample: AtLatestKnown
    installed_csv:
      description: The ClusterServiceVersion that OLM has installed.
      type: str
      returned: always
      sample: kubevirt-hyperconverged-operator.v1.15.0
    current_csv:
      description: The ClusterServiceVersion that OLM offers or installs.
      type: str
      returned: always
      sample: kubevirt-hyperconverged-operator.v1.15.0
    target_csv:
      description: The ClusterServiceVersion asked for.
      type: str
      returned: always
      sample: kubevirt-hyperconverged-operator.v1.15.0
    hyperconverged_version:
      description: The version the HyperConverged reports, which changes when an update is complete.
      type: str
      returned: always
      sample: 1.15.0
    kubevirt_version:
      description: The version KubeVirt reports as observed.
      type: str
      returned: always
      sample: v1.5.3
    outdated_workloads:
      description: Number of VirtualMachineInstances that still run in an old launcher.
      type: int
      returned: always
      sample: 0
    migrate_role_exists:
      description: Whether the ClusterRole C(kubevirt.io:migrate) exists, that is, whether the roles of 4.19 are in force.
      type: bool
      returned: always
      sample: true
    install_plan:
      description: The InstallPlan that is next or was last, with everything it installs.
      type: dict
      returned: always
      sample: {"name": "install-abcde", "phase": "Complete", "cluster_service_versions": ["kubevirt-hyperconverged-operator.v1.15.0"]}
pending:
  description: What keeps the update from being done.
  returned: always
  type: list
  elements: str
  sample: []
problems:
  description: What a normal update does not show.
  returned: always
  type: list
  elements: str
  sample: []
timeline:
  description: What happened when, in seconds from the start.
  returned: always
  type: list
  elements: dict
  sample:
    - offset: 1.2
      event: "InstallPlan install-abcde: RequiresApproval -> Installing"
"""

from ansible_collections.okd.virt.plugins.module_utils._module import run_module
from ansible_collections.okd.virt.plugins.module_utils.update.verb import VERB


def main() -> None:
    run_module(VERB)


if __name__ == "__main__":
    main()
