# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The engine: store, API server, controllers and a sample cluster in one process."""
from __future__ import annotations

import dataclasses
import pathlib
import tempfile
import typing as t

from . import clusters, kubernetes, kubevirt, okd
from .apiserver.bootstrap import bootstrap
from .apiserver.chain import ApiServer
from .apiserver.identity import UserInfo
from .apiserver.local import LocalCluster
from .authority import ADMIN, Authority, User, write_private
from .clock import make_clock
from .controller import Controller
from .interface import Ref
from .kinds import Registry
from .kubernetes.resources import Served
from .kubevirt import subresource_api
from .server import Server
from .store.journal import Journal
from .store.store import Store

RELEASES = ("4.18", "4.19")
FLAVOURS = ("okd", "openshift")
_LOADED = "loaded"
"""File in a data directory that says that its cluster is whole."""
_ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 compared with, not bound to


@dataclasses.dataclass
class Options:
    """What an engine is started with. `data_dir` None keeps everything in memory."""

    cluster: str = "lab"
    release: str = "4.18"
    flavour: str = "okd"
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
        self.sample = clusters.find(options.cluster, options.release, options.flavour, options.parameters)
        self.clock = make_clock(options.speed)
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        keys = options.data_dir / "pki" if options.data_dir is not None else self._temporary()
        self.store = Store(self._journal())
        self.authority = Authority(keys, (options.address,) if options.address not in _ANY_ADDRESS else ())
        self.registry = Registry()
        subresource_api.serve(self.registry)
        self.api = ApiServer(self.store, self.registry, self.clock, self.authority.service_account_key)
        self.admin = LocalCluster(self.api, UserInfo(ADMIN[0], (*ADMIN[1], "system:authenticated")))
        self._audit_log = options.audit_log.open("a", encoding="utf-8") if options.audit_log is not None else None
        self.server = Server(
            self.api, self.store, self.clock, self.authority.server_context(), options.address, options.port, self._audit_log
        )
        self.controllers: list[Controller] = []

    def _journal(self) -> Journal | None:
        directory = self.options.data_dir
        if directory is None:
            return None
        journal = Journal(directory)
        if not (directory / _LOADED).exists():
            # An engine was killed while it loaded its sample cluster.
            journal.discard()
        return journal

    @property
    def users(self) -> list[User]:
        """Everybody that the kubeconfig has a context for, the administrator first."""
        return [ADMIN, *self.sample.users]

    async def start(self) -> None:
        """Load the sample cluster unless the data directory holds one, start the controllers, then serve. Raises OSError."""
        if not self.store.count(NAMESPACES_KEY):
            await self._bootstrap()
        self.controllers = [
            *kubernetes.start(self.admin, self.clock, self.served, self.authority.certificate_pem),
            *okd.start(self.admin, self.clock, self.sample.namespace),
            *kubevirt.start(self.admin, self.clock, self.sample.namespace),
        ]
        await self.server.start()
        if self.options.kubeconfig is not None:
            self.options.kubeconfig.parent.mkdir(parents=True, exist_ok=True)
            write_private(self.options.kubeconfig, self.authority.kubeconfig(self.server.url, self.options.cluster, self.users))

    async def stop(self) -> None:
        await self.server.stop()
        for controller in reversed(self.controllers):
            await controller.stop()
        self.store.close()
        if self._audit_log is not None:
            self._audit_log.close()
        if self._scratch is not None:
            self._scratch.cleanup()

    def served(self) -> t.Iterator[Served]:
        """Every stored resource that can be listed, in its preferred version."""
        for group in self.registry.groups():
            seen = set()
            for version in self.registry.versions(group):
                for kind in self.registry.kinds(group, version):
                    if kind.plural not in seen and kind.stored and "list" in kind.verbs:
                        seen.add(kind.plural)
                        yield Served(Ref(group, version, kind.plural), kind.kind, kind.namespaced)

    async def _bootstrap(self) -> None:
        await bootstrap(self.api)
        await self.sample.build(self.admin, self.clock)
        # Nobody has seen what came before: a watch from there is too old, as on a cluster that has run for long.
        self.store.compact()
        if self.options.data_dir is not None:
            await self.store.flushed(self.store.version)
            (self.options.data_dir / _LOADED).touch()

    def _temporary(self) -> pathlib.Path:
        self._scratch = tempfile.TemporaryDirectory(prefix="okd-virt-engine-")
        return pathlib.Path(self._scratch.name)


NAMESPACES_KEY = ("", "namespaces")
