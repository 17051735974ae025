# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Acting as somebody else, for those who may.

Source: Kubernetes apiserver pkg/endpoints/filters/impersonation.
"""
from __future__ import annotations

import typing as t
from urllib.parse import unquote

from .. import errors
from .authorization import Attributes, Authorizer, refusal
from .identity import ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, UserInfo, service_account_groups, split_service_account

if t.TYPE_CHECKING:
    from .request import Headers

_EXTRA = "impersonate-extra-"


def impersonate(authorizer: Authorizer, user: UserInfo, headers: Headers, asked: Attributes) -> UserInfo:
    """The user whom the Impersonate-* headers name, or the user itself without them. Raises StatusError 403 or 500."""
    name = headers.get("Impersonate-User", "")
    groups = tuple(headers.getall("Impersonate-Group", []))
    uid = headers.get("Impersonate-Uid", "")
    extra: dict[str, tuple[str, ...]] = {}
    for key in headers:
        if key.lower().startswith(_EXTRA):
            extra[unquote(key[len(_EXTRA):]).lower()] = tuple(headers.getall(key))
    if not name:
        if groups or uid or extra:
            raise errors.internal(f"requested impersonation of groups {list(groups)} without impersonating a user")
        return user
    account = split_service_account(name)
    checks = [
        Attributes("impersonate", "", "serviceaccounts", "", account[0], account[1])
        if account else Attributes("impersonate", "", "users", name=name)
    ]
    checks += [Attributes("impersonate", "", "groups", name=group) for group in groups]
    if uid:
        checks.append(Attributes("impersonate", "authentication.k8s.io", "uids", name=uid))
    for key, values in extra.items():
        checks += [Attributes("impersonate", "authentication.k8s.io", "userextras", key, name=value) for value in values]
    if not all(authorizer.authorize(user, check)[0] for check in checks):
        raise _refused(user, name, account is not None, asked)
    if account and not groups:
        groups = service_account_groups(account[0])
    everybody = UNAUTHENTICATED if name == ANONYMOUS else AUTHENTICATED
    if everybody not in groups:
        groups = (*groups, everybody)
    return UserInfo(name, groups, uid, extra)


def _refused(user: UserInfo, name: str, is_account: bool, asked: Attributes) -> errors.StatusError:
    if is_account:
        mode = "serviceaccount"
    elif name.startswith("system:node:"):
        mode = "arbitrary-node"
    else:
        mode = "user-info"
    text = refusal(user, asked._replace(verb=f"impersonate-on:{mode}:{asked.verb}"))
    return forbidden_request(asked, text)


class _Asked:
    """The resource of a request as errors want it; the resource may not even exist."""

    def __init__(self, asked: Attributes) -> None:
        self.group, self.plural, self.kind = asked.group, asked.resource, asked.resource


def forbidden_request(asked: Attributes, text: str) -> errors.StatusError:
    """The 403 of a request that RBAC refuses."""
    if not asked.resource:
        return errors.forbidden_path(text)
    return errors.forbidden(_Asked(asked), asked.name, text, nosniff=True)
