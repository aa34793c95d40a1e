"""The scripted server as a fixture; `from faulty_server import ...` works in every test (see `pythonpath`)."""

from __future__ import annotations

import pytest
from faulty_server import FaultyServer


@pytest.fixture
def faulty():
    with FaultyServer() as server:
        yield server
