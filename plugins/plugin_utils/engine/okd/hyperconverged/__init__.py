# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The HyperConverged: its operator, and what its webhooks make of it."""
from __future__ import annotations

from . import metrics
from .admission import register
from .controller import HyperConverged
from .names import HYPERCONVERGEDS, NAME

__all__ = ["HYPERCONVERGEDS", "NAME", "HyperConverged", "metrics", "register"]
