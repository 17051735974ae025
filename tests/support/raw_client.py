"""A client that costs as little as it can: keep-alive sockets, no parsing beyond what tells one answer from the next."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit

from kubernetes import client, config

_TIMEOUT = 120.0
_CERTIFICATES = threading.Lock()


class Closed(AssertionError):
    """The server has closed the connection."""


class Connection:
    """One connection to the server of a kubeconfig, as its user."""

    def __init__(self, kubeconfig: Path, timeout: float = _TIMEOUT) -> None:
        # The library keeps certificates in files that all threads share, and writes them without a lock.
        with _CERTIFICATES:
            configuration = client.Configuration()
            config.load_kube_config(str(kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
            assert configuration.cert_file is not None
            context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
            context.load_cert_chain(configuration.cert_file, configuration.key_file)
        where = urlsplit(configuration.host)
        assert where.hostname is not None
        plain = socket.create_connection((where.hostname, where.port or 443), timeout=timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = context.wrap_socket(plain, server_hostname=where.hostname)
        self._host = where.netloc
        self._buffer = b""

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def send(
        self, method: str, path: str, body: bytes = b"", content_type: str = "application/json", headers: Mapping[str, str] | None = None
    ) -> None:
        """One request, whose answer is read by itself."""
        given = {"Host": self._host, "Accept": "application/json", **(headers or {})}
        if body:
            given |= {"Content-Type": content_type, "Content-Length": str(len(body))}
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in given.items())
        self._socket.sendall(head.encode("latin-1", "replace") + b"\r\n" + body)

    def send_raw(self, data: bytes) -> None:
        """Bytes as they are."""
        self._socket.sendall(data)

    def request(self, method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> bytes:
        """The body of the answer; anything but success is an AssertionError."""
        self.send(method, path, body, content_type)
        status, content = self.answer(method)
        assert 200 <= status < 300, content[:500]
        return content

    def answer(self, method: str = "GET") -> tuple[int, bytes]:
        """Status and body of the next answer. Raises Closed when the server closes instead."""
        head, rest = self._until(b"\r\n\r\n").split(b"\r\n\r\n", 1)
        status = int(head.split(b" ", 2)[1])
        lines = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:])
        if method == "HEAD" or status in (204, 304):
            self._buffer = rest
            return status, b""
        if b"chunked" in lines.get(b"transfer-encoding", b""):
            return status, self._chunks(rest)
        length = int(lines[b"content-length"])
        while len(rest) < length:
            rest += self._more()
        self._buffer = rest[length:]
        return status, rest[:length]

    def _chunks(self, rest: bytes) -> bytes:
        content = b""
        while True:
            while b"\r\n" not in rest:
                rest += self._more()
            size, rest = rest.split(b"\r\n", 1)
            length = int(size, 16) + 2
            while len(rest) < length:
                rest += self._more()
            content, rest = content + rest[: length - 2], rest[length:]
            if length == 2:
                self._buffer = rest
                return content

    def lines_until(self, marker: bytes, count: int) -> None:
        """Read a stream until the marker has come so many times."""
        seen, tail = 0, self._buffer
        while True:
            seen += tail.count(marker)
            if seen >= count:
                return
            tail = tail[-len(marker) + 1 :] + self._more()

    def _until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            self._buffer += self._more()
        return self._buffer

    def _more(self) -> bytes:
        chunk = self._socket.recv(262144)
        if not chunk:
            raise Closed("the server has closed the connection")
        return chunk


def side_by_side(functions: Sequence[Callable[[], None]]) -> None:
    """Run them in threads; the first exception is raised."""
    failed: list[BaseException] = []

    def run(function: Callable[[], None]) -> None:
        try:
            function()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Memory that a process holds now."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
