"""A program's own wall clock, stepped while it runs: libfaketime stands between it and the kernel."""
import pathlib


class WallClock:
    def __init__(self, folder, name):
        self.file = pathlib.Path(folder) / f"{name}.clock"
        self.step(0)

    def step(self, seconds):
        """From now on so many seconds off the real time."""
        fresh = self.file.with_suffix(".fresh")
        fresh.write_text(f"{seconds:+d}\n")
        fresh.rename(self.file)

    def env(self, every_clock=False):
        """every_clock: the clocks that never step in a real machine step too."""
        found = sorted(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        assert found, "the package faketime is not installed"
        return {"LD_PRELOAD": str(found[0]), "FAKETIME_TIMESTAMP_FILE": str(self.file), "FAKETIME_NO_CACHE": "1",
                "FAKETIME_DONT_FAKE_MONOTONIC": "0" if every_clock else "1"}
