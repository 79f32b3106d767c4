"""Functions that run by turns here and in a `CallContext` see and undo what all of them have set."""

import contextvars
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bridge.runners.context import CallContext

# A step: whether it is done in the call; whether it undoes, or sets; and which earlier one, or which value.
STEPS = st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 3)), max_size=12)


class Side:
    """Code that sets a variable, and may undo what it has set, in whatever order."""

    def __init__(self, variable: "contextvars.ContextVar[int]") -> None:
        self._variable = variable
        self._tokens: list[contextvars.Token[int]] = []

    def do(self, undoes: bool, value: int) -> None:
        if not undoes:
            self._tokens.append(self._variable.set(value))
        elif self._tokens:
            self._variable.reset(self._tokens.pop(value % len(self._tokens)))


@given(STEPS)
def test_it_is_as_if_all_ran_in_one_context(steps: list[tuple[bool, bool, int]]) -> None:
    by_turns, at_once = contextvars.ContextVar[int]("by_turns"), contextvars.ContextVar[int]("at_once")

    def run() -> None:
        call = CallContext(contextvars.Context())

        def in_call(function: Callable[..., None], *args: Any) -> None:
            call.carry_in()
            call.context.run(function, *args)
            call.carry_back()

        here, there, alike_here, alike_there = Side(by_turns), Side(by_turns), Side(at_once), Side(at_once)
        for is_in_call, undoes, value in steps:
            if is_in_call:
                in_call(there.do, undoes, value)
                alike_there.do(undoes, value)
            else:
                here.do(undoes, value)
                alike_here.do(undoes, value)
            assert by_turns.get(None) == at_once.get(None)

    contextvars.Context().run(run)


def test_what_was_carried_back_is_undone_here_and_nowhere_else() -> None:
    changed, made = contextvars.ContextVar[int]("changed"), contextvars.ContextVar[int]("made")

    def call(value: int) -> None:
        changed.set(value)
        made.set(value)

    def run() -> None:
        changed.set(0)
        context = CallContext()
        for value in (1, 2):
            context.run(call, value)
            context.carry_back()
            assert (changed.get(), made.get()) == (value, value)
        context.undo()
        context.undo()
        assert (changed.get(), made.get(None)) == (0, None)
        context.run(call, 3)
        context.carry_back()
        contextvars.copy_context().run(context.undo)
        assert (changed.get(), made.get()) == (3, 3)

    contextvars.Context().run(run)
