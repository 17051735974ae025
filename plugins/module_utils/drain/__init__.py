# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes emptied by live migration: planned, followed, stopped and taken up again. Private to this collection."""

from __future__ import annotations
