# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CatalogSources become ready. Source: OLM pkg/controller/operators/catalog/operator.go."""
from __future__ import annotations

from ...controller import Controller
from ...interface import Object
from .objects import CATALOG_SOURCES

_CONNECT = 1.0


class CatalogSources(Controller):
    name = "catalog-operator"

    def setup(self) -> None:
        self._sources = self.informer(CATALOG_SOURCES)
        self._sources.add_handler(self.enqueue)

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        source = self._sources.get(key[1], key[0])
        if source is None:
            return None
        state = ((source.get("status") or {}).get("connectionState") or {}).get("lastObservedState")
        wanted = self.state_after(state)
        if wanted == state:
            return None
        if state:
            await self.clock.sleep(_CONNECT)
        connection: Object = {
            "address": f"{key[1]}.{key[0]}.svc:50051", "lastConnect": self.clock.timestamp(), "lastObservedState": wanted,
        }
        current = await self.cluster.get(CATALOG_SOURCES, key[1], key[0])
        status = {**(current.get("status") or {}), "connectionState": connection}
        await self.cluster.update(CATALOG_SOURCES, {**current, "status": status}, "status")
        return None

    @staticmethod
    def state_after(state: str | None) -> str:
        """The gRPC connection's states on the way up."""
        return {None: "CONNECTING", "CONNECTING": "READY"}.get(state, state or "READY")
