# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which resource a kind is, for kinds that the collection does not know. Private to this collection."""

from __future__ import annotations

from .._errors import OptionError
from .client import Cluster
from .resources import Resource


def find_resource(cluster: Cluster, api_version: str, kind: str) -> Resource:
    """Ask the API server. Raises OptionError for a kind that it does not have, ApiError."""
    path = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
    for one in cluster.document(path).get("resources") or ():
        if one.get("kind") == kind and "/" not in one.get("name", ""):
            group, dummy, version = api_version.rpartition("/")
            return Resource(group, version, one["name"], kind, bool(one.get("namespaced")))
    raise OptionError(f"The cluster has no kind {kind} in {api_version}.")
