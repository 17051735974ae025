# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start and stop an engine as a process of its own: for the action plugin, for tests, for whoever rehearses."""
from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time
import typing as t

PACKAGE = pathlib.Path(__file__).parent
_STATE, _LOG, _KUBECONFIG, _DATA, _AUDIT = "engine.json", "engine.log", "kubeconfig", "data", "audit.jsonl"
_POLL = 0.02
_LARGE_PAGES_SINCE = (2, 35)


class EngineError(Exception):
    """The engine could not be started or stopped; the text says why."""


@dataclasses.dataclass(frozen=True)
class EngineOptions:
    """How to start one; the names are those of `engine serve`. `directory` holds its state, log and kubeconfig."""

    directory: pathlib.Path
    cluster: str = "lab"
    release: str = "4.18"
    flavour: str = "okd"
    platform: str = "4.19"
    speed: str = "1"
    port: int = 0
    kubeconfig: pathlib.Path | None = None
    durable: bool = False
    audit: bool = False
    watch_pid: int | None = None
    sizes: tuple[str, ...] = ()

    @property
    def kubeconfig_file(self) -> pathlib.Path:
        return self.kubeconfig or self.directory / _KUBECONFIG

    @property
    def audit_file(self) -> pathlib.Path:
        return self.directory / _AUDIT


@dataclasses.dataclass(frozen=True)
class RunningEngine:
    """An engine that serves."""

    pid: int
    url: str
    kubeconfig: pathlib.Path
    directory: pathlib.Path
    started: str
    """When the process began, so that another process with the same number is not taken for it."""
    settings: dict[str, t.Any]


def process_start_time(pid: int) -> str | None:
    """What tells a process from a later one of the same number; None when it is gone."""
    try:
        content = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return _start_time_by_ps(pid) if not pathlib.Path("/proc/self").exists() else None
    except OSError:
        return None
    fields = content.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else fields[19]


def _start_time_by_ps(pid: int) -> str | None:
    ps = shutil.which("ps")
    if ps is None:
        return None
    command = [ps, "-o", "lstart=", "-p", str(pid)]
    found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    return found.stdout.strip() or None


def _settings(options: EngineOptions) -> dict[str, t.Any]:
    return {
        "cluster": options.cluster, "release": options.release, "flavour": options.flavour, "platform": options.platform,
        "speed": options.speed, "port": options.port, "kubeconfig": str(options.kubeconfig_file), "durable": options.durable,
        "audit": options.audit, "sizes": list(options.sizes),
    }


@contextlib.contextmanager
def _alone(directory: pathlib.Path) -> collections.abc.Iterator[None]:
    """One start or stop at a time in a directory."""
    folder = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _alive(directory: pathlib.Path) -> RunningEngine | None:
    """The engine of a directory, also one that does not serve yet: its `url` is empty."""
    try:
        state = json.loads((directory / _STATE).read_text())
        found = RunningEngine(
            state["pid"], state["url"], pathlib.Path(state["kubeconfig"]), directory, state["started"], state["settings"]
        )
    except (FileNotFoundError, ValueError, KeyError):
        return None
    return found if process_start_time(found.pid) == found.started else None


def _remember(engine: RunningEngine) -> RunningEngine:
    state = {
        "pid": engine.pid, "url": engine.url, "kubeconfig": str(engine.kubeconfig), "started": engine.started, "settings": engine.settings,
    }
    fresh = engine.directory / f".{_STATE}"
    fresh.write_text(json.dumps(state))
    os.replace(fresh, engine.directory / _STATE)
    return engine


def running(directory: pathlib.Path) -> RunningEngine | None:
    """The engine of a directory, when it serves."""
    found = _alive(directory)
    return found if found is not None and found.url else None


def start(options: EngineOptions, timeout: float = 60.0) -> RunningEngine:
    """Start an engine and wait until it serves; one that runs already in the directory is returned as it is. Raises EngineError, OSError."""
    options.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _alone(options.directory):
        found = _alive(options.directory)
        if found is None or not found.url:
            # Whoever began to start the one that does not serve is gone.
            _stop(options.directory)
            return _start(options, timeout)
    wanted = _settings(options)
    different = [name for name, value in wanted.items() if found.settings.get(name) != value]
    if different:
        raise EngineError(
            f"An engine with other settings ({', '.join(different)}) runs in {options.directory}: stop it first or choose another directory."
        )
    return found


def _start(options: EngineOptions, timeout: float) -> RunningEngine:
    log = options.directory / _LOG
    with log.open("wb") as output:
        process = subprocess.Popen(
            _command(options), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True, close_fds=True,
            env=_environment(),
        )
    # The child lives on without this object; it is reaped here while this process lives.
    _CHILDREN[process.pid] = process
    try:
        started = process_start_time(process.pid) or ""
        engine = RunningEngine(process.pid, "", options.kubeconfig_file, options.directory, started, _settings(options))
        _remember(engine)
        return _remember(dataclasses.replace(engine, url=_wait_until_ready(process, log, timeout)))
    except BaseException:
        process.kill()
        process.wait()
        del _CHILDREN[process.pid]
        (options.directory / _STATE).unlink(missing_ok=True)
        raise


_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}


def _environment() -> dict[str, str]:
    """The engine imports nothing of the collection, so it runs as a package of its own.

    Under its full name it could not be found where the community package is installed, whose `ansible_collections` hides all others.
    """
    given = os.environ.get("PYTHONPATH")
    return {**large_pages(), **os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), *([given] if given else [])])}


def large_pages() -> dict[str, str]:
    """Variables under which Python keeps its objects in large pages where the C library can; empty elsewhere.

    Source: glibc manual, Memory Allocation Tunables (glibc.malloc.hugetlb, since 2.35); Python documentation, PYTHONMALLOC.
    """
    try:
        library, version = str(os.confstr("CS_GNU_LIBC_VERSION")).split()
        known = library == "glibc" and tuple(map(int, version.split("."))) >= _LARGE_PAGES_SINCE
    except (ValueError, OSError):
        known = False
    return {"PYTHONMALLOC": "malloc", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"} if known else {}


def _command(options: EngineOptions) -> list[str]:
    command = [
        sys.executable, "-m", PACKAGE.name, "serve", "--cluster", options.cluster, "--release", options.release, "--flavour", options.flavour,
        "--platform", options.platform, "--speed", options.speed, "--port", str(options.port), "--kubeconfig", str(options.kubeconfig_file),
    ]
    if options.durable:
        command += ["--data-dir", str(options.directory / _DATA)]
    if options.audit:
        command += ["--audit-log", str(options.audit_file)]
    if options.watch_pid is not None:
        command += ["--watch-pid", str(options.watch_pid)]
    for size in options.sizes:
        command += ["--size", size]
    return command


def _wait_until_ready(process: subprocess.Popen[bytes], log: pathlib.Path, timeout: float) -> str:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        for line in log.read_text(errors="replace").splitlines(keepends=True):
            if line.startswith("okd.virt engine: ") and "listening on " in line and line.endswith("\n"):
                return line.partition("listening on ")[2].partition(",")[0]
        if process.poll() is not None:
            raise EngineError(f"The engine did not start (exit status {process.returncode}): {_last_words(log)}")
        time.sleep(_POLL)
    raise EngineError(f"The engine was not ready within {timeout:.0f} s: {_last_words(log)}")


def _last_words(log: pathlib.Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("engine: ") if lines else f"it said nothing (see {log})"


def stop(directory: pathlib.Path, timeout: float = 15.0) -> bool:
    """Stop the engine of a directory; False when none runs there. Raises EngineError when it does not end, OSError."""
    if not directory.exists():
        return False
    with _alone(directory):
        return _stop(directory, timeout)


def _stop(directory: pathlib.Path, timeout: float = 15.0) -> bool:
    found = _alive(directory)
    if found is not None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.kill(found.pid, number)
            if _gone(found, timeout):
                break
        else:
            raise EngineError(f"The engine (process {found.pid}) does not end.")
        child = _CHILDREN.pop(found.pid, None)
        if child is not None:
            child.wait(timeout)
    (directory / _STATE).unlink(missing_ok=True)
    return found is not None


def remove(directory: pathlib.Path, kubeconfig: pathlib.Path | None = None) -> bool:
    """Stop the engine of a directory and remove what it wrote; False when there was nothing. Raises EngineError, OSError."""
    stopped = stop(directory)
    there = leftovers(directory, kubeconfig)
    for path in there:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    return stopped or bool(there)


def leftovers(directory: pathlib.Path, kubeconfig: pathlib.Path | None = None) -> list[pathlib.Path]:
    """What an engine wrote and remove() removes."""
    paths = [directory / name for name in (_STATE, _LOG, _KUBECONFIG, _DATA, _AUDIT)]
    if kubeconfig is not None:
        paths.append(kubeconfig)
    return [path for path in paths if path.exists()]


def _gone(engine: RunningEngine, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        child = _CHILDREN.get(engine.pid)
        if child is not None:
            child.poll()
        if process_start_time(engine.pid) != engine.started:
            return True
        time.sleep(_POLL)
    return False
