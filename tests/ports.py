"""Ports for servers that a test starts."""

from __future__ import annotations

import random
import socket

_PORTS = range(10_240, 32_768)  # the system gives ports from 32768 on to outgoing connections of other tests


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port at which no process listens, and that the system gives to no other socket by itself."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:  # in use
                continue
            return port
