# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which networks a pod's annotation names."""
from __future__ import annotations

import pytest

from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubernetes.pod_networks import ANNOTATION, networks


@pytest.mark.parametrize(("text", "found"), [
    ("", []), ("blue", [("home", "blue")]), ("blue@migration0", [("home", "blue")]), ("far/blue@x", [("far", "blue")]),
    (" a , b/c@d ", [("home", "a"), ("b", "c")]), ('[{"name":"a"},{"name":"b","namespace":"far"}]', [("home", "a"), ("far", "b")]),
    ("[", []), ('["a"]', []), ('{"name":"a"}', []), (",", []),
])
def test_forms(text: str, found: list[tuple[str, str]]) -> None:
    metadata = {"namespace": "home", "name": "x", **({"annotations": {ANNOTATION: text}} if text else {})}
    assert networks({"metadata": metadata}) == found
