# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kube-scheduler: every pod that waits for a node gets the best one that can take it, or is told why there is none.

Nobody is preempted and volumes are not looked at. Source: Kubernetes pkg/scheduler.
"""
from __future__ import annotations

from .filters import fits
from .scheduler import Scheduler

__all__ = ["Scheduler", "fits"]
