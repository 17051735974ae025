# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What virt-api serves beside the custom resources: the group subresources.kubevirt.io, as discovery shows it.

Source: KubeVirt pkg/virt-api/api.go (subresourceApp, newAPIResourceList), v1.4.1 and v1.5.3.
"""
from __future__ import annotations

import typing as t

from ..kinds import Kind, Registry, Subresource

GROUP = "subresources.kubevirt.io"
VERSIONS = ("v1", "v1alpha3")
_MACHINE = ("start", "stop", "restart", "migrate", "addvolume", "removevolume", "memorydump", "expand-spec", "portforward")
_INSTANCE = (
    "console", "vnc", "vnc/screenshot", "portforward", "pause", "unpause", "freeze", "unfreeze", "softreboot", "guestosinfo", "filesystemlist",
    "userlist", "addvolume", "removevolume", "usbredir", "sev/fetchcertchain", "sev/querylaunchmeasurement", "sev/setupsession",
    "sev/injectlaunchsecret",
)
_RESOURCES = (
    ("virtualmachines", "VirtualMachine", _MACHINE), ("virtualmachineinstances", "VirtualMachineInstance", _INSTANCE),
    ("expand-vm-spec", "VirtualMachine", ()),
)


def kinds() -> t.Iterator[Kind]:
    """The resources of the group. They are not stored and have no verbs of their own: only their subresources are called.

    virt-api leaves their kind empty; it is named here, so that `kubectl auth can-i update virtualmachines.subresources.kubevirt.io
    --subresource=migrate` asks about the group and not about a resource of that whole name.
    """
    for version in VERSIONS:
        for plural, kind, names in _RESOURCES:
            below = tuple(Subresource(name, ()) for name in names)
            yield Kind(GROUP, version, kind, plural, "", namespaced=True, verbs=(), subresource_list=below, custom=True, stored=False)


def serve(registry: Registry) -> None:
    """Let the API server know them."""
    for kind in kinds():
        registry.add(kind)
