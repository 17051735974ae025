# Copyright: the okd.virt contributors
# GNU General Public License v3.0 or later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server on the wire: connections, bodies, certificates, watches that nobody reads, and its end."""
from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import pathlib
import ssl
import typing as t
from collections.abc import AsyncIterator

import pytest
import yaml

from ansible_collections.okd.virt.plugins.plugin_utils.engine import server as server_module
from ansible_collections.okd.virt.plugins.plugin_utils.engine.audit import MILLISECONDS
from ansible_collections.okd.virt.plugins.plugin_utils.engine.authority import ADMIN, Authority, write_private
from ansible_collections.okd.virt.plugins.plugin_utils.engine.engine import Engine, Options

MAPS = "/api/v1/namespaces/default/configmaps"
Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def served(tmp_path: pathlib.Path) -> AsyncIterator[Engine]:
    """An engine in this process, with a journal, an audit log and nothing but what every cluster has."""
    options = Options(
        cluster="empty", speed="max", kubeconfig=tmp_path / "kubeconfig", data_dir=tmp_path / "data", audit_log=tmp_path / "audit.jsonl"
    )
    engine = Engine(options)
    await engine.start()
    yield engine
    await engine.stop()


def _client_context(engine: Engine, authority: Authority | None = None, anonymous: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=engine.authority.certificate_pem)
    if not anonymous:
        path = t.cast(pathlib.Path, engine.options.kubeconfig).with_suffix(".pem")
        write_private(path, "".join((authority or engine.authority).client(ADMIN)))
        context.load_cert_chain(path)
    return context


@contextlib.asynccontextmanager
async def connected(engine: Engine, **identity: t.Any) -> AsyncIterator[Connection]:
    host, port = engine.server.url.removeprefix("https://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=_client_context(engine, **identity), limit=1 << 20)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def ask(connection: Connection, method: str, target: str, body: bytes = b"", **headers: str) -> tuple[int, t.Any]:
    """Status and decoded body of one request on a connection that stays open."""
    reader, writer = connection
    given = {"Host": "localhost", "Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    if "Transfer-Encoding" in given:
        del given["Content-Length"]
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
    await writer.drain()
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).decode().split("\r\n")
    length = next(int(line.split(":")[1]) for line in head if line.lower().startswith("content-length:"))
    return int(head[0].split()[1]), json.loads(await reader.readexactly(length))


async def watch(connection: Connection, target: str) -> None:
    """Begin a watch; its head has been read when this returns."""
    reader, writer = connection
    writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
    assert head.startswith(b"HTTP/1.1 200"), head


async def until(condition: t.Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def _config_map(name: str, size: int = 1) -> bytes:
    return json.dumps({"metadata": {"name": name}, "data": {"k": "v" * size}}).encode()


async def test_a_connection_is_kept_and_bodies_come_in_pieces(served: Engine) -> None:
    async with connected(served) as connection:
        assert (await ask(connection, "POST", MAPS, _config_map("one")))[0] == 201
        body = _config_map("two", 1000)
        pieces = [body[start:start + 100] for start in range(0, len(body), 100)]
        chunked = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        status, made = await ask(connection, "POST", MAPS, chunked, Transfer_Encoding="chunked")
        assert (status, len(made["data"]["k"])) == (201, 1000)
        status, listed = await ask(connection, "GET", MAPS)
        assert {"one", "two"} <= {item["metadata"]["name"] for item in listed["items"]}


async def test_a_body_without_end_is_refused(served: Engine) -> None:
    async with connected(served) as connection:
        status, answer = await ask(connection, "POST", MAPS, _config_map("big", 3 * 1024 * 1024))
        assert (status, answer["reason"]) == (413, "RequestEntityTooLarge")
    async with connected(served) as connection:
        status, answer = await ask(connection, "POST", MAPS, b"x" * (server_module._BODY_LIMIT + 1_000_000))
        assert (status, answer["reason"]) == (413, "RequestEntityTooLarge")


async def test_who_has_no_certificate_is_anonymous_and_a_bad_token_is_nobody(served: Engine) -> None:
    async with connected(served, anonymous=True) as connection:
        status, answer = await ask(connection, "GET", MAPS)
        assert status == 403
        assert 'User "system:anonymous" cannot list resource "configmaps"' in answer["message"]
        assert (await ask(connection, "GET", MAPS, Authorization="Bearer nonsense"))[0] == 401
        assert (await ask(connection, "GET", "/version"))[0] == 200


async def test_a_certificate_of_another_authority_is_refused(served: Engine) -> None:
    async with connected(served, authority=Authority()) as connection:
        with pytest.raises((ConnectionError, ssl.SSLError, asyncio.IncompleteReadError)):
            await ask(connection, "GET", MAPS)


async def test_what_is_no_http_over_tls_ends_the_connection(served: Engine) -> None:
    async with connected(served) as (reader, writer):
        writer.write(b"\x00\xff nonsense\r\n\r\n")
        assert b"400" in await asyncio.wait_for(reader.read(), 10)
    host, port = served.server.url.removeprefix("https://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"GET / HTTP/1.1\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        assert b"200" not in await asyncio.wait_for(reader.read(), 10)
    writer.close()


async def test_a_watch_ends_when_its_client_leaves(served: Engine) -> None:
    async with connected(served) as connection:
        await watch(connection, f"{MAPS}?watch=1")
        await until(lambda: served.server.watches == 1)
    await until(lambda: served.server.watches == 0)


async def test_a_watch_that_nobody_reads_is_dropped(served: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_STALLED", 0.2)
    async with connected(served) as writing, connected(served) as reading:
        await watch(reading, f"{MAPS}?watch=1")
        reading[1].transport.pause_reading()  # type: ignore[attr-defined]
        number = 0
        while served.server.watches:
            number += 1
            assert number < 500, "a reader that never reads was fed for ever"
            assert (await ask(writing, "POST", MAPS, _config_map(f"fat-{number}", 200_000)))[0] == 201
        assert number > 1


async def test_the_end_of_the_server_is_the_end_of_a_watch(served: Engine) -> None:
    async with connected(served) as connection:
        await watch(connection, f"{MAPS}?watch=1")
        await until(lambda: served.server.watches == 1)
        await served.server.stop()
        assert (await asyncio.wait_for(connection[0].read(), 10)).endswith(b"0\r\n\r\n")


async def test_a_write_that_cannot_be_kept_is_not_acknowledged(served: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_file: int) -> None:
        raise OSError(5, "Input/output error")

    async with connected(served) as connection:
        with monkeypatch.context() as patched:
            patched.setattr("os.fdatasync", broken)
            status, answer = await ask(connection, "POST", MAPS, _config_map("lost"))
        assert (status, answer["reason"]) == (500, "InternalError")
        assert "Input/output error" in answer["message"]
        assert "journal" in answer["message"]


async def test_the_audit_log_says_who_did_what(served: Engine) -> None:
    async with connected(served) as connection:
        await ask(connection, "GET", MAPS, User_Agent="curious")
        await ask(connection, "DELETE", f"{MAPS}/none", Impersonate_User="alice")
        await ask(connection, "GET", "/apis")
    lines = t.cast(pathlib.Path, served.options.audit_log).read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    namespace = MAPS.split("/")[-2]
    reference = {"resource": "configmaps", "namespace": namespace, "apiVersion": "v1"}
    assert [(entry["verb"], entry["requestURI"], entry["responseStatus"]["code"], entry.get("objectRef")) for entry in entries] == [
        ("list", MAPS, 200, reference),
        ("delete", f"{MAPS}/none", 403, {**reference, "name": "none"}),
        ("get", "/apis", 200, None),
    ]
    assert [(entry.get("userAgent"), entry.get("impersonatedUser")) for entry in entries] == [
        ("curious", None), (None, {"username": "alice"}), (None, None),
    ]
    for entry in entries:
        assert (entry["apiVersion"], entry["kind"], entry["stage"]) == ("audit.k8s.io/v1", "Event", "ResponseComplete")
        assert (entry["user"]["username"], entry["sourceIPs"]) == ("kubernetes-admin", ["127.0.0.1"])
        assert entry["requestReceivedTimestamp"] <= entry["stageTimestamp"]
        assert float(entry["annotations"][MILLISECONDS]) >= 0


async def test_the_kubeconfig_is_private_and_begins_with_the_administrator(served: Engine) -> None:
    path = t.cast(pathlib.Path, served.options.kubeconfig)
    assert path.stat().st_mode & 0o077 == 0
    content = yaml.safe_load(path.read_text())
    assert content["current-context"] == ADMIN[0]
    cluster = content["clusters"][0]["cluster"]
    assert cluster["server"] == served.server.url
    assert base64.b64decode(cluster["certificate-authority-data"]).decode() == served.authority.certificate_pem


async def test_a_start_that_fails_holds_nothing(served: Engine, tmp_path: pathlib.Path) -> None:
    port = int(served.server.url.rpartition(":")[2])
    engine = Engine(Options(cluster="empty", port=port, data_dir=tmp_path / "other"))
    with pytest.raises(OSError, match="address already in use"):
        await engine.start()
    with pytest.raises(ValueError, match="holds another cluster"):
        Engine(Options(cluster="lab", data_dir=tmp_path / "other"))
    # Neither of them keeps the directory from the next.
    again = Engine(Options(cluster="empty", data_dir=tmp_path / "other"))
    await again.start()
    await again.stop()


async def test_an_engine_that_listens_everywhere_is_reached_by_loopback() -> None:
    engine = Engine(Options(cluster="empty", address="0.0.0.0"))
    await engine.start()
    try:
        assert engine.server.url.startswith("https://127.0.0.1:")
    finally:
        await engine.stop()
