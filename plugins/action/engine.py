# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start and stop an embedded cluster. See the module of the same name."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ansible_collections.okd.virt.plugins.modules.engine import argument_spec
from ansible_collections.okd.virt.plugins.plugin_utils.engine import process

Result = dict[str, t.Any]


class ActionModule(ActionBase):  # type: ignore[misc]
    """See the module's documentation."""

    _supports_check_mode = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        """The result of the task."""
        result: Result = super().run(tmp, task_vars)
        found = ArgumentSpecValidator(argument_spec()).validate(self._task.args)
        if found.error_messages:
            raise AnsibleActionFail(f"engine: {'; '.join(found.error_messages)}")
        options = found.validated_parameters
        directory = Path(options["directory"]).absolute()
        do = self._start if options["state"] == "started" else self._stop
        try:
            return {**result, **do(directory, options)}
        except (process.EngineError, OSError) as error:
            return {**result, "failed": True, "changed": False, "msg": f"{error}", "directory": str(directory)}

    def _start(self, directory: Path, options: dict[str, t.Any]) -> Result:
        wanted = process.EngineOptions(
            directory=directory,
            cluster=options["cluster"],
            release=options["release"],
            flavour=options["flavour"],
            speed=options["speed"],
            port=options["port"],
            kubeconfig=_kubeconfig(options),
            durable=options["durable"],
            # A task runs in a fork of ansible-playbook.
            watch_pid=os.getppid() if options["stop_with_playbook"] else None,
            sizes=tuple(f"{name}={number}" for name, number in options["sizes"].items()),
        )
        before = process.running(directory)
        if self._task.check_mode and before is None:
            kubeconfig = str(wanted.kubeconfig_file)
            msg = f"The embedded cluster {wanted.cluster} would be started."
            return {"changed": True, "msg": msg, "kubeconfig": kubeconfig, "url": "", "pid": 0, "directory": str(directory)}
        engine = process.start(wanted, timeout=options["start_timeout"])
        return {
            "changed": before is None,
            "msg": f"The embedded cluster {wanted.cluster} serves at {engine.url}.",
            "kubeconfig": str(engine.kubeconfig),
            "url": engine.url,
            "pid": engine.pid,
            "directory": str(directory),
        }

    def _stop(self, directory: Path, options: dict[str, t.Any]) -> Result:
        kubeconfig, absent = _kubeconfig(options), options["state"] == "absent"
        if self._task.check_mode:
            changed = process.running(directory) is not None or (absent and bool(process.leftovers(directory, kubeconfig)))
        elif absent:
            changed = process.remove(directory, kubeconfig)
        else:
            changed = process.stop(directory)
        done = f"{'would be' if self._task.check_mode else 'is'} {'removed' if absent else 'stopped'}"
        msg = f"The embedded cluster in {directory} {done}." if changed else f"No embedded cluster runs in {directory}."
        return {"changed": changed, "msg": msg, "directory": str(directory)}


def _kubeconfig(options: dict[str, t.Any]) -> Path | None:
    return Path(options["kubeconfig"]).absolute() if options["kubeconfig"] else None
