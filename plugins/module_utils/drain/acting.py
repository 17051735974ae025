# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The requests of a drain, made beside the one that decides, and what their answers mean. Private to this collection."""

from __future__ import annotations

import concurrent.futures
import contextlib
import queue
import time
import typing as t
from dataclasses import dataclass, replace

from .._cluster.client import Cluster
from .._cluster.evictions import EvictionAnswer, evict
from .._cluster.resources import ACTING_VIRTUAL_MACHINES, NODES, VIRTUAL_MACHINE_INSTANCE_MIGRATIONS
from .._errors import ApiError, Conflict, ConnectionProblem, Forbidden, VirtError
from .._plan import Change
from .._pods import is_finished
from . import claims
from .decide import RETRY, Act, Trying, Verb
from .moves import manifest
from .request import Request

if t.TYPE_CHECKING:
    from .run import NodeDrain

Json = dict[str, t.Any]
_SOON, _RARELY = 2.0, 30.0
_TRIGGERED = ("Eviction triggered evacuation", "Evacuation in progress")


@dataclass(frozen=True)
class Done:
    """What a request has come to. C(made) is the name of a migration, C(change) what it has changed in the cluster."""

    drain: NodeDrain
    act: Act
    made: str = ""
    trying: Trying | None = None
    change: Change | None = None


class Acting:
    """Sends requests from a few threads, and keeps their outcomes until they are asked for."""

    def __init__(self, cluster: Cluster, request: Request, pool: concurrent.futures.Executor, wake: t.Callable[[], None]) -> None:
        self._cluster, self._request, self._pool, self._wake = cluster, request, pool, wake
        self._done: queue.Queue[Done | BaseException] = queue.Queue()

    def ask(self, drain: NodeDrain, act: Act) -> None:
        """Send what was decided."""
        known = drain.memory.trying.get(act.uid, Trying())
        self._pool.submit(self._run, drain, act, known.tries)

    def renew(self, drain: NodeDrain) -> None:
        """Renew the claim on a node. Whether it is still ours is seen by whoever follows the node."""
        self._pool.submit(self._renew, drain)

    def finished(self) -> t.Iterator[Done]:
        """What has come to its end since the last time. Raises what a request raised that was not foreseen."""
        while not self._done.empty():
            done = self._done.get_nowait()
            if isinstance(done, BaseException):
                raise done
            yield done

    def _run(self, drain: NodeDrain, act: Act, tries: int) -> None:
        try:
            self._done.put(self._do(drain, act, tries))
        except BaseException as error:  # pylint: disable=broad-exception-caught
            self._done.put(error)
        self._wake()

    def _do(self, drain: NodeDrain, act: Act, tries: int) -> Done:
        try:
            if act.verb is Verb.MIGRATE:
                return self._migrate(drain, act)
            if act.verb is Verb.RESTART:
                return self._restart(drain, act)
            return self._evict(drain, act, tries)
        except Forbidden as error:
            return Done(drain, act, trying=Trying(_after(_RARELY), tries + 1, False, "forbidden", error.message))
        except (ApiError, ConnectionProblem) as error:
            return Done(drain, act, trying=Trying(_after(RETRY), tries + 1, False, _code(error), error.message))

    def _migrate(self, drain: NodeDrain, act: Act) -> Done:
        key = act.key or ("", "")
        body = manifest(drain.claim.run, drain.name, key, act.attempt)
        name = str(body["metadata"]["name"])
        change = Change("create", VIRTUAL_MACHINE_INSTANCE_MIGRATIONS.kind, key[0], name, f"moves VM {'/'.join(key)} out of {drain.name}", None, body)
        # The same attempt has the same name: an earlier try of ours made it.
        with contextlib.suppress(Conflict):
            self._cluster.create(VIRTUAL_MACHINE_INSTANCE_MIGRATIONS, body)
        return Done(drain, act, made=name, trying=Trying(), change=change)

    def _restart(self, drain: NodeDrain, act: Act) -> Done:
        namespace, name = act.key or ("", "")
        with contextlib.suppress(Conflict):
            self._cluster.put(ACTING_VIRTUAL_MACHINES, name, namespace, "restart", {})
        change = Change("restart", "VirtualMachine", namespace, name, f"can't live-migrate; is started again elsewhere than on {drain.name}")
        return Done(drain, act, trying=Trying(accepted=True, tries=1), change=change)

    def _evict(self, drain: NodeDrain, act: Act, tries: int) -> Done:
        answer = evict(self._cluster, act.pod, None if is_finished(act.pod) else self._request.grace_period)
        metadata = act.pod["metadata"]
        change = Change("evict", "Pod", metadata["namespace"], metadata["name"], f"leaves {drain.name}")
        if answer.accepted or answer.gone:
            return Done(drain, act, trying=Trying(tries=tries + 1, accepted=True), change=change if answer.accepted else None)
        trying = replace(_refused(answer, tries + 1), finished=is_finished(act.pod))
        return Done(drain, act, trying=trying, change=change if act.verb is Verb.MARK and trying.code == "marked" else None)

    def _renew(self, drain: NodeDrain) -> None:
        renewed = drain.claim.at(claims.now())
        path = "/metadata/annotations/" + claims.CLAIM.replace("/", "~1")
        patch = [{"op": "test", "path": path, "value": drain.claim.text()}, {"op": "replace", "path": path, "value": renewed.text()}]
        # What went wrong shows on the node itself; the next renewal comes before the lease runs out.
        with contextlib.suppress(VirtError):
            self._cluster.json_patch(NODES, drain.name, patch)
            drain.claim = renewed


def _after(seconds: float) -> float:
    return time.monotonic() + seconds


def _code(error: VirtError) -> str:
    if "in-flight migration" in error.message:
        return "in_flight"
    if "Cannot migrate VMI" in error.message:
        return "not_migratable"
    return "unreachable" if isinstance(error, ConnectionProblem) else "api_error"


def _refused(answer: EvictionAnswer, tries: int) -> Trying:
    """What a refused eviction means: 429 is progress or a budget, anything of the server's own passes."""
    text = answer.message
    if answer.status == 429 and any(part in text for part in _TRIGGERED):
        return Trying(_after(_RARELY), tries, False, "marked", "KubeVirt has been told to move it")
    if answer.status == 429:
        code = "budget_closed" if "DisruptionBudget" in answer.causes or "disruption budget" in text else "eviction_refused"
        return Trying(_after(max(RETRY, answer.retry_after or 0.0)), tries, False, code, " ".join((text, *answer.explanations)))
    if "more than one PodDisruptionBudget" in text:
        return Trying(_after(_RARELY), tries, False, "several_budgets", text)
    if answer.refused:
        return Trying(_after(_RARELY), tries, False, "forbidden" if answer.status == 403 else "eviction_refused", text)
    return Trying(_after(_SOON), tries, False, "api_error", text or f"HTTP status {answer.status}")
