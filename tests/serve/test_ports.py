"""Ports: one in use is told, and each process has its own queue of connections on a port that several share."""

import socket
from multiprocessing.reduction import ForkingPickler

import pytest

from hexarec.core import OptionError
from hexarec.serve.ports import BALANCED, check_free, own_socket, reserved


def test_a_port_in_use_is_told():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        other.listen()
        with pytest.raises(OptionError, match=f"port {port} of 127.0.0.1 is in use"):
            check_free("127.0.0.1", port)
    check_free("127.0.0.1", port)


@pytest.mark.skipif(not BALANCED, reason="this system does not spread connections over sockets of one port")
def test_connections_are_spread_over_the_processes_whoever_is_awake():
    first = own_socket("127.0.0.1", 0)
    second = ForkingPickler.loads(ForkingPickler.dumps(first))  # as another process gets it
    here, clients = first.getsockname(), []
    try:
        assert second.getsockname() == here and second.fileno() != first.fileno()
        for one in (first, second):
            one.listen(64)
            one.setblocking(False)
        with pytest.raises(OptionError):
            check_free(*here)
        clients = [socket.create_connection(here) for _ in range(48)]
        taken = [accepted(one) for one in (first, second)]
    finally:
        for one in (first, second, *clients):
            one.close()
    assert sum(taken) == 48 and min(taken) >= 8  # an even coin does worse once in a million times


@pytest.mark.skipif(not BALANCED, reason="this system does not spread connections over sockets of one port")
def test_a_port_is_kept_before_anybody_listens_and_free_at_once_afterwards():
    kept = reserved("127.0.0.1", 0)
    here = kept.getsockname()
    with pytest.raises(OptionError, match="is in use"):
        check_free(*here)
    with ForkingPickler.loads(ForkingPickler.dumps(kept)) as worker:
        worker.listen()
        with socket.create_connection(here):
            worker.accept()[0].close()  # the server closes first, so that the port rests in TIME_WAIT
    kept.close()
    check_free(*here)
    reserved(*here).close()


def accepted(one):
    """How many connections wait for this socket alone."""
    count = 0
    while True:
        try:
            one.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1
