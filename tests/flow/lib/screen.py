"""helio-display on an X server of its own, in front of it a camera that is not ours: ffmpeg's x11grab."""
import os
import subprocess


class Screen:
    """The whole screen of width x height, as a device would have it."""

    def __init__(self, fleet, client, width=640, height=360):
        self.fleet, self.client, self.width, self.height = fleet, client, width, height
        self.meet = fleet.folder / client / "display"

    def __enter__(self):
        read, write = os.pipe()
        self.x = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", f"{self.width}x{self.height}x24",
                                   "-nolisten", "tcp", "-noreset"], pass_fds=[write], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        os.close(write)
        with os.fdopen(read) as f:
            self.name = f":{f.readline().strip()}"
        assert self.name != ":", "Xvfb did not start"
        config = self.fleet.write(f"display-{self.client}", {
            "log": {"level": "debug"},
            "display": {"folder": self.meet, "client_id": self.client, "renderer": "software"},
        }, {})
        self.fleet.procs.pop(f"display-{self.client}", None)
        self.proc = self.fleet.start(f"display-{self.client}", "helio-display", config,
                                     env={"DISPLAY": self.name, "SDL_VIDEODRIVER": "x11"})
        return self

    def __exit__(self, *args):
        self.proc.kill()
        self.x.kill()
        self.x.wait()

    def ledger(self):
        """Rows of what was shown: image, when it came and when it went, in ms of the wall clock."""
        path = self.meet / "shown.log"
        rows = [line.split("\t") for line in (path.read_text().splitlines() if path.exists() else [])]
        return [(r[2], r[3], int(r[4]), int(r[4]) + int(r[5])) for r in rows if len(r) == 7]

    def middle(self):
        """The colour in the middle of the screen."""
        done = subprocess.run(["ffmpeg", "-loglevel", "error", "-f", "x11grab", "-video_size", f"{self.width}x{self.height}",
                               "-i", self.name, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
                              stdout=subprocess.PIPE, check=True)
        at = (self.height // 2 * self.width + self.width // 2) * 3
        return tuple(done.stdout[at:at + 3])


def near(a, b, tolerance=10):
    return all(abs(x - y) <= tolerance for x, y in zip(a, b))
