# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Indexes of labels and selectors find what a look at everything would find."""
from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.apiserver.selectors import (
    LabelSelector,
    parse_label_selector,
)
from ansible_collections.okd.virt.plugins.plugin_utils.engine.kubernetes.label_index import (
    LabelIndex,
    SelectorIndex,
    fixed_label,
)

_LABELS = st.dictionaries(st.sampled_from("ab"), st.sampled_from("xyz"))
_SELECTORS = st.sampled_from(["a=x", "a=y,b=x", "a in (x)", "a in (x,y)", "b", "!b", "a!=x", ""]).map(parse_label_selector)
_STEPS = st.lists(st.tuples(st.integers(0, 5), st.one_of(st.none(), _LABELS), st.one_of(st.none(), _SELECTORS)), max_size=30)


@given(_STEPS)
def test_nothing_is_missed(steps: list[tuple[int, dict[str, str] | None, LabelSelector | None]]) -> None:
    things: LabelIndex[int] = LabelIndex()
    selectors: SelectorIndex[int] = SelectorIndex()
    labelled: dict[int, dict[str, str]] = {}
    selecting: dict[int, LabelSelector] = {}
    for key, labels, selector in steps:
        if labels is None:
            things.remove(key)
            labelled.pop(key, None)
        else:
            things.put(key, labels, key)
            labelled[key] = labels
        if selector is None:
            selectors.remove(key)
            selecting.pop(key, None)
        else:
            selectors.put(key, selector, key)
            selecting[key] = selector
        for one in selecting.values():
            found = sorted(each for each in things.candidates(fixed_label(one)) if one.matches(labelled[each]))
            assert found == sorted(each for each, has in labelled.items() if one.matches(has))
        for has in labelled.values():
            found = sorted(each for each in selectors.candidates(has) if selecting[each].matches(has))
            assert found == sorted(each for each, one in selecting.items() if one.matches(has))
    assert len(things) == len(labelled)
