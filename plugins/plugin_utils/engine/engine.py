# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: store, API server, controllers and a sample cluster in one process."""
from __future__ import annotations

import contextlib
import dataclasses
import datetime
import gc
import pathlib
import typing as t

from . import clusters, kubernetes, kubevirt, okd
from .apiserver import left_out
from .apiserver.bootstrap import bootstrap
from .apiserver.chain import ApiServer
from .apiserver.identity import UserInfo
from .apiserver.local import LocalCluster
from .audit import AuditLog
from .authority import ADMIN, Authority, User, write_private
from .clock import make_clock
from .controller import Stoppable
from .fault_endpoint import FaultEndpoint
from .interface import Ref
from .kinds import Registry
from .kubernetes import eviction
from .kubernetes.resources import Served
from .kubernetes.runtime import Runtime
from .kubevirt import subresource_api
from .server import Server, server_names
from .store.journal import Journal
from .store.store import Store

RELEASES = ("4.18", "4.19")
FLAVOURS = ("okd", "openshift")
_NAMESPACES = ("", "namespaces")
_NEW_OBJECTS = 20_000
"""How many more objects there are before the collector looks at them again."""
_ROUNDS = 50
"""Collections of the younger objects before those that have survived are looked at: they are the cluster, and no garbage."""


@dataclasses.dataclass
class Options:
    """What an engine is started with. `data_dir` None keeps everything in memory."""

    cluster: str = "lab"
    release: str = "4.18"
    flavour: str = "okd"
    platform: str = "4.19"
    speed: str = "1"
    address: str = "127.0.0.1"
    port: int = 0
    kubeconfig: pathlib.Path | None = None
    data_dir: pathlib.Path | None = None
    audit_log: pathlib.Path | None = None
    parameters: dict[str, int] = dataclasses.field(default_factory=dict)
    """Sizes of a generated cluster."""


class Engine:
    """One embedded cluster. start() returns when it serves; stop() when everything is written."""

    def __init__(self, options: Options) -> None:
        """Raises ValueError for options that can't be, journal.InUse, journal.Damaged, OSError."""
        self.options = options
        self.sample = clusters.find(options.cluster, options.release, options.flavour, options.parameters, options.platform)
        self._journal = Journal(options.data_dir) if options.data_dir is not None else None
        try:
            # A cluster that is new is kept once it is whole: until then nobody has seen it.
            with _no_collection():
                self.store = Store(self._journal if self._journal is not None and self._journal.exists else None)
            self._check(self._journal.about if self._journal is not None else {})
            self._assemble()
        except BaseException:
            if self._journal is not None:
                self._journal.close()
            raise

    def _assemble(self) -> None:
        options = self.options
        self.clock = make_clock(options.speed, _latest(self.store))
        keys = options.data_dir / "pki" if options.data_dir is not None else None
        self.authority = Authority(keys, server_names(options.address))
        self.registry = Registry()
        subresource_api.serve(self.registry)
        self.api = ApiServer(self.store, self.registry, self.clock, self.authority.service_account_key)
        eviction.register(self.api)
        self.admin = LocalCluster(self.api, UserInfo(ADMIN[0], (*ADMIN[1], "system:authenticated")))
        self._audit_log = options.audit_log.open("a", encoding="utf-8") if options.audit_log is not None else None
        log = AuditLog(self._audit_log, self.clock, self.api.user_of) if self._audit_log is not None else None
        self.server = Server(self.api, self.store, self.clock, self.authority.server_context(), options.address, options.port, log)
        self.runtime = Runtime()
        self.faults = FaultEndpoint(self.api, self.clock, self.runtime, self.server.drop_watches)
        self.controllers: list[Stoppable] = []

    @property
    def about(self) -> dict[str, t.Any]:
        """What a data directory remembers of the cluster in it."""
        options = self.options
        return {"cluster": options.cluster, "release": options.release, "flavour": options.flavour, "platform": options.platform, "sizes": options.parameters}

    def _check(self, kept: dict[str, t.Any]) -> None:
        different = {name: value for name, value in kept.items() if self.about.get(name) != value}
        if different:
            held = ", ".join(f"{name} {value}" for name, value in kept.items() if value)
            raise ValueError(
                f"the data directory {self.options.data_dir} holds another cluster ({held}): ask for that one, or choose another directory"
            )

    @property
    def users(self) -> list[User]:
        """Everybody that the kubeconfig has a context for, the administrator first."""
        return [ADMIN, *self.sample.users]

    async def start(self) -> None:
        """Load the sample cluster unless the data directory holds one, start the controllers, then serve. Raises OSError."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        if not self.store.count(_NAMESPACES):
            await self.load()
        left_out.register(self.api.admission)
        kubevirt.register(self.api, self.admin, self.clock, self.sample.namespace)
        okd.register(self.api, self.sample.namespace)
        self.controllers = [
            *kubernetes.start(self.admin, self.clock, self.served, self.authority.certificate_pem, self.runtime),
            *okd.start(self.admin, self.clock, self.sample.namespace, self.api, self.runtime),
            *kubevirt.start(self.admin, self.clock, self.sample.namespace, self.runtime, self.api),
        ]
        await self.server.start()
        if self.options.kubeconfig is not None:
            self.options.kubeconfig.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_private(self.options.kubeconfig, self.authority.kubeconfig(self.server.url, self.options.cluster, self.users))

    async def stop(self) -> None:
        await self.faults.stop()
        await self.server.stop()
        for controller in reversed(self.controllers):
            await controller.stop()
        self.store.close()
        if self._journal is not None:
            self._journal.close()
        if self._audit_log is not None:
            self._audit_log.close()

    def served(self) -> t.Iterator[Served]:
        """Every stored resource that can be listed, in its preferred version."""
        for group in self.registry.groups():
            seen = set()
            for version in self.registry.versions(group):
                for kind in self.registry.kinds(group, version):
                    if kind.plural not in seen and kind.stored and "list" in kind.verbs:
                        seen.add(kind.plural)
                        yield Served(Ref(group, version, kind.plural), kind.kind, kind.namespaced, "scale" in kind.subresources)

    async def load(self) -> None:
        """Make the sample cluster in the empty store, without anybody acting on it yet. Part of start()."""
        with _no_collection():
            await bootstrap(self.api)
            await self.sample.build(self.admin, self.clock)
        # Nobody has seen what came before: a watch from there is too old, as on a cluster that has run for long.
        self.store.begin_watches()
        if self._journal is not None:
            self.store.keep(self._journal, self.about)


@contextlib.contextmanager
def _no_collection() -> t.Iterator[None]:
    """Nothing of what is loaded is garbage, however often one looks."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def spare_collection() -> None:
    """Leave what is loaded out of all later collections, and make these rarer. For a process that has one engine and nothing else."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, _ROUNDS, _ROUNDS)


def _latest(store: Store) -> datetime.datetime | None:
    """The latest moment that the objects know of: a cluster's time does not go back when its engine is started again."""
    latest: datetime.datetime | None = None
    for resource in store.resources():
        for stored in store.list(resource):
            metadata = stored.value["metadata"]
            for text in (metadata.get("creationTimestamp"), *(entry.get("time") for entry in metadata.get("managedFields") or ())):
                # The times of managers are what their clients say.
                with contextlib.suppress(TypeError, ValueError):
                    moment = datetime.datetime.fromisoformat(text)
                    latest = max(latest or moment, moment)
    return latest
