# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every verb of the collection by name. Private to this collection."""

from __future__ import annotations

import importlib
import typing as t

if t.TYPE_CHECKING:
    from ._verb import Verb

VERBS: dict[str, str] = {
    "live_migration_config": "tuning.config",
    "migrate_access_info": "access.audit",
    "migrate_role_aggregation": "access.aggregation",
    "migrate_role_binding": "access.bindings",
    "migration_info": "migration.info",
    "migration_policy": "tuning.policy",
    "node_drain": "drain.verb",
    "operator_update": "update.verb",
    "readiness_info": "readiness.info",
    "rolling_drain": "drain.rolling",
    "temporary_migrate_role": "access.temporary_role",
    "vm_migration": "migration.verb",
}


def find(name: str) -> Verb:
    """The verb of a name, imported when it is first needed. Raises KeyError."""
    package = __name__.rpartition(".")[0]
    verb: Verb = importlib.import_module(f"{package}.{VERBS[name]}").VERB
    return verb
