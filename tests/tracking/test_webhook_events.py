"""Webhook events change the display, replace most checks, and never change a status."""

from __future__ import annotations

import json
import threading
import time
import urllib.error
import urllib.request

import pytest
from faulty_server import choose, reply
from scripted_api import CHECK, RUN
from waiting import wait_until

from comflowy_nb import connect
from comflowy_nb.settings import settings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("short_delays")]

STEPS = ("waiting", "pending", "running")


def post(url, body):
    """Post an event; return the status of the response."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


class Reporting:
    """Let the runs of a scripted API take `duration_s`, and report events to their addresses.

    Parameters
    ----------
    events
        The types of the events at the start, in this order.
    end
        The type of the event at the end, or None.
    step_s
        The time between further `running` events, or None.
    """

    def __init__(self, api, duration_s, *, events=STEPS, end="success", step_s=None):
        self.api, self.duration_s, self.events, self.end, self.step_s = api, duration_s, events, end, step_s
        self.ends_s = {}
        self.url = None  # of the newest run
        api.live_statuses = []
        api.on(RUN, choose(self._accept))
        api.on(CHECK, choose(self._check))

    def _accept(self, request):
        run_id = f"run-{len(self.ends_s)}-{self.api.count(RUN)}"
        self.url = request.json["callback_urls"].get("on_result_url")
        self.ends_s[run_id] = time.monotonic() + self.duration_s
        if self.url:
            threading.Thread(target=self._report, args=(self.url, run_id), daemon=True).start()
        return reply({"success": True, "data": {"run_id": run_id}})

    def _check(self, request):
        is_done = time.monotonic() >= self.ends_s[request.query["id"]]
        data = self.api.state(request.query["id"]) if is_done else {"status": "running"}
        return reply({"success": True, "data": data})

    def _report(self, url, run_id):
        for kind in self.events:
            post(url, {"type": kind, "payload": {"value": 1, "max": 9, "node": "3"}})
        while (left_s := self.ends_s[run_id] - time.monotonic()) > 0:
            time.sleep(min(left_s, self.step_s or left_s))
            if self.step_s and time.monotonic() < self.ends_s[run_id]:
                post(url, {"type": "running", "payload": {"value": 2, "max": 9, "node": "3"}})
        if self.end:
            post(url, {"type": self.end, "run_id": run_id})


def test_a_run_with_events_costs_one_submit_and_one_check(client, api):
    """Each event of a new status triggered a check."""
    Reporting(api, 1.2, step_s=0.1)
    run = client.run("wf-1", {"3::cfg": 1}, timeout=60)
    assert run.status == "success"
    assert api.count(RUN) == 1
    assert api.count(CHECK) <= 2, "on a busy machine, one before the first event arrives"
    assert [event.kind for event in run.events] == ["waiting", "pending", "running", "success"]


def test_a_remote_run_is_checked_at_the_end_only(client, api):
    """The checks of a service on this machine cost nothing, so they are more frequent."""
    Reporting(api, 5.0)
    client.service.on_loopback = False
    settings.webhooks = "on"
    run = client.submit("wf-1", {"3::cfg": 1}).run
    wait_until(lambda: run.shown_record.status == "running")
    assert run.wait(60).status == "success"
    assert api.count(CHECK) == 1


def test_without_events_a_run_is_polled_as_before(client, api):
    settings.webhooks = "off"
    Reporting(api, 1.2)
    run = client.run("wf-1", {"3::cfg": 1}, timeout=60)
    assert run.status == "success"
    assert run.events == ()
    assert api.requests(RUN)[0].json["callback_urls"] == {}
    assert api.count(CHECK) >= 4


def test_events_that_stop_only_add_latency(client, api):
    reporting = Reporting(api, 0.7, end=None)
    run = client.run("wf-1", {"3::cfg": 1}, timeout=60)
    (end_s,) = reporting.ends_s.values()
    assert run.status == "success"
    assert time.monotonic() - end_s < 10
    assert api.count(CHECK) <= 3


def test_after_a_run_without_events_the_next_run_is_polled_without_delay(client, api):
    reporting = Reporting(api, 0.5)
    client.run("wf-1", {"3::cfg": 1}, timeout=60)
    reporting.events, reporting.end = (), None
    client.run("wf-1", {"3::cfg": 2}, timeout=60)
    took_s = []
    for cfg in range(3, 8):  # a busy machine delays some of them; the fault delayed all
        before = time.monotonic()
        client.run("wf-1", {"3::cfg": cfg}, timeout=60)
        took_s.append(time.monotonic() - before)
        if took_s[-1] < 1.8:
            break
    assert min(took_s) < 1.8, "each waited 2 s for its first event"


def test_a_status_without_an_event_ends_the_reliance_on_events(client, api):
    """A service that reports `waiting` and then nothing is polled by the rule after the first check."""
    Reporting(api, 4.0, events=("waiting",), end=None)
    run = client.submit("wf-1", {"3::cfg": 1}).run
    wait_until(lambda: run.status == "running")
    assert run.wait(60).status == "success"
    assert api.count(CHECK) >= 4, "the rule checks a run of unknown duration at least every 2 s"


def test_long_runs_get_a_status_in_the_history_while_events_arrive(client, api):
    """Other kernels read only the history."""
    Reporting(api, 60.0, step_s=0.1)
    run = client.submit("wf-1", {"3::cfg": 1}).run
    wait_until(lambda: run.status == "running")
    assert api.count(CHECK) == 1
    assert client.library.history.get(run.token).status == "running"


@pytest.mark.parametrize("kind", ["success", "failed"])
def test_a_reported_end_that_the_service_does_not_confirm_changes_nothing(client, api, kind):
    reporting = Reporting(api, 3.0, end=None)
    run = client.submit("wf-1", {"3::cfg": 1}).run
    wait_until(lambda: run.shown_record.status == "running")
    assert (
        post(reporting.url, {"type": kind, "run_id": "forged", "error": "x", "output_images": ["http://x/y.png"]})
        == 204
    )
    wait_until(lambda: api.count(CHECK) >= 1)
    wait_until(lambda: run.status == "running")
    assert run.error is None
    assert run.reported_end is None
    assert run.wait(60).status == "success"
    assert len(run.images) == 1


def test_an_end_that_was_reported_too_early_is_found_soon_also_after_a_late_event(client, api):
    """A service may report the end before its status is `success`, and its events may arrive in another order."""
    settings.webhooks = "on"
    client.service.on_loopback = False
    reporting = Reporting(api, 2.0, end=None)
    run = client.submit("wf-1", {"3::cfg": 1}).run
    wait_until(lambda: run.shown_record.status == "running")
    post(reporting.url, {"type": "success"})
    wait_until(lambda: api.count(CHECK))
    post(reporting.url, {"type": "running"})
    assert run.wait(60).status == "success"
    (end_s,) = reporting.ends_s.values()
    assert time.monotonic() - end_s < 10


def test_an_end_that_was_reported_before_the_response_to_the_submit_is_found_soon(client, api):
    """A late event after it delayed the next check by a minute."""
    settings.webhooks = "on"
    client.service.on_loopback = False
    reporting = Reporting(api, 2.0, events=(), end=None)
    real_accept = reporting._accept

    def accept(request):
        url = request.json["callback_urls"]["on_result_url"]
        for kind in ("waiting", "running", "success"):
            assert post(url, {"type": kind}) == 204
        wait_until(lambda: client.live()[0].reported_end == "success")
        return real_accept(request)

    api.on(RUN, choose(accept))
    run = client.submit("wf-1", {"3::cfg": 1}).run
    wait_until(lambda: run.status == "running")
    assert post(reporting.url, {"type": "running"}) == 204
    assert run.wait(30).status == "success"


def test_an_end_that_is_reported_during_a_check_is_found_soon(client, api):
    """The check in progress postponed the next one by the long interval of a run with events."""
    reporting = Reporting(api, 2.5, end=None)
    real_check, reported = reporting._check, set()
    late_s = []

    def check(request):
        if request.query["id"] not in reported:
            reported.add(request.query["id"])
            assert post(reporting.url, {"type": "success"}) == 204
            wait_until(lambda: client.live()[0].reported_end == "success")
        return real_check(request)

    api.on(CHECK, choose(check))
    for workflow in ("wf-1", "wf-2", "wf-3"):  # a busy machine delays some of them; the fault delayed all
        run = client.submit(workflow, {"3::cfg": 1}).run
        assert run.wait(60).status == "success"
        late_s.append(time.monotonic() - max(reporting.ends_s.values()))
        if late_s[-1] < 3:
            break
    assert min(late_s) < 3, "with the long interval: 3.5 s"


def test_repeated_ends_trigger_few_checks(client, api):
    """Each of them triggered a check, as fast as they arrived."""
    reporting = Reporting(api, 3.0, end=None)
    run = client.submit("wf-1", {"3::cfg": 1}).run
    wait_until(lambda: run.shown_record.status == "running")
    for _ in range(50):
        post(reporting.url, {"type": "success"})
    assert run.wait(60).status == "success"
    assert api.count(CHECK) <= 25, "half of the events; a busy machine takes longer, and checks more often"


def test_events_out_of_order_and_repeated_events_do_not_move_a_status_back(client, api):
    reporting = Reporting(api, 3.0)
    run = client.submit("wf-1", {"3::cfg": 1}).run
    wait_until(lambda: run.shown_record.status == "running")
    shown = []
    run.listen(lambda changed: shown.append(str(changed.shown_record.status)))
    for kind in ("pending", "waiting", "running", "running", "waiting"):
        assert post(reporting.url, {"type": kind}) == 204
    assert run.wait(60).status == "success"
    assert set(shown) <= {"running", "success"}
    wait_until(lambda: post(reporting.url, {"type": "running"}) == 404)
    assert run.status == run.shown_record.status == "success"


def test_messages_are_kept_as_text(client, api):
    reporting = Reporting(api, 60.0)
    run = client.submit("wf-1", {"3::cfg": 1}).run
    wait_until(lambda: run.shown_record.status == "running")
    for payload in ("<b>loading</b> the model", {"message": "half"}, {"gpu": 1}, None):
        assert post(reporting.url, {"type": "message", "payload": payload}) == 204
    wait_until(lambda: sum(event.kind == "message" for event in run.events) == 4)
    texts = [event.text for event in run.events if event.kind == "message"]
    assert texts == ["<b>loading</b> the model", "half", '{"gpu": 1}', None]
    assert run.progress.value == 1, "a message does not replace the progress"


def test_the_events_of_a_run_are_bounded(client, api):
    reporting = Reporting(api, 60.0)
    run = client.submit("wf-1", {"3::cfg": 1}).run
    wait_until(lambda: run.shown_record.status == "running")
    for number in range(55):
        assert post(reporting.url, {"type": "message", "payload": f"{number} " + "x" * 5000}) == 204
    wait_until(lambda: run.events[-1].text.startswith("54 "))
    assert len(run.events) == 50
    assert max(len(event.text) for event in run.events) <= 400


def test_with_events_a_sweep_costs_about_one_check_a_run(api):
    settings.webhooks, settings.window = "on", 8
    Reporting(api, 0.6)
    with connect(f"test={api.url}", key="the-key") as client:
        client.service.on_loopback = False
        sweep = client.sweep("wf-1", {"3::cfg": list(range(1, 41))}, timeout=60)
        assert sweep.status_counts() == {"success": 40}
        assert api.count(RUN) == 40
        assert api.count(CHECK) <= 48
