# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write plugins/plugin_utils/engine/builtin_types.json from the OpenAPI definitions of a Kubernetes release.

usage: builtin_types.py DEFINITIONS > builtin_types.json
DEFINITIONS is a JSON file whose `definitions` (or `$defs`) are those of Kubernetes' api/openapi-spec/swagger.json;
the PyPI package kubernetes-validate carries one for each release.
"""
from __future__ import annotations

import json
import pathlib
import re
import sys
import typing as t

from ansible_collections.okd.virt.plugins.plugin_utils.engine.kinds import Registry

SCALARS = {
    "Quantity": "Quantity", "IntOrString": "IntOrString", "Time": "Time", "MicroTime": "MicroTime", "FieldsV1": "any", "RawExtension": "any",
    "JSON": "any", "JSONSchemaPropsOrArray": "any", "JSONSchemaPropsOrBool": "any", "JSONSchemaPropsOrStringArray": "any",
}
EXTRA = ("policy.v1.Eviction", "autoscaling.v1.Scale", "meta.v1.DeleteOptions", "authentication.v1.TokenRequest")


def short(name: str) -> str:
    """io.k8s.api.core.v1.Pod → core.v1.Pod, and the same for the other families of definitions."""
    return ".".join(name.split(".")[-3:])


def schema_type(schema: dict[str, t.Any]) -> str:
    wanted = schema.get("type", "object")
    return next(name for name in wanted if name != "null") if isinstance(wanted, list) else wanted


def type_of(schema: dict[str, t.Any], found: set[str]) -> str:
    reference = schema.get("$ref", "")
    if reference:
        name = reference.rsplit("/", 1)[-1]
        scalar = SCALARS.get(name.rsplit(".", 1)[-1])
        if scalar:
            return scalar
        found.add(short(name))
        return short(name)
    kind, form = schema_type(schema), schema.get("format", "")
    if kind == "array":
        return "[]" + type_of(schema["items"], found)
    if kind == "object":
        return "map[string]" + type_of(schema["additionalProperties"], found) if "additionalProperties" in schema else "any"
    return {"integer": form or "int64", "number": "float64", "boolean": "bool"}.get(kind, "[]byte" if form == "byte" else "string")


def field_of(schema: dict[str, t.Any], required: bool, found: set[str]) -> t.Any:
    options: dict[str, t.Any] = {}
    if required:
        options["required"] = True
    kind = schema.get("x-kubernetes-list-type")
    if kind == "map":
        options["keys"] = schema["x-kubernetes-list-map-keys"]
    elif kind == "set":
        options["set"] = True
    if schema.get("x-kubernetes-map-type") == "atomic":
        options["atomic"] = True
    strategy = schema.get("x-kubernetes-patch-strategy", "")
    if "merge" in strategy:
        options["merge"] = schema.get("x-kubernetes-patch-merge-key", "")
    if "retainKeys" in strategy:
        options["retain"] = True
    name = type_of(schema, found)
    return [name, options] if options else name


def sentence(text: str) -> str:
    return re.split(r"(?<=\.)\s", text.strip(), maxsplit=1)[0][:240]


def main() -> None:
    document = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
    definitions = {short(name): value for name, value in (document.get("definitions") or document["$defs"]).items()}
    todo = [kind.type_name for kind in Registry().all()] + list(EXTRA)
    types: dict[str, t.Any] = {}
    while todo:
        name = todo.pop()
        if name in types:
            continue
        source, found = definitions[name], set[str]()
        required = source.get("required", [])
        properties = source.get("properties")
        entry: dict[str, t.Any] = {"description": sentence(source.get("description", ""))}
        if source.get("x-kubernetes-map-type") == "atomic":
            entry["atomic"] = True
        if properties is not None:
            entry["fields"] = {key: field_of(value, key in required, found) for key, value in sorted(properties.items())}
            entry["descriptions"] = {key: sentence(value["description"]) for key, value in sorted(properties.items()) if value.get("description")}
        types[name] = entry
        todo.extend(found)
    json.dump(dict(sorted(types.items())), sys.stdout, indent=0, separators=(",", ":"), sort_keys=True)
    print()


if __name__ == "__main__":
    main()
