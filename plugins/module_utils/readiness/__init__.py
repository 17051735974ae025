# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether VMs can live-migrate and nodes be drained, and what to do where they can't. Private to this collection."""

from __future__ import annotations
