# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who makes this request: client certificates, service-account tokens, static tokens, anonymous.

Source: Kubernetes apiserver pkg/authentication/request/{x509,bearertoken,anonymous}, pkg/serviceaccount/{claims,jwt}.go.
"""
from __future__ import annotations

import contextlib
import datetime
import hashlib
import typing as t
import uuid

with contextlib.suppress(ImportError):
    import jwt
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

from .. import errors
from ..clock import Clock
from ..store.store import Store
from .identity import ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, UserInfo, service_account_name, service_account_user
from .request import Request

Object = dict[str, t.Any]
ISSUER = AUDIENCE = "https://kubernetes.default.svc"
_CREDENTIAL = "authentication.kubernetes.io/credential-id"
_BOUND = {"pod": ("", "pods"), "secret": ("", "secrets"), "node": ("", "nodes")}
_CACHE_SIZE = 4096

ANONYMOUS_USER = UserInfo(ANONYMOUS, (UNAUTHENTICATED,))


class InvalidToken(Exception):
    """A bearer token that identifies nobody; the text says why."""


class ServiceAccountTokens:
    """Issues and checks the signed tokens of service accounts."""

    def __init__(self, store: Store, clock: Clock, key: ec.EllipticCurvePrivateKey) -> None:
        self._store, self._clock, self._key = store, clock, key
        self.public_key = key.public_key()
        der = self.public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.key_id = hashlib.sha256(der).hexdigest()[:43]
        self._claims: dict[str, Object] = {}

    def issue(
        self, account: Object, audiences: t.Sequence[str], seconds: int, bound: tuple[str, Object] | None = None
    ) -> tuple[str, datetime.datetime]:
        """A token for a ServiceAccount, bound to it and, if given, to a (pod|secret|node, object), and when it ends."""
        now = self._clock.now()
        ends = now + datetime.timedelta(seconds=seconds)
        metadata = account["metadata"]
        private: Object = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        if bound is not None:
            private[bound[0]] = {"name": bound[1]["metadata"]["name"], "uid": bound[1]["metadata"]["uid"]}
        claims = {
            "aud": list(audiences), "exp": int(ends.timestamp()), "iat": int(now.timestamp()), "iss": ISSUER, "jti": str(uuid.uuid4()),
            "kubernetes.io": private, "nbf": int(now.timestamp()),
            "sub": service_account_name(metadata["namespace"], metadata["name"]),
        }
        return jwt.encode(claims, self._key, algorithm="ES256", headers={"kid": self.key_id}), ends

    def authenticate(self, token: str, audiences: t.Collection[str] = (AUDIENCE,)) -> tuple[UserInfo, list[str]]:
        """The service account of a token and the audiences that match. Raises InvalidToken."""
        claims = self._decode(token)
        matching = [audience for audience in claims["aud"] if audience in audiences]
        if not matching:
            raise InvalidToken(f"token audiences {claims['aud']} is invalid for the target audiences {list(audiences)}")
        now = self._clock.now().timestamp()
        if claims["exp"] < now:
            raise InvalidToken("service account token has expired")
        private = claims["kubernetes.io"]
        account, namespace = private["serviceaccount"], private["namespace"]
        self._require(("", "serviceaccounts"), namespace, account, "service account")
        extra = {_CREDENTIAL: (f"JTI={claims['jti']}",)}
        for kind, resource in _BOUND.items():
            if kind in private:
                self._require(resource, "" if kind == "node" else namespace, private[kind], kind)
                extra[f"authentication.kubernetes.io/{kind}-name"] = (private[kind]["name"],)
                extra[f"authentication.kubernetes.io/{kind}-uid"] = (private[kind]["uid"],)
        return service_account_user(namespace, account["name"], account["uid"], extra), matching

    def _decode(self, token: str) -> Object:
        known = self._claims.get(token)
        if known is not None:
            return known
        # Times are checked against the engine's clock, which need not be this machine's.
        options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
        try:
            claims: Object = jwt.decode(token, self.public_key, algorithms=["ES256"], issuer=ISSUER, options=options)  # type: ignore[arg-type]
        except jwt.PyJWTError as error:
            raise InvalidToken("invalid bearer token") from error
        if len(self._claims) >= _CACHE_SIZE:
            self._claims.clear()
        self._claims[token] = claims
        return claims

    def _require(self, resource: tuple[str, str], namespace: str, reference: Object, what: str) -> None:
        stored = self._store.get(resource, namespace, reference["name"])
        if stored is None:
            raise InvalidToken(f'{resource[1]} "{reference["name"]}" not found')
        if stored.value["metadata"]["uid"] != reference["uid"]:
            raise InvalidToken(f"the {what} UID ({stored.value['metadata']['uid']}) does not match claim ({reference['uid']})")


class Authenticator:
    """Tries, in the order of the real server, certificate, token, anonymous."""

    def __init__(self, tokens: ServiceAccountTokens, static_tokens: t.Mapping[str, UserInfo] | None = None) -> None:
        self.tokens = tokens
        self._static = dict(static_tokens or {})
        self._certificates: dict[bytes, UserInfo] = {}

    def authenticate(self, request: Request) -> UserInfo:
        """Raises StatusError 401 for a token that identifies nobody; without any credentials the user is anonymous."""
        if request.peer_certificate is not None:
            return self._of_certificate(request.peer_certificate)
        header = request.headers.get("Authorization")
        if not header:
            return ANONYMOUS_USER
        scheme, dummy, token = header.strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return ANONYMOUS_USER
        try:
            return self.of_token(token)[0]
        except InvalidToken as error:
            raise errors.unauthorized() from error

    def of_token(self, token: str, audiences: t.Collection[str] = (AUDIENCE,)) -> tuple[UserInfo, list[str]]:
        """User and matching audiences of a bearer token. Raises InvalidToken."""
        static = self._static.get(token)
        if static is not None:
            groups = static.groups if AUTHENTICATED in static.groups else (*static.groups, AUTHENTICATED)
            return UserInfo(static.name, groups, static.uid, static.extra), [AUDIENCE]
        return self.tokens.authenticate(token, audiences)

    def _of_certificate(self, der: bytes) -> UserInfo:
        known = self._certificates.get(der)
        if known is None:
            subject = x509.load_der_x509_certificate(der).subject
            names = [str(attribute.value) for attribute in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
            groups = tuple(str(attribute.value) for attribute in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
            if not names:
                return ANONYMOUS_USER
            extra = {_CREDENTIAL: (f"X509SHA256={hashlib.sha256(der).hexdigest()}",)}
            known = UserInfo(names[0], (*groups, AUTHENTICATED), extra=extra)
            if len(self._certificates) >= _CACHE_SIZE:
                self._certificates.clear()
            self._certificates[der] = known
        return known
