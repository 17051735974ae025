# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The migration controller of virt-controller: each VirtualMachineInstanceMigration from its creation to its end."""
from __future__ import annotations

from .controller import Migrations

__all__ = ["Migrations"]
