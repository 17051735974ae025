# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which policy holds: against every order of the list, and as the rules have it."""

from __future__ import annotations

import itertools
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.module_utils._migrations.policies import matches

Json = dict[str, t.Any]
LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from("xy"), max_size=3)
SELECTORS = st.one_of(st.none(), st.fixed_dictionaries({}, optional={"namespaceSelector": LABELS, "virtualMachineInstanceSelector": LABELS}))


def policy(name: str, selectors: Json | None) -> Json:
    return {"metadata": {"name": name}, "spec": {"selectors": selectors} if selectors is not None else {}}


@pytest.mark.parametrize(("selectors", "labels"), [
    (None, None), ({}, 0), ({"namespaceSelector": {"stage": "test"}}, 1), ({"namespaceSelector": {"stage": "prod"}}, None),
    ({"namespaceSelector": {"stage": "test"}, "virtualMachineInstanceSelector": {"tier": "gold"}}, 2),
    ({"virtualMachineInstanceSelector": {"none": "x"}}, None),
])
def test_what_selects(selectors: Json | None, labels: int | None) -> None:
    found = matches([policy("p", selectors)], {"tier": "gold", "other": "x"}, {"stage": "test"})
    assert [one.labels for one in found] == ([] if labels is None else [labels])


@given(policies=st.lists(SELECTORS, max_size=6), instance=LABELS, namespace=LABELS, seed=st.randoms(use_true_random=False))
def test_the_first_is_the_best_whatever_the_order(policies: list[Json | None], instance: Json, namespace: Json, seed: t.Any) -> None:
    named = [policy(f"p{number}", selectors) for number, selectors in enumerate(policies)]
    found = matches(named, instance, namespace)
    shuffled = list(named)
    seed.shuffle(shuffled)
    assert matches(shuffled, instance, namespace) == found
    for better, worse in itertools.pairwise(found):
        assert (better.labels, better.of_instance) >= (worse.labels, worse.of_instance)
        assert not better.ties_with(worse) or better.name < worse.name
