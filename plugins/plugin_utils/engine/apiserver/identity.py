# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who makes a request. Source: Kubernetes apiserver pkg/authentication/user/user.go."""
from __future__ import annotations

import dataclasses
import typing as t

ANONYMOUS = "system:anonymous"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
MASTERS = "system:masters"
SERVICE_ACCOUNTS = "system:serviceaccounts"
SERVICE_ACCOUNT_PREFIX = "system:serviceaccount:"


@dataclasses.dataclass(frozen=True)
class UserInfo:
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: t.Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict, hash=False)

    def to_dict(self) -> dict[str, t.Any]:
        """The shape of authentication.k8s.io/v1 UserInfo."""
        info: dict[str, t.Any] = {"username": self.name}
        if self.uid:
            info["uid"] = self.uid
        if self.groups:
            info["groups"] = list(self.groups)
        if self.extra:
            info["extra"] = {key: list(values) for key, values in self.extra.items()}
        return info


def service_account_name(namespace: str, name: str) -> str:
    return f"{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"


def service_account_groups(namespace: str) -> tuple[str, ...]:
    return (SERVICE_ACCOUNTS, f"{SERVICE_ACCOUNTS}:{namespace}")


def split_service_account(username: str) -> tuple[str, str] | None:
    """(namespace, name) of a service account's user name, else None."""
    if not username.startswith(SERVICE_ACCOUNT_PREFIX):
        return None
    namespace, dummy, name = username[len(SERVICE_ACCOUNT_PREFIX):].partition(":")
    return (namespace, name) if namespace and name and ":" not in name else None


def service_account_user(namespace: str, name: str, uid: str = "", extra: t.Mapping[str, tuple[str, ...]] | None = None) -> UserInfo:
    groups = (*service_account_groups(namespace), AUTHENTICATED)
    return UserInfo(service_account_name(namespace, name), groups, uid, extra or {})
