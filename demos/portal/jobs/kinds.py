"""What a kind of job is: a function that does one step of it.

A step is short, and told only which one it is. What it returns is committed together with the fact that it
is done; so whoever takes a job over goes on with the next step, and none is lost or counted twice. What a
step does outside the database, such as a mail, may happen twice: its process can end before the commit.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Step:
    """What came of a step.

    Args:
        total: how many steps the job has.
        output: what is added to its result.
    """

    total: int
    output: str = ""


Kind: TypeAlias = Callable[[dict[str, Any], int], Step]
"""Called with the job's arguments, and the number of the step, from 0."""

KINDS: dict[str, Kind] = {}
"""By the name that is in the table. Rows outlive a release: take a name away when no row has it any more."""


def kind(name: str) -> Callable[[Kind], Kind]:
    """Decorate a function that is a kind of job."""

    def decorate(function: Kind) -> Kind:
        KINDS[name] = function
        return function

    return decorate
