# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Option groups that verbs share, as specifications that can be merged. Each has a twin in doc_fragments. Private to this collection."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

Json = dict[str, t.Any]
Names = t.Sequence[t.Sequence[t.Any]]


@dataclass(frozen=True)
class ArgumentSpec:
    """An argument specification with its rules; see ansible.module_utils.common.arg_spec."""

    argument_spec: Json
    mutually_exclusive: Names = ()
    required_together: Names = ()
    required_one_of: Names = ()
    required_if: Names = ()
    required_by: Json = field(default_factory=dict)

    def merge(self, other: ArgumentSpec) -> ArgumentSpec:
        """Both together. Raises ValueError when they define the same option."""
        twice = set(self.argument_spec) & set(other.argument_spec)
        if twice:
            raise ValueError(f"defined twice: {', '.join(sorted(twice))}")
        return ArgumentSpec(
            {**self.argument_spec, **other.argument_spec},
            (*self.mutually_exclusive, *other.mutually_exclusive),
            (*self.required_together, *other.required_together),
            (*self.required_one_of, *other.required_one_of),
            (*self.required_if, *other.required_if),
            {**self.required_by, **other.required_by},
        )

    def rules(self) -> Json:
        """What AnsibleModule and ArgumentSpecValidator take besides the specification itself."""
        return {
            "mutually_exclusive": list(self.mutually_exclusive), "required_together": list(self.required_together),
            "required_one_of": list(self.required_one_of), "required_if": list(self.required_if), "required_by": self.required_by,
        }


def auth_spec() -> ArgumentSpec:
    """How to reach the cluster: the names, aliases and meanings of kubernetes.core. The environment is read by _cluster.connection."""
    return ArgumentSpec(
        {
            "host": {"type": "str"},
            "api_key": {"type": "str", "no_log": True},
            "kubeconfig": {"type": "raw"},
            "context": {"type": "str"},
            "username": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "validate_certs": {"type": "bool", "aliases": ["verify_ssl"]},
            "ca_cert": {"type": "path", "aliases": ["ssl_ca_cert"]},
            "client_cert": {"type": "path", "aliases": ["cert_file"]},
            "client_key": {"type": "path", "aliases": ["key_file"], "no_log": False},
            "proxy": {"type": "str"},
            "no_proxy": {"type": "str"},
            "proxy_headers": {
                "type": "dict",
                "options": {
                    "proxy_basic_auth": {"type": "str", "no_log": True},
                    "basic_auth": {"type": "str", "no_log": True},
                    "user_agent": {"type": "str"},
                },
            },
            "persist_config": {"type": "bool"},
            "impersonate_user": {"type": "str"},
            "impersonate_groups": {"type": "list", "elements": "str"},
            "request_timeout": {"type": "int", "default": 60},
        },
    )


def wait_spec(timeout: int = 300) -> ArgumentSpec:
    """Whether and how long to wait for what was started. Seconds; zero means not at all."""
    return ArgumentSpec({"wait": {"type": "bool", "default": True}, "wait_timeout": {"type": "int", "default": timeout}})


def loads_spec() -> ArgumentSpec:
    """What is known of VMs and links, for predictions."""
    numbers = {name: {"type": "str"} for name in ("dirty_rate", "working_set", "non_zero")}
    named = {name: {"type": "str", "required": True} for name in ("namespace", "name")}
    return ArgumentSpec({"loads": {"type": "list", "elements": "dict", "default": [], "options": {**named, **numbers}}, "link_speed": {"type": "str"}})


def drain_spec() -> ArgumentSpec:
    """Which nodes are drained, and how."""
    return ArgumentSpec(
        {
            "names": {"type": "list", "elements": "str", "default": [], "aliases": ["name", "node"]},
            "label_selector": {"type": "str"},
            "machine_config_pool": {"type": "str"},
            "pod_selector": {"type": "str"},
            "vms_first": {"type": "bool", "default": True},
            "grace_period": {"type": "int"},
            "delete_emptydir_data": {"type": "bool", "default": False},
            "ignore_daemonsets": {"type": "bool", "default": True},
            "evict_uncontrolled": {"type": "bool", "default": False},
            "on_unmigratable": {"type": "str", "choices": ["refuse", "skip", "stop_and_restart"], "default": "refuse"},
            "move_by": {"type": "str", "choices": ["migration", "eviction"], "default": "migration"},
            "marked_ahead": {"type": "int", "default": 0},
            "migration_attempts": {"type": "int", "default": 5},
            "take_over": {"type": "bool", "default": False},
            "metrics_path": {"type": "str"},
        },
        required_one_of=(("names", "label_selector", "machine_config_pool"),),
    )
