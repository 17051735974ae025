# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collector of cycles is off while anybody lists, and as it was afterwards."""

from __future__ import annotations

import gc
import threading
import typing as t

import pytest

from ansible_collections.okd.virt.plugins.module_utils._cluster.decoding import compacted, loads, without_cycles
from ansible_collections.okd.virt.plugins.module_utils._placement.demand import demand_of


def test_bytes_become_objects() -> None:
    assert loads(b'{"a": [1, "\xc3\xa4"]}') == {"a": [1, "\u00e4"]}
    with pytest.raises(ValueError, match=r"."):
        loads(b"{")


def test_what_is_kept_is_the_same_and_no_part_of_its_page() -> None:
    page: list[dict[str, t.Any]] = [{"a": ["x" * 100], "b": demand_of({"metadata": {"name": "p", "labels": {"app": "web"}}})}]
    kept = compacted(page)
    assert kept == page
    assert kept[0]["a"][0] is not page[0]["a"][0]


def test_it_is_on_again_after_the_last_of_several() -> None:
    inside, go = threading.Event(), threading.Event()

    def other() -> None:
        with without_cycles():
            inside.set()
            go.wait(10)

    thread = threading.Thread(target=other)
    with without_cycles():
        thread.start()
        inside.wait(10)
    assert not gc.isenabled()
    go.set()
    thread.join(10)
    assert gc.isenabled()


def test_it_stays_off_for_whom_it_was_off() -> None:
    gc.disable()
    try:
        with without_cycles():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_was_made_meanwhile_is_not_gone_through_afterwards() -> None:
    class Looked:
        pass

    with without_cycles():
        made = [Looked() for _ in range(10)]
    assert not any(one in young for young in (gc.get_objects(0), gc.get_objects(1)) for one in made)


def test_an_error_turns_it_on_again() -> None:
    with pytest.raises(KeyError), without_cycles():
        raise KeyError
    assert gc.isenabled()
