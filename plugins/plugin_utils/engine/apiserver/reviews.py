# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Questions that are answered and not stored: access reviews, who am I, what is this token, and tokens for service accounts.

Source: Kubernetes pkg/registry/authorization, pkg/registry/authentication, pkg/registry/core/serviceaccount/storage/token.go,
pkg/apis/authorization/validation.
"""
from __future__ import annotations

import typing as t

from .. import errors
from ..clock import Clock
from ..kinds import Kind
from ..store.store import Store, copy_json
from . import reading
from .authentication import AUDIENCE, Authenticator, InvalidToken
from .authorization import Attributes, Authorizer, Rule
from .decoding import check_type, decode
from .identity import MASTERS, UserInfo
from .managed_fields import track_update
from .options import WriteOptions
from .resources import Call, Object, Result
from .subresources import decoded
from .validation import prepare

_AUTHORIZATION = "authorization.k8s.io"
_SHORTEST_TOKEN = 600
_DEFAULT_TOKEN = 3600
_LONGEST_TOKEN = 1 << 32
_TOKEN_REQUEST = Kind(
    "authentication.k8s.io", "v1", "TokenRequest", "tokenrequests", "tokenrequest", namespaced=True, stored=False,
    type_name="authentication.v1.TokenRequest",
)


class Reviews:
    def __init__(self, store: Store, authorizer: Authorizer, authenticator: Authenticator, clock: Clock) -> None:
        self.store, self.authorizer, self.authenticator, self.clock = store, authorizer, authenticator, clock
        self._handlers: dict[tuple[str, str], t.Callable[[Call, Object], None]] = {
            (_AUTHORIZATION, "subjectaccessreviews"): self._subject_access,
            (_AUTHORIZATION, "selfsubjectaccessreviews"): self._self_subject_access,
            (_AUTHORIZATION, "localsubjectaccessreviews"): self._local_subject_access,
            (_AUTHORIZATION, "selfsubjectrulesreviews"): self._rules,
            ("authentication.k8s.io", "selfsubjectreviews"): self._who_am_i,
            ("authentication.k8s.io", "tokenreviews"): self._token_review,
        }

    def create(self, call: Call) -> Result:
        """Answer a review. Raises StatusError 400, 404, 422."""
        handler = self._handlers.get(call.kind.resource)
        if handler is None:
            raise errors.method_not_allowed()
        review = self._body(call)
        if call.namespace:
            review.setdefault("metadata", {}).setdefault("namespace", call.namespace)
        handler(call, review)
        return Result(201, object=review)

    def _body(self, call: Call) -> Object:
        options = WriteOptions.of("create", call.query, call.content_type, call.user_agent)
        if isinstance(call.body, bytes):
            review, duplicates = decode(call.body, call.content_type, call.kind)
            check_type(review, call.kind, call.body)
        else:
            review, duplicates = copy_json(call.body), []
            check_type(review, call.kind)
        review, warnings = prepare(call.kind, review, options.field_validation, duplicates)
        call.warnings.extend(warnings)
        review.pop("status", None)
        review["metadata"] = review.get("metadata") or {}
        managers = track_update(call.kind, None, review, options.field_manager, "", self.clock.timestamp())
        if managers:
            review["metadata"]["managedFields"] = managers
        return review

    def _subject_access(self, call: Call, review: Object) -> None:
        spec = review.get("spec") or {}
        causes = _attribute_causes(spec)
        if not spec.get("user") and not spec.get("groups"):
            causes.append(errors.Cause("FieldValueInvalid", 'Invalid value: "": at least one of user or group must be specified', "spec.user"))
        if causes:
            raise errors.invalid_review(_AUTHORIZATION, causes)
        extra = {key: tuple(values or ()) for key, values in (spec.get("extra") or {}).items()}
        user = UserInfo(spec.get("user") or "", tuple(spec.get("groups") or ()), spec.get("uid") or "", extra)
        review["status"] = self._decision(user, spec)

    def _self_subject_access(self, call: Call, review: Object) -> None:
        spec = review.get("spec") or {}
        causes = _attribute_causes(spec)
        if causes:
            raise errors.invalid_review(_AUTHORIZATION, causes)
        review["status"] = self._decision(call.user, spec)

    def _local_subject_access(self, call: Call, review: Object) -> None:
        spec = review.get("spec") or {}
        resource = spec.get("resourceAttributes") or {}
        if spec.get("resourceAttributes") is not None and resource.get("namespace", "") != call.namespace:
            cause = errors.invalid_value("spec.resourceAttributes.namespace", resource.get("namespace", ""), "must match metadata.namespace")
            raise errors.invalid_review(_AUTHORIZATION, [cause])
        if spec.get("nonResourceAttributes") is not None:
            cause = errors.invalid_value("spec.nonResourceAttributes", spec["nonResourceAttributes"], "disallowed on this kind of request")
            raise errors.invalid_review(_AUTHORIZATION, [cause])
        self._subject_access(call, review)

    def _decision(self, user: UserInfo, spec: Object) -> Object:
        allowed, reason = self.authorizer.authorize(user, _attributes(spec))
        status: Object = {"allowed": allowed}
        if reason:
            status["reason"] = reason
        return status

    def _rules(self, call: Call, review: Object) -> None:
        namespace = (review.get("spec") or {}).get("namespace") or ""
        if not namespace:
            raise errors.bad_request("no namespace on request")
        rules, missing = self.authorizer.rules_for(call.user, namespace)
        if MASTERS in call.user.groups:
            rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]}, *rules]
        status: Object = {
            "resourceRules": [_picked(rule, ("verbs", "apiGroups", "resources", "resourceNames")) for rule in rules if rule.get("resources")],
            "nonResourceRules": [_picked(rule, ("verbs", "nonResourceURLs")) for rule in rules if rule.get("nonResourceURLs")],
            "incomplete": bool(missing),
        }
        if missing:
            status["evaluationError"] = missing[0] if len(missing) == 1 else f"[{', '.join(missing)}]"
        review["status"] = status

    def _who_am_i(self, call: Call, review: Object) -> None:
        review["metadata"].setdefault("creationTimestamp", self.clock.timestamp())
        review["status"] = {"userInfo": call.user.to_dict()}

    def _token_review(self, call: Call, review: Object) -> None:
        spec = review.get("spec") or {}
        if not spec.get("token"):
            raise errors.bad_request("token is required for TokenReview in authentication")
        audiences = spec.get("audiences") or [AUDIENCE]
        try:
            user, matching = self.authenticator.of_token(spec["token"], audiences)
        except InvalidToken as error:
            review["status"] = {"user": {}, "error": f"[{error}, token lookup failed]"}
            return
        review["status"] = {"authenticated": True, "user": user.to_dict(), "audiences": matching}

    def token_request(self, call: Call) -> Result:
        """POST serviceaccounts/NAME/token. Raises StatusError 404, 405, 409, 422."""
        if call.info.verb != "create":
            raise errors.method_not_allowed()
        account = reading.find(self.store, call).value
        given = decoded(call, _TOKEN_REQUEST)
        spec = given.get("spec") or {}
        seconds = spec.get("expirationSeconds", _DEFAULT_TOKEN)
        causes = []
        if not isinstance(seconds, int) or seconds < _SHORTEST_TOKEN:
            causes.append(errors.invalid_value("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"))
        elif seconds > _LONGEST_TOKEN:
            causes.append(errors.invalid_value("spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds"))
        if causes:
            raise errors.invalid(_TOKEN_REQUEST, "", causes)
        audiences = spec.get("audiences") or [AUDIENCE]
        reference = spec.get("boundObjectRef")
        bound = self._bound_object(call, reference) if reference else None
        token, ends = self.authenticator.tokens.issue(account, audiences, seconds, bound)
        metadata = {"name": call.name, "namespace": call.namespace, "creationTimestamp": self.clock.timestamp()}
        answer = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": metadata,
            "spec": {"audiences": list(audiences), "expirationSeconds": seconds, "boundObjectRef": reference},
            "status": {"token": token, "expirationTimestamp": ends.strftime("%Y-%m-%dT%H:%M:%SZ")},
        }
        return Result(201, object=answer)

    def _bound_object(self, call: Call, reference: Object) -> tuple[str, Object]:
        kinds = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}
        kind, name = reference.get("kind", ""), reference.get("name", "")
        if kind not in kinds:
            raise errors.bad_request(f"cannot bind token for serviceaccount {errors.quote(call.name)} to object of kind {errors.quote(kind)}")
        namespace = "" if kind == "Node" else call.namespace
        stored = self.store.get(("", kinds[kind]), namespace, name)
        if stored is None:
            raise errors.not_found(_Plain(kinds[kind], kind), name)
        uid = stored.value["metadata"]["uid"]
        if reference.get("uid") and reference["uid"] != uid:
            text = (
                f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
                "The object might have been deleted and then recreated"
            )
            raise errors.conflict(_Plain(kinds[kind], kind), name, text)
        return kind.lower(), stored.value


class _Plain(t.NamedTuple):
    plural: str
    kind: str
    group: str = ""


def _attribute_causes(spec: Object) -> list[errors.Cause]:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if resource is not None and path is not None:
        text = "cannot be specified in combination with resourceAttributes"
        return [errors.invalid_value("spec.nonResourceAttributes", path, text)]
    if resource is None and path is None:
        text = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        return [errors.invalid_value("spec.resourceAttributes", None, text)]
    return []


def _attributes(spec: Object) -> Attributes:
    path = spec.get("nonResourceAttributes")
    if path is not None:
        return Attributes(path.get("verb", ""), path=path.get("path", ""))
    asked = spec["resourceAttributes"]
    keys = ("verb", "group", "resource", "subresource", "namespace", "name")
    return Attributes(*(asked.get(key) or "" for key in keys))


def _picked(rule: Rule, keys: tuple[str, ...]) -> Rule:
    return {key: rule[key] for key in keys if rule.get(key)}
