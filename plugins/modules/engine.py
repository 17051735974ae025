#!/usr/bin/python
# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: engine
short_description: Start and stop an embedded cluster
description:
  - The embedded cluster is the real Kubernetes API in one process, with RBAC, OLM, the HyperConverged operator and KubeVirt's operator, loaded with a
    sample cluster. Playbooks, C(kubectl) and other clients work against it by its kubeconfig.
  - For rehearsals, for Molecule scenarios and for trying things out. It listens on loopback only.
  - This is an action. It runs on the controller.
options:
  state:
    description:
      - V(started) starts it unless one runs in O(directory) already, and waits until it serves.
      - V(stopped) stops it and leaves its files.
      - V(absent) stops it and removes its files, those of its data included.
    type: str
    choices: [started, stopped, absent]
    default: started
  directory:
    description:
      - Folder of its kubeconfig, its log and, with O(durable), its data. There is one cluster in a folder.
    type: path
    required: true
  cluster:
    description: Name of the sample cluster.
    type: str
    default: lab
  release:
    description: Release of OKD Virtualization that runs in it.
    type: str
    choices: ["4.18", "4.19"]
    default: "4.18"
  flavour:
    description: Whether namespaces, packages and versions have the names of OKD or of OpenShift.
    type: str
    choices: [okd, openshift]
    default: okd
  speed:
    description:
      - How fast time runs in it. V(1) is real, V(60) a minute a second, V(max) jumps to what is due next.
    type: str
    default: "1"
  port:
    description: Port to listen on. With V(0) a free one is taken.
    type: int
    default: 0
  kubeconfig:
    description: File to write the kubeconfig to, readable by its owner only. It is C(kubeconfig) in O(directory) unless given.
    type: path
  durable:
    description: Whether everything acknowledged is on disk, so that a cluster that was killed or stopped goes on where it was.
    type: bool
    default: false
  sizes:
    description: Sizes of a generated cluster by name, such as C(namespaces).
    type: dict
    default: {}
  stop_with_playbook:
    description: Whether the cluster stops by itself when the ansible-playbook process that started it is gone.
    type: bool
    default: false
  start_timeout:
    description: Seconds that it may take to start.
    type: int
    default: 60
requirements:
  - aiohttp
  - cryptography
  - orjson
  - PyJWT
  - PyYAML
notes:
  - C(meta/engine-requirements.txt) of the collection lists the requirements with versions.
attributes:
  action:
    description: Indicates this has a corresponding action plugin so some parts of the options can be executed on the controller.
    support: full
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying the target.
    support: full
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check mode), when in diff mode.
    support: none
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: posix
seealso:
  - name: Rehearsing on the embedded cluster
    description: The guide.
    link: https://github.com/okd-virt/okd.virt/blob/main/docs/docsite/rst/guide_rehearsal.rst
author:
  - The okd.virt contributors (@okd-virt)
"""

EXAMPLES = r"""
- name: Start an embedded cluster
  okd.virt.engine:
    directory: /tmp/rehearsal
    speed: max
  register: engine

- name: See who may live-migrate in it
  okd.virt.migrate_access_info:
    kubeconfig: "{{ engine.kubeconfig }}"

- name: Keep one that goes on where it was, also after the machine was restarted
  okd.virt.engine:
    directory: "{{ ansible_env.HOME }}/rehearsal"
    durable: true

- name: Stop it and remove its files
  okd.virt.engine:
    state: absent
    directory: /tmp/rehearsal
"""

RETURN = r"""
msg:
  description: What was done, in a sentence.
  returned: always
  type: str
  sample: The embedded cluster lab serves at https://127.0.0.1:41231.
kubeconfig:
  description: Path of the kubeconfig, whose current context is a cluster administrator; it has one more context for each person in the sample cluster.
  returned: O(state=started)
  type: str
  sample: /tmp/rehearsal/kubeconfig
url:
  description: URL of the API server; empty in check mode when it isn't started yet.
  returned: O(state=started)
  type: str
  sample: https://127.0.0.1:41231
pid:
  description: The process; 0 in check mode when it isn't started yet.
  returned: O(state=started)
  type: int
  sample: 4711
directory:
  description: Its folder.
  returned: always
  type: str
  sample: /tmp/rehearsal
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule


def argument_spec() -> dict[str, dict[str, t.Any]]:
    """The options; the action reads them from here."""
    return {
        "state": {"type": "str", "choices": ["started", "stopped", "absent"], "default": "started"},
        "directory": {"type": "path", "required": True},
        "cluster": {"type": "str", "default": "lab"},
        "release": {"type": "str", "choices": ["4.18", "4.19"], "default": "4.18"},
        "flavour": {"type": "str", "choices": ["okd", "openshift"], "default": "okd"},
        "speed": {"type": "str", "default": "1"},
        "port": {"type": "int", "default": 0},
        "kubeconfig": {"type": "path"},
        "durable": {"type": "bool", "default": False},
        "sizes": {"type": "dict", "default": {}},
        "stop_with_playbook": {"type": "bool", "default": False},
        "start_timeout": {"type": "int", "default": 60},
    }


def main() -> None:
    """Never runs on a target: the action of the same name does the work."""
    module = AnsibleModule(argument_spec=argument_spec(), supports_check_mode=True)
    module.fail_json(msg="okd.virt.engine runs on the controller only: use it as an action, with a local connection or on any host, not through another tool.")


if __name__ == "__main__":
    main()
