# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From the bytes of an answer to objects, thousands of them in a moment. Private to this collection."""

from __future__ import annotations

import contextlib
import gc
import json
import pickle
import threading
import typing as t

try:
    import orjson
except ImportError:
    loads: t.Callable[[bytes], t.Any] = json.loads
else:
    loads = orjson.loads


_T = t.TypeVar("_T")


def compacted(kept: list[_T]) -> list[_T]:
    """A copy that lies together: small parts that stay of large pages leave the memory full of holes, and each later page takes half as long again."""
    return t.cast("list[_T]", pickle.loads(pickle.dumps(kept, pickle.HIGHEST_PROTOCOL)))  # noqa: S301


class _Pauses:
    """Several threads may list at once: the first to begin stops Python's collector of cycles, the last to end starts it again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way = 0
        self._was_on = False

    def begin(self) -> None:
        with self._lock:
            if not self._under_way:
                self._was_on = gc.isenabled()
                gc.disable()
            self._under_way += 1

    def end(self) -> None:
        with self._lock:
            self._under_way -= 1
            if not self._under_way and self._was_on:
                # What was made meanwhile and lives on counts as old: the collector does not go through all of it at once.
                gc.freeze()
                gc.unfreeze()
                gc.enable()


_PAUSES = _Pauses()


@contextlib.contextmanager
def without_cycles() -> t.Iterator[None]:
    """While objects are read and thought about that hold no cycles: looking for some among millions of parts takes most of the time otherwise."""
    _PAUSES.begin()
    try:
        yield
    finally:
        _PAUSES.end()
