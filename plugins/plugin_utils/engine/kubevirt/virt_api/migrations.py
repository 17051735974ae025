# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What virt-api makes of VirtualMachineInstanceMigrations, and which it refuses.

Source: KubeVirt pkg/virt-api/webhooks/{mutating-webhook/mutators/migration-create-mutator,validating-webhook/admitters/migration-*}.go,
v1.4.1 and v1.5.3.
"""
from __future__ import annotations

from ...apiserver.admission import AdmissionRequest
from ...apiserver.chain import ApiServer
from ...apiserver.resources import Call
from ...errors import Cause
from ...interface import Object
from ...store.store import Store
from ..virt_controller.conditions import condition
from ..virt_controller.migrations import phases
from .webhooks import VirtApi

RESOURCE, _INSTANCES = ("kubevirt.io", "virtualmachineinstancemigrations"), ("kubevirt.io", "virtualmachineinstances")
SELECTOR_LABEL = "kubevirt.io/vmi-name"
_TYPES = ((bool, "boolean"), (int, "number"), (float, "number"), (list, "array"), (dict, "object"), (str, "string"))
_READS = 2
"""Requests that virt-api sends to judge a new migration: its instance, and the instance's migrations."""


def shape_problems(migration: Object) -> list[Cause]:
    """What virt-api's own schema says of the object, before anything is asked of the cluster."""
    spec = migration.get("spec")
    if spec is None:
        return [Cause("", "spec in body is required", ""), Cause("", 'spec in body must be of type object: "null"', "")]
    name = spec.get("vmiName") if isinstance(spec, dict) else None
    if name is not None and not isinstance(name, str):
        kind = next(text for known, text in _TYPES if isinstance(name, known))
        return [Cause("", f'spec.vmiName in body must be of type string: "{kind}"', "")]
    return []


class MigrationWebhooks:
    """Mutator and validators of migrations."""

    def __init__(self, virt_api: VirtApi) -> None:
        self._virt_api = virt_api
        self._mutator = virt_api.webhook("migrations-mutator.kubevirt.io", "migration-mutate-create")
        self._create = virt_api.webhook("migration-create-validator.kubevirt.io", "migration-validate-create")
        self._update = virt_api.webhook("migration-update-validator.kubevirt.io", "migration-validate-update")

    async def wait(self, _call: Call) -> None:
        """virt-api reads before it judges, and has to wait for its turn. Raises StatusError 500 when that takes too long."""
        self._create.reached()
        deadline = self._create.deadline()
        for dummy in range(_READS):
            await self._create.turn(deadline)

    def mutate(self, request: AdmissionRequest) -> None:
        """Raises StatusError 422."""
        migration = request.object or {}
        problems = shape_problems(migration)
        if problems:
            raise self._mutator.invalid(problems)
        name = (migration.get("spec") or {}).get("vmiName") or ""
        metadata = migration.setdefault("metadata", {})
        metadata["labels"] = {**(metadata.get("labels") or {}), SELECTOR_LABEL: name}
        finalizers = list(metadata.get("finalizers") or [])
        if phases.FINALIZER not in finalizers:
            metadata["finalizers"] = [*finalizers, phases.FINALIZER]

    def validate_create(self, request: AdmissionRequest) -> None:
        """Raises StatusError 400 or 422."""
        name = ((request.object or {}).get("spec") or {}).get("vmiName") or ""
        if not name:
            raise self._create.invalid([Cause("FieldValueRequired", "vmiName is missing", "spec.vmiName")])
        refusal = refused(self._virt_api.store, request.namespace, name)
        if refusal:
            raise self._create.denied(400, refusal)

    def validate_update(self, request: AdmissionRequest) -> None:
        """Raises StatusError 422."""
        self._update.reached()
        new, old = request.object or {}, request.old or {}
        if new.get("spec") != old.get("spec"):
            raise self._update.invalid([Cause("FieldValueNotSupported", "update of Migration object's spec is restricted", "")])
        if phases.is_final(old):
            return
        before, after = (one["metadata"].get("labels") or {} for one in (old, new))
        if SELECTOR_LABEL in before and after.get(SELECTOR_LABEL) != before[SELECTOR_LABEL]:
            how = "modified on" if after else "removed from"
            raise self._update.invalid([Cause("FieldValueNotSupported", f"selector label can't be {how} an in-flight migration", "")])


def refused(store: Store, namespace: str, name: str) -> str:
    """Why the instance may not be migrated now; empty when it may."""
    stored = store.get(_INSTANCES, namespace, name)
    if stored is None:
        return f'the VMI "{namespace}/{name}" does not exist'
    vmi = stored.value
    if (vmi.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return "Cannot migrate VMI in finalized state."
    migratable = condition(vmi, "LiveMigratable")
    if migratable is not None and migratable.get("status") == "False":
        return f"Cannot migrate VMI, Reason: {migratable.get('reason', '')}, Message: {migratable.get('message', '')}"
    for other in store.list(RESOURCE, namespace):
        if (other.value.get("spec") or {}).get("vmiName") == name and not phases.is_final(other.value):
            uid = other.value["metadata"]["uid"]
            return f"in-flight migration detected. Active migration job ({uid}) is currently already in progress for VMI {name}."
    return ""


def register(api: ApiServer, virt_api: VirtApi) -> None:
    webhooks = MigrationWebhooks(virt_api)
    api.admission.prepare(RESOURCE, "CREATE", webhooks.wait)
    api.admission.register(RESOURCE, "CREATE", webhooks.mutate)
    api.admission.register(RESOURCE, "CREATE", webhooks.validate_create)
    api.admission.register(RESOURCE, "UPDATE", webhooks.validate_update)
