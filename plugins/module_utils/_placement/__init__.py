# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where pods fit: what they ask for, what nodes have left, who goes where. Pure reading, for every verb that plans. Private to this collection."""

from __future__ import annotations
