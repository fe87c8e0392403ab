"""Waiting for facts. No test sleeps for a fixed time where it can wait for a fact."""
import os
import time


class Timeout(AssertionError):
    pass


def patience(seconds):
    """What takes so long at most on an idle machine may take longer when more wants to run than there are processors.
    What must happen in time, whatever the machine does, measures the time itself."""
    return seconds * max(1.0, min(10.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


def wait_for(fact, timeout=20.0, what="", every=0.02):
    """Calls fact() until it returns something true, and returns that."""
    began = time.monotonic()
    while True:
        found = fact()
        if found:
            return found
        if time.monotonic() > began + timeout and time.monotonic() > began + patience(timeout):
            raise Timeout(f"not within {timeout} s: {what or fact}")
        time.sleep(every)


def stays(fact, seconds, every=0.05):
    """Asserts that fact() is true now and for so many seconds: for what must NOT happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert fact(), f"did not stay true for {seconds} s: {fact}"
        time.sleep(every)
