"""Body events, joined and sliced: the bytes and the end stay what they were."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.asgi.pieces import SLICE, in_good_sizes
from bridge.types import HTTPResponseBodyEvent, HTTPResponseEvent
from tests.core.links import Reply

START: HTTPResponseEvent = {
    "type": "http.response.start",
    "status": 200,
    "headers": [],
    "trailers": False,
}


def bodies_of(sizes: list[int], more: bool) -> list[HTTPResponseEvent]:
    """Body events of these sizes, no two bytes of them alike nearby; `more` is said of the last."""
    last = len(sizes) - 1
    events: list[HTTPResponseEvent] = []
    start = 0
    for number, size in enumerate(sizes):
        body: HTTPResponseBodyEvent = {
            "type": "http.response.body",
            "body": bytes(range(start, start + size)) if size < 9 else b"%d" % number * size,
            "more_body": more or number < last,
        }
        start = (start + size) % 100
        events.append(body)
    return events


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([0], [0], id="an empty body"),
        pytest.param([5], [5], id="one"),
        pytest.param([1, 2, 3], [6], id="small ones joined"),
        pytest.param([5, 0], [5], id="the end joined"),
        pytest.param([SLICE], [SLICE], id="a slice"),
        pytest.param([SLICE - 1], [SLICE - 1], id="a slice but a byte"),
        pytest.param([SLICE + 1], [SLICE, 1], id="a slice and a byte"),
        pytest.param([3 * SLICE + 7], [SLICE] * 3 + [7], id="a large one sliced"),
        pytest.param([SLICE - 1, 1, 4], [SLICE, 4], id="small ones that make a slice"),
        pytest.param([3, SLICE, 4], [SLICE, 3, 4], id="a large one among small ones"),
        pytest.param([SLICE, 0], [SLICE, 0], id="a slice, and the end after it"),
    ],
)
@pytest.mark.parametrize("more", [False, True], ids=["to the end", "with more to come"])
@pytest.mark.parametrize("start", [[], [START]], ids=["under way", "with the start"])
def test_sizes(sizes: list[int], expected: list[int], more: bool, start: list[HTTPResponseEvent]) -> None:
    bodies = bodies_of(sizes, more)
    pieces = list(in_good_sizes([*start, *bodies]))
    reply, before = Reply.of([START, *pieces[len(start) :]]), Reply.of([START, *bodies])
    assert pieces[: len(start)] == start
    assert [len(chunk) for chunk in reply.chunks] == expected
    assert (reply.body, reply.is_complete) == (before.body, before.is_complete)


def test_file_passes_as_it_is() -> None:
    """ASGI extension "Path Send"."""
    path: HTTPResponseEvent = {"type": "http.response.pathsend", "path": "/file"}
    assert list(in_good_sizes([START, path])) == [START, path]
    assert list(in_good_sizes([path])) == [path]


@pytest.mark.parametrize(
    ("copied", "more", "expected"), [(True, False, 3), (False, False, 1), (False, True, 3)]
)
def test_a_whole_body_stays_whole_where_nobody_copies_it(copied: bool, more: bool, expected: int) -> None:
    events = [START, *bodies_of([3 * SLICE], more)]
    pieces = list(in_good_sizes(events, copied=copied))
    assert len(pieces) == 1 + expected
    assert Reply.of(pieces).body == Reply.of(events).body


@given(
    st.lists(st.sampled_from([0, 1, 2, SLICE // 3, SLICE - 1, SLICE, SLICE + 1, 2 * SLICE])), st.booleans()
)
@settings(max_examples=50, deadline=None)
def test_any_sizes(sizes: list[int], more: bool) -> None:
    """The same bytes, the same end, nothing over the size, and nothing held back."""
    events = [START, *bodies_of(sizes, more)]
    reply, before = Reply.of(list(in_good_sizes(events))), Reply.of(events)
    assert (reply.body, reply.is_complete) == (before.body, before.is_complete)
    assert all(len(chunk) <= SLICE for chunk in reply.chunks)
