# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What versions and ClusterServiceVersion names mean. Private to this collection."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

#: Prefix of the ClusterServiceVersion's name, the same in the OKD and the OpenShift catalogue.
#: Source: HCO deploy/olm-catalog/community-kubevirt-hyperconverged.
CSV_PREFIX = "kubevirt-hyperconverged-operator"

_VERSION = re.compile(r"^v?(?P<numbers>\d+\.\d+\.\d+)(?P<rest>[-+][0-9A-Za-z.+-]+)?$")


class InvalidVersion(ValueError):
    """The text is neither a full version nor the name of a ClusterServiceVersion."""


@dataclass(frozen=True)
class Target:
    """A ClusterServiceVersion that somebody asked for: its name and the version it stands for."""

    csv: str
    version: str


def parse_target(text: str) -> Target:
    """Read C(1.15.0), C(v1.15.0) or C(kubevirt-hyperconverged-operator.v1.15.0).

    Raises InvalidVersion for everything else, a version without a patch number included: an approval names exactly one version.
    """
    text = str(text).strip()
    prefix, dot, version = text.rpartition(".v") if text.startswith(CSV_PREFIX) else ("", "", text)
    if (dot and prefix != CSV_PREFIX) or (text.startswith(CSV_PREFIX) and not dot):
        raise InvalidVersion(
            f"{text!r} is not the name of a ClusterServiceVersion of OKD Virtualization ({CSV_PREFIX}.vX.Y.Z)"
        )
    match = _VERSION.match(version)
    if match is None:
        raise InvalidVersion(f"{text!r} is not a full version such as 1.15.0, nor a name such as {CSV_PREFIX}.v1.15.0")
    plain = match.group("numbers") + (match.group("rest") or "")
    return Target(csv=f"{CSV_PREFIX}.v{plain}", version=plain)


def version_of(csv_name: str) -> str:
    """The version in a ClusterServiceVersion's name, empty when it has none."""
    return csv_name.partition(".v")[2]


def operator_of(csv_name: str) -> str:
    """The operator's part of a ClusterServiceVersion's name: what stands before the version."""
    return csv_name.partition(".v")[0]


def order(version: str) -> tuple[t.Any, ...]:
    """A key that sorts versions as Semantic Versioning does; build metadata counts for nothing.

    Raises InvalidVersion when the text is no full version.
    """
    match = _VERSION.match(version)
    if match is None:
        raise InvalidVersion(f"{version!r} is not a full version")
    numbers = tuple(int(part) for part in match.group("numbers").split("."))
    rest = (match.group("rest") or "").partition("+")[0].lstrip("-")
    # A pre-release comes before its release; numeric identifiers come before words.
    identifiers = (
        tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in rest.split(".")) if rest else ()
    )
    return (*numbers, 0 if rest else 1, identifiers)


def is_newer(version: str, than: str) -> bool:
    """Whether the first version is newer; unknown versions are never newer."""
    try:
        return order(version) > order(than)
    except InvalidVersion:
        return False
