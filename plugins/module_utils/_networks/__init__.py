# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network of its own that live migrations may have: what it is, whether it can work, whether it is used. Private to this collection."""

from __future__ import annotations
