# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Everything that happened to some resources, in the order of the store: so that "at every moment" can be checked.

A watch started before the run misses nothing and, unlike polling, does not keep a stepped clock from stepping.
"""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import urllib3

from .api import OPERATORS, RBAC, Api
from .rbac import RESOURCES, Person, Rbac

Object = dict[str, Any]

RBAC_PATHS = {resource: f"{RBAC}/{resource}" for resource in RESOURCES}
UPDATE_PATHS = {
    "installplans": f"{OPERATORS}/installplans",
    "clusterserviceversions": f"{OPERATORS}/clusterserviceversions",
    "hyperconvergeds": "/apis/hco.kubevirt.io/v1beta1/hyperconvergeds",
    "kubevirts": "/apis/kubevirt.io/v1/kubevirts",
}


@dataclass(frozen=True)
class Event:
    """One change of one object."""

    version: int
    resource: str
    type: str
    value: Object


class History:
    """Context manager: watches from `__enter__` until `finish()`."""

    def __init__(self, api: Api, paths: Mapping[str, str] = RBAC_PATHS) -> None:
        self._api = api
        self._paths = dict(paths)
        self._events: list[Event] = []
        self._seen: dict[str, int] = {}
        self._arrived = threading.Condition()
        self._broken: list[str] = []
        self._closing = False
        self.initial: dict[str, list[Object]] = {}

    def __enter__(self) -> Self:
        for resource, path in self._paths.items():
            listing = self._api.get(path)
            self.initial[resource] = listing["items"]
            version = listing["metadata"]["resourceVersion"]
            self._seen[resource] = int(version)
            threading.Thread(target=self._watch, args=(resource, path, version), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing = True

    def _watch(self, resource: str, path: str, version: str) -> None:
        try:
            for event in self._api.stream(f"{path}?watch=true&resourceVersion={version}", read_timeout=600):
                if event["type"] == "ERROR":
                    raise AssertionError(str(event["object"]))
                number = int(event["object"]["metadata"]["resourceVersion"])
                with self._arrived:
                    if event["type"] != "BOOKMARK":
                        self._events.append(Event(number, resource, event["type"], event["object"]))
                    self._seen[resource] = number
                    self._arrived.notify_all()
                if self._closing:
                    return
        except (AssertionError, OSError, ValueError, urllib3.exceptions.HTTPError) as error:
            if not self._closing:
                with self._arrived:
                    self._broken.append(f"watch of {path}: {error!r}")
                    self._arrived.notify_all()

    def finish(self, timeout: float = 15) -> list[Event]:
        """All events up to now, in order. Raises AssertionError when a watch broke or lags behind for `timeout` seconds."""
        deadline = time.monotonic() + timeout
        for resource, path in self._paths.items():
            now = {_identity(value): value["metadata"]["resourceVersion"] for value in self._api.items(path)}
            with self._arrived:
                while self._current(resource) != now:
                    left = deadline - time.monotonic()
                    if self._broken or left <= 0:
                        raise AssertionError(f"{resource}: {self._broken or 'the watch has not caught up with the list'}")
                    self._arrived.wait(left)
        with self._arrived:
            return sorted(self._events, key=lambda event: event.version)

    def _current(self, resource: str) -> dict[str, str]:
        state = {_identity(value): value["metadata"]["resourceVersion"] for value in self.initial[resource]}
        for event in self._events:
            if event.resource == resource:
                state.pop(_identity(event.value), None)
                if event.type != "DELETED":
                    state[_identity(event.value)] = event.value["metadata"]["resourceVersion"]
        return state

    def replay(self, events: Iterable[Event]) -> Iterator[tuple[Event | None, Rbac]]:
        """The RBAC objects before the first event and after each; always the same object, changed between the steps."""
        rbac = Rbac()
        for resource in RESOURCES:
            for value in self.initial.get(resource, ()):
                rbac.set(resource, copy.copy(value))
        yield None, rbac
        for event in events:
            if event.resource in RESOURCES:
                if event.type == "DELETED":
                    rbac.remove(event.resource, event.value)
                else:
                    rbac.set(event.resource, event.value)
            yield event, rbac

    def losses(self, events: Iterable[Event], pairs: Iterable[tuple[Person, str]]) -> list[str]:
        """Each moment at which a person who could live-migrate in a namespace no longer could."""
        found = []
        wanted = list(pairs)
        held: set[tuple[Person, str]] = set()
        for event, rbac in self.replay(events):
            if event is not None and event.resource not in RESOURCES:
                continue
            holds = {pair for pair in wanted if rbac.may_migrate(*pair)}
            for person, namespace in held - holds:
                cause = "?" if event is None else f"{event.type} {event.resource} {_identity(event.value)}"
                found.append(f"{person.name} lost live migration in {namespace} by {cause}")
            held = holds
        return found


def transitions(events: Iterable[Event], resource: str, holds: Callable[[Object], bool], initial: Iterable[Object]) -> int:
    """How often an object of this resource began to fulfil a condition."""
    state = {_identity(value): holds(value) for value in initial}
    count = 0
    for event in events:
        if event.resource == resource:
            now = event.type != "DELETED" and holds(event.value)
            count += now and not state.get(_identity(event.value), False)
            state[_identity(event.value)] = now
    return count


def _identity(value: Object) -> str:
    metadata = value["metadata"]
    return f"{metadata.get('namespace', '')}/{metadata['name']}"
