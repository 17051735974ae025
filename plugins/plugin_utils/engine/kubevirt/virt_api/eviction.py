# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The answer to an eviction of a virt-launcher pod: the instance is marked to leave its node, and the eviction is refused.

Source: KubeVirt pkg/virt-api/webhooks/validating-webhook/admitters/pod-eviction-admitter.go, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import typing as t

from ...apiserver.chain import ApiServer
from ...apiserver.options import DeleteOptions
from ...apiserver.resources import Call
from ...apiserver.subresources import decoded
from ...errors import StatusError
from ...interface import Object
from ...kinds import Kind
from ..virt_controller.eviction_strategies import LIVE_MIGRATE, is_guarded, is_migratable
from ..virt_controller.eviction_strategies import strategy as eviction_strategy
from ..virt_controller.phases import VIRTUAL_MACHINE_INSTANCES
from .webhooks import VirtApi, Webhook

_PODS, _INSTANCES, _KUBEVIRTS = ("", "pods"), ("kubevirt.io", "virtualmachineinstances"), ("kubevirt.io", "kubevirts")
_EVICTION = Kind("policy", "v1", "Eviction", "evictions", "eviction", namespaced=True, type_name="policy.v1.Eviction")
_FINAL = ("Succeeded", "Failed")


class Verdict(t.NamedTuple):
    """`text` is empty when the eviction may pass; `mark` says that the instance is to be marked first."""

    text: str = ""
    mark: bool = False


def verdict(pod: Object, vmi: Object | None, strategy: str, tells_of_marks: bool) -> Verdict:
    """What is said to an eviction of the pod. Without an instance nothing is known: see the webhook."""
    name, namespace = pod["metadata"].get("annotations", {}).get("kubevirt.io/domain", ""), pod["metadata"]["namespace"]
    if vmi is None:
        return Verdict(f'kubevirt failed getting the vmi: virtualmachineinstances.kubevirt.io "{name}" not found')
    if eviction_strategy(vmi, strategy) == LIVE_MIGRATE and not is_migratable(vmi):
        return Verdict(f"VMI {name} is configured with an eviction strategy but is not live-migratable")
    if not is_guarded(vmi, strategy):
        return Verdict()
    status = vmi.get("status") or {}
    triggered = f'Eviction triggered evacuation of VMI "{namespace}/{name}"'
    if status.get("evacuationNodeName"):
        # Until 1.5 it is left to the disruption budget to refuse.
        return Verdict(f"Evacuation in progress: {triggered}") if tells_of_marks else Verdict()
    if status.get("nodeName") != pod["spec"].get("nodeName"):
        return Verdict("Eviction request for target Pod")
    return Verdict(triggered, mark=True)


def is_asked(pod: Object) -> bool:
    """Whether the webhook has anything to say of the pod: it is a virt-launcher that has not ended."""
    metadata = pod["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    ended = (pod.get("status") or {}).get("phase") in _FINAL
    return labels.get("kubevirt.io") == "virt-launcher" and not ended and "kubevirt.io/domain" in annotations


class EvictionInterceptor:
    """Asked before the API server looks at an eviction."""

    def __init__(self, virt_api: VirtApi) -> None:
        self._virt_api = virt_api
        self._webhook: Webhook = virt_api.webhook("virt-launcher-eviction-interceptor.kubevirt.io", "launcher-eviction-validate")

    async def __call__(self, call: Call) -> None:
        """Raises StatusError 429 with virt-api's text, 500 when virt-api is late or not there."""
        # The webhook is configured for pods of this name only.
        if not call.name.startswith("virt-launcher"):
            return
        self._webhook.reached()
        deadline = self._webhook.deadline()
        # Each of the three requests waits for its turn: the pod, its instance, and the mark.
        await self._webhook.turn(deadline)
        stored = self._virt_api.store.get(_PODS, call.namespace, call.name)
        if stored is None or not is_asked(stored.value):
            return
        pod = stored.value
        name = pod["metadata"]["annotations"]["kubevirt.io/domain"]
        await self._webhook.turn(deadline)
        found = self._virt_api.store.get(_INSTANCES, call.namespace, name)
        answer = verdict(pod, found.value if found is not None else None, self._strategy(), self._virt_api.component.version >= (1, 5, 0))
        if answer.mark and not _is_dry_run(call):
            await self._webhook.turn(deadline)
            answer = await self._mark(call.namespace, name, pod["spec"]["nodeName"], answer)
        if answer.text:
            raise self._webhook.denied(429, answer.text)

    async def _mark(self, namespace: str, name: str, node: str, answer: Verdict) -> Verdict:
        patch: list[Object] = [{"op": "add", "path": "/status/evacuationNodeName", "value": node}]
        try:
            await self._virt_api.cluster.patch(VIRTUAL_MACHINE_INSTANCES, name, patch, namespace, content_type="application/json-patch+json")
        except StatusError as error:
            return Verdict(f"kubevirt failed marking the vmi for eviction: {error.message}")
        return answer

    def _strategy(self) -> str:
        for stored in self._virt_api.store.list(_KUBEVIRTS, self._virt_api.namespace):
            return str(((stored.value.get("spec") or {}).get("configuration") or {}).get("evictionStrategy") or "")
        return ""


def _is_dry_run(call: Call) -> bool:
    given = (decoded(call, _EVICTION).get("deleteOptions") or {}) if call.body else {}
    return bool(given.get("dryRun")) or DeleteOptions.of(call.query, {}).dry_run


def register(api: ApiServer, virt_api: VirtApi) -> None:
    api.admission.prepare(_PODS, "CREATE", EvictionInterceptor(virt_api), "eviction")
