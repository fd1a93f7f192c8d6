import os
import socket

import pytest


@pytest.mark.parametrize("name", ["connect", "connect_ex"])
@pytest.mark.parametrize("address", [("203.0.113.1", 80), ("example.org", 443), ("10.0.0.1", 1)])
def test_another_machine_cannot_be_reached_from_a_test(name, address):
    with socket.socket() as one, pytest.raises(OSError, match="tests must not connect"):
        getattr(one, name)(address)


def test_this_machine_can():
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())
        assert client.getpeername() == server.getsockname()


def test_few_threads_are_used():
    assert int(os.environ["OMP_NUM_THREADS"]) <= 2
