"""A sweep around a cell does not submit the cell itself again."""

from __future__ import annotations

from scripted_api import RUN


def test_the_cell_in_the_middle_is_not_submitted_again(client, api):
    swept = client.sweep("wf-1", {"3::cfg": [4, 6, 8]}, timeout=60)
    assert api.count(RUN) == 3
    narrowed = client.sweep(around=swept[1], timeout=60)
    assert [cell.params["3::cfg"] for cell in narrowed] == [5, 6, 7]
    assert narrowed[1].run.token == swept[1].run.token
    assert [request.json["params"]["3::cfg"] for request in api.requests(RUN)[3:]] in ([5, 7], [7, 5])


def test_a_graph_is_swept_around_too(comfy_client, comfy):
    swept = comfy_client.sweep("default", {"cfg": [4, 6, 8], "seed": 1, "width": 64, "height": 64}, timeout=60)
    sent = comfy_client.sweep(around=f"{swept.ref}.2", timeout=60)
    assert sent.plan.to_submit == 2
    assert [cell.params["3::cfg"] for cell in sent] == [5, 6, 7]
    assert sent[1].run.token == swept[1].run.token
    assert sent.axes.notes == (f"%comflowy sweep --from {swept[1].run.ref} cfg=5,6,7",)
