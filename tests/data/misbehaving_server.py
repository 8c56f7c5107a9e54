"""A publisher that behaves as it is told: raw bytes over a socket, with whatever is wrong about them."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

Behaviour = Callable[[socket.socket, int], None]
"""Answers one request: (connection, first byte that is asked for)."""


@dataclass
class Publisher:
    """A server under way."""

    url: str
    behaviour: Behaviour
    requests: list[int] = field(default_factory=list)
    """First byte that each request has asked for."""


@contextmanager
def publishing(behaviour: Behaviour) -> Iterator[Publisher]:
    """Serve one file in the way that `behaviour` says, which may be replaced meanwhile."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        publisher = Publisher(f"http://127.0.0.1:{listener.getsockname()[1]}/train.txt", behaviour)

        def answer(connection: socket.socket) -> None:
            with connection, suppress(OSError):  # who misbehaves is left in the midst of it
                request = b""
                while b"\r\n\r\n" not in request:
                    request += connection.recv(4096)
                _, _, wanted = request.partition(b"Range: bytes=")
                publisher.requests.append(int(wanted.partition(b"-")[0] or 0))
                publisher.behaviour(connection, publisher.requests[-1])

        def accept() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    threading.Thread(target=answer, args=(connection,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield publisher


def whole(content: bytes, *, ranges: bool = True, sent: int | None = None) -> Behaviour:
    """Answer properly, or cut the body after `sent` bytes.

    Args:
        ranges: whether parts are served; a server that knows none sends everything.
    """

    def behave(connection: socket.socket, start: int) -> None:
        if start >= len(content) > 0 and ranges and start:
            connection.sendall(b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n")
            return
        begin = start if ranges else 0
        part = content[begin:]
        head = f"Content-Length: {len(part)}\r\nConnection: close\r\n\r\n".encode()
        if begin:
            span = f"bytes {begin}-{len(content) - 1}/{len(content)}"
            connection.sendall(f"HTTP/1.1 206 Partial Content\r\nContent-Range: {span}\r\n".encode() + head)
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\n" + head)
        connection.sendall(part[:sent])

    return behave
