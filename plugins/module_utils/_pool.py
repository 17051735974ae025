# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many nodes a MachineConfigPool lets be away at once. Pure. Private to this collection.

Source: machine-config-operator pkg/controller/node (maxUnavailable).
"""

from __future__ import annotations

import typing as t

Json = dict[str, t.Any]


def allowed_away(pool: Json | None, machines: int) -> int:
    """maxUnavailable: a number, or a share that is rounded down and never less than one. 1 without a pool."""
    text = str(((pool or {}).get("spec") or {}).get("maxUnavailable") or 1)
    if text.endswith("%"):
        return max(1, machines * int(text[:-1]) // 100)
    return int(text)
