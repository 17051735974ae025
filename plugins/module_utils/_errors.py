# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors that say what is wrong, with which object, and what to do. Private to this collection."""

from __future__ import annotations

import typing as t


class VirtError(Exception):
    """What a verb fails with: a sentence, and the data behind it, which the result of the task carries."""

    def __init__(self, message: str, **details: t.Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class OptionError(VirtError):
    """An option that can't be; the sentence names it."""


class ConnectionProblem(VirtError):
    """The cluster can't be reached, or not with these credentials."""


class ApiError(VirtError):
    """The API refused a request. C(status) is the HTTP status, C(reason) the API's own word, C(request) method and path."""

    def __init__(self, message: str, status: int, reason: str = "", request: str = "", causes: t.Sequence[t.Mapping[str, t.Any]] = ()) -> None:
        super().__init__(message, status=status, reason=reason, request=request, causes=[dict(cause) for cause in causes])
        self.status, self.reason, self.request = status, reason, request


class Conflict(ApiError):
    """409: somebody else wrote meanwhile, or an object of that name is there."""


class Gone(ApiError):
    """410: the version asked for is no longer known."""


class Forbidden(ApiError):
    """403 for want of a permission: the sentence names the RBAC rule that is missing."""


class ResourceMissing(ApiError):
    """404 for a whole resource: the cluster does not have this kind."""


class DeadlineExceeded(VirtError):
    """What was waited for did not happen in time; C(pending) says what is missing and why."""

    def __init__(self, message: str, pending: t.Sequence[str] = (), **details: t.Any) -> None:
        super().__init__(message, pending=list(pending), **details)
        self.pending = list(pending)


class PreconditionFailed(VirtError):
    """The verb may not do this to this cluster as it is; nothing was changed."""
