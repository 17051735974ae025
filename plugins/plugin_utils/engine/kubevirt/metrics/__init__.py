# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""/metrics: what a scrape of all of KubeVirt's components together shows."""
from __future__ import annotations

import typing as t

from ...apiserver.chain import ApiServer
from ...clock import Clock
from ...interface import Object, Ref
from ..virt_controller.phases import MIGRATIONS, VIRTUAL_MACHINE_INSTANCES
from ..virt_handler.transfers import Transfers
from . import families
from .text import exposition


def register(api: ApiServer, clock: Clock, transfers: Transfers) -> None:
    """Have the API server show them at /metrics from now on, to whoever RBAC lets ask for that path."""

    def stored(ref: Ref) -> list[Object]:
        return [one.value for one in api.store.list((ref.group, ref.plural))]

    def moving() -> t.Iterator[families.Moving]:
        for (namespace, name), transfer, progress in transfers.progress(clock.monotonic()):
            yield namespace, name, transfer.source, progress

    def scrape() -> bytes:
        migrations = stored(MIGRATIONS)
        names = {one["metadata"]["uid"]: one["metadata"]["name"] for one in migrations}
        made = [
            *families.of_migrations(migrations), *families.of_copies(moving()),
            *families.of_instances(stored(VIRTUAL_MACHINE_INSTANCES), names),
        ]
        return exposition(made)

    api.nonresources.metrics.append(scrape)
