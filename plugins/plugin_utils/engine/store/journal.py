# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store on disk: one file, appended to, so that every acknowledged write survives the process and the machine.

The file holds a header, the objects at the time of the last compaction, and every write since; each line is a checksum and a JSON
record. A compaction writes a new file and renames it over the old one. A copy of the file is a backup.
"""
from __future__ import annotations

import asyncio
import collections.abc
import contextlib
import fcntl
import os
import pathlib
import typing as t
import zlib

with contextlib.suppress(ImportError):
    import orjson

from .stored import Stored

FORMAT = "okd.virt engine journal 1"
_NAME, _LOCK = "journal", "lock"
_COMPACT_AFTER = 64 * 1024 * 1024
"""Bytes of records since the last compaction."""


class Damaged(Exception):
    """The file can't be trusted; the text says which, where, and what to do."""


class InUse(Exception):
    """Another engine has the directory."""


def _line(record: t.Any) -> bytes:
    body = orjson.dumps(record)
    return b"%08x %b\n" % (zlib.crc32(body), body)


def _record(stored: Stored, deleted: bool = False) -> bytes:
    head = [stored.version, *stored.resource, stored.namespace, stored.name]
    body = orjson.dumps([*head, None if deleted else orjson.Fragment(stored.raw)])
    return b"%08x %b\n" % (zlib.crc32(body), body)


def _parse(line: bytes) -> t.Any | None:
    """The record of a line, None when the line is torn or altered."""
    if not line.endswith(b"\n") or line[8:9] != b" ":
        return None
    body = line[9:-1]
    if line[:8] != b"%08x" % zlib.crc32(body):
        return None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


class Journal:
    """The journal of one directory; one process at a time."""

    def __init__(self, directory: pathlib.Path) -> None:
        """Raises InUse, OSError."""
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory, self._path = directory, directory / _NAME
        self._lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise InUse(f"The data directory {directory} is in use by another engine: stop that one or choose another directory.") from error
        self._file = -1
        self._length = self._base = 0
        self._written = self._synced = 0
        self._sync: asyncio.Task[None] | None = None
        self.version = 0

    @property
    def wants_compaction(self) -> bool:
        return self._length - self._base > max(_COMPACT_AFTER, self._base)

    def discard(self) -> None:
        """Begin anew: what is here was never served to anybody."""
        self._path.unlink(missing_ok=True)

    def recover(self) -> list[Stored]:
        """The objects as of the last whole record, which may be cut off at the end by a crash; opens the file for appending.

        Raises Damaged when anything but the end is wrong.
        """
        if not self._path.exists():
            self.compact((), 0)
            return []
        content = self._path.read_bytes()
        lines = content.splitlines(keepends=True)
        header = _parse(lines[0]) if lines else None
        if not isinstance(header, dict) or header.get("format") != FORMAT:
            raise self._damaged(1, "the header is missing or altered")
        objects: dict[tuple[str, str, str, str], Stored] = {}
        length = len(lines[0])
        self.version = header["version"]
        for number, line in enumerate(lines[1:], 2):
            record = _parse(line)
            if record is None:
                # Only a record that was cut off can be one that nobody was promised.
                if number == len(lines) and number > header["objects"] + 1 and not line.endswith(b"\n"):
                    break
                raise self._damaged(number, "the checksum does not fit")
            version, group, plural, namespace, name, value = record
            key = (group, plural, namespace, name)
            if value is None:
                objects.pop(key, None)
            else:
                objects[key] = Stored((group, plural), namespace, name, version, value, orjson.dumps(value))
            self.version = max(self.version, version)
            length += len(line)
        if len(lines) - 1 < header["objects"]:
            raise self._damaged(len(lines), f"{header['objects']} objects were announced, {len(lines) - 1} are there")
        self._open(length)
        return list(objects.values())

    def append(self, stored: Stored, deleted: bool) -> None:
        """Write one record; it is in the hands of the operating system when this returns. Raises OSError, with nothing written."""
        line = _record(stored, deleted)
        written = 0
        try:
            while written < len(line):
                written += os.write(self._file, line[written:])
        except OSError:
            os.ftruncate(self._file, self._length)
            raise
        self._length += len(line)
        self._written = stored.version

    async def flushed(self, version: int) -> None:
        """Return when everything up to a version is on the disk. Writers that wait together share one flush. Raises OSError."""
        while self._synced < version:
            if self._sync is None:
                self._sync = asyncio.create_task(self._flush(), name="journal flush")
            await asyncio.shield(self._sync)

    async def _flush(self) -> None:
        upto, file = self._written, os.dup(self._file)
        try:
            await asyncio.get_running_loop().run_in_executor(None, os.fdatasync, file)
            self._synced = max(self._synced, upto)
        finally:
            os.close(file)
            self._sync = None

    def compact(self, objects: collections.abc.Iterable[Stored], version: int) -> None:
        """Begin a new file with the present objects. Raises OSError; the old file is good until the new one is whole."""
        records = [_record(stored) for stored in objects]
        content = b"".join((_line({"format": FORMAT, "objects": len(records), "version": version}), *records))
        fresh = self._path.with_suffix(".new")
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "wb") as writer:
            writer.write(content)
            writer.flush()
            os.fsync(writer.fileno())
        os.replace(fresh, self._path)
        folder = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._open(len(content))
        self._base = len(content)
        self._synced = self._written = max(self._written, version)

    def close(self) -> None:
        """Flush and let another process have the directory."""
        if self._file >= 0:
            os.fdatasync(self._file)
            os.close(self._file)
            self._file = -1
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _open(self, length: int) -> None:
        if self._file >= 0:
            os.close(self._file)
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        os.ftruncate(self._file, length)
        self._length = length
        self._written = self._synced = self.version

    def _damaged(self, line: int, problem: str) -> Damaged:
        return Damaged(
            f"The journal {self._path} is damaged at line {line}: {problem}. "
            "Restore the file from a copy, or remove the data directory to begin anew."
        )
