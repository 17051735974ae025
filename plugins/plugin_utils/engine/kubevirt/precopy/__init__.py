# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The physics of a live migration: how memory goes over while the guest goes on writing to it.

Pure: no clock, no cluster. Memory is in MiB, speed in MiB/s, time in seconds.
"""
from __future__ import annotations

from .copying import Copy, Phase, Progress
from .fixed import FixedCopy
from .guest import Guest, Pattern, Writer
from .network import Link, Network
from .settings import Settings, unlimited

__all__ = ["Copy", "FixedCopy", "Guest", "Link", "Network", "Pattern", "Phase", "Progress", "Settings", "Writer", "unlimited"]
