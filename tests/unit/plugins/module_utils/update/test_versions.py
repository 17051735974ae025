# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.module_utils.update import versions


@pytest.mark.parametrize("text", ["1.15.0", "v1.15.0", " 1.15.0 ", "kubevirt-hyperconverged-operator.v1.15.0"])
def test_a_version_and_a_name_mean_the_same_target(text: str) -> None:
    target = versions.parse_target(text)
    assert target == versions.Target("kubevirt-hyperconverged-operator.v1.15.0", "1.15.0")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "4.19",
        "1.15",
        "latest",
        "1.15.x",
        "kubevirt-hyperconverged-operator",
        "kubevirt-hyperconverged-operator.1.15.0",
        "kubevirt-hyperconverged-operator.v1.15",
        "kubevirt-hyperconverged-operator-next.v1.15.0",
        "other-operator.v1.15.0",
    ],
)
def test_what_is_not_exactly_one_version_is_refused(text: str) -> None:
    with pytest.raises(versions.InvalidVersion):
        versions.parse_target(text)


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ("1.15.0", "1.14.9"),
        ("1.15.10", "1.15.9"),
        ("4.19.0", "1.15.0"),
        ("1.15.0", "1.15.0-rc.1"),
        ("1.15.0-rc.10", "1.15.0-rc.9"),
        ("1.15.0-rc", "1.15.0-1"),
        ("1.15.0-rc.1", "1.15.0-rc"),
    ],
)
def test_order_follows_semantic_versioning(newer: str, older: str) -> None:
    assert versions.is_newer(newer, than=older)
    assert not versions.is_newer(older, than=newer)


@pytest.mark.parametrize(
    ("one", "other"), [("1.15.0", "1.15.0+build7"), ("", "1.15.0"), ("1.15.0", ""), ("one", "two")]
)
def test_equal_and_unknown_versions_are_not_newer(one: str, other: str) -> None:
    assert not versions.is_newer(one, than=other)
    assert not versions.is_newer(other, than=one)


@given(st.tuples(*[st.integers(0, 99)] * 3), st.tuples(*[st.integers(0, 99)] * 3))
def test_releases_sort_as_their_numbers_do(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    texts = [".".join(map(str, numbers)) for numbers in (one, other)]
    assert versions.is_newer(texts[0], than=texts[1]) == (one > other)


def test_the_parts_of_a_name() -> None:
    assert versions.version_of("kubevirt-hyperconverged-operator.v1.15.0") == "1.15.0"
    assert versions.operator_of("kubevirt-hyperconverged-operator.v1.15.0") == "kubevirt-hyperconverged-operator"
    assert versions.version_of("odd-name") == ""
