# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The failures a Kubernetes API server answers with, in its own words.

Source: Kubernetes apimachinery pkg/api/errors/errors.go and pkg/apis/meta/v1/types.go (Status).
"""
from __future__ import annotations

import json
import typing as t


class Named(t.Protocol):
    """What an error has to know of a kind of object."""

    @property
    def group(self) -> str: ...

    @property
    def plural(self) -> str: ...

    @property
    def kind(self) -> str: ...


class Cause(t.NamedTuple):
    """One thing that is wrong with a request; an empty field is left out of the answer."""

    reason: str
    message: str
    field: str = ""

    def to_dict(self) -> dict[str, str]:
        return {key: value for key, value in self._asdict().items() if value}


class StatusError(Exception):
    """A failure that is answered as a v1 Status. `details` None leaves the key out, an empty dict keeps it."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: dict[str, t.Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.headers: dict[str, str] = headers or {}
        self.continue_token = ""

    def to_status(self) -> dict[str, t.Any]:
        metadata = {"continue": self.continue_token} if self.continue_token else {}
        status: dict[str, t.Any] = {
            "kind": "Status", "apiVersion": "v1", "metadata": metadata, "status": "Failure", "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


class PlainError(StatusError):
    """A failure that the real server answers as plain text, not as a Status."""


def qualified(group: str, name: str) -> str:
    """``virtualmachines.kubevirt.io``, or just the name in the core group."""
    return f"{name}.{group}" if group else name


def _details(
    kind: Named | None,
    name: str = "",
    causes: t.Sequence[Cause] = (),
    retry: int = 0,
    by_kind: bool = False,
) -> dict[str, t.Any]:
    details: dict[str, t.Any] = {}
    if name:
        details["name"] = name
    if kind is not None:
        if kind.group:
            details["group"] = kind.group
        details["kind"] = kind.kind if by_kind else kind.plural
    if causes:
        details["causes"] = [cause.to_dict() for cause in causes]
    if retry:
        details["retryAfterSeconds"] = retry
    return details


def not_found(kind: Named, name: str) -> StatusError:
    return StatusError(404, "NotFound", f'{qualified(kind.group, kind.plural)} "{name}" not found', _details(kind, name))


def resource_not_found() -> StatusError:
    """The path names a resource or subresource that is not served."""
    return StatusError(404, "NotFound", "the server could not find the requested resource", {})


def page_not_found() -> StatusError:
    return PlainError(404, "NotFound", "404 page not found\n")


def already_exists(kind: Named, name: str) -> StatusError:
    return StatusError(
        409, "AlreadyExists", f'{qualified(kind.group, kind.plural)} "{name}" already exists', _details(kind, name)
    )


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def conflict(kind: Named, name: str, text: str = MODIFIED, causes: t.Sequence[Cause] = (), by_kind: bool = False) -> StatusError:
    """409 Conflict. `by_kind` names the object by its kind, as preconditions of a delete do."""
    what = kind.kind if by_kind else qualified(kind.group, kind.plural)
    return StatusError(
        409, "Conflict", f'Operation cannot be fulfilled on {what} "{name}": {text}', _details(kind, name, causes, by_kind=by_kind)
    )


def apply_conflict(message: str, causes: t.Sequence[Cause]) -> StatusError:
    """409 of a server-side apply: which managers own the fields."""
    return StatusError(409, "Conflict", message, {"causes": [cause.to_dict() for cause in causes]})


def forbidden(kind: Named, name: str, text: str, causes: t.Sequence[Cause] = (), nosniff: bool = False) -> StatusError:
    """403 for an object or, without a name, for a collection: `pods "x" is forbidden: TEXT`."""
    what = qualified(kind.group, kind.plural) + (f' "{name}"' if name else "")
    headers = {"X-Content-Type-Options": "nosniff"} if nosniff else {}
    return StatusError(403, "Forbidden", f"{what} is forbidden: {text}", _details(kind, name, causes), headers)


def forbidden_path(text: str) -> StatusError:
    """403 for a path that is not a resource."""
    return StatusError(403, "Forbidden", f"forbidden: {text}", {}, {"X-Content-Type-Options": "nosniff"})


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized", "Unauthorized")


def invalid(kind: Named, name: str, causes: t.Sequence[Cause]) -> StatusError:
    """422 with every cause, by kind: `ConfigMap "x" is invalid: …`."""
    return _invalid(qualified(kind.group, kind.kind), name, causes, _details(kind, name, causes, by_kind=True))


def invalid_resource(kind: Named, name: str, causes: t.Sequence[Cause]) -> StatusError:
    """422 that names the resource, not the kind: what the store itself refuses."""
    return _invalid(qualified(kind.group, kind.plural), name, causes, _details(kind, name, causes))


def invalid_review(group: str, causes: t.Sequence[Cause]) -> StatusError:
    """422 of an access review, which has no kind in its text."""
    details: dict[str, t.Any] = {"group": group, "causes": [cause.to_dict() for cause in causes]}
    return _invalid("." + group, "", causes, details)


def invalid_options(options: str, causes: t.Sequence[Cause]) -> StatusError:
    """422 for a bad query parameter; options is ListOptions, CreateOptions, …"""
    details: dict[str, t.Any] = {"group": "meta.k8s.io", "kind": options, "causes": [cause.to_dict() for cause in causes]}
    return _invalid(options + ".meta.k8s.io", "", causes, details)


def _invalid(what: str, name: str, causes: t.Sequence[Cause], details: dict[str, t.Any]) -> StatusError:
    texts = list(dict.fromkeys(f"{cause.field}: {cause.message}" for cause in causes))
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    return StatusError(422, "Invalid", f'{what} "{name}" is invalid: {text}', details)


def unprocessable() -> StatusError:
    """422 of a patch that does not fit the object; the real server says no more than this."""
    return StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {})


def bad_request(text: str) -> StatusError:
    return StatusError(400, "BadRequest", text)


def method_not_allowed() -> StatusError:
    return StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def not_served(what: str) -> StatusError:
    """405 for what a real cluster has and this one leaves out, such as pods/exec."""
    return StatusError(405, "MethodNotAllowed", f"{what} is not served: this API server stands before no containers and no metrics", {})


def definition_terminating(verb: str) -> StatusError:
    """Source: apiextensions-apiserver pkg/apiserver/customresource_handler.go."""
    return StatusError(405, "MethodNotAllowed", f"{verb} not allowed while custom resource definition is terminating", {})


def not_acceptable(text: str, details: dict[str, t.Any] | None = None) -> StatusError:
    return StatusError(406, "NotAcceptable", text, details)


def unsupported_media_type(accepted: t.Iterable[str]) -> StatusError:
    text = "the body of the request was in an unknown format - accepted media types include: " + ", ".join(accepted)
    return StatusError(415, "UnsupportedMediaType", text)


def too_large(limit: int) -> StatusError:
    return StatusError(413, "RequestEntityTooLarge", f"Request entity too large: limit is {limit}")


def expired(text: str) -> StatusError:
    """410: the version asked for is no longer held."""
    return StatusError(410, "Expired", text)


def continue_expired(token: str) -> StatusError:
    """410 of a paged list, with a token that goes on at the newest version.

    Source: Kubernetes apiserver pkg/storage/etcd3/errors.go (handleCompactedErrorForPaging).
    """
    text = (
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
        "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
        "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted "
        "between the time the first chunk was returned and now may show up in the list."
    )
    error = expired(text)
    error.continue_token = token
    return error


def too_many_requests(text: str, retry_after: int, causes: t.Sequence[Cause] = ()) -> StatusError:
    details: dict[str, t.Any] = {"causes": [cause.to_dict() for cause in causes]} if causes else {}
    details["retryAfterSeconds"] = retry_after
    return StatusError(429, "TooManyRequests", text, details, {"Retry-After": str(retry_after)})


def internal(text: str, reason: str = "InternalError") -> StatusError:
    """500. With the usual reason the message is prefixed as the real server does; an empty reason keeps the bare text."""
    if not reason:
        return StatusError(500, "", text)
    return StatusError(500, reason, f"Internal error occurred: {text}", {"causes": [{"message": text}]})


def too_large_resource_version(asked: int, current: int) -> StatusError:
    """504: a list at a version of the future."""
    cause = Cause("ResourceVersionTooLarge", "Too large resource version")
    text = f"Timeout: Too large resource version: {asked}, current: {current}"
    return StatusError(504, "Timeout", text, {"causes": [cause.to_dict()], "retryAfterSeconds": 1}, {"Retry-After": "1"})


def timeout(text: str) -> StatusError:
    return StatusError(504, "Timeout", f"Timeout: {text}", {})


def invalid_value(field: str, value: t.Any, text: str) -> Cause:
    """`Invalid value: "x": TEXT` with the value as Go prints it."""
    return Cause("FieldValueInvalid", f"Invalid value: {json.dumps(value, separators=(',', ':'))}: {text}", field)


def required_value(field: str, text: str = "") -> Cause:
    return Cause("FieldValueRequired", f"Required value: {text}" if text else "Required value", field)


def forbidden_value(field: str, text: str) -> Cause:
    return Cause("FieldValueForbidden", f"Forbidden: {text}", field)


def unsupported_value(field: str, value: t.Any, supported: t.Iterable[str]) -> Cause:
    shown = ", ".join(json.dumps(item) for item in supported)
    return Cause("FieldValueNotSupported", f"Unsupported value: {json.dumps(value)}: supported values: {shown}", field)


def quote(text: str) -> str:
    """A string as Go's %q prints it."""
    return json.dumps(text, ensure_ascii=False)
