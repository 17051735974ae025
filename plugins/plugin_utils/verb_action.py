# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a verb to an action plugin: the same service as the module, on the controller and with progress. Private to this collection."""

from __future__ import annotations

import os
import typing as t

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.okd.virt.plugins.module_utils._cluster.connection import KUBERNETES_IMPORT_ERROR, connect
from ansible_collections.okd.virt.plugins.module_utils._errors import OptionError, VirtError
from ansible_collections.okd.virt.plugins.module_utils._options import auth_spec
from ansible_collections.okd.virt.plugins.module_utils._verb import Verb, run
from ansible_collections.okd.virt.plugins.plugin_utils.progress import LEVEL_VARIABLE, LEVELS, NORMAL, DisplayListener

Result = dict[str, t.Any]


def failure(error: VirtError, timeline: list[Result]) -> Result:
    """A failed task's result; it has the keys that any other has."""
    return {"failed": True, "changed": False, "actions": [], "summary": {}, "timeline": timeline, **error.details, "msg": error.message}


class VerbAction(ActionBase):  # type: ignore[misc]
    """Runs VERB here when the connection is local, else hands over to the module of the same name."""

    VERB: t.ClassVar[Verb]
    _supports_check_mode = True
    _supports_async = True
    _requires_connection = False

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        """The result of the task."""
        result: Result = super().run(tmp, task_vars)
        if not self._runs_here():
            return {**result, **self._execute_module(task_vars=task_vars, wrap_async=bool(self._task.async_val))}
        try:
            return {**result, **self._run_verb(self._options(), self._level(task_vars or {}))}
        except OptionError as error:
            return {**result, **failure(error, [])}

    def _runs_here(self) -> bool:
        """Whether the task is for the controller, as its own user and in the foreground.

        Without the kubernetes library here the module is run, whose interpreter may be another one that has it.
        """
        become = bool(self._connection.become)
        return KUBERNETES_IMPORT_ERROR is None and self._connection.transport == "local" and not become and not self._task.async_val

    def _level(self, task_vars: dict[str, t.Any]) -> str:
        level = str(self._templar.template(task_vars.get(LEVEL_VARIABLE) or NORMAL))
        if level not in LEVELS:
            raise OptionError(f"{LEVEL_VARIABLE} is {level!r}; it must be one of {', '.join(LEVELS)}.")
        return level

    def _options(self) -> dict[str, t.Any]:
        spec = auth_spec().merge(self.VERB.spec())
        found = ArgumentSpecValidator(spec.argument_spec, **spec.rules()).validate(self._task.args)
        if found.error_messages:
            raise OptionError(f"{self.VERB.name}: {'; '.join(found.error_messages)}")
        options: dict[str, t.Any] = found.validated_parameters
        return options

    def _environment(self) -> dict[str, str]:
        """The environment that a module would see: the controller's with the task's."""
        added: dict[str, str] = {}
        self._compute_environment_string(added)
        return {**os.environ, **{name: str(value) for name, value in added.items()}}

    def _run_verb(self, options: dict[str, t.Any], level: str) -> Result:
        listener = DisplayListener(self.VERB.name, Display(), level)
        try:
            with connect(options, self._environment()) as cluster:
                listener.introduce(cluster.identity())
                outcome = run(self.VERB, options, cluster, bool(self._task.check_mode), listener)
        except VirtError as error:
            return failure(error, listener.timeline)
        listener.show(outcome.lines)
        result: Result = outcome.to_result()
        if outcome.warnings:
            result["warnings"] = outcome.warnings
        if self._task.diff and outcome.diff:
            result["diff"] = outcome.diff
        return result
