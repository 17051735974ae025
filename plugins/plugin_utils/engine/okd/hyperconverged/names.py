# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the HyperConverged and what belongs to it are called."""
from __future__ import annotations

from ...interface import Object, Ref

HYPERCONVERGEDS = Ref("hco.kubevirt.io", "v1beta1", "hyperconvergeds")
NAME = "kubevirt-hyperconverged"
KUBEVIRT_NAME = f"kubevirt-{NAME}"
FINALIZER = "kubevirt.io/hyperconverged"
OPERATOR, WEBHOOK = "hco-operator", "hco-webhook"
KUBEVIRT_PATCH = "kubevirt.kubevirt.io/jsonpatch"
PATCHES = (
    KUBEVIRT_PATCH, "containerizeddataimporter.kubevirt.io/jsonpatch", "networkaddonsconfigs.kubevirt.io/jsonpatch", "ssp.kubevirt.io/jsonpatch",
)
"""The annotations of a HyperConverged that patch the objects made from it. Source: HCO controllers/common/consts.go."""


def annotations_of(hyperconverged: Object) -> dict[str, str]:
    found: dict[str, str] = hyperconverged["metadata"].get("annotations") or {}
    return found


def environment(deployment: Object) -> dict[str, str]:
    """The environment of a Deployment's first container: an operator learns from it which versions it is to bring about."""
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    return {entry["name"]: str(entry.get("value", "")) for entry in container.get("env") or ()}
