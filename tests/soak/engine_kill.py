# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An engine killed under its writers loses nothing that it acknowledged.

Several clients create, change and delete objects while others watch; at a random moment the engine gets SIGKILL and is started again
on what it left. An object must then be as its last acknowledged write left it, or as the one write after that, whose answer never came,
would have; and a watch that goes on from the last version that it saw must tell every event once, in the one order that all see.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3

from ansible_collections.okd.virt.plugins.plugin_utils.engine import process
from ansible_collections.okd.virt.plugins.plugin_utils.engine.process import EngineOptions, RunningEngine

from ..support.api import MERGE_PATCH, Api
from .report import Report

NAME = "engine_kill"
WRITERS = 8
WATCHERS = 20
_NAMES = 5
_MAPS = "/api/v1/namespaces/default/configmaps"
_LONGEST_LIFE = 0.6
"""Seconds that the engine is written to before it is killed, at most."""

Event = tuple[str, str, int]
"""Type, name, version."""
Content = str | None
"""What an object holds; None when there is no such object."""


@dataclass
class Ledger:
    """What one writer knows of its objects: the acknowledged content, and that of the write under way."""

    acknowledged: dict[str, Content] = field(default_factory=dict)
    attempted: dict[str, Content] = field(default_factory=dict)
    version: int = 0
    writes: int = 0


class Writer(threading.Thread):
    """Writes to names of its own until told to stop or until the engine is gone."""

    def __init__(self, kubeconfig: Path, number: int, ledger: Ledger, seed: int) -> None:
        super().__init__(daemon=True)
        self._api, self._number, self._ledger = Api(kubeconfig), number, ledger
        self._draw = random.Random(seed)
        self.stopped = threading.Event()
        self.problems: list[str] = []

    def run(self) -> None:
        while not self.stopped.is_set():
            name = f"w{self._number}-{self._draw.randrange(_NAMES)}"
            try:
                self._write(name)
            except (urllib3.exceptions.HTTPError, OSError):
                return

    def _write(self, name: str) -> None:
        ledger = self._ledger
        there = ledger.acknowledged.get(name) is not None
        content: Content = f"{self._number}-{ledger.writes}"
        if not there:
            method, path, kind = "POST", _MAPS, "application/json"
        elif self._draw.random() < 0.2:
            method, path, kind, content = "DELETE", f"{_MAPS}/{name}", "application/json", None
        else:
            method, path, kind = "PATCH", f"{_MAPS}/{name}", MERGE_PATCH
        body = {"metadata": {"name": name}, "data": {"content": content}} if content is not None else None
        ledger.attempted[name] = content
        answer = self._api.request(method, path, body, content_type=kind)
        if answer.status not in (200, 201):
            self.problems.append(f"{method} {path} was answered {answer.status}: {answer.body}")
            self.stopped.set()
            return
        ledger.acknowledged[name] = content
        del ledger.attempted[name]
        ledger.writes += 1
        if content is not None:
            ledger.version = max(ledger.version, int(answer.body["metadata"]["resourceVersion"]))


class Watcher(threading.Thread):
    """Follows all objects from a version on until the engine is gone; `seen` is carried over to the next one."""

    def __init__(self, kubeconfig: Path, since: int, seen: list[Event]) -> None:
        super().__init__(daemon=True)
        self._api, self._since, self.seen = Api(kubeconfig), since, seen
        self.problems: list[str] = []

    def run(self) -> None:
        version = self.seen[-1][2] if self.seen else self._since
        try:
            self._follow(version)
        except (urllib3.exceptions.HTTPError, OSError):
            return

    def _follow(self, version: int) -> None:
        for event in self._api.stream(f"{_MAPS}?watch=1&resourceVersion={version}"):
            if event["type"] == "ERROR":
                self.problems.append(f"a watch from {version} was refused: {event['object'].get('message')}")
                return
            self.seen.append(_event(event))


def _event(event: dict[str, Any]) -> Event:
    metadata = event["object"]["metadata"]
    return event["type"], metadata["name"], int(metadata["resourceVersion"])


def _since(engine: RunningEngine, version: int) -> list[Event]:
    """What the restarted engine says has happened after a version."""
    events = Api(engine.kubeconfig).stream(f"{_MAPS}?watch=1&timeoutSeconds=1&resourceVersion={version}")
    return [_event(event) for event in events]


def misled(truth: list[Event], watchers: list[Watcher]) -> list[str]:
    """Watches that were told something else than what happened, as far as they got."""
    problems = [problem for watcher in watchers for problem in watcher.problems]
    for number, watcher in enumerate(watchers):
        for happened, told in zip(truth, watcher.seen, strict=False):
            if happened != told:
                problems.append(f"watcher {number} was told {told}, what happened was {happened}")
                break
        if len(watcher.seen) > len(truth):
            problems.append(f"watcher {number} was told {watcher.seen[len(truth)]}, which did not happen")
    versions = [version for _type, _name, version in truth]
    if versions != sorted(set(versions)):
        problems.append("versions went back")
    return problems


def _start(directory: Path) -> RunningEngine:
    return process.start(EngineOptions(directory=directory, cluster="empty", durable=True, watch_pid=os.getpid()))


def _kill(engine: RunningEngine) -> None:
    os.kill(engine.pid, signal.SIGKILL)
    process.stop(engine.directory)


def lost(found: dict[str, str], version: int, ledgers: list[Ledger]) -> list[str]:
    """What a restarted engine forgot or made up."""
    problems = []
    for ledger in ledgers:
        for name in ledger.acknowledged.keys() | ledger.attempted.keys():
            allowed = {ledger.acknowledged.get(name)} | ({ledger.attempted[name]} if name in ledger.attempted else set())
            if found.get(name) not in allowed:
                problems.append(f"{name} holds {found.get(name)!r}, acknowledged was {ledger.acknowledged.get(name)!r}")
        if version < ledger.version:
            problems.append(f"the list is at version {version}, {ledger.version} was acknowledged")
    return problems


def _contents(engine: RunningEngine) -> tuple[dict[str, str], int]:
    listed = Api(engine.kubeconfig).request("GET", _MAPS)
    held = {item["metadata"]["name"]: item["data"]["content"] for item in listed.body["items"] if "content" in (item.get("data") or {})}
    return held, int(listed.body["metadata"]["resourceVersion"])


def run(rounds: int, seed: int) -> Report:
    """So many deaths of one engine after the other, on the same data directory."""
    report = Report(NAME, seed)
    draw = random.Random(seed)
    directory = Path(tempfile.mkdtemp(prefix="okd-virt-engine-kill-"))
    ledgers = [Ledger() for _number in range(WRITERS)]
    seen: list[list[Event]] = [[] for _number in range(WATCHERS)]
    truth: list[Event] = []
    engine = _start(directory)
    try:
        first = int(Api(engine.kubeconfig).get(_MAPS)["metadata"]["resourceVersion"])
        for number in range(rounds):
            writers = [Writer(engine.kubeconfig, index, ledger, draw.getrandbits(32)) for index, ledger in enumerate(ledgers)]
            watchers = [Watcher(engine.kubeconfig, first, events) for events in seen]
            for thread in (*watchers, *writers):
                thread.start()
            time.sleep(draw.uniform(0.05, _LONGEST_LIFE))
            _kill(engine)
            for writer in writers:
                writer.stopped.set()
                writer.join(30)
            for watcher in watchers:
                watcher.join(30)
            engine = _start(directory)
            truth += _since(engine, truth[-1][2] if truth else first)
            held, version = _contents(engine)
            problems = [problem for writer in writers for problem in writer.problems] + lost(held, version, ledgers) + misled(truth, watchers)
            if number == rounds - 1 and sum(ledger.writes for ledger in ledgers) < rounds:
                problems.append("hardly anything was written: the engine died before its clients got to it")
            if number == rounds - 1 and min(map(len, seen)) < len(truth) // 2:
                problems.append("some watch was told hardly anything")
            report.add(f"death {number + 1}", problems)
            for ledger in ledgers:
                # What came of the write under way is known now.
                ledger.acknowledged.update({name: held.get(name) for name in ledger.attempted})
                ledger.attempted.clear()
    finally:
        process.stop(directory)
        shutil.rmtree(directory, ignore_errors=True)
    return report
