# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collections that ours is held against: kubernetes.core, kubevirt.core."""

from __future__ import annotations

import sys
from pathlib import Path

COLLECTIONS = Path(sys.prefix) / "peers"
"""Where the set-up unpacked them, for ANSIBLE_COLLECTIONS_PATH."""
