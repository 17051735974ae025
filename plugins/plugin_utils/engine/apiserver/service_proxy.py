# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proxy subresource of services. No containers run behind this API: a Service that names a ConfigMap answers with what is in there.

Source: Kubernetes pkg/registry/core/service/storage/storage.go (ResourceLocation), apiserver pkg/endpoints/filters/authentication.go, which takes the
Authorization header away, so that whatever wants a login behind a service never sees one.
"""

from __future__ import annotations

from .. import errors
from ..kinds import Kind
from ..store.store import Store
from .resources import Call, Result
from .subresources import Handler

ANSWERS = "engine.okd.virt/answers"
"""Annotation of a Service: the ConfigMap of its namespace whose keys are paths, with dots for slashes, and whose values are the answers."""
WANTS_LOGIN = "engine.okd.virt/wants-login"
"""Annotation of a Service (true): whatever is asked of it is answered with 401, as by a proxy before it that checks tokens."""
_CONFIG_MAPS = Kind("", "v1", "ConfigMap", "configmaps", "configmap", namespaced=True, type_name="core.v1.ConfigMap")


def service_proxy(store: Store) -> Handler:
    """The handler of services/proxy over a store."""

    def handle(call: Call) -> Result:
        if call.info.verb != "get":
            raise errors.method_not_allowed()
        namespace, (name, path) = call.info.namespace, _asked(call)
        service = store.get(("", "services"), namespace, name)
        if service is None:
            raise errors.not_found(call.kind, name)
        annotations = service.value["metadata"].get("annotations") or {}
        if annotations.get(WANTS_LOGIN) == "true":
            raise errors.PlainError(401, "Unauthorized", "Unauthorized\n")
        if ANSWERS not in annotations:
            raise errors.StatusError(503, "ServiceUnavailable", f"no endpoints available for service {errors.quote(call.info.name)}")
        answers = store.get(_CONFIG_MAPS.resource, namespace, annotations[ANSWERS])
        if answers is None:
            raise errors.not_found(_CONFIG_MAPS, annotations[ANSWERS])
        text = (answers.value.get("data") or {}).get(path.strip("/").replace("/", "."))
        if text is None:
            raise errors.page_not_found()
        return Result(200, body=text.encode())

    return handle


def _asked(call: Call) -> tuple[str, str]:
    """The service behind SCHEME:NAME:PORT, NAME:PORT or NAME, and the path that is asked of it."""
    parts = call.info.name.split(":")
    return parts[1] if len(parts) == 3 else parts[0], call.info.subresource.partition("/")[2]
