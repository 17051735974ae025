# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every verb promises."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes shared by all verbs, and the variant of those that only read."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying the target.
    support: full
    details:
      - In check mode nothing is written and nothing is waited for. What would be written is in RV(ignore:actions).
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check mode), when in diff mode.
    support: full
  idempotent:
    description: When run twice in a row with the same options, the second run changes nothing.
    support: full
  action_group:
    description: Use C(group/okd.virt.virt) in C(module_defaults) to set the options for the connection.
    support: full
    membership:
      - okd.virt.virt
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: posix
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and return changed status prediction without modifying the target.
    support: full
    details:
      - This module only reads.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in check mode), when in diff mode.
    support: N/A
    details:
      - This module only reads.
  idempotent:
    description: When run twice in a row with the same options, the second run changes nothing.
    support: full
    details:
      - This module only reads.
  action_group:
    description: Use C(group/okd.virt.virt) in C(module_defaults) to set the options for the connection.
    support: full
    membership:
      - okd.virt.virt
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: posix
"""
