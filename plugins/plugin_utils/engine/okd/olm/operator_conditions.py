# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""OperatorConditions: what an operator says of itself in the spec is taken over into the status.

Source: OLM pkg/controller/operators/operatorcondition_controller.go.
"""
from __future__ import annotations

from ...controller import Controller
from ...interface import Object
from .objects import OPERATOR_CONDITIONS


def status_of(operator_condition: Object) -> Object:
    """The status that follows from the spec; a condition counts for the generation that it was looked at in."""
    generation = operator_condition["metadata"].get("generation", 1)
    said = (operator_condition.get("spec") or {}).get("conditions") or ()
    conditions = [{**entry, "observedGeneration": generation} for entry in said]
    return {**(operator_condition.get("status") or {}), **({"conditions": conditions} if conditions else {})}


class OperatorConditions(Controller):
    name = "operator-condition-controller"

    def setup(self) -> None:
        self._operator_conditions = self.informer(OPERATOR_CONDITIONS)
        self._operator_conditions.add_handler(self.enqueue)

    async def reconcile(self, key: tuple[str, str]) -> float | None:
        found = self._operator_conditions.get(key[1], key[0])
        if found is None:
            return None
        status = status_of(found)
        if status != (found.get("status") or {}):
            await self.cluster.update(OPERATOR_CONDITIONS, {**found, "status": status}, "status")
        return None
