"""The engine beside its own HTTP library with nothing behind it: what the API server costs.

Servers are compared by their own processor time, which neither the client nor other work on the machine changes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ansible_collections.okd.virt.plugins.plugin_utils.engine import process

from ..support.paths import REPOSITORY
from ..support.raw_client import Connection, cpu_seconds, resident_bytes, side_by_side
from .local_writes import microseconds_per_write
from .measuring import Entry

VMS, NODES = 20_000, 1_000
REQUESTS, WRITES, CLIENTS, ROUNDS = 4_000, 1_500, 4, 3
PAGE = 500
WATCHERS, EVENTS = 100, 100
VMIS = "/apis/kubevirt.io/v1/virtualmachineinstances"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"
TARGETS = {"get": 2.0, "list_20000": 1.0, "start_empty": 0.7, "start_20000": 30.0}
"""What may come out at most: a ratio for get, seconds for the others."""


class Served:
    """A server in a process of its own."""

    def __init__(self, pid: int, kubeconfig: Path) -> None:
        self.pid, self.kubeconfig = pid, kubeconfig

    def cost(self, work: Callable[[Connection, int], None], each: int, clients: int = CLIENTS) -> float:
        """Processor seconds of the server for one call of `work`, which gets a connection and a number."""

        def run(first: int) -> None:
            with Connection(self.kubeconfig) as connection:
                for number in range(each):
                    work(connection, first * each + number)

        began = cpu_seconds(self.pid)
        side_by_side([lambda first=client: run(first) for client in range(clients)])  # type: ignore[misc]
        return (cpu_seconds(self.pid) - began) / (each * clients)


class Plain(Served):
    """The ceiling, which answers with the given body."""

    def __init__(self, directory: Path, body: bytes) -> None:
        directory.mkdir()
        (directory / "body").write_bytes(body)
        began = time.perf_counter()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.plain_server", str(directory)], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline().startswith(b"https://127.0.0.1:")
        self.started_in = time.perf_counter() - began
        super().__init__(self._process.pid, directory / "kubeconfig")

    def stop(self) -> None:
        self._process.communicate(timeout=10)


def _started(directory: Path, cluster: str, *, durable: bool = False, sizes: tuple[str, ...] = ()) -> tuple[process.RunningEngine, float]:
    options = process.EngineOptions(
        directory=directory, cluster=cluster, speed="max", durable=durable, sizes=sizes, watch_pid=os.getpid()
    )
    began = time.perf_counter()
    engine = process.start(options, timeout=300)
    return engine, time.perf_counter() - began


def _best(measure: Callable[[], float]) -> float:
    return min(measure() for dummy in range(ROUNDS))


def _compared(name: str, ours: float, ceiling: float, what: str) -> Entry:
    """Of processor seconds per request: how many a second each server could do."""
    return Entry(name, "requests/s", round(1 / ours, 1), round(1 / ceiling, 1), round(ours / ceiling, 3), what)


def _get(engine: Served, path: str, plain: Served) -> Entry:
    def work(connection: Connection, _number: int) -> None:
        connection.request("GET", path)

    pairs = [(engine.cost(work, REQUESTS // CLIENTS), plain.cost(work, REQUESTS // CLIENTS)) for dummy in range(ROUNDS)]
    ours, ceiling = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    return _compared("get", ours, ceiling, f"GET of a VMI beside a plain handler that answers with the same bytes; ratio of costs, best of {ROUNDS}")


def _pages(connection: Connection) -> tuple[float, int, int]:
    """Seconds, bytes and requests of a whole list in pages."""
    began, length, requests, token = time.perf_counter(), 0, 0, ""
    while True:
        page = connection.request("GET", f"{VMIS}?limit={PAGE}{f'&continue={token}' if token else ''}")
        length, requests = length + len(page), requests + 1
        # The metadata of a list of custom resources come last.
        token = page[-2000:].rpartition(b'"continue":"')[2].partition(b'"')[0].decode()
        if not token:
            return time.perf_counter() - began, length, requests


def _list(engine: Served, directory: Path) -> Entry:
    with Connection(engine.kubeconfig) as connection:
        rounds = [_pages(connection) for dummy in range(ROUNDS)]
    seconds, length, requests = min(rounds)
    plain = Plain(directory / "pages", b"x" * (length // requests))
    try:
        with Connection(plain.kubeconfig) as connection:
            began = time.perf_counter()
            for dummy in range(requests):
                connection.request("GET", VMIS)
            ceiling = time.perf_counter() - began
    finally:
        plain.stop()
    what = f"{VMS} VMIs in {requests} pages of {PAGE}, {length / 1e6:.0f} MB, beside as many answers of that size; best of {ROUNDS}"
    return Entry("list_20000", "s", round(seconds, 4), round(ceiling, 4), round(seconds / ceiling, 3), what)


def _writes(engine: Served, plain: Served, kept: str) -> list[Entry]:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"text": "x" * 1000}}
    run = time.time_ns()

    def create(connection: Connection, number: int) -> None:
        named = {**body, "metadata": {"name": f"bench-{run}-{number}"}}
        connection.request("POST", CONFIG_MAPS, json.dumps(named).encode())

    def patch(connection: Connection, number: int) -> None:
        path = f"{CONFIG_MAPS}/bench-{run}-{number % (WRITES // CLIENTS * CLIENTS)}"
        connection.request("PATCH", path, json.dumps({"data": {"number": str(time.perf_counter_ns())}}).encode(), MERGE)

    made = []
    for name, work in (("create", create), ("patch", patch)):
        ours = engine.cost(work, WRITES // CLIENTS)
        ceiling = plain.cost(work, WRITES // CLIENTS)
        what = f"{name} of a ConfigMap of 1 kB, {kept}, beside a plain handler that sends the body back; ratio of costs"
        made.append(_compared(f"{name}_{'durable' if kept == 'on disk before the answer' else 'in_memory'}", ours, ceiling, what))
    return made


def _watch(served: Served, path: str, write: Callable[[Connection, int], None], marker: bytes) -> float:
    """Processor seconds of the server for one event at one of many watchers."""
    watches = [Connection(served.kubeconfig) for dummy in range(WATCHERS)]
    for watch in watches:
        watch.send("GET", path)
    time.sleep(1.0)
    began = cpu_seconds(served.pid)

    def read(watch: Connection) -> Callable[[], None]:
        return lambda: watch.lines_until(marker, EVENTS)

    def write_all() -> None:
        with Connection(served.kubeconfig) as connection:
            for number in range(EVENTS):
                write(connection, number)

    side_by_side([*(read(watch) for watch in watches), write_all])
    cost = (cpu_seconds(served.pid) - began) / (EVENTS * WATCHERS)
    for watch in watches:
        watch.close()
    return cost


def _fan_out(engine: Served, plain: Served) -> Entry:
    event = json.dumps({"type": "MODIFIED", "object": {"metadata": {"name": "watched"}, "data": {"fan-out": "x" * 1200}}}).encode()
    with Connection(engine.kubeconfig) as connection:
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "watched"}, "data": {"text": "x" * 1000}}
        version = json.loads(connection.request("POST", CONFIG_MAPS, json.dumps(body).encode()))["metadata"]["resourceVersion"]

    def ours(connection: Connection, number: int) -> None:
        connection.request("PATCH", f"{CONFIG_MAPS}/watched", json.dumps({"data": {"fan-out": str(number)}}).encode(), MERGE)

    def ceiling(connection: Connection, _number: int) -> None:
        connection.request("POST", "/", event)

    path = f"{CONFIG_MAPS}?watch=1&fieldSelector=metadata.name%3Dwatched&resourceVersion={version}"
    costs = _watch(engine, path, ours, b'"MODIFIED"'), _watch(plain, "/?watch=1", ceiling, b'"MODIFIED"')
    what = f"{EVENTS} events to {WATCHERS} watchers each, the writes included, beside a plain handler that passes bytes on; ratio of costs"
    return Entry("watch_fan_out", "events/s", round(1 / costs[0]), round(1 / costs[1]), round(costs[0] / costs[1], 3), what)


def measure() -> list[Entry]:
    """Everything that the API server promises about its speed."""
    directory = Path(tempfile.mkdtemp(prefix="okd-virt-bench-engine-"))
    entries: list[Entry] = []
    started: list[Path] = []
    try:
        starts = []
        for number in range(ROUNDS):
            started.append(directory / f"empty-{number}")
            starts.append(_started(started[-1], "empty")[1])
            process.stop(started[-1])
        started.append(directory / "large")
        large, loaded_in = _started(started[-1], "generated", durable=True, sizes=(f"vms={VMS}", f"nodes={NODES}", "namespaces=200"))
        engine = Served(large.pid, large.kubeconfig)
        with Connection(engine.kubeconfig) as connection:
            first = json.loads(connection.request("GET", f"{VMIS}?limit=1"))["items"][0]["metadata"]
            path = f"/apis/kubevirt.io/v1/namespaces/{first['namespace']}/virtualmachineinstances/{first['name']}"
            vmi = connection.request("GET", path)
        plain = Plain(directory / "plain", vmi)
        try:
            what = f"from the command to the first answer, best of {ROUNDS}, beside the HTTP library alone with a certificate of its own"
            entries.append(Entry("start_empty", "s", round(min(starts), 3), round(plain.started_in, 3), round(min(starts) / plain.started_in, 3), what))
            entries.append(_get(engine, path, plain))
            entries.append(_list(engine, directory))
            entries += _writes(engine, plain, "on disk before the answer")
            started.append(directory / "memory")
            memory = _started(started[-1], "empty")[0]
            small = Served(memory.pid, memory.kubeconfig)
            entries += _writes(small, plain, "kept in memory")
            entries.append(_fan_out(small, plain))
            objects = 6 * VMS
            used = (resident_bytes(large.pid) - resident_bytes(memory.pid)) / objects
            average = len(vmi)
            what = f"resident memory for each of {objects} objects of {VMS} VMs, with everything that the controllers know of them, beside a VMI as JSON"
            entries.append(Entry("memory_per_object", "bytes", round(used), average, round(used / average, 3), what))
        finally:
            plain.stop()
        process.stop(directory / "large")
        again = _started(directory / "large", "generated", durable=True, sizes=(f"vms={VMS}", f"nodes={NODES}", "namespaces=200"))[1]
        what = f"{VMS} VMs on {NODES} nodes from the data directory, beside generating them"
        entries.append(Entry("start_20000", "s", round(again, 2), round(loaded_in, 2), round(again / loaded_in, 3), what))
        local, over_http = microseconds_per_write(), next(1e6 / entry.ours for entry in entries if entry.name == "patch_in_memory")
        what = "status update of a VMI by one of the engine's own controllers, beside a patch over HTTP (processor time)"
        entries.append(Entry("local_write", "us", round(local, 1), round(over_http, 1), round(local / over_http, 3), what))
        return entries
    finally:
        for each in started:
            process.stop(each)
        shutil.rmtree(directory, ignore_errors=True)


def missed(entry: Entry) -> str:
    """Why the target is missed; empty when it is met."""
    most = TARGETS.get(entry.name)
    if most is None:
        return ""
    found = entry.ratio if entry.name == "get" else entry.ours
    unit = "times the ceiling's cost" if entry.name == "get" else "s"
    return "" if found <= most else f"it may be {most:g} {unit} at most"
