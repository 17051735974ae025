# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a pod is: a VM's launcher, or another; running or finished. Pure. Private to this collection.

Source: KubeVirt api/core/v1/types.go (labels and annotations of launcher pods).
"""

from __future__ import annotations

import typing as t

Json = dict[str, t.Any]
Key = tuple[str, str]
LAUNCHER = "virt-launcher"
ROLE_LABEL, DOMAIN = "kubevirt.io", "kubevirt.io/domain"


def is_finished(pod: Json) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def role(pod: Json) -> str:
    """What KubeVirt's label says it is for; empty for pods of others."""
    return str((pod["metadata"].get("labels") or {}).get(ROLE_LABEL) or "")


def is_launcher(pod: Json) -> bool:
    return role(pod) == LAUNCHER


def instance_key(pod: Json) -> Key:
    """Namespace and name of the instance that a launcher pod runs."""
    metadata = pod["metadata"]
    return metadata["namespace"], str((metadata.get("annotations") or {}).get(DOMAIN) or "")
