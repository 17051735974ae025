# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was there before comes back, whatever was set and changed in between."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.module_utils.tuning.fields import FIELDS, Value, same
from ansible_collections.okd.virt.plugins.module_utils.tuning.temporary import RECORD, Record, record_of

VALUES: dict[str, st.SearchStrategy[Value]] = {
    "int": st.one_of(st.none(), st.integers(1, 9)), "bool": st.one_of(st.none(), st.booleans()), "str": st.sampled_from([None, "64Mi", "1Gi", "1024Mi"]),
}
SETTINGS = st.fixed_dictionaries({}, optional={field.key: VALUES[field.type] for field in FIELDS if field.key != "network"})


def alike(one: t.Mapping[str, Value], other: t.Mapping[str, Value]) -> bool:
    return all(same(field.key, one.get(field.key), other.get(field.key)) for field in FIELDS)


@given(first=SETTINGS, changes=st.lists(SETTINGS, min_size=1, max_size=4))
def test_any_number_of_changes_is_put_back_to_the_first_values(first: dict[str, Value], changes: list[dict[str, Value]]) -> None:
    current, record = dict(first), Record("me", "now")
    for wanted in changes:
        changed = {key: value for key, value in wanted.items() if not same(key, current.get(key), value)}
        if changed:
            record = record.with_more(current, changed)
            current.update(changed)
    back, kept = record.to_restore(current)
    assert not kept
    assert alike({**current, **back}, first)


@given(first=SETTINGS, wanted=SETTINGS, theirs=SETTINGS)
def test_what_others_have_changed_since_is_never_overwritten(first: dict[str, Value], wanted: dict[str, Value], theirs: dict[str, Value]) -> None:
    record = Record("me", "now").with_more(first, wanted)
    current = {**first, **wanted, **theirs}
    back, kept = record.to_restore(current)
    for key, value in current.items():
        if key in record.set and not same(key, value, record.set[key]):
            assert key not in back
            assert key in kept or same(key, value, record.before[key])
    assert not set(back) & set(kept)


def test_a_record_is_read_as_it_was_written() -> None:
    record = Record("me", "2026-01-01T00:00:00Z", {"network": None}, {"network": "fast"})
    assert record_of({"metadata": {"annotations": {RECORD: record.text()}}}) == record
    assert record_of({"metadata": {}}) is None


@pytest.mark.parametrize("text", ["nonsense", "[]", "{}", '{"before": 1, "set": {}}'])
def test_a_record_that_says_nothing_is_an_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        record_of({"metadata": {"annotations": {RECORD: text}}})
