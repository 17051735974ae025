# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of VMs and links, for predictions; the twin of loads_spec in module_utils/_options.py."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation shared by the verbs that predict migrations."""

    DOCUMENTATION = r"""
options:
  loads:
    description:
      - What VMs write, for the prediction of their migrations. What is not given here is taken from the annotations C(okd.virt/dirty-rate),
        C(okd.virt/working-set) and C(okd.virt/non-zero) of the VirtualMachineInstance, then of the VirtualMachine.
      - What nobody says is assumed - all memory is in use, and the guest writes far less than is sent. The result says so.
    type: list
    elements: dict
    default: []
    suboptions:
      namespace:
        description: Namespace of the VM.
        type: str
        required: true
      name:
        description: Name of the VM.
        type: str
        required: true
      dirty_rate:
        description: How much memory it writes in a second, as a quantity of bytes such as V(200Mi).
        type: str
      working_set:
        description: The memory that it writes again and again, as a quantity of bytes. Without it, all that is in use.
        type: str
      non_zero:
        description: What of its memory is in use, that is not all zeros, as a quantity of bytes.
        type: str
  link_speed:
    description:
      - How fast the network of migrations is on every node, in bits per second, as a quantity such as V(10G) or V(25G).
      - Without it the slowest node counts, where kubernetes-nmstate shows its links (C(NodeNetworkState)), and else 10 Gbit/s are assumed.
        The result says which.
    type: str
"""
