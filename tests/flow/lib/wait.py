"""Waiting for facts. No test sleeps for a fixed time where it can wait for a fact."""
import time


class Timeout(AssertionError):
    pass


def wait_for(fact, timeout=20.0, what="", every=0.02):
    """Calls fact() until it returns something true, and returns that."""
    end = time.monotonic() + timeout
    while True:
        found = fact()
        if found:
            return found
        if time.monotonic() > end:
            raise Timeout(f"not within {timeout} s: {what or fact}")
        time.sleep(every)


def stays(fact, seconds, every=0.05):
    """Asserts that fact() is true now and for so many seconds: for what must NOT happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert fact(), f"did not stay true for {seconds} s: {fact}"
        time.sleep(every)
