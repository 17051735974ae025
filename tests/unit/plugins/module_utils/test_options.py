# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module documents is what it takes, and what exists twice is the same twice."""

from __future__ import annotations

import importlib
import typing as t
from pathlib import Path

import pytest
import yaml

from ansible_collections.okd.virt.plugins import doc_fragments, modules
from ansible_collections.okd.virt.plugins.doc_fragments import attributes, auth, drain, loads, wait
from ansible_collections.okd.virt.plugins.module_utils._options import (
    ArgumentSpec,
    auth_spec,
    drain_spec,
    loads_spec,
    wait_spec,
)
from ansible_collections.okd.virt.plugins.module_utils._verbs import VERBS, find

Json = dict[str, t.Any]
FOLDERS = {name: Path(next(iter(package.__path__))) for name, package in {"modules": modules, "doc_fragments": doc_fragments}.items()}
TWINS = {"auth": (auth, auth_spec), "drain": (drain, drain_spec), "loads": (loads, loads_spec), "wait": (wait, wait_spec)}
COMMON_KEYS = {"msg", "actions", "summary"}


def documented(options: Json) -> Json:
    """Documented options as an argument specification says it."""
    return {name: _normal(option, "suboptions") for name, option in options.items()}


def _normal(option: Json, nested: str) -> Json:
    found = {
        "type": option.get("type", "str"), "default": option.get("default"), "choices": option.get("choices"), "elements": option.get("elements"),
        "required": bool(option.get("required")), "aliases": sorted(option.get("aliases") or ()),
    }
    below = option.get(nested)
    return {**found, "options": {name: _normal(value, nested) for name, value in below.items()} if below else None}


def specified(spec: ArgumentSpec) -> Json:
    return {name: _normal(option, "options") for name, option in spec.argument_spec.items()}


def fragment_options(text: str) -> Json:
    return dict(yaml.safe_load(text).get("options") or {})


@pytest.mark.parametrize("name", sorted(TWINS))
def test_twins(name: str) -> None:
    fragment, spec = TWINS[name]
    options = documented(fragment_options(fragment.ModuleDocFragment.DOCUMENTATION))
    expected = specified(spec())
    if name == "wait":
        # Each verb has its own default, which its module documents.
        for each in (options, expected):
            each["wait_timeout"]["default"] = None
    assert options == expected


def test_every_fragment_has_a_twin() -> None:
    names = {path.stem for path in FOLDERS["doc_fragments"].glob("*.py")} - {"__init__", "attributes"}
    assert names == set(TWINS)


@pytest.mark.parametrize("name", sorted(VERBS))
def test_a_module_documents_exactly_what_it_takes(name: str) -> None:
    module = importlib.import_module(f"ansible_collections.okd.virt.plugins.modules.{name}")
    documentation = yaml.safe_load(module.DOCUMENTATION)
    options: Json = {}
    for used in documentation["extends_documentation_fragment"]:
        fragment_name, dummy, variant = used.removeprefix("okd.virt.").partition(".")
        fragment = importlib.import_module(f"ansible_collections.okd.virt.plugins.doc_fragments.{fragment_name}")
        text = getattr(fragment.ModuleDocFragment, variant.upper() if variant else "DOCUMENTATION")
        options.update(fragment_options(text))
    options.update(documentation.get("options") or {})
    assert documented(options) == specified(auth_spec().merge(find(name).spec()))


@pytest.mark.parametrize("name", sorted(VERBS))
def test_a_module_documents_what_it_needs_and_returns(name: str) -> None:
    module = importlib.import_module(f"ansible_collections.okd.virt.plugins.modules.{name}")
    notes = " ".join(str(note) for note in yaml.safe_load(module.DOCUMENTATION).get("notes") or ())
    assert "Rules needed" in notes
    returned = yaml.safe_load(module.RETURN)
    assert set(returned) >= COMMON_KEYS
    for key, value in returned.items():
        assert {"description", "returned", "type"} <= set(value), key
        assert key not in {"items", "keys", "values", "update", "copy", "get", "pop"}, f"{key} collides with a method in Jinja"


@pytest.mark.parametrize("name", sorted(VERBS))
def test_the_verb_the_module_and_the_action_are_one(name: str) -> None:
    verb = find(name)
    assert verb.name == name
    for kind in ("modules", "action"):
        plugin = importlib.import_module(f"ansible_collections.okd.virt.plugins.{kind}.{name}")
        found = plugin.VERB if kind == "modules" else plugin.ActionModule.VERB
        assert found is verb


def test_every_module_is_a_verb_but_the_embedded_cluster() -> None:
    assert {path.stem for path in FOLDERS["modules"].glob("*.py")} - {"__init__"} == {*VERBS, "engine"}


def test_attributes_state_what_holds_for_all() -> None:
    for text in (attributes.ModuleDocFragment.DOCUMENTATION, attributes.ModuleDocFragment.INFO):
        stated = yaml.safe_load(text)["attributes"]
        assert set(stated) == {"check_mode", "diff_mode", "idempotent", "action_group", "platform"}
        assert stated["check_mode"]["support"] == "full"


def test_an_option_may_not_be_defined_twice() -> None:
    with pytest.raises(ValueError, match="defined twice: wait, wait_timeout"):
        wait_spec().merge(wait_spec())
