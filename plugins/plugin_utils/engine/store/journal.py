# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store on disk: one file, appended to, so that every acknowledged write survives the process and the machine.

The file holds a header, the objects at the time of the last compaction, and every write since; each line is a checksum and a JSON
record. A compaction writes a new file beside it and renames that over the old one. A copy of the file is a backup.
"""
from __future__ import annotations

import asyncio
import collections.abc
import contextlib
import fcntl
import logging
import os
import pathlib
import typing as t
import zlib

with contextlib.suppress(ImportError):
    import orjson

from .stored import Stored

FORMAT = "okd.virt engine journal 1"
COMPACT_AFTER = 8 * 1024 * 1024
"""Bytes of records since the last compaction, at least; as many as the objects took when that is more."""
_NAME, _LOCK = "journal", "lock"
_LOG = logging.getLogger(__name__)


class Damaged(Exception):
    """The file can't be trusted; the text says which, where, and what to do."""


class InUse(Exception):
    """Another engine has the directory."""


class Write(t.NamedTuple):
    """One object as it was written; `value` is None when it was deleted."""

    version: int
    group: str
    plural: str
    namespace: str
    name: str
    value: dict[str, t.Any] | None


class Recovered(t.NamedTuple):
    """What a journal holds: the objects at a version, and every write since, in order."""

    objects: list[Write]
    version: int
    writes: list[Write]


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
        for left in directory.glob(f"{_NAME}.*.new"):
            left.unlink()
        self._file = -1
        self._length = self._base = 0
        self._written = self._synced = 0
        self._sync: asyncio.Task[None] | None = None
        self._broken: OSError | None = None
        self._compaction: asyncio.Task[None] | None = None
        self._since: list[bytes] | None = None
        self.about: dict[str, t.Any] = {}

    @property
    def exists(self) -> bool:
        """Whether there is something to recover."""
        return self._path.exists()

    def recover(self, seen: t.Callable[[t.Any], None] = lambda record: None) -> Recovered:
        """Everything up to the last whole record, which may be cut off at the end by a crash; opens the file for appending.

        Sets `about`. `seen` is called with each record as it is read. Without a file an empty one is begun. Raises Damaged when
        anything but the end is wrong.
        """
        if not self.exists:
            self.begin((), 0, {})
            return Recovered([], 0, [])
        objects: list[Write] = []
        writes: list[Write] = []
        with self._path.open("rb") as lines:
            line = lines.readline()
            header = _parse(line)
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise self._damaged(1, "the header is missing or altered")
            snapshot: int = header["objects"]
            length = base = len(line)
            for number, line in enumerate(lines, start=1):
                record = _parse(line)
                if record is None:
                    # Only a record that was cut off can be one that nobody was promised.
                    if not line.endswith(b"\n") and number != snapshot:
                        break
                    raise self._damaged(number + 1, "the checksum does not fit")
                seen(record)
                length += len(line)
                if number <= snapshot:
                    objects.append(Write(*record))
                    base = length
                else:
                    writes.append(Write(*record))
        if len(objects) < snapshot:
            raise self._damaged(len(objects) + 1, f"{snapshot} objects were announced, {len(objects)} are there")
        self.about = header.get("about", {})
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        os.ftruncate(file, length)
        self._take(file, length, base, writes[-1].version if writes else header["version"])
        return Recovered(objects, header["version"], writes)

    def begin(self, objects: collections.abc.Iterable[Stored], version: int, about: dict[str, t.Any]) -> None:
        """Write a file of its own with these objects; `about` is what the reader of recover() wants to know of it. Raises OSError.

        The file is there as a whole or not at all.
        """
        self.about = about
        file, length = self._write_snapshot(objects, version)
        self._replace(file, length, length, version)

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
        if self._since is not None:
            self._since.append(line)

    async def flushed(self, version: int) -> None:
        """Return when everything up to a version is on the disk. Writers that wait together share one flush. Raises OSError."""
        while self._synced < version:
            if self._broken is not None:
                # What a disk once failed to keep it does not report a second time.
                raise OSError(self._broken.errno, f"{self._path}: {self._broken.strerror}; restart the engine when the disk is well")
            if self._sync is None:
                self._sync = asyncio.create_task(self._flush(), name="journal flush")
            await asyncio.shield(self._sync)

    async def _flush(self) -> None:
        upto, file = self._written, os.dup(self._file)
        try:
            await asyncio.get_running_loop().run_in_executor(None, os.fdatasync, file)
            self._synced = max(self._synced, upto)
        except OSError as error:
            _LOG.error("%s can't be written: %s", self._path, error)
            self._broken = error
        finally:
            os.close(file)
            self._sync = None

    def wants_compaction(self) -> bool:
        """Whether most of the file is history by now."""
        return self._compaction is None and self._length - self._base > max(COMPACT_AFTER, self._base)

    def compact(self, objects: collections.abc.Sequence[Stored], version: int) -> asyncio.Task[None]:
        """Begin a new file with the present objects, in a thread; what is written meanwhile goes to both."""
        self._since = []
        self._compaction = asyncio.get_running_loop().create_task(self._compact(objects, version), name="journal compaction")
        return self._compaction

    async def _compact(self, objects: collections.abc.Sequence[Stored], version: int) -> None:
        try:
            file, base = await asyncio.get_running_loop().run_in_executor(None, self._write_snapshot, objects, version)
            since = b"".join(self._since or ())
            self._finish(file, since)
            self._replace(file, base + len(since), base, self._written)
        except OSError as error:
            # The old file is as good as before, only longer.
            _LOG.warning("%s could not be compacted: %s", self._path, error)
            self._base = self._length
        finally:
            self._since = self._compaction = None

    def _write_snapshot(self, objects: collections.abc.Iterable[Stored], version: int) -> tuple[int, int]:
        """Descriptor and length of a new file, on disk, under another name."""
        records = [_record(stored) for stored in objects]
        header = _line({"format": FORMAT, "objects": len(records), "version": version, "about": self.about})
        content = b"".join((header, *records))
        file = os.open(self._fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        self._finish(file, content)
        return file, len(content)

    @staticmethod
    def _finish(file: int, content: bytes) -> None:
        """Write to a new file and to the disk, or close it."""
        try:
            with os.fdopen(os.dup(file), "wb") as writer:
                writer.write(content)
            os.fsync(file)
        except OSError:
            os.close(file)
            raise

    def _replace(self, file: int, length: int, base: int, version: int) -> None:
        os.replace(self._fresh, self._path)
        self._take(file, length, base, version)
        try:
            folder = os.open(self._directory, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            # Nobody knows which of the two files a crash would leave.
            self._broken = error
            raise

    def _take(self, file: int, length: int, base: int, version: int) -> None:
        """Go on with a file of which everything is on disk."""
        if self._file >= 0:
            os.close(self._file)
        self._file, self._length, self._base = file, length, base
        self._written = self._synced = version

    @property
    def _fresh(self) -> pathlib.Path:
        return self._path.with_name(f"{_NAME}.{os.getpid()}.new")

    def close(self) -> None:
        """Flush and let another process have the directory."""
        if self._compaction is not None:
            self._compaction.cancel()
        if self._file >= 0:
            os.fdatasync(self._file)
            os.close(self._file)
            self._file = -1
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _damaged(self, line: int, problem: str) -> Damaged:
        return Damaged(
            f"The journal {self._path} is damaged at line {line}: {problem}. "
            "Restore the file from a copy, or remove the data directory to begin anew."
        )
