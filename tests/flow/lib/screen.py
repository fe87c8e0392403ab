"""helio-display on an X server of its own, in front of it a camera that is not ours: ffmpeg's x11grab."""
import os
import re
import subprocess
import threading


class Screen:
    """The whole screen of width x height, as a device would have it."""

    def __init__(self, fleet, client, width=640, height=360, env=None):
        self.fleet, self.client, self.width, self.height, self.env = fleet, client, width, height, env or {}
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
                                     env={"DISPLAY": self.name, "SDL_VIDEODRIVER": "x11", **self.env})
        return self

    def __exit__(self, *args):
        self.proc.kill()
        self.x.kill()
        self.x.wait()

    def ledger(self):
        """Rows of what was shown: image, when it came and when it went, in ms of the wall clock."""
        path = self.meet / "shown.log"
        rows = [line.split("\t") for line in (path.read_text().splitlines() if path.exists() else [])]
        return [(r[2], r[3], int(r[4]), int(r[4]) + int(r[5])) for r in rows if len(r) == 10]

    def grab(self):
        """The whole screen as a person sees it, in RGB, by ffmpeg."""
        return subprocess.run(["ffmpeg", "-loglevel", "error", "-f", "x11grab", "-draw_mouse", "0", "-video_size",
                               f"{self.width}x{self.height}", "-i", self.name, "-frames:v", "1", "-f", "rawvideo",
                               "-pix_fmt", "rgb24", "-"], stdout=subprocess.PIPE, check=True).stdout

    def middle(self):
        """The colour in the middle of the screen."""
        at = (self.height // 2 * self.width + self.width // 2) * 3
        return tuple(self.grab()[at:at + 3])


class Eye:
    """When the middle of a screen first has a colour: frames of ffmpeg with the wall clock on them."""

    def __init__(self, screen, size, rgb, seconds):
        self.rgb, self.at = rgb, None
        self.p = subprocess.Popen(["ffmpeg", "-nostats", "-f", "x11grab", "-framerate", "100", "-video_size",
                                   f"{size[0]}x{size[1]}", "-t", str(seconds), "-i", screen, "-copyts", "-vf",
                                   f"crop=2:2:{size[0] // 2}:{size[1] // 2},format=rgb24,showinfo", "-f", "null", "-"], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True)
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        for line in self.p.stderr:
            found = re.search(r" pts:\s*(\d+) .* mean:\[(\d+)", line)   # Unix microseconds; the mean of the bytes
            if found and self.at is None and abs(int(found.group(2)) - sum(self.rgb) // 3) < 12:
                self.at = int(found.group(1)) / 1000

    def end(self):
        self.p.wait()
        self.thread.join()
        return self.at


class Camera:
    """One ffmpeg before a screen for as long as it is needed: frame() is the whole screen as it is after the call."""

    def __init__(self, screen, fps=20):
        self.size = screen.width * screen.height * 3
        self.news, self.frames, self.last = threading.Condition(), 0, None
        self.p = subprocess.Popen(["ffmpeg", "-loglevel", "error", "-f", "x11grab", "-draw_mouse", "0", "-framerate", str(fps),
                                   "-video_size", f"{screen.width}x{screen.height}", "-i", screen.name, "-f", "rawvideo",
                                   "-pix_fmt", "rgb24", "-"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.thread = threading.Thread(target=self.read)
        self.thread.start()

    def read(self):
        while len(frame := self.p.stdout.read(self.size)) == self.size:
            with self.news:
                self.frames, self.last = self.frames + 1, frame
                self.news.notify_all()

    def frame(self):
        with self.news:
            end = self.frames + 3      # two may have been on their way already
            assert self.news.wait_for(lambda: self.frames >= end, 30), "ffmpeg sees nothing"
            return self.last

    def end(self):
        self.p.kill()
        self.p.wait()
        self.thread.join()


def near(a, b, tolerance=10):
    return all(abs(x - y) <= tolerance for x, y in zip(a, b))
