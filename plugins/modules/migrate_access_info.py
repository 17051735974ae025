#!/usr/bin/python
# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may live-migrate, why, and who will not any more in 4.19."""

from __future__ import annotations

DOCUMENTATION = r"""
module: migrate_access_info
short_description: See who may live-migrate VMs, and who will lose it with 4.19
description:
  - OKD Virtualization 4.19 takes live migration from the ClusterRoles C(kubevirt.io:admin) and C(kubevirt.io:edit), and so from everybody who has it by the
    roles C(admin) and C(edit) of a namespace. It adds the ClusterRole C(kubevirt.io:migrate), which is bound to nobody.
  - This module reads roles and bindings once, in pages, and computes who may create and delete VirtualMachineInstanceMigrations and update
    C(virtualmachines/migrate), where, and by which chain of binding, role and aggregated role; and what becomes of it with 4.19.
  - What is computed is proven by SubjectAccessReviews, by default for a sample.
  - RBAC names subjects that may not exist, and groups without saying who is in them. Members are known where the API has C(Group) objects (OpenShift).
  - Groups that hold everybody, such as C(system:authenticated), are entries of their own; what they have in single namespaces isn't repeated for each subject.
  - Rules that are restricted by C(resourceNames) don't count as access; they are in RV(facts).
author:
  - The okd.virt contributors (@okd-virt)
extends_documentation_fragment:
  - okd.virt.auth
  - okd.virt.attributes.info
options:
  namespaces:
    description:
      - Look at these namespaces only. Access to the whole cluster is shown in any case.
      - Up to 20 namespaces are read one by one, so that rights in these namespaces suffice; see the notes.
      - An entry may hold several names, one a line, as surveys give them.
    type: list
    elements: str
  namespace_selector:
    description: Look at the namespaces with these labels only, for example V(tier=gold).
    type: str
  with_vms_only:
    description: Leave out namespaces without VirtualMachines and VirtualMachineInstances.
    type: bool
    default: false
  subjects:
    description:
      - Look at these subjects only, written V(user:NAME), V(group:NAME) or V(serviceaccount:NAMESPACE:NAME).
      - What a user has by OpenShift groups counts. Who has no access is in RV(without_access).
    type: list
    elements: str
  system_subjects:
    description:
      - Show subjects of the platform too, such as C(system:masters), KubeVirt's own service accounts, and those of C(kube-*) and C(openshift-*) namespaces.
      - Without it they are only counted, in RV(summary).
    type: bool
    default: false
  expand_groups:
    description: Show each member of an OpenShift group as a user too.
    type: bool
    default: true
  outlook:
    description:
      - The case that RV(access[].loses), RV(lost) and C(loses) in RV(summary) are about. RV(ways[].outlooks) has all of them.
      - With V(as_is), 4.19 with the temporary role if it exists now, and without it if it doesn't.
      - With V(without_temporary_role), 4.19 with the temporary role deleted.
      - With V(aggregate_to_admin), 4.19 with the temporary role as documented, which does not help those who have C(edit).
      - With V(aggregate_to_edit), 4.19 with the temporary role aggregated to C(admin) and C(edit).
    type: str
    choices: [as_is, without_temporary_role, aggregate_to_admin, aggregate_to_edit]
    default: as_is
  temporary_role:
    description: Name of the temporary ClusterRole, see M(okd.virt.temporary_migrate_role).
    type: str
    default: kubevirt.io:upgrademigrate
  verify:
    description:
      - Which part of the computed access is held against SubjectAccessReviews of the API server.
      - With V(sample), O(sample_size) subjects and places, other ones each time, also some without access.
        Without the permission to create reviews there is a warning.
      - With V(all) or V(true), everything in RV(access), and for each subject one namespace in which it has none.
      - With V(none) or V(false), nothing.
      - A disagreement that remains when the roles and bindings have been read once more is a failure.
    type: str
    choices: ["none", "false", sample, all, "true"]
    default: sample
  sample_size:
    description: Subjects and places to verify with O(verify=sample). There are three reviews for each.
    type: int
    default: 20
  table:
    description:
      - Print a table of subjects, namespaces, rights now and rights in 4.19 while the task runs.
      - Needs a local connection, as all output of running tasks. To print results use P(okd.virt.access_table#filter).
    type: bool
    default: false
notes:
  - Rules needed - V(list) on C(clusterroles.rbac.authorization.k8s.io), C(clusterrolebindings.rbac.authorization.k8s.io),
    C(roles.rbac.authorization.k8s.io) and
    C(rolebindings.rbac.authorization.k8s.io); V(list) on C(groups.user.openshift.io) where they exist (a warning without it). With O(verify) V(create) on
    C(subjectaccessreviews.authorization.k8s.io). With O(namespaces) and O(namespace_selector) V(get) and V(list) on C(namespaces). With O(with_vms_only)
    V(list)
    on C(virtualmachines.kubevirt.io) and C(virtualmachineinstances.kubevirt.io).
  - With up to 20 names in O(namespaces) the rules on C(roles) and C(rolebindings) are needed in these namespaces only.
seealso:
  - module: okd.virt.temporary_migrate_role
  - module: okd.virt.migrate_role_binding
  - module: okd.virt.migrate_role_aggregation
"""

EXAMPLES = r"""
- name: See who may live-migrate, and who will lose it with 4.19
  okd.virt.migrate_access_info:
    kubeconfig: ~/.kube/config
    table: true
  register: audit

- name: See who would lose it in spite of the temporary role as documented
  okd.virt.migrate_access_info:
    with_vms_only: true
    outlook: aggregate_to_admin

- name: Prove that two subjects have it
  okd.virt.migrate_access_info:
    subjects:
      - user:alice
      - serviceaccount:ci:pipeline
    verify: all
  register: proof
  failed_when: proof.without_access | length > 0
"""

RETURN = r"""
access:
  description:
    - Who has at least one of the rights now. One entry for each subject in the whole cluster, and one for each subject and the namespaces in which it
      fares alike.
    - Rights in a namespace include those that the subject has in the whole cluster, and those of its groups.
  returned: always
  type: list
  elements: dict
  contains:
    subject:
      description: The subject in one word.
      returned: always
      type: str
      sample: user:alice
    kind:
      description: V(User), V(Group) or V(ServiceAccount).
      returned: always
      type: str
      sample: User
    name:
      description: Name of the subject.
      returned: always
      type: str
      sample: alice
    namespace:
      description: Namespace of a service account, else empty.
      returned: always
      type: str
      sample: ""
    scope:
      description: V(cluster) or V(namespaces).
      returned: always
      type: str
      sample: namespaces
    namespaces:
      description: The namespaces; empty with V(cluster).
      returned: always
      type: list
      elements: str
      sample: [team-blue, team-green]
    rights:
      description: Whether it may C(create) and C(delete) VirtualMachineInstanceMigrations, and C(migrate) (update C(virtualmachines/migrate)).
      returned: always
      type: dict
      sample: {create: true, delete: true, migrate: true}
    may_migrate:
      description: Whether it may start live migrations, which C(create) and C(migrate) both allow.
      returned: always
      type: bool
      sample: true
    bindings:
      description: Names of the bindings, with their namespaces, by the name of the role that they refer to.
      returned: always
      type: dict
      sample:
        admin: [team-blue/admins, team-green/admins]
    way:
      description: Which of RV(ways) it is that the subject has its rights by.
      returned: always
      type: int
      sample: 0
    loses:
      description: Whether it loses any of the rights in the case of O(outlook).
      returned: always
      type: bool
      sample: true
    reason:
      description: Why it loses or keeps them.
      returned: always
      type: str
      sample: admin has it by kubevirt.io:admin, which only reads migrations in 4.19
    system:
      description: The platform itself acts under this name.
      returned: with O(system_subjects), for those
      type: bool
      sample: true
ways:
  description:
    - By which ways subjects have their rights, and what becomes of them; RV(access[].way) is a position in this list.
  returned: always
  type: list
  elements: dict
  contains:
    chains:
      description:
        - C(role_kind) and C(role) are what the bindings refer to, C(through) leads from there over aggregated roles to the one whose own rules they are,
          C(group) is the group by which the subject is reached (empty when the binding names the subject itself), C(rights) are the rights of this chain.
      returned: always
      type: list
      elements: dict
      sample:
        - role_kind: ClusterRole
          role: admin
          through: [admin, kubevirt.io:admin]
          group: ""
          rights: [create, delete, migrate]
    after_update:
      description:
        - What becomes of it in the case of O(outlook). C(rights) and C(may_migrate) as in RV(access), C(lost) and C(gained) rights, C(lasts) (false when
          only the temporary
          role holds them), and C(reason_code).
        - The codes are V(shipped_roles_reduced) and V(temporary_role_deleted) for a loss, else V(wildcard_rule), V(bound_to_migrate_role),
          V(migrate_role_aggregated), V(other_role) or V(temporary_role).
      returned: always
      type: dict
      sample:
        rights: {create: false, delete: false, migrate: false}
        may_migrate: false
        lost: [create, delete, migrate]
        gained: []
        reason_code: shipped_roles_reduced
        lasts: false
    outlooks:
      description: The rights that it loses in each of the cases of O(outlook).
      returned: always
      type: dict
      sample:
        as_is: [create, delete, migrate]
        without_temporary_role: [create, delete, migrate]
        aggregate_to_admin: []
        aggregate_to_edit: []
    may_pass_on:
      description: Whether it may bind others to C(kubevirt.io:migrate), once that exists, with the rules that it has now.
      returned: always
      type: bool
      sample: true
    may_evict:
      description: Whether it may cause migrations without the right, by evicting pods.
      returned: always
      type: bool
      sample: true
lost:
  description: The subjects that lose a right somewhere in the case of O(outlook).
  returned: always
  type: list
  elements: str
  sample: [user:alice]
groups:
  description: The members of the groups in RV(access), where the API has objects of them.
  returned: always
  type: dict
  sample:
    devs: [grace, heidi]
gains:
  description: Subjects that have none of the rights now and will have with 4.19, in the form of RV(access); they are bound to C(kubevirt.io:migrate) already.
  returned: always
  type: list
  elements: dict
  sample: []
without_access:
  description: Those of O(subjects) that have none of the rights anywhere.
  returned: always
  type: list
  elements: str
  sample: []
facts:
  description: What entries don't say by themselves. C(id), C(sentence), C(subjects), and C(role) for a fact about a role.
  returned: always
  type: list
  elements: dict
  sample:
    - id: may_evict
      subjects: [user:bob]
      sentence: >-
        user:bob: lose live migration but can go on causing it: evicting a virt-launcher pod of a VM with evictionStrategy LiveMigrate migrates the VM.
roles_release:
  description: V(4.18) or V(4.19), by what KubeVirt's ClusterRoles give; empty where there are none.
  returned: always
  type: str
  sample: "4.18"
temporary_role:
  description: The C(name) of the temporary role, whether it C(exists), and which roles it is C(aggregated_to).
  returned: always
  type: dict
  sample: {name: "kubevirt.io:upgrademigrate", exists: false, aggregated_to: []}
outlook:
  description: The case that losses are about.
  returned: always
  type: str
  sample: as_is
verification:
  description: How many C(pairs) of subject and place were verified by how many C(reviews), and the C(disagreements).
  returned: always
  type: dict
  sample: {pairs: 20, reviews: 60, disagreements: []}
summary:
  description:
    - Counts without system subjects. C(subjects), of which C(users), C(groups), C(service_accounts), and C(cluster_wide) for those with access to the
      whole cluster;
      C(loses), C(keeps) and C(gains) are subjects; C(outlooks) has the subjects that lose it in each case.
    - C(pairs) and C(loses_pairs) count subjects and namespaces, C(namespaces) the namespaces in RV(access).
    - C(cluster_roles), C(roles) and C(bindings) is what was read, C(system_left_out) the system subjects, C(verified) and C(disagreements) the verification.
  returned: always
  type: dict
  sample:
    subjects: 2
    users: 1
    groups: 1
    service_accounts: 0
    cluster_wide: 0
    pairs: 3
    loses: 2
    loses_pairs: 3
    keeps: 0
    gains: 0
    outlooks: {as_is: 2, without_temporary_role: 2, aggregate_to_admin: 1, aggregate_to_edit: 0}
    namespaces: 2
    system_left_out: 14
    cluster_roles: 92
    roles: 12
    bindings: 80
    verified: 3
    disagreements: 0
actions:
  description: Empty, since nothing is written.
  returned: always
  type: list
  elements: dict
  sample: []
timeline:
  description: What happened, with C(offset) in seconds and C(event).
  returned: always
  type: list
  elements: dict
  sample: []
msg:
  description: The audit in a sentence.
  returned: always
  type: str
  sample: 14 subjects may live-migrate; 9 of them lose it with 4.19 as things are.
"""

from ansible_collections.okd.virt.plugins.module_utils._module import run_module
from ansible_collections.okd.virt.plugins.module_utils.access.audit import VERB


def main() -> None:
    """Run the verb."""
    run_module(VERB)


if __name__ == "__main__":
    main()
