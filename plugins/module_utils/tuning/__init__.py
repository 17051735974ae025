# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The settings of live migration: what they are, who decides, and how they are changed for good or for a while. Private to this collection."""

from __future__ import annotations
