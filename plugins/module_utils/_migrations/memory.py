# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much memory a guest has. Private to this collection.

Source: KubeVirt pkg/virt-launcher/virtwrap/live-migration-source.go (getVMIMigrationDataSize).
"""

from __future__ import annotations

import typing as t

from .._quantity import quantity

Json = dict[str, t.Any]


def memory_bytes(vmi: Json) -> int:
    """What an instance's guest has; 0 if nothing can be told."""
    domain = (vmi.get("spec") or {}).get("domain") or {}
    text = (domain.get("memory") or {}).get("guest") or ((domain.get("resources") or {}).get("requests") or {}).get("memory") or "0"
    return int(quantity(text))
