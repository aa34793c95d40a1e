from __future__ import annotations


def test_the_last_24_times_are_kept_by_workflow_and_service(history):
    for n in range(30):
        history.times.add("sandbox", [("w", float(n))])
    history.times.add("cloud", [("w", 99.0)])
    assert history.times.of("sandbox", "w") == [float(n) for n in range(6, 30)]
    assert history.times.of("cloud", "w") == [99.0]
    assert history.times.of("sandbox", "other") == []
