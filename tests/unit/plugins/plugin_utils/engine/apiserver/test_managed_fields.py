# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an update makes of metadata.managedFields."""

from __future__ import annotations

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.managed_fields import track_update
from ansible_collections.okd.virt.plugins.plugin_utils.engine.builtin_kinds import builtin_kinds


def test_nobody_owns_what_an_event_was_filled_up_with() -> None:
    kind = next(kind for kind in builtin_kinds() if kind.type_name == "core.v1.Event")
    event = {
        "metadata": {"name": "a", "namespace": "b"}, "reason": "Migrated", "count": 1, "source": {"component": "virt-handler"},
        "eventTime": None, "reportingComponent": "virt-handler", "reportingInstance": "",
    }  # fmt: skip
    (entry,) = track_update(kind, None, event, "virt-handler", "", "2026-01-01T00:00:00Z")
    assert sorted(entry["fieldsV1"]) == ["f:count", "f:reason", "f:reportingComponent", "f:source"]
