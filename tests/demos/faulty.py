"""A gallery with demos that are broken: one raises when it is asked, one when it is imported."""

from demos.gallery.composition import create_app
from demos.gallery.ladder import Rung

app = create_app(
    [
        Rung("tests.demos.raising:app", "raising", "It raises", "How an error looks.", ()),
        Rung("tests.demos.nowhere:app", "nowhere", "It is not there", "How that looks.", ()),
        Rung("demos.hello:app", "hello", "Hello", "The others go on.", ()),
    ]
)
