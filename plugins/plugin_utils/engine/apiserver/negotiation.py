# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which representation a client gets and which bodies are read.

Source: Kubernetes apiserver pkg/endpoints/handlers/negotiation/negotiate.go; go-restful's route selection for built-in resources.
"""
from __future__ import annotations

import dataclasses
import json
import typing as t

import yaml

from ..errors import StatusError, not_acceptable, unsupported_media_type
from ..kinds import Kind

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
_KNOWN = (JSON, YAML, PROTOBUF)
_TRANSFORMS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")

OBJECT_TRANSFORMS: tuple[str, ...] = _TRANSFORMS


@dataclasses.dataclass(frozen=True)
class Negotiated:
    """The representation that was agreed. as_kind is "" for the object itself, or Table, PartialObjectMetadata(List), APIGroupDiscoveryList."""

    media_type: str = JSON
    as_kind: str = ""
    as_group: str = ""
    as_version: str = ""
    profile: str = ""

    @property
    def as_api_version(self) -> str:
        return f"{self.as_group}/{self.as_version}"

    @property
    def content_type(self) -> str:
        return self.media_type


PLAIN = Negotiated()


def _clauses(header: str) -> list[tuple[str, dict[str, str]]]:
    """Media types with their parameters, the most wanted first."""
    found = []
    for clause in header.split(","):
        media, *rest = (part.strip() for part in clause.split(";"))
        parameters = {name.strip().lower(): value.strip().strip('"') for name, dummy, value in (part.partition("=") for part in rest)}
        try:
            weight = float(parameters.pop("q", "1"))
        except ValueError:
            weight = 1.0
        if media:
            found.append((weight, media.lower(), parameters))
    # The sort is stable: equal weights keep the client's order.
    return [(media, parameters) for weight, media, parameters in sorted(found, key=lambda entry: -entry[0])]


def _match(media: str, parameters: t.Mapping[str, str], transforms: t.Collection[str]) -> Negotiated | None:
    if media in ("*/*", "application/*"):
        media = JSON
    if media not in (JSON, YAML):
        return None
    wanted = parameters.get("as", "")
    if not wanted:
        return Negotiated(media)
    group, version = parameters.get("g", ""), parameters.get("v", "")
    if wanted not in transforms:
        return None
    if wanted in _TRANSFORMS and (group != "meta.k8s.io" or version not in ("v1", "v1beta1")):
        return None
    if wanted == "APIGroupDiscoveryList" and (group, version) != ("apidiscovery.k8s.io", "v2"):
        return None
    return Negotiated(media, wanted, group, version, parameters.get("profile", ""))


def negotiate(accept: str | None, transforms: t.Collection[str] = _TRANSFORMS) -> Negotiated | None:
    """What the Accept header and we agree on, None when nothing does."""
    if not accept or accept == JSON:
        return PLAIN
    matches = (_match(media, parameters, transforms) for media, parameters in _clauses(accept))
    return next((found for found in matches if found is not None), None)


def accept_for(accept: str | None, kind: Kind, verb: str = "get", transforms: t.Collection[str] = _TRANSFORMS) -> Negotiated:
    """The agreed representation of an object or list of a kind. Raises StatusError 406 with the real text."""
    found = negotiate(accept, transforms)
    if found is not None:
        return found
    if not kind.custom and not any(media in _KNOWN for media, parameters in _clauses(accept or "")):
        return_types = _KNOWN + ((f"{JSON};stream=watch", f"{PROTOBUF};stream=watch") if verb in ("list", "watch") else ())
        raise not_acceptable("406: Not Acceptable\n\nAvailable representations: " + ", ".join(return_types), {})
    raise only_known()


def only_known() -> StatusError:
    return not_acceptable("only the following media types are accepted: " + ", ".join(_KNOWN))


def body_type(content_type: str | None) -> str:
    """The media type of a request body that is JSON or YAML; JSON when nothing is said. Raises StatusError 415."""
    media = (content_type or JSON).partition(";")[0].strip().lower()
    if media in (JSON, "*/*"):
        return JSON
    if media in (YAML, "application/x-yaml", "text/yaml"):
        return YAML
    raise unsupported_media_type(_KNOWN)


def patch_type(content_type: str | None, kind: Kind) -> str:
    """The media type of a patch. Raises StatusError 415 that lists what the kind takes."""
    media = (content_type or "").partition(";")[0].strip().lower()
    types = [JSON_PATCH, MERGE_PATCH]
    if not kind.custom:
        types.append(STRATEGIC_PATCH)
    types.append(APPLY_PATCH)
    if media not in types:
        raise unsupported_media_type(types)
    return media


def wants_pretty(pretty: str, user_agent: str) -> bool:
    """Whether a person reads the answer: `?pretty`, or curl and wget without it. Source: responsewriters and negotiate.go (isPrettyPrint)."""
    if pretty:
        return pretty.lower() not in ("false", "0")
    return user_agent.startswith(("curl", "Wget", "Mozilla/5.0"))


def encode(obj: t.Any, media_type: str = JSON, pretty: bool = False) -> bytes:
    """An answer's bytes in the agreed representation."""
    if media_type == YAML:
        return yaml.safe_dump(obj, default_flow_style=False, allow_unicode=True).encode()
    if pretty:
        return json.dumps(obj, indent=2, ensure_ascii=False).encode()
    return json.dumps(obj, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
