# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""get and list: selectors, pages that agree with each other, and lists at a version.

Source: Kubernetes apiserver pkg/storage/{continue.go,etcd3/store.go}, pkg/registry/generic/registry/store.go.
"""
from __future__ import annotations

import base64
import itertools
import json
import typing as t

from .. import errors
from ..kinds import Kind
from ..store.store import Expired, Rest, Store, Stored
from .options import ListOptions, resource_version
from .resources import Call, Object, Result
from .selectors import parse_field_selector, parse_label_selector

Matcher = t.Callable[[Object], bool]


def get(store: Store, call: Call) -> Result:
    """Raises StatusError 404, or 504 for a version of the future."""
    if call.query:
        wanted = resource_version(call.query.get("resourceVersion"))
        if wanted > store.version:
            raise errors.too_large_resource_version(wanted, store.version)
    return Result(stored=find(store, call))


def find(store: Store, call: Call) -> Stored:
    stored = store.get(call.kind.resource, call.namespace, call.name)
    if stored is None:
        raise errors.not_found(call.kind, call.name)
    return stored


def matcher(options: ListOptions, kind: Kind) -> Matcher | None:
    """Whether an object is selected; None selects all. Raises StatusError 400."""
    labels = parse_label_selector(options.label_selector) if options.label_selector else None
    fields = parse_field_selector(options.field_selector, kind) if options.field_selector else None
    if labels is None:
        return fields.matches if fields is not None else None
    by_labels = labels.matches
    if fields is None:
        return lambda value: by_labels(value["metadata"].get("labels") or {})
    by_fields = fields.matches
    return lambda value: by_labels(value["metadata"].get("labels") or {}) and by_fields(value)


def list_(store: Store, call: Call) -> Result:
    """Raises StatusError 400, 410 (with a token that goes on), 422, 504."""
    options = ListOptions.of(call.query)
    kind, namespace = call.kind, call.namespace
    selected = matcher(options, kind)
    rest, version = (_continued if options.continue_token else _at)(store, kind, namespace, options)
    # The real server answers from its cache at "0", without regard to the limit.
    limit = 0 if options.resource_version == "0" and not options.match else options.limit
    metadata: Object = {"resourceVersion": str(version)}
    found = rest.items if selected is None else (one for one in rest.items if selected(one.value))
    if not limit:
        return Result(items=list(found), list_metadata=metadata)
    page = list(itertools.islice(found, limit))
    # With a selector too there is a next page when objects are left, whether it selects one of them or not.
    if len(page) == limit and next(rest.items, None) is not None:
        metadata["continue"] = _token(version, page[-1], namespace)
        if selected is None:
            metadata["remainingItemCount"] = rest.count - limit
    return Result(items=page, list_metadata=metadata)


def _at(store: Store, kind: Kind, namespace: str, options: ListOptions) -> tuple[Rest, int]:
    wanted = resource_version(options.resource_version)
    if wanted > store.version:
        raise errors.too_large_resource_version(wanted, store.version)
    if options.match == "Exact":
        try:
            return store.rest(kind.resource, namespace or None, version=wanted), wanted
        except Expired as error:
            raise errors.expired("The resourceVersion for the provided list is too old.") from error
    if options.field_selector and (node := parse_field_selector(options.field_selector, kind).wanted("spec.nodeName")):
        on_node = store.list_on_node(kind.resource, node, namespace or None)
        if on_node is not None:
            return Rest(len(on_node), iter(on_node)), store.version
    return store.rest(kind.resource, namespace or None), store.version


def _continued(store: Store, kind: Kind, namespace: str, options: ListOptions) -> tuple[Rest, int]:
    if options.resource_version not in ("", "0"):
        raise errors.bad_request("specifying resource version is not allowed when using continue")
    version, start = _parse_token(options.continue_token, namespace)
    if version < 0:
        return store.rest(kind.resource, namespace or None, start), store.version
    try:
        return store.rest(kind.resource, namespace or None, start, version), version
    except Expired as error:
        raise errors.continue_expired(_encoded(-1, options.continue_token)) from error


def _token(version: int, last: Stored, namespace: str) -> str:
    start = f"{last.name}\0" if namespace or not last.namespace else f"{last.namespace}/{last.name}\0"
    return _pack({"v": "meta.k8s.io/v1", "rv": version, "start": "/" + start if namespace else start})


def _pack(fields: Object) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields, separators=(",", ":")).encode()).decode().rstrip("=")


def _unpack(token: str) -> Object:
    try:
        fields = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except ValueError as error:
        # Go decodes the text, then parses: whatever is wrong shows as the first byte that is no JSON.
        raise _bad_token("invalid character 'i' looking for beginning of value") from error
    if not isinstance(fields, dict) or fields.get("v") != "meta.k8s.io/v1":
        raise errors.bad_request("invalid continue token: continue key is not valid: server does not recognize this encoded version")
    if not isinstance(fields.get("rv"), int) or not isinstance(fields.get("start"), str) or not fields["start"] or fields["rv"] == 0:
        raise errors.bad_request("invalid continue token: continue key is not valid: incorrect encoded start resourceVersion")
    return fields


def _bad_token(problem: str) -> errors.StatusError:
    return errors.bad_request(f"invalid continue token: continue key is not valid: {problem}")


def _parse_token(token: str, namespace: str) -> tuple[int, tuple[str, str]]:
    fields = _unpack(token)
    start: str = fields["start"].lstrip("/")
    if namespace:
        return fields["rv"], (namespace, start)
    first, slash, rest = start.partition("/")
    return fields["rv"], (first, rest) if slash else ("", first)


def _encoded(version: int, token: str) -> str:
    fields = _unpack(token)
    return _pack({**fields, "rv": version, "start": fields["start"].lstrip("/")})
