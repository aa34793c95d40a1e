"""Properties of the status of a run that two processes change and read in one history file."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_process import ChildProcess, RunProcess

from comflowy_nb.status import Status, StatusEvent, may_follow

STEPS = st.one_of(
    st.tuples(st.just("apply"), st.integers(0, 1), st.sampled_from([str(event) for event in StatusEvent])),
    st.tuples(st.just("apply"), st.integers(0, 1), st.sampled_from(["accepted", "seen running", "seen success"])),
    st.tuples(st.just("set_image"), st.integers(0, 1), st.sampled_from(["kept", "missing"])),
    st.just(("crash",)),
)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_agree_on_a_status_that_never_goes_back(tmp_path_factory):
    """Events may arrive in any order, repeatedly, from either process, and a process may be killed."""
    home = tmp_path_factory.mktemp("home")
    pair = [RunProcess(home), ChildProcess(home)]
    keys = itertools.count()

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, 1), st.lists(STEPS, max_size=10))
    def check(submitter, steps):
        token = pair[submitter].submit(f"key {next(keys)}")
        pair[1 - submitter].watch(token)
        status = Status.SUBMITTING
        for name, *rest in steps:
            if name == "crash":
                pair[1].kill()
                pair[1] = ChildProcess(home)
                pair[1].watch(token)
                pair[0].adopt_orphans()
                if submitter == 1 and status is Status.SUBMITTING:
                    assert pair[0].history.get(token).status is Status.UNKNOWN
            else:
                index, value = rest
                getattr(pair[index], name)(value)
            (status_here, states_here, statuses_here), (status_there, states_there, statuses_there) = (
                run_process.read() for run_process in pair
            )
            stored = pair[0].history.get(token)
            assert status_here == status_there == stored.status
            assert states_here == states_there == [image.state for image in stored.images]
            assert stored.status is status or may_follow(status, stored.status)
            status = stored.status
            for sequence in (statuses_here, statuses_there):
                assert sequence[-1] == status
                changes = [old for old, new in itertools.pairwise(sequence) if old != new]
                assert all(may_follow(Status(old), Status(new)) for old, new in itertools.pairwise([*changes, status]))
                # a listener is called with the same status again only if an image changed
                repeated = [new for old, new in itertools.pairwise(sequence) if old == new]
                assert len(repeated) <= sum(step[0] == "set_image" for step in steps)

    try:
        check()
    finally:
        pair[1].kill()
        pair[0].history.close()
        pair[0].lock.release()
