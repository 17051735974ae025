# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clusters that an engine can begin with."""
from __future__ import annotations

import typing as t

from ..apiserver.local import LocalCluster
from ..authority import User
from ..clock import Clock


class SampleCluster(t.Protocol):
    """One cluster: who uses it, and how it is built."""

    users: tuple[User, ...]
    namespace: str
    """Where Virtualization is installed."""

    async def build(self, cluster: LocalCluster, clock: Clock) -> None:
        """Create everything, as cluster-admin, in an empty cluster."""


def names() -> list[str]:
    return ["empty", "generated", "lab", "lab-two-operators"]


if t.TYPE_CHECKING:
    from ..okd.bundles import Flavour
    from .lab import Empty


def find(name: str, release: str, flavour: str, sizes: t.Mapping[str, int], platform: str = "4.19") -> SampleCluster:
    """A cluster by name. Raises ValueError with a sentence."""
    from ..okd.bundles import FLAVOURS

    if name not in names():
        raise ValueError(f"there is no sample cluster {name!r}; there are {', '.join(names())}")
    if sizes and name != "generated":
        raise ValueError("sizes are for the cluster generated only")
    sample = _made(name, release, FLAVOURS[flavour], sizes)
    sample.platform_version = f"{platform}.0"
    return sample


def _made(name: str, release: str, flavour: Flavour, sizes: t.Mapping[str, int]) -> Empty:
    from .generated import SIZES, Generated
    from .lab import Empty, Lab

    if name == "generated":
        unknown = sorted(set(sizes) - set(SIZES))
        if unknown:
            raise ValueError(f"size {unknown[0]!r} is unknown; there are {', '.join(SIZES)}")
        return Generated(release, flavour, {**SIZES, **sizes})
    if name == "empty":
        return Empty(release, flavour)
    return Lab(release, flavour, second_operator=name == "lab-two-operators")
