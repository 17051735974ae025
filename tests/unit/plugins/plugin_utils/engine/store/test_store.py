# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The store: what it promises to watches, to paged lists, and across a crash."""
from __future__ import annotations

import asyncio
import os
import pathlib
import typing as t

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.okd.virt.plugins.plugin_utils.engine.store import history
from ansible_collections.okd.virt.plugins.plugin_utils.engine.store.journal import Damaged, InUse, Journal
from ansible_collections.okd.virt.plugins.plugin_utils.engine.store.store import (
    AlreadyExists,
    Expired,
    NotFound,
    Store,
    Stored,
    StoreEvent,
    Subscription,
    VersionConflict,
)

PODS, MAPS = ("", "pods"), ("", "configmaps")
Write = tuple[str, tuple[str, str], str, str, int]
WRITES = st.lists(
    st.tuples(
        st.sampled_from(("put", "delete")), st.sampled_from((PODS, MAPS)), st.sampled_from(("a", "a-b", "b")),
        st.sampled_from(("x", "y", "z")), st.integers(0, 9),
    ),
    max_size=40,
)


def _value(namespace: str, name: str, number: int) -> dict[str, t.Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": name}, "data": number}


def _do(store: Store, write: Write) -> None:
    action, resource, namespace, name, number = write
    there = store.get(resource, namespace, name) is not None
    if action == "delete":
        if there:
            store.delete(resource, namespace, name)
    elif there:
        store.update(resource, namespace, name, _value(namespace, name, number))
    else:
        store.create(resource, namespace, name, _value(namespace, name, number))


def _waiting(subscription: Subscription) -> t.Iterator[StoreEvent]:
    while (event := subscription.poll()) is not None:
        yield event


def _content(listed: t.Iterable[Stored]) -> list[tuple[str, str, int, t.Any]]:
    return [(one.namespace, one.name, one.version, one.value["data"]) for one in listed]


def _everything(store: Store) -> dict[tuple[str, str], list[tuple[str, str, int, t.Any]]]:
    return {resource: _content(store.list(resource)) for resource in store.resources()}


def test_writes_are_counted_ordered_and_guarded() -> None:
    store = Store()
    first = store.create(PODS, "b", "x", _value("b", "x", 1))
    second = store.create(PODS, "a", "z", _value("a", "z", 1))
    third = store.create(MAPS, "", "m", {"metadata": {"name": "m"}})
    assert (first.version, second.version, third.version, store.version) == (1, 2, 3, 3)
    assert first.value["metadata"]["resourceVersion"] == "1"
    assert b'"resourceVersion":"1"' in first.raw
    assert [(one.namespace, one.name) for one in store.list(PODS)] == [("a", "z"), ("b", "x")]
    store.create(MAPS, "a-b", "m", _value("a-b", "m", 1))
    store.create(MAPS, "a", "m", _value("a", "m", 1))
    assert [one.namespace for one in store.list(MAPS)] == ["", "a-b", "a"]
    assert [one.name for one in store.list(PODS, "b")] == ["x"]
    with pytest.raises(AlreadyExists):
        store.create(PODS, "b", "x", _value("b", "x", 2))
    with pytest.raises(VersionConflict):
        store.update(PODS, "b", "x", _value("b", "x", 2), expected=99)
    with pytest.raises(NotFound):
        store.delete(PODS, "b", "nope")
    assert store.delete(PODS, "b", "x", expected=1).version == 6
    assert store.count(PODS) == 1
    assert store.version == 6


@given(WRITES)
def test_list_at_is_what_a_list_was(writes: list[Write]) -> None:
    store = Store()
    seen: list[tuple[int, dict[tuple[str, str], list[tuple[str, str, int, t.Any]]]]] = [(0, {PODS: [], MAPS: []})]
    for write in writes:
        _do(store, write)
        seen.append((store.version, {resource: _content(store.list(resource)) for resource in (PODS, MAPS)}))
    for version, lists in seen:
        for resource, content in lists.items():
            assert _content(store.list_at(resource, None, version)) == content
            assert _content(store.list_at(resource, "a", version)) == [one for one in content if one[0] == "a"]


@given(WRITES, st.sampled_from((None, "a", "a-b", "c")), st.tuples(st.sampled_from(("", "a", "a-b", "aa", "c")), st.sampled_from(("", "x", "xx", "z"))))
def test_the_rest_of_a_list_begins_at_its_place(writes: list[Write], namespace: str | None, start: tuple[str, str]) -> None:
    store = Store()
    for write in writes:
        _do(store, write)
    for resource in (PODS, MAPS):
        for version in (None, *range(store.version + 1)):
            whole = store.list(resource, namespace) if version is None else store.list_at(resource, namespace, version)
            wanted = [one for one in whole if (f"{one.namespace}/", one.name) >= (f"{start[0]}/", start[1])]
            rest = store.rest(resource, namespace, start, version)
            assert rest.count == len(wanted)
            assert list(rest.items) == wanted


@given(WRITES, st.integers(0, 40))
def test_a_watch_from_any_version_rebuilds_the_list(writes: list[Write], at: int) -> None:
    store = Store()
    begin, known = 0, {}
    for number, write in enumerate(writes):
        if number == at:
            begin, known = store.version, {(one.namespace, one.name): one.version for one in store.list(PODS)}
        _do(store, write)
    if at >= len(writes):
        begin, known = store.version, {(one.namespace, one.name): one.version for one in store.list(PODS)}

    last = begin
    for event in _waiting(store.subscribe(PODS, None, begin)):
        assert event.version > last
        last = event.version
        key = (event.stored.namespace, event.stored.name)
        assert (event.previous is None) == (event.type == "ADDED") == (key not in known)
        if event.type == "DELETED":
            del known[key]
        else:
            known[key] = event.version
    assert known == {(one.namespace, one.name): one.version for one in store.list(PODS)}


def test_what_is_forgotten_is_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "RETAINED", 3)
    store = Store()
    for number in range(6):
        _do(store, ("put", PODS, "a", "x", number))
    _do(store, ("put", MAPS, "a", "x", 0))
    with pytest.raises(Expired, match=r"too old resource version: 2 \(3\)"):
        store.subscribe(PODS, None, 2)
    with pytest.raises(Expired):
        store.list_at(PODS, None, 2)
    assert _content(store.list_at(PODS, None, 3)) == [("a", "x", 3, 2)]
    assert _content(store.list_at(MAPS, None, 0)) == []
    store.compact()
    with pytest.raises(Expired):
        store.list_at(MAPS, None, 6)


def test_watches_begin_where_a_server_began_and_lists_at_a_version_do_not() -> None:
    store = Store()
    for number in range(3):
        _do(store, ("put", PODS, "a", "x", number))
    store.begin_watches()
    for resource in (PODS, MAPS):
        with pytest.raises(Expired, match=r"too old resource version: 2 \(3\)"):
            store.subscribe(resource, None, 2)
        store.subscribe(resource, None, 3)
    assert _content(store.list_at(PODS, None, 2)) == [("a", "x", 2, 1)]
    assert store.list_at(PODS, None, 0) == []


def test_a_reader_that_falls_behind_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "BUFFERED", 2)
    store = Store()
    subscription = store.subscribe(PODS, "a", 0)
    for number in range(4):
        _do(store, ("put", PODS, "b", "x", number))
    for number in range(3):
        _do(store, ("put", PODS, "a", "x", number))
    assert subscription.closed
    with pytest.raises(Expired):
        subscription.poll()


def test_a_reader_is_called_once_for_all_that_waits_and_at_the_end() -> None:
    store = Store()
    subscription = store.subscribe(PODS, "a", 0)
    calls: list[list[int]] = []

    def reader() -> None:
        calls.append([event.version for event in _waiting(subscription)])

    subscription.call(reader)
    _do(store, ("put", PODS, "b", "x", 0))
    assert calls == []
    for number in range(3):
        _do(store, ("put", PODS, "a", "x", number))
    assert calls == [[2]]
    subscription.call(reader)
    assert calls == [[2], [3, 4]]
    subscription.call(reader)
    store.end_watches()
    assert calls == [[2], [3, 4], []]


def _write_down(directory: pathlib.Path, writes: list[Write]) -> list[tuple[int, int, t.Any]]:
    """Length of the file, version and content after each write."""
    path = directory / "journal"
    store = Store(Journal(directory))
    states = [(path.stat().st_size, store.version, _everything(store))]
    for write in writes:
        _do(store, write)
        states.append((path.stat().st_size, store.version, _everything(store)))
    store.close()
    return states


@given(WRITES, st.integers(0, 100))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_restart_brings_everything_back(tmp_path_factory: pytest.TempPathFactory, writes: list[Write], percent: int) -> None:
    directory = tmp_path_factory.mktemp("journal")
    states = _write_down(directory, writes)
    again = Store(Journal(directory))
    assert (again.version, _everything(again)) == states[-1][1:]
    for _length, version, content in states:
        # What happened before is known as if nothing had been in between.
        assert {resource: _content(again.list_at(resource, None, version)) for resource in content} == content
    again.close()
    path = directory / "journal"
    shortest, longest = states[0][0], states[-1][0]
    end = shortest + (longest - shortest) * percent // 100
    os.truncate(path, end)
    cut = Store(Journal(directory))
    assert (cut.version, _everything(cut)) == next(state[1:] for state in reversed(states) if state[0] <= end)
    _do(cut, ("put", PODS, "a", "new", 1))
    expected = _everything(cut)
    cut.close()
    reopened = Store(Journal(directory))
    assert _everything(reopened) == expected
    reopened.close()


def test_a_record_may_be_torn_anywhere(tmp_path: pathlib.Path) -> None:
    writes: list[Write] = [("put", PODS, "a", "x", 1), ("put", MAPS, "b", "y", 2), ("put", PODS, "a", "x", 3), ("delete", MAPS, "b", "y", 0)]
    states = _write_down(tmp_path, writes)
    content = (tmp_path / "journal").read_bytes()
    for end in range(states[0][0], len(content) + 1):
        (tmp_path / "journal").write_bytes(content[:end])
        cut = Store(Journal(tmp_path))
        assert (cut.version, _everything(cut)) == next(state[1:] for state in reversed(states) if state[0] <= end)
        cut.close()


@given(WRITES, st.integers(0, 40))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_compaction_keeps_everything_that_comes_before_during_and_after_it(
    tmp_path_factory: pytest.TempPathFactory, writes: list[Write], at: int
) -> None:
    directory = tmp_path_factory.mktemp("journal")

    async def write() -> tuple[int, t.Any]:
        journal = Journal(directory)
        store = Store(journal)
        compaction: asyncio.Task[None] | None = None
        for number, one in enumerate(writes):
            if number == at:
                compaction = journal.compact([stored for key in store.resources() for stored in store.list(key)], store.version)
                await asyncio.sleep(0)
            _do(store, one)
            if compaction is not None and number == at + 3:
                await compaction
            await store.flushed(store.version)
        if compaction is not None:
            await compaction
        store.close()
        return store.version, _everything(store)

    version, expected = asyncio.run(write())
    again = Store(Journal(directory))
    assert (again.version, _everything(again)) == (version, expected)
    again.close()
    assert [path.name for path in directory.glob("journal.*")] == []


def test_history_is_compacted_by_itself(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible_collections.okd.virt.plugins.plugin_utils.engine.store.journal.COMPACT_AFTER", 2000)
    path = tmp_path / "journal"

    async def write() -> int:
        store = Store(Journal(tmp_path))
        longest = 0
        for number in range(300):
            _do(store, ("put", PODS, "a", f"p{number % 7}", number))
            await store.flushed(store.version)
            longest = max(longest, path.stat().st_size)
        store.close()
        return longest

    assert asyncio.run(write()) < 20_000
    again = Store(Journal(tmp_path))
    assert (again.version, again.count(PODS)) == (300, 7)
    again.close()


def test_a_compaction_that_fails_changes_nothing(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def write() -> None:
        journal = Journal(tmp_path)
        store = Store(journal)
        _do(store, ("put", PODS, "a", "x", 1))

        def full(*_given: t.Any) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr("os.replace", full)
            await journal.compact(store.list(PODS), store.version)
        _do(store, ("put", PODS, "a", "y", 2))
        await store.flushed(store.version)
        store.close()

    asyncio.run(write())
    again = Store(Journal(tmp_path))
    assert [one.name for one in again.list(PODS)] == ["x", "y"]
    again.close()


def test_a_full_disk_refuses_a_write_and_keeps_what_was(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(Journal(tmp_path))
    _do(store, ("put", PODS, "a", "x", 1))
    real = os.write
    full: list[int] = []

    def write(file: int, content: bytes) -> int:
        if full:
            raise OSError(28, "No space left on device")
        full.append(real(file, content[:10]))
        return full[0]

    with monkeypatch.context() as patched:
        patched.setattr("os.write", write)
        with pytest.raises(OSError, match="No space left"):
            _do(store, ("put", PODS, "a", "y", 2))
    assert (store.version, store.get(PODS, "a", "y")) == (1, None)
    _do(store, ("put", PODS, "a", "z", 3))
    expected = _everything(store)
    store.close()
    again = Store(Journal(tmp_path))
    assert _everything(again) == expected
    again.close()


def test_a_disk_that_failed_once_is_not_trusted_again(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def write() -> None:
        store = Store(Journal(tmp_path))

        def broken(_file: int) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patched:
            patched.setattr("os.fdatasync", broken)
            _do(store, ("put", PODS, "a", "x", 1))
            with pytest.raises(OSError, match="Input/output error"):
                await store.flushed(store.version)
        with pytest.raises(OSError, match="restart the engine"):
            await store.flushed(store.version)
        store.close()

    asyncio.run(write())


def test_a_store_can_be_kept_once_it_is_whole(tmp_path: pathlib.Path) -> None:
    store, journal = Store(), Journal(tmp_path)
    assert not journal.exists
    _do(store, ("put", PODS, "a", "x", 1))
    assert not journal.exists
    store.keep(journal, {"cluster": "lab"})
    _do(store, ("put", PODS, "a", "y", 1))
    store.close()
    found = Journal(tmp_path)
    again = Store(found)
    assert (again.version, again.count(PODS), found.about) == (2, 2, {"cluster": "lab"})
    again.close()


@pytest.mark.parametrize("position", [0, 12, 60, -30])
def test_a_damaged_file_is_refused_with_its_name(tmp_path: pathlib.Path, position: int) -> None:
    store = Store(Journal(tmp_path))
    for number in range(4):
        _do(store, ("put", PODS, "a", "x", number))
    store.close()
    path = tmp_path / "journal"
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(Damaged, match=r"journal is damaged at line .* Restore the file from a copy"):
        Store(Journal(tmp_path))


def test_a_directory_has_one_engine(tmp_path: pathlib.Path) -> None:
    first = Store(Journal(tmp_path))
    with pytest.raises(InUse, match="in use by another engine"):
        Journal(tmp_path)
    first.close()
    Store(Journal(tmp_path)).close()


def test_flushed_waits_for_the_disk(tmp_path: pathlib.Path) -> None:
    async def write() -> None:
        store = Store(Journal(tmp_path))

        async def one(number: int) -> None:
            stored = store.create(PODS, "a", f"p{number}", _value("a", f"p{number}", number))
            await store.flushed(stored.version)

        await asyncio.gather(*(one(number) for number in range(50)))
        store.close()

    asyncio.run(write())
    assert Store(Journal(tmp_path)).count(PODS) == 50


@given(WRITES, st.integers(0, 40))
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_watch_goes_on_across_a_restart(tmp_path_factory: pytest.TempPathFactory, writes: list[Write], at: int) -> None:
    directory = tmp_path_factory.mktemp("journal")

    def follow(store: Store, since: int) -> list[tuple[str, int, bytes, int | None]]:
        return [
            (event.type, event.version, event.stored.raw, event.previous.version if event.previous else None)
            for event in _waiting(store.subscribe(PODS, None, since))
        ]

    store = Store(Journal(directory))
    for write in writes[:at]:
        _do(store, write)
    since = store.version
    for write in writes[at:]:
        _do(store, write)
    seen = follow(store, since)
    store.close()
    again = Store(Journal(directory))
    assert follow(again, since) == seen
    again.close()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["", "n1", "n2"]), st.booleans()), max_size=40))
def test_pods_are_found_by_node(steps: list[tuple[str, str, bool]]) -> None:
    store, pods = Store(), ("", "pods")
    for name, node, there in steps:
        if store.get(pods, "x", name) is None:
            store.create(pods, "x", name, {"metadata": {"name": name}, "spec": {"nodeName": node} if node else {}})
        elif there:
            store.update(pods, "x", name, {"metadata": {"name": name}, "spec": {"nodeName": node}})
        else:
            store.delete(pods, "x", name)
        for wanted in ("n1", "n2"):
            found = [one for one in store.list(pods) if one.value["spec"].get("nodeName") == wanted]
            assert (store.list_on_node(pods, wanted) or []) == found
            assert not store.list_on_node(pods, wanted, "other")


def test_what_is_not_kept_by_node() -> None:
    store = Store()
    store.create(("", "events"), "x", "a", {"metadata": {"name": "a"}, "spec": {"nodeName": "n1"}})
    assert store.list_on_node(("", "events"), "n1") is None
