"""The garbage collector, set as a server wants it: few rounds, over what requests have made.

Python's collector comes after every 700 objects (2,000 from 3.13 on) that a process makes more than it frees,
and a server with a thousand requests under way makes them all the time; every now and then it walks through
all that there is, also through the modules, functions and classes of a whole application, which stay. With
1,000 connections on an async Flask view it took a fifth of the processor, in pauses of up to 100 ms.
"""

import gc

__all__ = ["settle"]

# Objects; some 0.5 MB of garbage in cycles at most, of which Werkzeug's routing makes eight a request.
_YOUNG = 5000


def settle() -> None:
    """Have the collector leave alone what is there now, and come less often; call it when an app is loaded.

    An app that has set the threshold higher, or switched the collector off, is obeyed.
    """
    gc.collect()
    gc.freeze()
    young, *older = gc.get_threshold()
    if 0 < young < _YOUNG:
        gc.set_threshold(_YOUNG, *older)
