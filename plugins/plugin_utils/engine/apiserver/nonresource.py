# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The paths that are no resources and no discovery: health, version, and the keys of service-account tokens."""
from __future__ import annotations

import base64
import typing as t

from .. import errors
from .authentication import ISSUER, ServiceAccountTokens
from .request import Request, Response
from .resources import dumps

_HEALTH = ("healthz", "livez", "readyz")
_CHECKS = ("ping", "log", "etcd", "poststarthook/start-apiserver-admission-initializer", "poststarthook/rbac/bootstrap-roles")
_NOSNIFF = {"X-Content-Type-Options": "nosniff"}


def version_document(git_version: str) -> dict[str, str]:
    """What /version says; git_version is like "v1.31.6"."""
    major, minor = git_version.removeprefix("v").split(".")[:2]
    return {
        "major": major, "minor": minor, "emulationMajor": major, "emulationMinor": minor,
        "minCompatibilityMajor": major, "minCompatibilityMinor": str(int(minor) - 1), "gitVersion": git_version,
        "gitCommit": "0" * 40, "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "go1.24.0", "compiler": "gc", "platform": "linux/amd64",
    }


class NonResources:
    def __init__(self, tokens: ServiceAccountTokens, git_version: str) -> None:
        self._tokens = tokens
        self.version = dumps(version_document(git_version))
        """What /version says."""
        self.metrics: list[t.Callable[[], bytes]] = []
        """What a scrape shows, one part after the other, in the Prometheus text format."""

    def handle(self, request: Request) -> Response | None:
        """The answer, or None for a path that is not one of these."""
        path = request.path.rstrip("/")
        first, dummy, check = path.lstrip("/").partition("/")
        if first in _HEALTH:
            return _health(first, check, request.query.flag("verbose"))
        if path == "/version":
            return Response(200, self.version)
        if path == "/.well-known/openid-configuration":
            return Response(200, dumps({
                "issuer": ISSUER, "jwks_uri": f"{ISSUER}/openid/v1/jwks", "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["ES256"],
            }))
        if path == "/openid/v1/jwks":
            return self._keys(request.headers.get("Accept", ""))
        if path == "/metrics":
            return Response(200, b"".join(part() for part in self.metrics), _NOSNIFF, "text/plain; version=0.0.4; charset=utf-8")
        return None

    def _keys(self, accept: str) -> Response:
        if accept and "*/*" not in accept and "application/jwk-set+json" not in accept:
            raise errors.not_acceptable("406: Not Acceptable\n\nAvailable representations: application/jwk-set+json", {})
        numbers = self._tokens.public_key.public_numbers()
        key = {
            "use": "sig", "kty": "EC", "kid": self._tokens.key_id, "crv": "P-256", "alg": "ES256",
            "x": _base64(numbers.x), "y": _base64(numbers.y),
        }
        return Response(200, dumps({"keys": [key]}), content_type="application/jwk-set+json")


def _base64(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).decode().rstrip("=")


def _health(name: str, check: str, verbose: bool) -> Response:
    if check and check not in _CHECKS:
        raise errors.page_not_found()
    if check or not verbose:
        body = "ok"
    else:
        body = "".join(f"[+]{one} ok\n" for one in _CHECKS) + f"{name} check passed\n"
    return Response(200, body.encode(), _NOSNIFF, "text/plain; charset=utf-8")
