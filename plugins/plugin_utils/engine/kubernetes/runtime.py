# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processes on the nodes: what a kubelet starts, signals and hears the end of. Not part of the API, as on a real node.

What runs is rebuilt from the pods' statuses when an engine starts again. Source of the boundary: Kubernetes CRI (StopContainer, exit codes).
"""
from __future__ import annotations

import dataclasses
import datetime
import typing as t

from ..clock import Clock
from ..interface import Object

OnStart = t.Callable[[Object], None]
OnTerminate = t.Callable[[Object], None]
OnExit = t.Callable[[str, str], None]
OnNode = t.Callable[[str, bool], None]


@dataclasses.dataclass
class Process:
    """A pod's containers. `exit_code` is None while they run; `told` once they were asked to end."""

    namespace: str
    name: str
    node: str
    exit_code: int | None = None
    told: bool = False


class Runtime:
    """Every running pod by uid, who answers for its end, and which nodes are down."""

    def __init__(self) -> None:
        self._processes: dict[str, Process] = {}
        self._by_node: dict[str, set[str]] = {}
        self._programs: list[tuple[tuple[str, str], OnTerminate]] = []
        self._on_start: list[tuple[tuple[str, str], OnStart]] = []
        self._on_exit: list[OnExit] = []
        self._on_node: list[OnNode] = []
        self._down: set[str] = set()
        self._skews: dict[str, float] = {}

    def on_terminate(self, label: tuple[str, str], function: OnTerminate) -> None:
        """Pods with the label (key, value) end when the function's owner says so by exited(); it is called once with the pod to be ended."""
        self._programs.append((label, function))

    def on_start(self, label: tuple[str, str], function: OnStart) -> None:
        """Called with each pod with the label (key, value) whose containers run from now on, or ran before the engine was started."""
        self._on_start.append((label, function))

    def on_exit(self, function: OnExit) -> None:
        """Called with namespace and name whenever a pod's containers have ended."""
        self._on_exit.append(function)

    def on_node(self, function: OnNode) -> None:
        """Called with a node's name and whether it is up now."""
        self._on_node.append(function)

    def started(self, pod: Object) -> None:
        """The containers of the pod run."""
        metadata = pod["metadata"]
        node = pod["spec"]["nodeName"]
        self._processes[metadata["uid"]] = Process(metadata["namespace"], metadata["name"], node)
        self._by_node.setdefault(node, set()).add(metadata["uid"])
        labels = metadata.get("labels") or {}
        for (key, value), function in self._on_start:
            if labels.get(key) == value:
                function(pod)

    def terminate(self, pod: Object) -> bool:
        """SIGTERM, once. Whether somebody answers for the pod's end; otherwise it ends by itself."""
        process = self._processes.get(pod["metadata"]["uid"])
        labels = pod["metadata"].get("labels") or {}
        programs = [function for (key, value), function in self._programs if labels.get(key) == value]
        if process is not None and not process.told:
            process.told = True
            for function in programs:
                function(pod)
        return bool(programs)

    def exited(self, uid: str, code: int = 0) -> None:
        """The pod's main process has ended, and the containers beside it with it. Unknown or ended pods: nothing happens."""
        process = self._processes.get(uid)
        if process is None or process.exit_code is not None:
            return
        process.exit_code = code
        for function in self._on_exit:
            function(process.namespace, process.name)

    def exit_code(self, uid: str) -> int | None:
        process = self._processes.get(uid)
        return process.exit_code if process is not None else None

    def alive(self, uid: str) -> bool:
        """Whether the pod's containers run: never on a node that is down."""
        process = self._processes.get(uid)
        return process is not None and process.exit_code is None and process.node not in self._down

    def known(self, uid: str) -> bool:
        return uid in self._processes

    def forget(self, uid: str) -> None:
        process = self._processes.pop(uid, None)
        if process is not None:
            uids = self._by_node.get(process.node)
            if uids is not None:
                uids.discard(uid)
                if not uids:
                    del self._by_node[process.node]

    def is_down(self, node: str) -> bool:
        return node in self._down

    def set_clocks(self, skews: t.Mapping[str, float]) -> None:
        """By how many seconds the clocks of these nodes are fast; all others are right."""
        self._skews = dict(skews)

    def timestamp(self, clock: Clock, node: str) -> str:
        """What whoever runs on the node takes for now, as metav1.Time."""
        skew = self._skews.get(node)
        if not skew:
            return clock.timestamp()
        return (clock.now() + datetime.timedelta(seconds=skew)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def power_off(self, node: str) -> None:
        """Nothing on the node runs or speaks any more."""
        if node not in self._down:
            self._down.add(node)
            self._tell(node, up=False)

    def power_on(self, node: str) -> None:
        """The node is back from a boot: whatever ran on it has ended, with the code of a killed process."""
        if node not in self._down:
            return
        self._down.discard(node)
        for uid in sorted(self._by_node.get(node, ())):
            self.exited(uid, 137)
        self._tell(node, up=True)

    def _tell(self, node: str, *, up: bool) -> None:
        for function in self._on_node:
            function(node, up)
