"""A device that is cut before its N-th system call that changes a file, and what it holds then. See cut.c."""
import os
import pathlib
import subprocess
import time

from lib.fleet import PROGRAMS

HERE = pathlib.Path(__file__).parent


class Cutter:
    def __init__(self, folder):
        self.program, self.report = folder / "cut", folder / "cut.report"
        done = subprocess.run(["cc", "-O1", "-D_GNU_SOURCE", "-o", self.program, HERE / "cut.c"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout

    def argv(self, number, below, argv):
        return [str(w) for w in (self.program, number, self.report, below, *argv)]

    def names(self):
        """Of the calls of the last run, in their order."""
        return [line.partition("=")[0] for line in self.report.read_text().split()]

    def renamed(self, name):
        """The numbers of the calls of the last run that gave a file this name."""
        return [n for n, line in enumerate(self.report.read_text().split(), 1) if line.partition("=")[2] == name]


class Device:
    """A folder that is the whole disk of a device: the agent's state, and /app that the symlink handler keeps."""

    def __init__(self, fleet, client, disk, cutter):
        self.fleet, self.client, self.disk, self.cutter = fleet, client, pathlib.Path(disk), cutter
        self.env = {}
        self.state, self.root, self.log = self.disk / "state", self.disk / "app", fleet.folder / f"{client}.cut.log"
        settings = fleet.common(client)
        settings["agent"] = {"state_dir": self.state, "interval_ms": 1000}
        settings["update"] = {"handler": f"app symlink {self.root}", "trial_s": 20}
        fleet.write(client, settings, {})
        self.ini = fleet.folder / f"{client}.ini"

    def _run(self, words, number):
        argv = [PROGRAMS["helio-agent"], *words, "--config", self.ini]
        argv = [str(w) for w in argv] if number is None else self.cutter.argv(number, self.disk, argv)
        with open(self.log, "w") as out:
            return subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "HELIO_TEST": "1", **self.env})

    def bring(self, medium, number=None):
        """helio-agent import; its exit code, 137 when it was cut."""
        return self._run(["import", medium], number).wait(timeout=60)

    def run(self, number=None, said=None, until=("to=confirmed", "to=rolled-back", "to=broken"), timeout=30):
        """The agent, until its update ended; the word it ended with, None when it was cut. said: called as soon as it says so."""
        p, end = self._run([], number), time.monotonic() + timeout
        try:
            while True:
                text = self.log.read_text(errors="replace")
                word = next((w for w in until if w in text), None)
                if word and said:
                    said()
                if word or p.poll() is not None:
                    break
                assert time.monotonic() < end, text[-3000:]
                time.sleep(0.01)
        finally:
            if p.poll() is None:
                p.terminate()
            p.wait(timeout=30)
        return word

    def runs(self):
        """What /app runs: the link, and the sums of all files behind it."""
        return link(self.root / "current"), sums(self.root / "current")

    def releases(self):
        """Of each release that says of itself that it is whole: the sums of its files."""
        return {at.parent.name: sums(at.parent) for at in self.root.glob("releases/*/.package") if not at.parent.name.startswith(".")}

    def held(self):
        """What the agent's own slot names: a package, and the sums of its files."""
        at = self.state / "slots/software/app/current"
        return at.resolve().name if at.is_symlink() else None, sums(at / "files")


def link(path):
    return os.readlink(path) if path.is_symlink() else None


def sums(folder):
    """By sha256sum, of all files below it but the handler's own mark."""
    files = sorted(str(p) for p in pathlib.Path(folder).rglob("*") if p.is_file() and p.name != ".package")
    if not files:
        return {}
    told = subprocess.run(["sha256sum", *files], stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    return {os.path.relpath(line[66:], folder): line[:64] for line in told}
