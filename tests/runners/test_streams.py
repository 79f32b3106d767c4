"""`bridge.runners.engine.Streams`: how the streams of a server end."""

import pytest

from bridge.runners.engine import Streams


def test_a_stream_that_cannot_be_ended_does_not_keep_the_others(caplog: pytest.LogCaptureFixture) -> None:
    ended = []

    class Link:
        def __init__(self, number: int) -> None:
            self.number = number

        def end(self) -> None:
            if self.number == 1:
                raise ZeroDivisionError
            ended.append(self.number)

    streams = Streams()
    streams.links.update(map(Link, range(3)))
    streams.end()
    assert sorted(ended) == [0, 2]
    assert [record.getMessage() for record in caplog.records] == ["a stream could not be ended"]
