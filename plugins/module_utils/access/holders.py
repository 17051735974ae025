# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who may start or cancel live migrations, in short: what other services may ask this one. Private to this collection."""

from __future__ import annotations

from dataclasses import dataclass

from .._cluster.client import Cluster
from . import outlook, snapshot
from .migrate_access import CLUSTER, Access
from .role_powers import ANY_RIGHT
from .subjects import Identity


@dataclass(frozen=True)
class Holder:
    """Somebody who may, in so many namespaces or in the whole cluster."""

    name: str
    whole_cluster: bool
    namespaces: int


def holders(cluster: Cluster) -> list[Holder]:
    """Everybody whom a binding names, by name. The platform's own accounts and those who may do anything in the whole cluster are left out.

    Raises Forbidden with what can't be read.
    """
    with snapshot.all_kept():
        access = Access(snapshot.read(cluster))
        found = [_holder(access, identity) for identity in access.holders() if not identity.is_system]
    return sorted((one for one in found if one is not None), key=lambda one: one.name)


def _holder(access: Access, identity: Identity) -> Holder | None:
    if _does_anything(access, identity):
        return None
    everywhere = any(access.book.mask(grant.role, outlook.NOW) & ANY_RIGHT for _who, grant in access.grants((identity,), CLUSTER))
    places = [one for one in access.namespaces(identity) if any(
        access.book.mask(grant.role, outlook.NOW) & ANY_RIGHT for _who, grant in access.grants((identity,), one)
    )]
    return Holder(identity.text, everywhere, len(places)) if everywhere or places else None


def _does_anything(access: Access, identity: Identity) -> bool:
    grants = access.grants((identity,), CLUSTER)
    return any(gift.wildcard for _who, grant in grants for gift in access.book.gifts(grant.role, outlook.NOW))
