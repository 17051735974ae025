# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of a request, from its query or body, checked as the real server checks them.

Source: Kubernetes apimachinery pkg/apis/meta/{v1,internalversion}/validation/validation.go.
"""
from __future__ import annotations

import dataclasses
import functools
import json
import typing as t

from .. import errors
from ..errors import Cause
from . import protobuf
from .negotiation import APPLY_PATCH
from .request import Query

Object = dict[str, t.Any]
_MATCH = "resourceVersionMatch"
_NAMES = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}
_PROPAGATION = ("Foreground", "Background", "Orphan")


def resource_version(text: str) -> int:
    """A resourceVersion as number; 0 when empty. Raises StatusError 500 as the real server does."""
    if not text:
        return 0
    if not text.isascii() or not text.isdigit():
        message = f'resourceVersion: Invalid value: {errors.quote(text)}: strconv.ParseUint: parsing {errors.quote(text)}: invalid syntax'
        raise errors.internal(message, reason="")
    return int(text)


def _number(query: Query, name: str) -> int:
    text = query.get(name)
    if not text:
        return 0
    digits = text[1:] if text[0] in "+-" else text
    if not digits.isascii() or not digits.isdigit():
        raise errors.bad_request(f"strconv.ParseInt: parsing {errors.quote(text)}: invalid syntax")
    return int(text)


@dataclasses.dataclass(frozen=True)
class ListOptions:
    label_selector: str = ""
    field_selector: str = ""
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    match: str = ""
    timeout_seconds: int = 0
    bookmarks: bool = False
    initial_events: bool | None = None

    @classmethod
    def of(cls, query: Query, watch: bool = False) -> ListOptions:
        """Raises StatusError 400 or 422."""
        if not query:
            return _DEFAULT
        options = cls(
            query.get("labelSelector"), query.get("fieldSelector"), _number(query, "limit"), query.get("continue"),
            query.get("resourceVersion"), query.get(_MATCH), _number(query, "timeoutSeconds"),
            query.flag("allowWatchBookmarks"), query.flag("sendInitialEvents") if "sendInitialEvents" in query else None,
        )
        causes = options._watch_causes() if watch else options._list_causes()
        if causes:
            raise errors.invalid_options("ListOptions", causes)
        return options

    def _list_causes(self) -> list[Cause]:
        causes = []
        if self.match:
            if not self.resource_version:
                causes.append(errors.forbidden_value(_MATCH, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
            if self.continue_token:
                causes.append(errors.forbidden_value(_MATCH, "resourceVersionMatch is forbidden when continue is provided"))
            if self.match not in ("Exact", "NotOlderThan"):
                causes.append(errors.unsupported_value(_MATCH, self.match, ("Exact", "NotOlderThan", "")))
            if self.match == "Exact" and self.resource_version == "0":
                causes.append(errors.forbidden_value(_MATCH, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
        if self.initial_events is not None:
            causes.append(errors.forbidden_value("sendInitialEvents", "sendInitialEvents is forbidden for list"))
        return causes

    def _watch_causes(self) -> list[Cause]:
        causes = []
        if self.initial_events is not None and self.match != "NotOlderThan":
            causes.append(errors.forbidden_value(_MATCH, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"))
        if self.match:
            if self.initial_events is None:
                text = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
                causes.append(errors.forbidden_value(_MATCH, text))
            if self.match != "NotOlderThan":
                causes.append(errors.unsupported_value(_MATCH, self.match, ("NotOlderThan",)))
            if self.continue_token:
                causes.append(errors.forbidden_value(_MATCH, "resourceVersionMatch is forbidden when continue is provided"))
        return causes


_DEFAULT = ListOptions()


@dataclasses.dataclass(frozen=True)
class WriteOptions:
    dry_run: bool = False
    field_manager: str = "unknown"
    field_validation: str = "Warn"
    force: bool = False

    @classmethod
    def of(cls, verb: str, query: Query, content_type: str, user_agent: str) -> WriteOptions:
        """Raises StatusError 422. The manager is, as in the real server, the user agent up to its first slash unless it is named."""
        if not query and content_type != APPLY_PATCH:
            return _said_nothing(user_agent)
        manager = query.get("fieldManager")
        dry_run, validation = query.all("dryRun"), query.get("fieldValidation")
        causes = _dry_run_causes(dry_run)
        if validation not in ("", "Ignore", "Strict", "Warn"):
            causes.append(errors.unsupported_value("fieldValidation", validation, ("", "Ignore", "Strict", "Warn")))
        if len(manager.encode()) > 128:
            causes.append(Cause("FieldValueTooLong", "Too long: may not be more than 128 bytes", "fieldManager"))
        if content_type == APPLY_PATCH and not manager:
            causes.append(errors.required_value("fieldManager", "is required for apply patch"))
        if verb == "patch" and content_type != APPLY_PATCH and "force" in query:
            causes.append(errors.forbidden_value("force", "may not be specified for non-apply patch"))
        if causes:
            raise errors.invalid_options(_NAMES[verb], causes)
        return cls(bool(dry_run), manager or _manager_of(user_agent), validation or "Warn", query.flag("force"))


def _manager_of(user_agent: str) -> str:
    return user_agent.partition("/")[0][:128] or "unknown"


@functools.lru_cache(maxsize=100)
def _said_nothing(user_agent: str) -> WriteOptions:
    return WriteOptions(field_manager=_manager_of(user_agent))


def _dry_run_causes(values: t.Sequence[str]) -> list[Cause]:
    if all(value == "All" for value in values):
        return []
    return [errors.unsupported_value("dryRun", list(values), ("All",))]


@dataclasses.dataclass(frozen=True)
class DeleteOptions:
    """propagation is Foreground, Background, Orphan or empty (the kind's default, here Background)."""

    grace_period: int | None = None
    uid: str = ""
    resource_version: str = ""
    propagation: str = ""
    dry_run: bool = False

    @classmethod
    def of(cls, query: Query, body: bytes | Object) -> DeleteOptions:
        """From the body, or without one from the query. Raises StatusError 400 or 422."""
        if isinstance(body, bytes):
            given = _decoded(body) if body.strip() else _from_query(query)
        else:
            given = body
        try:
            preconditions = given.get("preconditions") or {}
            grace, orphan = given.get("gracePeriodSeconds"), given.get("orphanDependents")
            propagation = given.get("propagationPolicy") or ""
            # Both are looked at: a dry run asked for in the query is one even when the body does not say so.
            dry_run = [*(given.get("dryRun") or []), *query.all("dryRun")]
            uid, version = preconditions.get("uid") or "", preconditions.get("resourceVersion") or ""
        except (AttributeError, TypeError) as error:
            raise errors.bad_request(f"DeleteOptions cannot be handled: {error}") from error
        if (grace is not None and not isinstance(grace, int)) or not isinstance(propagation, str):
            raise errors.bad_request("DeleteOptions cannot be handled: a field has the wrong type")
        causes = _dry_run_causes(dry_run)
        if propagation and orphan is not None:
            text = "orphanDependents and deletionPropagation cannot be both set"
            causes.append(errors.invalid_value("propagationPolicy", propagation, text))
        if propagation not in ("", *_PROPAGATION):
            causes.append(errors.unsupported_value("propagationPolicy", propagation, (*_PROPAGATION, "nil")))
        if causes:
            raise errors.invalid_options("DeleteOptions", causes)
        if orphan is not None:
            propagation = "Orphan" if orphan else "Background"
        return cls(grace, uid, version, propagation, bool(dry_run))


def _from_query(query: Query) -> Object:
    given: Object = {"propagationPolicy": query.get("propagationPolicy")}
    if query.get("gracePeriodSeconds"):
        given["gracePeriodSeconds"] = _number(query, "gracePeriodSeconds")
    if "orphanDependents" in query:
        given["orphanDependents"] = query.flag("orphanDependents")
    return given


def _decoded(body: bytes) -> Object:
    if body.startswith(protobuf.MAGIC):
        return protobuf.decode(body, "DeleteOptions")
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise errors.bad_request(f"couldn't get version/kind; json parse error: {error}") from error
    if not isinstance(given, dict):
        raise errors.bad_request("couldn't get version/kind; json parse error: json: cannot unmarshal into Go value of type DeleteOptions")
    return given
