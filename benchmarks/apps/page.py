"""The page that every layer answers with: a small table, made anew for each request."""

from html import escape
from typing import TypedDict

__all__ = ["Row", "html", "rows"]


class Row(TypedDict):
    """A line of the table."""

    name: str
    price: str


def rows() -> list[Row]:
    """What the view computes."""
    return [Row(name=f"Item {number} & Co.", price=f"{number * 1.19:.2f}") for number in range(1, 21)]


def html(shown: list[Row]) -> str:
    """What the template makes of it, by hand."""
    lines = "".join(f"<tr><td>{escape(row['name'])}</td><td>{row['price']}</td></tr>\n" for row in shown)
    return f"<!doctype html>\n<title>Items</title>\n<table>\n{lines}</table>"
