# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What KubeVirt's metrics say of copies."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.module_utils._migrations.transfers import Transfer, transfers

GIB = 2**30
METRICS = f"""# HELP kubevirt_vmi_migration_data_total_bytes The total Guest OS data to be migrated to the new VM.
# TYPE kubevirt_vmi_migration_data_total_bytes gauge
kubevirt_vmi_migration_data_total_bytes{{name="vm-1",namespace="shop",node="node01"}} {4 * GIB}
kubevirt_vmi_migration_data_remaining_bytes{{name="vm-1",namespace="shop",node="node01"}} 1.073741824e+09
kubevirt_vmi_migration_data_processed_bytes{{name="vm-1",namespace="shop",node="node01"}} {3 * GIB} 1700000000000
kubevirt_vmi_migration_disk_transfer_rate_bytes{{name="vm-1",namespace="shop",node="node01"}} {256 * 2**20}
kubevirt_vmi_migration_dirty_memory_rate_bytes{{name="vm-1",namespace="shop",node="node01"}} {128 * 2**20}
kubevirt_vmi_migration_data_remaining_bytes{{name="vm-2",namespace="other",node="node01"}} NaN?
kubevirt_vmi_migration_succeeded{{vmi="vm-3",vmim="m",namespace="shop"}} 1
kubevirt_vmi_memory_used_bytes{{name="vm-4",namespace="shop"}} 12
"""


def test_each_vm_has_its_numbers() -> None:
    found = transfers(METRICS)
    assert set(found) == {("shop", "vm-1")}
    assert found["shop", "vm-1"].to_dict() == {
        "total_bytes": 4 * GIB, "processed_bytes": 3 * GIB, "remaining_bytes": GIB, "rate_bytes": 256 * 2**20, "dirty_rate_bytes": 128 * 2**20,
        "percent": 75, "remaining_seconds": 8.0,
    }


def test_no_time_is_given_where_there_is_none() -> None:
    assert "remaining_seconds" not in Transfer(total=GIB, remaining=GIB, rate=10, dirty_rate=10).to_dict()
    assert Transfer().to_dict() == {}


@given(st.floats(min_value=1, max_value=1e15), st.floats(min_value=0, max_value=1e15))
def test_a_share_is_a_share(total: float, remaining: float) -> None:
    """Also when more remains than there was, which KubeVirt shows of disks."""
    assert 0 <= Transfer(total=total, remaining=remaining).to_dict()["percent"] <= 100


@given(st.text())
def test_any_text_is_borne(text: str) -> None:
    assert isinstance(transfers(text + "\n" + METRICS), dict)
