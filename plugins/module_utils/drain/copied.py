# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much of each VM's memory has been sent, read beside the drain where metrics can be had. Private to this collection."""

from __future__ import annotations

import concurrent.futures
import time
import typing as t

from .._cluster.client import Cluster, Faulty
from .._errors import ApiError, VirtError
from .._migrations.transfers import transfers
from .._plan import Listener
from .fates import Key

Json = dict[str, t.Any]
_EVERY = 10.0
_REFUSED = (401, 403, 404, 405)


class Copied:
    """What the metrics at a path of the API server say of copies under way; nothing without a path."""

    def __init__(self, cluster: Cluster, path: str, listener: Listener) -> None:
        self._cluster, self._path, self._listener = cluster, path, listener
        self._next = 0.0
        self._asked: concurrent.futures.Future[dict[Key, Json]] | None = None
        self.known: dict[Key, Json] = {}
        """Percent, and remaining seconds, by VM."""

    def refresh(self, pool: concurrent.futures.Executor) -> None:
        """Take in an answer, and ask again when it is time. An answer that fails is no reason to stop a drain."""
        if self._asked is not None and self._asked.done():
            self._take(self._asked)
            self._asked = None
        if self._path and self._asked is None and time.monotonic() >= self._next:
            self._next = time.monotonic() + _EVERY
            self._asked = pool.submit(self._read)

    def _read(self) -> dict[Key, Json]:
        return {key: one.to_dict() for key, one in transfers(self._cluster.text(self._path)).items()}

    def _take(self, asked: concurrent.futures.Future[dict[Key, Json]]) -> None:
        try:
            self.known = asked.result()
        except (VirtError, Faulty) as error:
            self.known = {}
            if isinstance(error, ApiError) and error.status in _REFUSED:
                self._listener.event(f"how much is copied is not shown, since {self._path} can't be read: {error}")
                self._path = ""
