"""What a server listens on: a port that is free, and a socket of its own for each of several processes."""

from __future__ import annotations

import errno
import socket
import sys
from typing import Any, TypeVar

from hexarec.core import OptionError

S = TypeVar("S", bound=socket.socket)
BALANCED = sys.platform == "linux"
"""Whether the system spreads connections over sockets that share a port; others may give all to the newest one."""


def check_free(host: str, port: int) -> None:
    """Raise OptionError when somebody else listens there already."""
    try:
        _bound(socket.socket(_family(host), socket.SOCK_STREAM), host, port).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise OptionError(f"port {port} of {host} is in use", hint="give another --port") from None


class OwnSocket(socket.socket):
    """A bound socket that is made anew in each process it is sent to, so that each has its own queue of connections.

    Of a queue that all share, the process that happens to be awake takes most, and the others idle.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        """As what makes it."""
        return own_socket, self.getsockname()[:2]


def own_socket(host: str, port: int) -> OwnSocket:
    """A socket on a port that other processes of ours may listen on, too. Raises OSError."""
    made = OwnSocket(_family(host), socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return _bound(made, host, port)


def reserved(host: str, port: int) -> OwnSocket:
    """The socket that processes of ours make anew: it keeps the port from other servers before any of them listens.

    Another server's `check_free` may reuse an address, but not one whose holder does not; ours may share the port.
    """
    made = own_socket(host, port)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return made


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _bound(made: S, host: str, port: int) -> S:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except OSError:
        made.close()
        raise
    return made
