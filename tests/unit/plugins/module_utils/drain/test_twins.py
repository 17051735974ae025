# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands twice says the same: options and the request made of them, codes and the guide that explains them."""

from __future__ import annotations

import re

import pytest

from ansible_collections.okd.virt.plugins.module_utils.drain import request, verb
from ansible_collections.okd.virt.plugins.module_utils.drain.request import Request

from .....support.paths import REPOSITORY

LIBRARY = REPOSITORY / "plugins" / "module_utils"
GUIDE = (REPOSITORY / "docs" / "docsite" / "rst" / "guide_drain.rst").read_text(encoding="utf-8")


def test_a_request_of_no_options_is_that_of_their_defaults() -> None:
    options = verb.spec().argument_spec
    defaults = {name: option.get("default") for name, option in options.items() if name in Request.__dataclass_fields__}
    assert request.request_of(defaults) == Request()
    assert set(options) - set(Request.__dataclass_fields__) == {"names", "label_selector", "machine_config_pool"}
    assert set(Request.__dataclass_fields__) <= set(options)


def test_choices_are_the_words_that_are_looked_for() -> None:
    options = verb.spec().argument_spec
    assert options["on_unmigratable"]["choices"] == [request.REFUSE, request.SKIP, request.RESTART]
    assert options["move_by"]["choices"] == [request.BY_MIGRATION, request.BY_EVICTION]


@pytest.mark.parametrize(("file", "pattern"), [
    ("drain/fates.py", r'(?:Way\.\w+|_blocked\(|_unmigratable\(.*?),? ?"([a-z_]+)"'),
    ("_budgets.py", r'BudgetVerdict\(\s*\w+, \w+, "([a-z_]+)"'),
    ("_migrations/reasons.py", r'(?:", |Reason\()"([a-z_]+)"'),
])
def test_every_code_is_explained(file: str, pattern: str) -> None:
    found = set(re.findall(pattern, (LIBRARY / file).read_text(encoding="utf-8")))
    assert found
    assert not {code for code in found if f"``{code}``" not in GUIDE and f"``{code}_" not in GUIDE}
