# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a decoded body to a complete object, and what is wrong with it.

Source: Kubernetes apimachinery pkg/api/validation/objectmeta.go; apiserver pkg/endpoints/handlers/{create,patch}.go.
"""
from __future__ import annotations

import json
import typing as t

from .. import errors
from ..errors import Cause, StatusError, forbidden_value, invalid_value, required_value
from ..kinds import Kind
from . import kind_validation, names, schema
from .builtin_decoding import DecodeError, read_metadata, read_object
from .defaults import set_defaults

Object = dict[str, t.Any]
_MOST_ANNOTATIONS = 256 * 1024
_NAME_RULES: dict[tuple[str, str], t.Callable[[str], list[str]]] = {
    ("", "namespaces"): names.dns_1123_label,
    ("", "services"): names.dns_1123_label,
    ("apps", "statefulsets"): names.dns_1123_label,
    **{("rbac.authorization.k8s.io", plural): names.path_segment for plural in ("roles", "clusterroles", "rolebindings", "clusterrolebindings")},
}


def prepare(
    kind: Kind, obj: Object, field_validation: str = "", duplicates: t.Sequence[str] = (), patched: bool = False, known: Object | None = None
) -> tuple[Object, list[str]]:
    """The object as the server holds it (unknown fields gone, defaults filled in) and warnings about what it dropped.

    `duplicates` are paths of keys that the body had twice. `patched` says that the object is the outcome of a patch, whose
    faults are reported in another way. Parts that are those of `known`, an object that is stored, are what they were then.
    Raises StatusError 400 (422 for patches) for wrong types and, with field validation Strict, for unknown and duplicate fields.
    """
    try:
        read, unknown = _read(kind, obj, known)
    except DecodeError as error:
        raise _undecodable(kind, obj, str(error), patched) from error
    found = [f'duplicate field "{path}"' for path in duplicates] + [f'unknown field "{path}"' for path in unknown]
    if found and field_validation == "Strict":
        raise _undecodable(kind, obj, "strict decoding error: " + ", ".join(found), patched)
    if kind.custom and kind.schema is not None:
        schema.set_defaults(kind.schema, read, known)
    elif kind.type_name and not _same(obj, known, "spec"):
        set_defaults(kind.type_name, read)
    return read, found if field_validation != "Ignore" else []


def _same(obj: Object, known: Object | None, key: str) -> bool:
    """Whether a whole part, such as spec, is the very same in both objects."""
    return known is not None and isinstance(obj.get(key), dict) and obj[key] is known.get(key)


def _read(kind: Kind, obj: Object, known: Object | None) -> tuple[Object, list[str]]:
    if not kind.custom and not kind.type_name:
        return obj, []
    made, unknown = dict(obj), list[str]()
    if "metadata" in made:
        made["metadata"], unknown = read_metadata(made["metadata"], (known or {}).get("metadata"))
    if kind.custom and kind.schema is None:
        return made, unknown
    if kind.custom:
        pruned, dropped = schema.prune(kind.schema or {}, made, known)
        return pruned, sorted(unknown + dropped)
    read, dropped = read_object(kind.type_name, {key: value for key, value in made.items() if key != "metadata"}, known)
    return {key: made[key] if key == "metadata" else read[key] for key in made if key in read or key == "metadata"}, unknown + dropped


def _undecodable(kind: Kind, obj: Object, problem: str, patched: bool) -> StatusError:
    if not patched:
        return errors.bad_request(f"{kind.kind} in version {json.dumps(kind.version)} cannot be handled as a {kind.kind}: {problem}")
    text = json.dumps(obj, separators=(",", ":"), ensure_ascii=False)
    cause = invalid_value("patch", text, problem)
    return StatusError(422, "Invalid", f' "" is invalid: patch: {cause.message}', {"causes": [cause.to_dict()]})


def validate_create(kind: Kind, obj: Object) -> list[Cause]:
    """Everything that is wrong with a new object."""
    return _metadata_causes(kind, obj.get("metadata") or {}) + _body_causes(kind, obj)


def validate_update(kind: Kind, obj: Object, old: Object) -> list[Cause]:
    """Everything that is wrong with an object that takes the place of an old one. Parts that are the same were right before."""
    causes = _metadata_causes(kind, obj.get("metadata") or {}, old.get("metadata") or {})
    causes += _body_causes(kind, obj, old)
    if not kind.custom:
        causes += kind_validation.update_causes(kind, obj, old)
    return causes


def _body_causes(kind: Kind, obj: Object, old: Object | None = None) -> list[Cause]:
    if not kind.custom:
        return [] if _same(obj, old, "spec") else kind_validation.causes(kind, obj)
    return schema.validate(kind.schema, obj, old) if kind.schema is not None else []


def _metadata_causes(kind: Kind, metadata: Object, old: Object | None = None) -> list[Cause]:
    known = old or {}
    causes = []
    rule = _NAME_RULES.get(kind.resource, names.dns_1123_subdomain)
    generate, name = metadata.get("generateName") or "", metadata.get("name") or ""
    if old is not None and (generate, name) == (known.get("generateName") or "", known.get("name")):
        # They were right before.
        generate = name = ""
    elif not name:
        causes.append(required_value("metadata.name", "name or generateName is required"))
    if generate and kind.resource != ("", "events"):
        # The real server does not look at the metadata of core events. What the server appends is valid, so a trailing dash is.
        masked = generate[:-1] + "a" if generate.endswith("-") and len(generate) > 1 else generate
        causes += [invalid_value("metadata.generateName", generate, text) for text in rule(masked)]
    if name:
        causes += [invalid_value("metadata.name", name, text) for text in rule(name)]
    if kind.namespaced and not metadata.get("namespace"):
        causes.append(required_value("metadata.namespace"))
    for key, rule_of in (("labels", _label_causes), ("annotations", _annotation_causes), ("ownerReferences", _owner_causes)):
        if (value := metadata.get(key)) and value != known.get(key):
            causes += rule_of(value)
    for finalizer in metadata.get("finalizers") or ():
        causes += [invalid_value("metadata.finalizers", finalizer, text) for text in names.qualified_name(finalizer)]
    return causes


def _label_causes(labels: t.Mapping[str, str]) -> list[Cause]:
    return label_causes(labels, "metadata.labels")


def label_causes(labels: t.Mapping[str, str], field: str) -> list[Cause]:
    causes = []
    for key, value in labels.items():
        causes += [invalid_value(field, key, text) for text in names.qualified_name(key)]
        causes += [invalid_value(field, value, text) for text in names.label_value(value)]
    return causes


def _annotation_causes(annotations: t.Mapping[str, str]) -> list[Cause]:
    field = "metadata.annotations"
    causes = [invalid_value(field, key, text) for key in annotations for text in names.qualified_name(key.lower())]
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > _MOST_ANNOTATIONS:
        causes.append(Cause("FieldValueTooLong", f"Too long: may not be more than {_MOST_ANNOTATIONS} bytes", field))
    return causes


def _owner_causes(references: t.Sequence[Object]) -> list[Cause]:
    causes: list[Cause] = []
    field = "metadata.ownerReferences"
    controllers = [reference.get("name", "") for reference in references if reference.get("controller")]
    for reference in references:
        if not reference.get("apiVersion"):
            causes.append(invalid_value(f"{field}.apiVersion", "", "version must not be empty"))
        causes += [invalid_value(f"{field}.{key}", "", "must not be empty") for key in ("kind", "name", "uid") if not reference.get(key)]
        if (reference.get("apiVersion"), reference.get("kind")) == ("v1", "Event"):
            causes.append(forbidden_value(field, "/v1, Kind=Event is disallowed from being an owner"))
    if len(controllers) > 1:
        text = "Only one reference can have Controller set to true. Found \"true\" in references for " + " and ".join(controllers[:2])
        causes.append(invalid_value(field, references, text))
    return causes
