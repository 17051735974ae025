# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a client hears when one of virt-api's webhooks refuses, is late or is not there.

Source: Kubernetes apiserver pkg/admission/plugin/webhook/{mutating,validating}/dispatcher.go, pkg/admission/plugin/webhook/errors.
"""
from __future__ import annotations

import dataclasses
import typing as t

from ... import errors
from ...clock import Clock
from ...errors import Cause, StatusError
from ...interface import Cluster
from ...store.store import Store
from ..versions import ComponentVersion
from .throttle import Throttle

TIMEOUT = 10.0
"""Engine seconds that the API server waits for a webhook."""
_ACCOUNTS = ("kubevirt-apiserver", "kubevirt-controller", "kubevirt-handler")


@dataclasses.dataclass
class VirtApi:
    """What the webhooks work with: the stored objects, virt-api's own identity and rate limit, and which version it is."""

    store: Store
    cluster: Cluster
    clock: Clock
    namespace: str
    component: ComponentVersion
    throttle: Throttle

    def is_kubevirt(self, user: str) -> bool:
        """Whether the user is one of KubeVirt's own components."""
        prefix = f"system:serviceaccount:{self.namespace}:"
        return user.startswith(prefix) and user.removeprefix(prefix) in _ACCOUNTS

    def webhook(self, name: str, path: str) -> Webhook:
        return Webhook(self, name, path)


@dataclasses.dataclass(frozen=True)
class Webhook:
    """One webhook by the name that refusals show, and its path at virt-api."""

    virt_api: VirtApi
    name: str
    path: str

    def reached(self) -> None:
        """Raises StatusError 500 while no virt-api can answer: its webhooks fail closed."""
        if not self.virt_api.component.replicas:
            raise self._failed('no endpoints available for service "virt-api"', posted=False)

    async def turn(self, deadline: float) -> None:
        """Wait until virt-api's client may send a request. Raises StatusError 500 when that is past the deadline, an engine moment."""
        left = deadline - self.virt_api.clock.monotonic()
        if not await self.virt_api.throttle.take(max(0.0, left)):
            raise self._failed("context deadline exceeded")

    def deadline(self) -> float:
        return self.virt_api.clock.monotonic() + TIMEOUT

    def _failed(self, text: str, posted: bool = True) -> StatusError:
        url = f"https://virt-api.{self.virt_api.namespace}.svc:443/{self.path}?timeout=10s"
        request = f'Post "{url}": ' if posted else ""
        return errors.internal(f'failed calling webhook "{self.name}": failed to call webhook: {request}{text}')

    def denied(self, code: int, text: str) -> StatusError:
        """A refusal that is a plain status of virt-api's: a code and a text, without reason."""
        return StatusError(code, "", f'admission webhook "{self.name}" denied the request: {text}')

    def invalid(self, causes: t.Sequence[Cause]) -> StatusError:
        """A refusal that names what is wrong."""
        text = ", ".join(cause.message for cause in causes)
        details = {"causes": [_shown(cause) for cause in causes]}
        return StatusError(422, "Invalid", f'admission webhook "{self.name}" denied the request: {text}', details)


def _shown(cause: Cause) -> dict[str, str]:
    return {key: value for key, value in (("reason", cause.reason), ("message", cause.message), ("field", cause.field)) if value}
