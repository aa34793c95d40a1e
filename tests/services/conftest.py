"""The scripted server and short limits as fixtures."""

from __future__ import annotations

import pytest
from certificates import Authority
from faulty_server import FaultyServer

from comflowy_nb.settings import settings


@pytest.fixture
def faulty():
    with FaultyServer() as server:
        yield server


@pytest.fixture
def hasty():
    """Limits so short that a fault shows within a second."""
    settings.connect_timeout_s = 0.3
    settings.read_timeout_s = 0.4
    settings.answer_deadline_s = 0.9
    settings.picture_deadline_s = 0.9
    settings.retry_base_s = 0.001
    settings.retry_max_s = 0.002
    settings.retries = 1
    return settings


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)
