# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Alerts that hold back further nodes, from an Alertmanager that the API server can reach. Private to this collection.

Source: Alertmanager api/v2/openapi.yaml (GET /alerts).
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass
from urllib.parse import urlsplit

from .._cluster.client import Cluster
from .._errors import OptionError, VirtError

Json = dict[str, t.Any]
_FIRING = "/api/v2/alerts?active=true&silenced=false&inhibited=false"
_NAMED = 5


@dataclass(frozen=True)
class Alerts:
    """Which alerts count: those of a name, and those of a severity, but for some. C(path) leads through the API server to an Alertmanager."""

    path: str
    names: frozenset[str]
    severities: frozenset[str]
    ignore: frozenset[str]

    def counts(self, labels: t.Mapping[str, str]) -> bool:
        name = labels.get("alertname", "")
        return name not in self.ignore and (name in self.names or labels.get("severity", "") in self.severities)


def alerts(given: t.Mapping[str, t.Any] | None) -> Alerts | None:
    """The option stop_on_alerts. Raises OptionError."""
    if not given:
        return None
    path = str(given["path"])
    if not path.startswith("/") or urlsplit(path).query:
        raise OptionError(f"stop_on_alerts.path: {path} is no path of the API server, such as /api/v1/namespaces/NS/services/NAME:PORT/proxy.")
    return Alerts(path.rstrip("/"), frozenset(given["names"]), frozenset(given["severities"]), frozenset(given["ignore"]))


def firing(cluster: Cluster, wanted: Alerts) -> str:
    """Which of them fire, in words; "" when none does. What can't be read is taken for firing: nobody knows."""
    try:
        found = cluster.document(wanted.path + _FIRING)
    except VirtError as error:
        if error.details.get("status") == 401:
            return f"the Alertmanager at {wanted.path} asks for a login of its own, and the API server's proxy passes none on"
        return f"the alerts at {wanted.path} can't be read: {error.message}"
    listed = found.get("items")
    if not isinstance(listed, list):
        return f"the alerts at {wanted.path} can't be read: what answers there is no Alertmanager"
    labels = [one.get("labels") or {} for one in listed if isinstance(one, dict)]
    names = sorted({f"{one.get('alertname')} ({one.get('severity') or 'no severity'})" for one in labels if wanted.counts(one)})
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"alerts fire: {', '.join(names[:_NAMED])}{more}" if names else ""
