"""A TCP tunnel on loopback, like `ssh -L`: a closed tunnel refuses connections while the server continues."""

from __future__ import annotations

import contextlib
import socket
import threading

CHUNK_BYTES = 65536


class Tunnel:
    """Forward connections to a port of this machine while open; a reopened tunnel has the same port."""

    def __init__(self, target_port):
        self._target_port = target_port
        self._connections = []
        self.port = 0
        self.open()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def open(self):
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listening,), name="tunnel", daemon=True).start()

    def close(self):
        """Refuse new connections and cut those that are open."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        self._listening.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._connections.clear()

    def _accept(self, listening):
        with contextlib.suppress(OSError):
            while True:
                client_side, _ = listening.accept()
                server_side = socket.create_connection(("127.0.0.1", self._target_port))
                self._connections += [client_side, server_side]
                for source, target in ((client_side, server_side), (server_side, client_side)):
                    threading.Thread(target=self._forward, args=(source, target), name="tunnel", daemon=True).start()

    @staticmethod
    def _forward(source, target):
        with contextlib.suppress(OSError):
            while content := source.recv(CHUNK_BYTES):
                target.sendall(content)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
