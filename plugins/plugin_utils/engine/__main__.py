# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""python -m ansible_collections.okd.virt.plugins.plugin_utils.engine serve: the embedded cluster by hand."""
from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import logging
import pathlib
import signal
import socket
import sys
import typing as t

from . import clusters, libraries
from .engine import FLAVOURS, RELEASES, Engine, Options, spare_collection
from .kubevirt.precopy import command as precopy
from .process import process_start_time
from .store.journal import Damaged, InUse


def _arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="engine", description="A KubeVirt cluster in one process, behind the real Kubernetes API.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="serve a sample cluster until interrupted")
    serve.add_argument("--cluster", default="lab", help=f"sample cluster: {', '.join(clusters.names())} (lab)")
    serve.add_argument("--release", default="4.18", choices=RELEASES, help="release of OKD Virtualization that it starts with")
    serve.add_argument("--flavour", default="okd", choices=FLAVOURS, help="names as in OKD or as in OpenShift")
    serve.add_argument("--platform", default="4.19", choices=RELEASES, help="release of the platform below, which is updated by itself (4.19)")
    serve.add_argument("--speed", default="1", help="1 is real time, 60 a minute a second, max jumps to what is due next")
    serve.add_argument("--kubeconfig", type=pathlib.Path, default=pathlib.Path("build/engine/kubeconfig"), help="file to write when ready")
    serve.add_argument("--data-dir", type=pathlib.Path, help="keep the cluster here; every acknowledged write is on disk")
    serve.add_argument("--bind", default="127.0.0.1", metavar="ADDRESS", help="address to listen on (127.0.0.1)")
    serve.add_argument("--port", type=_port, default=0, help="port to listen on; 0 takes a free one")
    serve.add_argument("--audit-log", type=pathlib.Path, help="append a JSON line for each request")
    serve.add_argument("--watch-pid", type=int, help="stop when this process is gone")
    serve.add_argument("--size", action="append", default=[], metavar="NAME=NUMBER", help="size of a generated cluster, such as namespaces=5000")
    serve.add_argument("--verbose", action="store_true", help="log what the controllers do to standard error")
    commands.add_parser("precopy", help="the physics of live migrations alone: a JSON object a line in, one a line out")
    return parser.parse_args(given)


def _sizes(given: list[str]) -> dict[str, int]:
    sizes = {}
    for text in given:
        name, dummy, number = text.partition("=")
        if not number.isdigit():
            raise ValueError(f"--size {text!r} is not NAME=NUMBER")
        sizes[name] = int(number)
    return sizes


async def _follow(pid: int, stop: asyncio.Event) -> None:
    """Set stop when the process is gone, or another one has its number."""
    began = process_start_time(pid)
    while began is not None and process_start_time(pid) == began:  # noqa: ASYNC110
        await asyncio.sleep(0.5)
    stop.set()


async def _serve(options: Options, watch_pid: int | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    engine = Engine(options)
    await engine.start()
    spare_collection()
    print(
        f"okd.virt engine: cluster {options.cluster}, release {options.release}, listening on {engine.server.url}, "
        f"kubeconfig {options.kubeconfig}",
        flush=True,
    )
    watcher = loop.create_task(_follow(watch_pid, stop)) if watch_pid is not None else None
    await stop.wait()
    if watcher is not None:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher
    await engine.stop()


def _sentence(error: OSError, arguments: argparse.Namespace) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {arguments.port} of {arguments.bind} is taken: choose another with --port, 0 takes a free one"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"{arguments.bind} is no address of this machine: choose another with --bind"
    text = error.strerror or str(error)
    return f"{error.filename} can't be written or read: {text}" if error.filename else text


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: it is 0 (a free one) to 65535")
    return int(text)


def _loop_factory() -> t.Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed: half as fast again."""
    try:
        import uvloop
    except ImportError:
        return None
    return t.cast("t.Callable[[], asyncio.AbstractEventLoop]", uvloop.new_event_loop)


def main(given: list[str] | None = None) -> int:
    """Exit status 0 after a stop that was asked for, 1 when precopy was given a bad line, 2 with one sentence when it can't start."""
    if lacking := libraries.missing():
        print(f"engine: {', '.join(lacking)} must be installed for this Python ({sys.executable}): see meta/engine-requirements.txt", file=sys.stderr)
        return 2
    arguments = _arguments(given)
    if arguments.command == "precopy":
        return precopy.run(sys.stdin, sys.stdout)
    logging.basicConfig(level=logging.DEBUG if arguments.verbose else logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    try:
        options = Options(
            cluster=arguments.cluster, release=arguments.release, flavour=arguments.flavour, platform=arguments.platform, speed=arguments.speed,
            address=arguments.bind, port=arguments.port, kubeconfig=arguments.kubeconfig, data_dir=arguments.data_dir,
            audit_log=arguments.audit_log, parameters=_sizes(arguments.size),
        )
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_serve(options, arguments.watch_pid))
    except (ValueError, Damaged, InUse) as error:
        print(f"engine: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"engine: {_sentence(error, arguments)}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
