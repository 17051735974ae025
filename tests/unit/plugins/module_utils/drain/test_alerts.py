# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which alerts hold back further nodes."""

from __future__ import annotations

import pytest

from ansible_collections.okd.virt.plugins.module_utils._errors import OptionError
from ansible_collections.okd.virt.plugins.module_utils.drain.alerts import alerts

PATH = "/api/v1/namespaces/monitoring/services/http:alertmanager-main:9093/proxy"


@pytest.mark.parametrize(("labels", "counts"), [
    ({"alertname": "KubeVirtDown", "severity": "critical"}, True),
    ({"alertname": "Slow", "severity": "warning"}, False),
    ({"alertname": "VMCannotBeEvicted", "severity": "warning"}, True),
    ({"alertname": "VMCannotBeEvicted"}, True),
    ({"alertname": "Noise", "severity": "critical"}, False),
    ({}, False),
])
def test_by_severity_or_by_name_but_for_some(labels: dict[str, str], counts: bool) -> None:
    wanted = alerts({"path": PATH + "/", "names": ["VMCannotBeEvicted"], "severities": ["critical"], "ignore": ["Noise"]})
    assert wanted is not None
    assert wanted.path == PATH
    assert wanted.counts(labels) is counts


def test_none_is_asked_for() -> None:
    assert alerts(None) is None


@pytest.mark.parametrize("path", ["https://alertmanager.example", "proxy", f"{PATH}?x=y"])
def test_a_path_that_is_none(path: str) -> None:
    with pytest.raises(OptionError, match="no path of the API server"):
        alerts({"path": path, "names": [], "severities": [], "ignore": []})
