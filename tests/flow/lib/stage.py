"""The display alone, in a real window on an X server of its own, without an agent: the test writes the
playlist. Needs Xvfb and ffmpeg (x11grab and blackdetect are the witness that no frame is black)."""
import hashlib
import os
import pathlib
import re
import signal
import struct
import subprocess
import threading
import time
import zlib

from lib.fleet import PROGRAMS, ROOT, ini
from lib.procs import Proc
from lib.wait import wait_for

W, H = 640, 360
PACKAGE_1, PACKAGE_2 = "1" * 64, "2" * 64
COLOURS = {"red": (200, 40, 30), "green": (40, 180, 60), "blue": (40, 70, 200), "white": (230, 230, 225),
           "orange": (230, 140, 30), "violet": (140, 60, 190)}


# ---- pictures and playlists, made here

def png_bytes(w, h, rgb):
    """A plain picture with a grey frame of ten pixels."""
    edge = bytes((128, 128, 128))
    full = edge * w
    row = edge * 10 + bytes(rgb) * (w - 20) + edge * 10
    raw = b"".join(b"\0" + (full if y < 10 or y >= h - 10 else row) for y in range(h))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


def jpeg_file(path, w, h, rgb):
    """JPEG by ffmpeg, from the PNG."""
    subprocess.run(["ffmpeg", "-loglevel", "error", "-y", "-f", "png_pipe", "-i", "-", "-q:v", "2", str(path)],
                   input=png_bytes(w, h, rgb), check=True)


def png_pixels(path):
    """Rows of an 8-bit RGB PNG, as the display writes its screenshots."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, idat, head = 8, b"", None
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0]
        if kind == b"IHDR":
            head = struct.unpack(">IIBBBBB", body)
        idat += body if kind == b"IDAT" else b""
        at += 12 + size
    w, h, depth, colour, *_ = head
    assert (depth, colour) == (8, 2)
    raw, rows, before = zlib.decompress(idat), [], bytearray(w * 3)
    for y in range(h):
        kind, row = raw[y * (w * 3 + 1)], bytearray(raw[y * (w * 3 + 1) + 1:(y + 1) * (w * 3 + 1)])
        for i in range(w * 3):
            a = row[i - 3] if i >= 3 else 0
            b, c = before[i], before[i - 3] if i >= 3 else 0
            if kind == 1:
                row[i] = (row[i] + a) & 255
            elif kind == 2:
                row[i] = (row[i] + b) & 255
            elif kind == 3:
                row[i] = (row[i] + (a + b) // 2) & 255
            elif kind == 4:
                p = a + b - c
                best = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))
                row[i] = (row[i] + best[2]) & 255
        rows.append(bytes(row))
        before = row
    return w, h, rows


class Stage:
    """An X server, a folder, a display."""

    def __init__(self, folder, width=W, height=H):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(exist_ok=True)
        self.width, self.height = width, height
        self.meet = self.folder / "display"
        self.meet.mkdir()
        self.config = self.folder / "display.ini"
        read, write = os.pipe()
        with open(self.folder / "xvfb.log", "ab") as out:
            self.x = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", f"{width}x{height}x24",
                                       "-nolisten", "tcp", "-noreset"], pass_fds=[write], stdout=out, stderr=out)
        os.close(write)
        with os.fdopen(read) as f:
            number = f.readline().strip()
        assert number, "Xvfb did not start"
        self.screen = f":{number}"
        self.command_n = 0
        self.proc = None

    def configure(self, level="debug", **more):
        self.config.write_text(ini({"log": {"level": level},
                                    "display": {"folder": self.meet, "client_id": "screen-1",
                                                "renderer": "software", **more}}))

    def environment(self, driver):
        return {"DISPLAY": self.screen, "SDL_VIDEODRIVER": driver,
                "LSAN_OPTIONS": f"suppressions={ROOT}/tests/lsan.supp:print_suppressions=0",
                "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1"}

    def start(self, *arguments):
        if not self.config.exists():
            self.configure()
        self.proc = Proc("display", [PROGRAMS["helio-display"], "--config", self.config, *arguments], self.folder,
                         env=self.environment("x11")).start()
        self.proc.wait_text(" START ", 10)
        return self

    def pictures(self, name, colours, w=W, h=H):
        d = self.folder / name
        d.mkdir(exist_ok=True)
        for i, colour in enumerate(colours, 1):
            if i % 2:
                jpeg_file(d / f"{i:04}-{colour}.jpg", w, h, COLOURS[colour])
            else:
                (d / f"{i:04}-{colour}.png").write_bytes(png_bytes(w, h, COLOURS[colour]))
        return d

    def playlist(self, d, package=PACKAGE_1, duration_ms=1000, transition_ms=300, command=None, spoil=False):
        text = f"helio-playlist 1\npackage\t{package}\tart\t1\ndir\t{d}\n"
        text += f"defaults\t{duration_ms}\t{transition_ms}\tfit\t000000\n"
        if command:
            self.command_n += 1
            text += f"command\t{self.command_n}\t" + "\t".join(command) + "\n"
        for path in sorted(p.name for p in d.iterdir()):
            text += f"image\t{path}\t0\t\t{path}\n"
        text += f"end\t{hashlib.sha256((text + ('x' if spoil else '')).encode()).hexdigest()}\n"
        (self.meet / "playlist.tmp").write_text(text)
        os.rename(self.meet / "playlist.tmp", self.meet / "playlist")

    def write(self, lines, name="playlist", spoil=False):
        """Any playlist: lines of fields."""
        text = "".join("\t".join(map(str, line)) + "\n" for line in lines)
        text += f"end\t{hashlib.sha256((text + ('x' if spoil else '')).encode()).hexdigest()}\n"
        (self.meet / "playlist.tmp").write_text(text)
        os.rename(self.meet / "playlist.tmp", self.meet / name)

    def grab(self):
        """The whole screen as a person sees it: rows of RGB, by ffmpeg."""
        done = subprocess.run(["ffmpeg", "-loglevel", "error", "-f", "x11grab", "-draw_mouse", "0", "-video_size",
                               f"{self.width}x{self.height}", "-i", self.screen, "-frames:v", "1", "-f", "rawvideo",
                               "-pix_fmt", "rgb24", "-"], stdout=subprocess.PIPE, check=True)
        size = self.width * 3
        return [done.stdout[y * size:(y + 1) * size] for y in range(self.height)]

    def status(self):
        try:
            lines = (self.meet / "status").read_text().splitlines()
        except FileNotFoundError:
            return {}
        out = {"faults": [line.split("\t")[1:] for line in lines if line.startswith("fault\t")]}
        out.update({line.split("\t")[0]: line.split("\t")[1] for line in lines if not line.startswith("fault\t")})
        return out

    def rows(self):
        path = self.meet / "shown.log"
        text = path.read_text() if path.exists() else ""
        assert text == "" or text.endswith("\n")
        rows = [line.split("\t") for line in text.splitlines()]
        assert all(len(r) == 10 for r in rows), rows
        return rows

    def shown(self):
        return [re.search(r"image=(\S+)", line).group(1) for line in self.proc.lines(" SHOWING ")]

    def screenshot(self, path=None):
        path = path or self.meet / "screenshot.png"
        path.unlink(missing_ok=True)
        os.kill(self.proc.pid, signal.SIGUSR1)
        wait_for(path.exists, 5, "a screenshot")
        return png_pixels(path)

    def watch(self, seconds):
        """Black stretches that a camera before the screen would see, and the frames it took."""
        done = subprocess.run(
            ["ffmpeg", "-nostats", "-f", "x11grab", "-framerate", "60", "-video_size", f"{self.width}x{self.height}", "-t",
             str(seconds), "-i", self.screen, "-vf", "blackdetect=d=0.01:pic_th=0.90:pix_th=0.10", "-f", "null",
             "-"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds + 30)
        assert done.returncode == 0, done.stdout
        frames = re.findall(r"frame=\s*(\d+)", done.stdout)
        return done.stdout.count("black_start"), int(frames[-1])

    def end(self):
        if self.proc:
            self.proc.kill()
        self.x.terminate()
        self.x.wait()


class Peak:
    """Highest memory of the display's processes that decode, seen every 2 ms."""

    def __init__(self, stage):
        self.keeper = next(int(p) for p in pathlib.Path(f"/proc/{stage.proc.pid}/task/{stage.proc.pid}/children").read_text().split())
        self.kib, self.children, self.ended = 0, set(), False
        self.thread = threading.Thread(target=self.look)
        self.thread.start()

    def look(self):
        while not self.ended:
            try:
                for child in pathlib.Path(f"/proc/{self.keeper}/task/{self.keeper}/children").read_text().split():
                    status = pathlib.Path(f"/proc/{child}/status").read_text()
                    self.kib = max(self.kib, int(re.search(r"VmHWM:\s+(\d+)", status).group(1)))
                    self.children.add(child)
            except (OSError, AttributeError):
                pass
            time.sleep(0.002)

    def end(self):
        self.ended = True
        self.thread.join()
        return self.kib


def huge_png(path, side):
    """100 megapixels in three blocks of one colour, 0.4 MB: a bomb for who decodes it whole."""
    pack = zlib.compressobj(1)
    third, data = side // 3, b""
    for y in range(side):
        colour = (COLOURS["red"], COLOURS["green"], COLOURS["blue"])[min(y // third, 2)]
        data += pack.compress(b"\0" + bytes(colour) * side)
    data += pack.flush()

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
                     + chunk(b"IDAT", data) + chunk(b"IEND", b""))


def huge_jpeg(path, side):
    subprocess.run(["ffmpeg", "-loglevel", "error", "-y", "-f", "lavfi", "-i", f"color=c=0xe68c1e:s={side}x{side}",
                    "-frames:v", "1", "-q:v", "3", str(path)], check=True)
