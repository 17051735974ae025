# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which version of HyperConverged the cluster has, where the settings stand in it, and what their defaults are. Private to this collection.

Source: HyperConverged api/v1beta1 and api/v1 hyperconverged_types.go (spec.liveMigrationConfig; spec.virtualization.liveMigrationConfig),
api/v1beta1/conversion.go (copied field by field). OKD Virtualization 4.18 and 4.19 have v1beta1 alone.
"""

from __future__ import annotations

import typing as t

from .._cluster.client import Cluster
from .._cluster.resources import HYPERCONVERGEDS, Resource
from .._errors import ApiError, PreconditionFailed, ResourceMissing
from .fields import DEFAULTS, FIELDS, Value

Json = dict[str, t.Any]
NEWER = HYPERCONVERGEDS._replace(version="v1")
_CONFIG = "liveMigrationConfig"


def hyperconverged_of(cluster: Cluster, namespace: str | None) -> Json:
    """The one HyperConverged of a cluster, in v1beta1 as long as it is served. Raises PreconditionFailed."""
    try:
        items = cluster.list(HYPERCONVERGEDS, namespace or None).items
    except ResourceMissing:
        items = cluster.list(NEWER, namespace or None, missing_ok=True).items
    if len(items) != 1:
        where = f"namespace {namespace}" if namespace else "the cluster"
        raise PreconditionFailed(
            f"{where[0].upper()}{where[1:]} has {len(items) or 'no'} HyperConverged{'' if not items else 's'}; there must be exactly one. "
            "Is OKD Virtualization installed, and may you list its HyperConverged?", found=len(items),
        )
    return items[0]


def resource_of(hyperconverged: Json) -> Resource:
    """The resource in the version that the object was read in."""
    return NEWER if hyperconverged.get("apiVersion") == NEWER.api_version else HYPERCONVERGEDS


def config_of(hyperconverged: Json) -> Json:
    """The settings that stand in it, by key."""
    found: t.Any = hyperconverged.get("spec") or {}
    for part in _path(hyperconverged):
        found = found.get(part) or {}
    return dict(found)


def patch_of(hyperconverged: Json, values: t.Mapping[str, Value]) -> Json:
    """The merge patch that sets them."""
    made: Json = dict(values)
    for part in reversed(("spec", *_path(hyperconverged))):
        made = {part: made}
    return made


def _path(hyperconverged: Json) -> tuple[str, ...]:
    return ("virtualization", _CONFIG) if resource_of(hyperconverged) is NEWER else (_CONFIG,)


def defaults_of(cluster: Cluster, hyperconverged: Json) -> dict[str, Value]:
    """What HyperConverged's schema gives to a key that is not there, by key; those of 1.14 and 1.15 where the schema can't be read."""
    resource = resource_of(hyperconverged)
    try:
        schemas = (cluster.document(f"/openapi/v3/apis/{resource.api_version}").get("components") or {}).get("schemas") or {}
    except ApiError:
        return dict(DEFAULTS)
    for schema in schemas.values():
        kinds = [one.get("kind") for one in schema.get("x-kubernetes-group-version-kind") or ()]
        if kinds == [resource.kind]:
            part: t.Any = schema
            for name in ("spec", *_path(hyperconverged)):
                part = ((part or {}).get("properties") or {}).get(name)
            properties = (part or {}).get("properties")
            if properties:
                return {field.key: (properties.get(field.key) or {}).get("default") for field in FIELDS}
    return dict(DEFAULTS)
