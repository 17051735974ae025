# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether and how long to wait; the twin of wait_spec in module_utils/_options.py."""

from __future__ import annotations


class ModuleDocFragment:
    """Documentation shared by the verbs that start something."""

    DOCUMENTATION = r"""
options:
  wait:
    description:
      - Whether to wait until what was started is done.
    type: bool
    default: true
  wait_timeout:
    description:
      - Seconds to wait at most. A deadline that is missed is a failure, which says what is pending and why.
    type: int
    default: 60
"""
