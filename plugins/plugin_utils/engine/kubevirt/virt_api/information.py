# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What virt-api says of itself in its group: version, healthz, and the image of libguestfs-tools that goes with it.

Source: KubeVirt pkg/virt-api/api.go (subresourceApp), pkg/virt-api/rest/{version,guestfs}.go, pkg/healthz/healthz.go, v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import json
import typing as t

from ... import errors
from ...apiserver.chain import ApiServer
from ...apiserver.request import Request, Response
from ...apiserver.resources import dumps
from ...interface import Object
from ..install_strategy import REGISTRY
from ..subresource_api import GROUP, VERSIONS
from .webhooks import VirtApi

_KUBEVIRTS = ("kubevirt.io", "kubevirts")
_BUILT = {"1.4.1": "2024-12-16T17:08:37Z", "1.5.3": "2025-09-01T00:00:00Z"}


class Information:
    """Answers for one virt-api; `server` is what the API server behind it says at /version."""

    def __init__(self, virt_api: VirtApi, server: bytes) -> None:
        self._virt_api, self._server = virt_api, server

    def _release(self) -> str:
        return ".".join(str(part) for part in self._virt_api.component.version)

    def version(self) -> Object:
        """As `virtctl version` shows it."""
        release = self._release()
        return {
            "gitVersion": f"v{release}", "gitCommit": "0" * 40, "gitTreeState": "clean", "buildDate": _BUILT.get(release, "1970-01-01T00:00:00Z"),
            "goVersion": "go1.23.4", "compiler": "gc", "platform": "linux/amd64",
        }

    def health(self) -> Object:
        seen = max((stored.version for stored in self._virt_api.store.list(_KUBEVIRTS)), default=0)
        return {"apiserver": {"connectivity": "ok", "version": json.loads(self._server)}, "config-resource-version": str(seen)}

    def guestfs(self) -> Object:
        return {"registry": REGISTRY, "tag": f"v{self._release()}", "digest": "", "imagePrefix": "", "gsImage": ""}


def _answering(document: t.Callable[[], Object]) -> t.Callable[[Request], Response]:
    def answer(request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            raise errors.PlainError(405, "MethodNotAllowed", "405: Method Not Allowed")
        return Response(200, dumps(document()), {"Cache-Control": "no-cache, private"})

    return answer


def register(api: ApiServer, virt_api: VirtApi) -> None:
    information = Information(virt_api, api.nonresources.version)
    for version in VERSIONS:
        for name, document in (("version", information.version), ("healthz", information.health), ("guestfs", information.guestfs)):
            api.endpoints[f"/apis/{GROUP}/{version}/{name}"] = _answering(document)
