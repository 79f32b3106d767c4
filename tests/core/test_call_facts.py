"""What becomes known of a call for whoever has asked."""

from flask import Flask

from bridge.core.call_facts import CallFacts, TimedCall
from tests.core.links import ListLink, wsgi_environ

app = Flask(__name__)
app.add_url_rule("/user/<id>", "user", lambda id: id)


def facts_of(target: bytes, *, is_queued: bool) -> CallFacts:
    facts = CallFacts()
    TimedCall(app, wsgi_environ(target), facts, is_queued=is_queued).run(ListLink())
    return facts


def test_a_call_in_a_thread() -> None:
    facts = facts_of(b"/user/7", is_queued=True)
    assert facts.route == "/user/<id>"
    assert facts.begun is not None
    assert facts.waited is not None
    assert facts.ran is not None
    assert facts.waited >= 0
    assert facts.ran > 0


def test_a_call_on_the_loop_waits_for_no_thread() -> None:
    assert facts_of(b"/user/7", is_queued=False).waited is None


def test_a_request_that_no_rule_matches() -> None:
    assert facts_of(b"/nothing", is_queued=True).route == ""


def test_a_call_that_was_never_made() -> None:
    facts = CallFacts()
    TimedCall(app, wsgi_environ(), facts, is_queued=True).report()
    assert (facts.begun, facts.ran) == (None, None)
