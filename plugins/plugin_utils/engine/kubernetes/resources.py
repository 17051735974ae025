# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which resources a cluster serves, as the controllers that care for all of them need it."""
from __future__ import annotations

import typing as t

from ..interface import Object, Ref


class Served(t.NamedTuple):
    """One stored resource in its preferred version."""

    ref: Ref
    kind: str
    namespaced: bool
    scales: bool = False
    """Whether it has the scale subresource."""


Discover = t.Callable[[], t.Iterable[Served]]


def find(discover: Discover, api_version: str, kind: str) -> Served | None:
    """The resource of an ownerReference, whatever version it names."""
    group = api_version.partition("/")[0] if "/" in api_version else ""
    return next((served for served in discover() if served.kind == kind and served.ref.group == group), None)


def owners(obj: Object) -> list[Object]:
    return obj["metadata"].get("ownerReferences") or []


def controller_of(obj: Object) -> Object | None:
    """The ownerReference of what controls the object."""
    return next((owner for owner in owners(obj) if owner.get("controller")), None)
