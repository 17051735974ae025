# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Label and field selectors, and what Accept and Content-Type lead to."""
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver import negotiation
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.custom_resources import kinds_of
from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.selectors import (
    LabelSelector,
    Requirement,
    from_label_selector_object,
    parse_field_selector,
    parse_label_selector,
)
from ansible_collections.okd.virt.plugins.plugin_utils.engine.errors import StatusError

from .recordings import GADGET, answer, kind, recorded

PODS = kind("", "pods")
GADGETS = next(iter(kinds_of(GADGET)))

words = st.text("abcXYZ019", min_size=1, max_size=5)
keys = words | st.builds("{}.io/{}".format, st.text("abc", min_size=1, max_size=4), words)
requirements = st.one_of(
    st.builds(Requirement, keys, st.sampled_from(["exists", "!"])),
    st.builds(lambda key, sign, value: Requirement(key, sign, (value,)), keys, st.sampled_from(["=", "==", "!="]), words | st.just("")),
    st.builds(lambda key, sign, value: Requirement(key, sign, (str(value),)), keys, st.sampled_from(["gt", "lt"]), st.integers(0, 99)),
    st.builds(lambda key, sign, values: Requirement(key, sign, tuple(sorted(values))), keys, st.sampled_from(["in", "notin"]), st.sets(words, min_size=1)),
)
labels = st.dictionaries(keys, words | st.integers(0, 99).map(str), max_size=4)


@given(st.lists(requirements, max_size=4))
def test_what_is_printed_reads_back(parts: list[Requirement]) -> None:
    selector = LabelSelector(tuple(sorted(parts, key=lambda part: part.key)))
    assert parse_label_selector(str(selector)) == selector


@given(keys, st.sets(words, min_size=1), labels)
def test_a_requirement_and_its_opposite_share_the_world(key: str, values: set[str], found: dict[str, str]) -> None:
    listed = ",".join(values)
    for one, other in ((f"{key} in ({listed})", f"{key} notin ({listed})"), (key, f"!{key}"), (f"{key}=a", f"{key}!=a")):
        assert parse_label_selector(one).matches(found) is not parse_label_selector(other).matches(found)


@given(labels, labels)
def test_match_labels_are_equalities(wanted: dict[str, str], found: dict[str, str]) -> None:
    selector = from_label_selector_object({"matchLabels": wanted})
    assert selector.matches(found) is (wanted.items() <= found.items())


def test_selectors_of_objects() -> None:
    assert not from_label_selector_object(None).matches({"a": "b"})
    assert from_label_selector_object({}).matches({})
    expression = {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}, {"key": "c", "operator": "DoesNotExist"}]}
    assert from_label_selector_object(expression).matches({"a": "b"})
    assert not from_label_selector_object(expression).matches({"a": "b", "c": ""})
    with pytest.raises(ValueError, match="is not a valid label selector operator"):
        from_label_selector_object({"matchExpressions": [{"key": "a", "operator": "Near"}]})


@pytest.mark.parametrize(("text", "message"), [
    ("a===b", "unable to parse requirement: found '=', expected: identifier"),
    (",", "found ',', expected: !, identifier, or 'end of string'"),
    ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
    ("a=b c", "found 'c', expected: ',' or 'end of string'"),
    ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
    ("a,,b", "found ',', expected: identifier after ','"),
])
def test_broken_label_selectors(text: str, message: str) -> None:
    with pytest.raises(StatusError) as refused:
        parse_label_selector(text)
    assert (refused.value.code, refused.value.message) == (400, message)


def test_the_recorded_refusals_of_selectors() -> None:
    with pytest.raises(StatusError) as refused:
        parse_label_selector("a===b")
    assert refused.value.to_status() == answer("errors/400-label-selector")
    with pytest.raises(StatusError) as refused:
        parse_field_selector("spec.nope=x", PODS)
    assert refused.value.to_status() == answer("errors/400-field-selector")
    with pytest.raises(StatusError) as refused:
        parse_field_selector("status.phase=Running", GADGETS)
    assert refused.value.to_status() == answer("errors/400-field-selector-cr")


def test_field_selectors() -> None:
    selector = parse_field_selector("metadata.name=x,spec.nodeName!=n,spec.hostNetwork=false", PODS)
    assert selector.name == "x"
    assert selector.matches({"metadata": {"name": "x"}, "spec": {}})
    assert not selector.matches({"metadata": {"name": "x"}, "spec": {"nodeName": "n"}})
    assert str(selector) == "metadata.name=x,spec.nodeName!=n,spec.hostNetwork=false"
    assert parse_field_selector("spec.color=red", GADGETS).matches({"spec": {"color": "red"}})
    assert parse_field_selector(r"metadata.name=a\,b", PODS).terms[0].value == "a,b"


@given(st.text("ab\\,= ", max_size=6))
def test_values_of_field_selectors_read_back(value: str) -> None:
    escaped = value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
    selector = parse_field_selector(f"metadata.name={escaped}", PODS)
    assert selector.terms[0].value == value
    assert str(selector) == f"metadata.name={escaped}"


TABLE = recorded("table/200-nodes")["request"]["headers"]["Accept"]


def test_accept_is_negotiated() -> None:
    assert negotiation.accept_for(None, PODS) is negotiation.PLAIN
    assert negotiation.accept_for("*/*", PODS).media_type == "application/json"
    assert negotiation.accept_for("application/vnd.kubernetes.protobuf,application/json", PODS) == negotiation.PLAIN
    assert negotiation.accept_for("application/json;q=0.5,application/yaml", PODS).media_type == "application/yaml"
    assert negotiation.accept_for(TABLE, PODS).as_kind == "Table"
    assert negotiation.accept_for("application/json;as=Nope;v=v1;g=meta.k8s.io,application/json", PODS) == negotiation.PLAIN


@pytest.mark.parametrize(("case", "which", "verb"), [
    ("errors/406-accept", PODS, "list"), ("table/406-unknown-as", PODS, "list"), ("discovery/406-aggregated-api-v2beta1-only", PODS, "get")])
def test_what_cannot_be_served_is_refused_as_recorded(case: str, which: object, verb: str) -> None:
    with pytest.raises(StatusError) as refused:
        negotiation.accept_for(recorded(case)["request"]["headers"]["Accept"], PODS, verb)
    assert refused.value.to_status() == answer(case)


def test_patch_types_depend_on_the_kind() -> None:
    assert negotiation.patch_type("application/strategic-merge-patch+json; charset=utf-8", PODS) == negotiation.STRATEGIC_PATCH
    with pytest.raises(StatusError) as refused:
        negotiation.patch_type("application/strategic-merge-patch+json", GADGETS)
    assert refused.value.to_status() == answer("errors/415-strategic-on-cr")
