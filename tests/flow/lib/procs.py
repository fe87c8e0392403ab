"""Child processes of a test: started in their own session, their output in a file, ended by id."""
import os
import pathlib
import signal
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "deploy"))

from ports import free_ports  # noqa: E402, F401  tests take it from here
from .wait import patience, wait_for  # noqa: E402


def port_answers(port, host="127.0.0.1"):
    try:
        with socket.create_connection((host, port), timeout=0.5):
            return True
    except OSError:
        return False


SESSIONS = {os.getsid(0)}   # of this test and of what it started


class Proc:
    def __init__(self, name, argv, folder, env=None, cwd=None):
        self.name, self.argv = name, [str(a) for a in argv]
        self.log = pathlib.Path(folder) / f"{name}.log"
        self.env = {**os.environ, **(env or {})}
        self.cwd = cwd
        self.p = None

    def start(self):
        with open(self.log, "ab") as out:
            self.p = subprocess.Popen(self.argv, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
                                      env=self.env, cwd=self.cwd, start_new_session=True)
        SESSIONS.add(self.p.pid)
        return self

    @property
    def pid(self):
        return self.p.pid

    def alive(self):
        return self.p is not None and self.p.poll() is None

    def is_running(self):
        """Alive, and not stopped by a signal."""
        try:
            return self.alive() and pathlib.Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] not in "TtZ"
        except (FileNotFoundError, ProcessLookupError):
            return False

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def lines(self, word):
        return [line for line in self.text().splitlines() if word in line]

    def wait_text(self, word, timeout=20.0, count=1):
        def fact():
            found = self.lines(word)
            if len(found) >= count:
                return found
            assert self.alive() or self.p is None or len(found) >= count, \
                f"{self.name} ended with {self.p.returncode}:\n{self.text()[-3000:]}"
            return None
        try:
            return wait_for(fact, timeout, f"{self.name} says {word!r}")
        except AssertionError as e:
            raise AssertionError(f"{e}\n--- {self.name}:\n{self.text()[-3000:]}") from None

    def kill(self, number=signal.SIGKILL):
        if self.alive():
            os.kill(self.p.pid, number)
            self.p.wait(timeout=20)

    def stop(self, timeout=6.0):
        """SIGTERM; must end by itself in time. Returns the exit code."""
        if not self.alive():
            return self.p.returncode if self.p else None
        os.kill(self.p.pid, signal.SIGTERM)
        try:
            return self.p.wait(timeout=patience(timeout))
        except subprocess.TimeoutExpired:
            os.kill(self.p.pid, signal.SIGKILL)
            self.p.wait()
            raise AssertionError(f"{self.name} did not end within {timeout} s of SIGTERM") from None

    def pause(self):
        os.kill(self.p.pid, signal.SIGSTOP)

    def go_on(self):
        os.kill(self.p.pid, signal.SIGCONT)
