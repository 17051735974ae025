# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recorded answers of a real API server, and the registry, for the tests of this folder."""
from __future__ import annotations

import functools
import json
import typing as t

from ansible_collections.okd.virt.plugins.plugin_utils.engine.kinds import Kind, Registry
from ansible_collections.okd.virt.tests.support.paths import REPOSITORY

Object = dict[str, t.Any]
RECORDED = REPOSITORY / "tests" / "conformance" / "recorded"


def recorded(case: str, product: str = "kubernetes-1.36") -> Object:
    """One recorded case, such as `ssa/409-conflict`."""
    return t.cast(Object, json.loads((RECORDED / product / f"{case}.json").read_text(encoding="utf-8")))


def answer(case: str, product: str = "kubernetes-1.36") -> Object:
    return t.cast(Object, recorded(case, product)["response"]["body"])


def sent(case: str) -> Object:
    """The object of a recorded request, whether it was recorded parsed or raw."""
    request = recorded(case)["request"]
    return t.cast(Object, request["body"] if request["body"] is not None else json.loads(request["body_raw"]))


@functools.lru_cache(maxsize=1)
def registry() -> Registry:
    return Registry()


def kind(group: str, plural: str, version: str = "v1") -> Kind:
    found = registry().lookup(group, version, plural)
    assert found is not None
    return found


def kind_of(obj: Object) -> Kind:
    group, dummy, version = obj["apiVersion"].rpartition("/")
    found = registry().lookup_kind(group, version, obj["kind"])
    assert found is not None
    return found


GADGET: Object = {
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "gadgets.rk.example.com"},
    "spec": {
        "group": "rk.example.com", "scope": "Namespaced",
        "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget", "listKind": "GadgetList", "shortNames": ["gd"]},
        "versions": [{
            "name": "v1", "served": True, "storage": True, "subresources": {"status": {}},
            "additionalPrinterColumns": [
                {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}],
            "selectableFields": [{"jsonPath": ".spec.color"}],
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {
                    "type": "object", "required": ["size"], "x-kubernetes-validations": [{"rule": "self.size < 10"}],
                    "properties": {
                        "size": {"type": "integer", "minimum": 1},
                        "color": {"type": "string", "enum": ["red", "blue"], "default": "red"}}},
                "status": {"type": "object", "properties": {"phase": {"type": "string"}}}}}},
        }],
    },
}
