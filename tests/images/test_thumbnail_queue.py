"""When thumbnails are made: once it is quiet, at the latest after a while, and never more held than there is room."""

from __future__ import annotations

import heapq

import pytest

from comflowy_nb.images import thumbnail_queue
from comflowy_nb.images.thumbnail_queue import LATEST_S, QUIET_S, ThumbnailQueue


class Hours:
    """A scheduler whose clock the test sets."""

    def __init__(self):
        self.now_s = 100.0
        self._due = []
        self._number = 0

    def clock(self):
        return self.now_s

    def submit_at(self, due_s, action):
        self._number += 1
        heapq.heappush(self._due, (due_s, self._number, action))

    def pass_to(self, now_s):
        while self._due and self._due[0][0] <= now_s:
            due_s, _, action = heapq.heappop(self._due)
            self.now_s = due_s
            action()
        self.now_s = now_s


class Owed:
    def __init__(self, name, made, held_bytes=10):
        self.name, self.held_bytes, self._made = name, held_bytes, made

    def make(self):
        self._made.append(self.name)


@pytest.fixture
def hours():
    return Hours()


@pytest.fixture
def queue(hours):
    return ThumbnailQueue(hours)


def test_they_are_made_once_no_image_has_come_for_a_moment(hours, queue):
    made = []
    for number in range(3):
        hours.pass_to(100 + number * QUIET_S * 0.9)
        queue.add(Owed(number, made))
    hours.pass_to(100 + 2.7 * QUIET_S)
    assert made == []
    hours.pass_to(100 + 2.9 * QUIET_S)
    assert sorted(made) == [0, 1, 2]


def test_they_are_made_after_a_while_however_many_come(hours, queue):
    made = []
    while hours.now_s < 100 + LATEST_S:
        queue.add(Owed(hours.now_s, made))
        hours.pass_to(hours.now_s + QUIET_S / 2)
    assert made[0] == 100
    assert len(made) < 5


def test_what_finds_no_room_is_made_at_once_by_who_brings_it(hours, queue, monkeypatch):
    monkeypatch.setattr(thumbnail_queue, "MOST_BYTES", 25)
    made = []
    for number in range(3):
        queue.add(Owed(number, made))
    assert made == [2]
    hours.pass_to(101)
    queue.add(Owed(3, made))  # room again
    hours.pass_to(102)
    assert made == [2, 0, 1, 3]


def test_one_that_fails_gives_its_room_back(hours, queue, monkeypatch):
    monkeypatch.setattr(thumbnail_queue, "MOST_BYTES", 10)

    class Broken(Owed):
        def make(self):
            raise MemoryError

    queue.add(Broken(0, []))
    with pytest.raises(MemoryError):
        hours.pass_to(101)
    made = []
    queue.add(Owed(1, made))
    assert made == []  # it waits: there was room
