# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.agenda import Agenda

steps = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from([1.0, 2.0, 3.0, math.inf, None])))


@given(steps, st.sampled_from([0.0, 1.0, 2.5, 9.0]))
def test_an_agenda_is_what_a_dictionary_would_be(steps: list[tuple[str, float | None]], until: float) -> None:
    agenda: Agenda[str] = Agenda()
    plain: dict[str, float] = {}
    for key, moment in steps:
        if moment is None:
            agenda.drop(key)
            plain.pop(key, None)
        else:
            agenda.set(key, moment)
            plain[key] = moment
        assert agenda.first()[0] == min(plain.values(), default=math.inf)
    taken = agenda.take(until)
    assert sorted(taken) == sorted(key for key, moment in plain.items() if moment <= until)
    assert [plain[key] for key in taken] == sorted(plain[key] for key in taken)
    left = [moment for key, moment in plain.items() if key not in taken]
    assert agenda.first()[0] == min(left, default=math.inf)
