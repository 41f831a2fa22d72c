"""Values that are shared for a moment."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.recent import Recent


def test_all_who_ask_at_once_get_one_value():
    recent, made, go = Recent[int](ttl_s=3600), [], threading.Event()

    def make():
        made.append(len(made))
        go.wait(10)
        return made[-1]

    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(recent.get, make) for _ in range(4)]
        go.set()
        assert [one.result() for one in asked] == [0] * 4
    assert made == [0]


def test_a_value_that_is_too_old_is_made_anew(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("app.recent.time.monotonic", lambda: now[0])
    recent, values = Recent[str](ttl_s=2), iter("abc")
    got = []
    for now[0] in (100.0, 101.9, 102.1, 103.0, 104.2):
        got.append(recent.get(lambda: next(values)))
    assert got == ["a", "a", "b", "b", "c"]


def test_a_failure_is_told_and_not_kept():
    recent = Recent[int](ttl_s=3600)
    with pytest.raises(ZeroDivisionError):
        recent.get(lambda: 1 // 0)
    assert recent.get(lambda: 1) == 1
