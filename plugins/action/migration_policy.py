# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verb migration_policy on the controller. See the module of the same name."""

from __future__ import annotations

from ansible_collections.okd.virt.plugins.module_utils.tuning.policy import VERB as VERB_OF_MODULE
from ansible_collections.okd.virt.plugins.plugin_utils.verb_action import VerbAction


class ActionModule(VerbAction):
    """See the module's documentation."""

    VERB = VERB_OF_MODULE
