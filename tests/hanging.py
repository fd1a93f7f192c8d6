"""Things that hang until the test lets them go.

A test of a deadline or a cancel bounds no seconds: it asserts that the answer came while the thing still hung, which is
as true on a busy machine as on an idle one.
"""

import threading
from contextlib import contextmanager

from hexarec.core import Cancel, run

LONG = 60.0
"""Seconds after which whatever hangs comes back by itself, so that who waits for it fails instead of never ending; also
a test's patience with what takes a moment."""


class Hang:
    """A call, of whatever arguments, that comes back at the end of its `with` block, or after LONG.

    met: set by the first call. came_back: whether a call is over, let go or not.
    """

    def __init__(self):
        self.met, self._free, self.came_back = threading.Event(), threading.Event(), False

    def __call__(self, *_, **__):
        self.met.set()
        self._free.wait(LONG)
        self.came_back = True

    def let_go(self):
        self._free.set()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.let_go()


@contextmanager
def cancelled_when(event):
    """A run that is cancelled as soon as the event is set."""
    cancel = Cancel()
    threading.Thread(target=lambda: event.wait(LONG) and cancel.set(), daemon=True).start()
    with run(cancel=cancel) as work:
        yield work
