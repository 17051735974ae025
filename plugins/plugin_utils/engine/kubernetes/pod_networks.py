# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The further networks that a pod is attached to: pure.

Source: k8snetworkplumbingwg/multus-cni pkg/k8sclient/k8sclient.go (parsePodNetworkAnnotation, getKubernetesDelegate).
"""
from __future__ import annotations

import json

from ..interface import Object, Ref

NETWORK_ATTACHMENT_DEFINITIONS = Ref("k8s.cni.cncf.io", "v1", "network-attachment-definitions")
ANNOTATION = "k8s.v1.cni.cncf.io/networks"


def networks(pod: Object) -> list[tuple[str, str]]:
    """Namespace and name of each; without a namespace it is the pod's own. `[NAMESPACE/]NAME[@INTERFACE]`, by commas, or a list in JSON."""
    text, home = (pod["metadata"].get("annotations") or {}).get(ANNOTATION, ""), pod["metadata"]["namespace"]
    if text.lstrip()[:1] in ("[", "{", '"'):
        try:
            entries = json.loads(text)
        except ValueError:
            return []
        held = [one for one in entries if isinstance(one, dict) and one.get("name")] if isinstance(entries, list) else []
        return [(str(one.get("namespace") or home), str(one["name"])) for one in held]
    found = []
    for part in text.split(","):
        namespace, slash, name = part.strip().partition("@")[0].rpartition("/")
        if name:
            found.append((namespace if slash else home, name))
    return found


def not_found(namespace: str, name: str) -> str:
    """What is said of one that isn't there."""
    resource = f"{NETWORK_ATTACHMENT_DEFINITIONS.plural}.{NETWORK_ATTACHMENT_DEFINITIONS.group}"
    return f'cannot find a network-attachment-definition ({name}) in namespace ({namespace}): {resource} "{name}" not found'
