# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ours is held against: the collections kubernetes.core and kubevirt.core, and a kubectl of an older minor version."""

from __future__ import annotations

import sys
from pathlib import Path

COLLECTIONS = Path(sys.prefix) / "peers"
"""Where the set-up unpacked them, for ANSIBLE_COLLECTIONS_PATH."""

OLDER_KUBECTL = COLLECTIONS / "older" / "kubectl"
