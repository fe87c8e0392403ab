"""The display alone, in a real window on an X server of its own, without an agent: the test writes the
playlist. Needs Xvfb and ffmpeg (x11grab and blackdetect are the witness that no frame is black); both are
named in the list of test packages, and without them these tests fail, they are not skipped."""
import hashlib
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import threading
import time
import zlib

import pytest

from lib.fleet import PROGRAMS, ROOT, ini
from lib.procs import Proc
from lib.wait import stays, wait_for

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

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.meet = self.folder / "display"
        self.meet.mkdir()
        self.config = self.folder / "display.ini"
        read, write = os.pipe()
        with open(self.folder / "xvfb.log", "ab") as out:
            self.x = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", f"{W}x{H}x24",
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
        assert all(len(r) == 7 for r in rows), rows
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
            ["ffmpeg", "-nostats", "-f", "x11grab", "-framerate", "60", "-video_size", f"{W}x{H}", "-t",
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


@pytest.fixture
def stage(folder):
    for program in ("Xvfb", "ffmpeg"):
        assert shutil.which(program), f"{program} is needed: apt-get install xvfb ffmpeg"
    s = Stage(folder)
    yield s
    s.end()


def middle(shot):
    w, h, rows = shot
    return tuple(rows[h // 2][w // 2 * 3:w // 2 * 3 + 3])


def near(a, b, tolerance=8):
    return all(abs(x - y) <= tolerance for x, y in zip(a, b))


# ---- tests

def test_S001_c9h_pictures_are_shown_in_order_and_the_ledger_names_them(stage):
    d = stage.pictures("one", ["red", "green", "blue"])
    stage.playlist(d)
    stage.start()
    wait_for(lambda: len(stage.rows()) >= 4, 10, "four rows")
    rows = stage.rows()
    assert [r[3] for r in rows[:4]] == ["0001-red.jpg", "0002-green.png", "0003-blue.jpg", "0001-red.jpg"]
    assert [int(r[0]) for r in rows[:4]] == [1, 2, 3, 4]
    for before, row in zip(rows, rows[1:4]):
        assert row[2] == PACKAGE_1 and re.fullmatch(r"[0-9a-f]{32}", row[1]) and row[6] in "13"
        # Each for its second, and one begins where the other ends.
        assert 950 <= int(row[5]) <= 1200
        assert abs(int(before[4]) + int(before[5]) - int(row[4])) <= 50
    assert stage.proc.stop() == 0
    assert not (stage.meet / "status").exists()


def test_S001_c9h_the_screen_shows_the_picture_that_the_status_names(stage):
    d = stage.pictures("one", ["red", "green", "blue"])
    stage.playlist(d, transition_ms=0, duration_ms=3000)
    stage.start()
    for _ in range(2):
        wait_for(lambda: stage.status().get("state") == "showing", 5)
        name = stage.status()["image"]
        shot = stage.screenshot()
        if stage.status()["image"] == name:
            colour = re.match(r"\d+-(\w+)\.", name).group(1)
            assert near(middle(shot), COLOURS[colour]), (name, middle(shot))
            assert (shot[0], shot[1]) == (W, H)
            assert stage.status()["package"] == PACKAGE_1
        wait_for(lambda: stage.status().get("image") != name, 5)
    # What a person would see, by another program.
    grab = subprocess.run(["ffmpeg", "-loglevel", "error", "-f", "x11grab", "-video_size", f"{W}x{H}", "-i",
                           stage.screen, "-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"],
                          stdout=subprocess.PIPE, check=True).stdout
    at = (H // 2 * W + W // 2) * 3
    assert any(near(grab[at:at + 3], c) for c in COLOURS.values()), tuple(grab[at:at + 3])


def test_S001_c9h_a_new_package_comes_without_a_black_frame_and_its_old_files_may_go(stage):
    one = stage.pictures("one", ["red", "green", "blue"])
    two = stage.pictures("two", ["orange", "violet"])
    stage.playlist(one)
    stage.start()
    wait_for(lambda: stage.status().get("state") == "showing", 5)

    def switch():
        time.sleep(2.35)   # in the middle of a picture's time
        stage.playlist(two, PACKAGE_2)
        shutil.rmtree(one)
    thread = threading.Thread(target=switch)
    thread.start()
    black, frames = stage.watch(6)
    thread.join()
    assert black == 0
    assert frames > 200, "the witness was asleep"
    shown = stage.shown()
    first = shown.index("0001-orange.jpg")
    assert set(shown[:first]) <= {"0001-red.jpg", "0002-green.png", "0003-blue.jpg"}
    assert shown[first:first + 3] == ["0001-orange.jpg", "0002-violet.png", "0001-orange.jpg"]
    # The old picture had its whole time.
    row = [r for r in stage.rows() if r[2] == PACKAGE_1][-1]
    assert 950 <= int(row[5]) <= 1300
    assert stage.status()["package"] == PACKAGE_2


def test_S001_c9h_the_witness_sees_a_black_frame_when_there_is_one(stage):
    d = stage.folder / "black"
    d.mkdir()
    (d / "0001-a.png").write_bytes(png_bytes(W, H, COLOURS["red"]))
    (d / "0002-b.png").write_bytes(png_bytes(30, 30, (0, 0, 0)))   # black with a small grey edge
    stage.playlist(d, transition_ms=0, duration_ms=300)
    text = (stage.meet / "playlist").read_text().replace("\tfit\t000000", "\tcenter\t000000")
    text = text[:text.rindex("end\t")]
    (stage.meet / "playlist").write_text(text + f"end\t{hashlib.sha256(text.encode()).hexdigest()}\n")
    stage.start()
    wait_for(lambda: stage.status().get("state") == "showing", 5)
    black, _ = stage.watch(2)
    assert black >= 1


def test_S001_c9h_a_truncated_picture_is_passed_over_and_reported(stage):
    d = stage.pictures("one", ["red", "green", "blue"])
    whole = (d / "0003-blue.jpg").read_bytes()
    (d / "0003-blue.jpg").write_bytes(whole[:len(whole) * 2 // 3])
    (d / "0004-text.jpg").write_text("this is not a picture")
    (d / "0005-absent.png").symlink_to("/nonexistent")
    stage.playlist(d, duration_ms=400, transition_ms=100)
    stage.start()
    wait_for(lambda: len(stage.rows()) >= 5, 10, "five rows")
    assert {r[3] for r in stage.rows()} == {"0001-red.jpg", "0002-green.png"}
    faults = {f[1]: f[2] for f in stage.status()["faults"]}
    assert "cut or damaged" in faults["0003-blue.jpg"]
    assert "neither JPEG nor PNG" in faults["0004-text.jpg"]
    assert "cannot open" in faults["0005-absent.png"]
    assert len(stage.proc.lines("PICTURE-UNREADABLE")) == 3, "each is reported once, not each round"


def test_S001_c9h_an_unverified_playlist_is_refused_and_the_old_one_goes_on(stage):
    one = stage.pictures("one", ["red", "green"])
    two = stage.pictures("two", ["orange", "violet"])
    stage.playlist(one, duration_ms=500, transition_ms=100)
    stage.start()
    wait_for(lambda: len(stage.rows()) >= 1, 5)
    stage.playlist(two, PACKAGE_2, duration_ms=500, spoil=True)
    stage.proc.wait_text("PLAYLIST-REFUSED", 5)
    assert "does not match its end line" in stage.proc.lines("PLAYLIST-REFUSED")[0]
    n = len(stage.rows())
    wait_for(lambda: len(stage.rows()) >= n + 3, 5)
    assert all(r[2] == PACKAGE_1 for r in stage.rows())
    assert stage.status()["faults"][-1][1] == "playlist"
    # Started again with the bad playlist in place, it shows the last good one.
    assert stage.proc.stop() == 0
    stage.start()
    wait_for(lambda: stage.status().get("state") == "showing", 5)
    assert stage.status()["package"] == PACKAGE_1
    assert stage.proc.lines("PLAYLIST-KEPT")


def test_S001_c9h_nothing_to_show_is_a_waiting_picture_not_a_blank_one(stage):
    stage.start("--screenshot", stage.folder / "waiting.png")
    path = stage.folder / "waiting.png"
    wait_for(path.exists, 5, "a screenshot")
    w, h, rows = png_pixels(path)
    assert (w, h) == (W, H)
    colours = {rows[y][x * 3:x * 3 + 3] for y in range(0, h, 5) for x in range(0, w, 5)}
    assert len(colours) > 500, "a gradient has many colours"
    assert stage.status()["state"] == "waiting" and "image" not in stage.status()
    # A show that comes and goes: the waiting picture comes back.
    d = stage.pictures("one", ["red"])
    stage.playlist(d, duration_ms=500, transition_ms=100)
    wait_for(lambda: stage.status().get("state") == "showing", 5)
    (stage.meet / "playlist").unlink()
    wait_for(lambda: stage.status().get("state") == "waiting", 5)
    assert not near(middle(stage.screenshot(path)), COLOURS["red"])


def test_S001_c9h_pause_resume_and_show_are_obeyed(stage):
    d = stage.pictures("one", ["red", "green", "blue", "white"])
    stage.playlist(d, duration_ms=600, transition_ms=100)
    stage.start()
    wait_for(lambda: len(stage.shown()) >= 2, 5)
    stage.playlist(d, duration_ms=600, transition_ms=100, command=["pause"])
    wait_for(lambda: stage.status().get("state") == "paused", 5)
    held = stage.status()["image"]
    stays(lambda: stage.status()["image"] == held, 1.5)
    stage.playlist(d, duration_ms=600, transition_ms=100, command=["show", "0004-white.png"])
    wait_for(lambda: stage.status()["image"] == "0004-white.png", 5)
    assert stage.status()["state"] == "paused"
    stage.playlist(d, duration_ms=600, transition_ms=100, command=["show", "3"])
    wait_for(lambda: stage.status()["image"] == "0003-blue.jpg", 5)
    stage.playlist(d, duration_ms=600, transition_ms=100, command=["resume"])
    wait_for(lambda: stage.status()["state"] == "showing" and stage.status()["image"] == "0001-red.jpg", 5)
    row = [r for r in stage.rows() if r[3] == held][-1]
    assert int(row[5]) >= 1500, "a held picture counts for as long as it was held"
    stage.playlist(d, duration_ms=600, transition_ms=100, command=["show", "nowhere"])
    stage.proc.wait_text("COMMAND-REFUSED", 5)


def test_S001_c9h_kill_9_keeps_the_ledger_readable_and_its_numbers_rising(stage):
    d = stage.pictures("one", ["red", "green", "blue"])
    stage.playlist(d, duration_ms=300, transition_ms=100)
    for i in range(6):
        stage.start()
        n = len(stage.rows())
        wait_for(lambda: len(stage.rows()) > n + 1, 10)
        time.sleep(0.07 * i)
        stage.proc.kill()
        # A last line torn by a power cut.
        if i % 2:
            with open(stage.meet / "shown.log", "ab") as f:
                f.write(b"99999\tdeadbeef\t" + b"0" * (i * 10))
            stage.start()
            wait_for(lambda: stage.status().get("pid") == str(stage.proc.pid), 5)
            stage.proc.kill()
    numbers = [int(r[0]) for r in stage.rows()]
    assert numbers == list(range(1, len(numbers) + 1)), "no gap and no double"
    assert len(stage.proc.lines("LEDGER-TAKEN-OVER")) >= 5, "the picture that ran at the kill counts too"


def test_S001_c9h_a_killed_decoder_does_not_stop_the_show(stage):
    d = stage.pictures("one", ["red", "green", "blue"])
    stage.playlist(d, duration_ms=500, transition_ms=100)
    stage.start()
    wait_for(lambda: len(stage.rows()) >= 1, 5)
    keeper = subprocess.run(["pgrep", "-P", str(stage.proc.pid)], stdout=subprocess.PIPE, text=True).stdout.split()
    assert len(keeper) == 1
    os.kill(int(keeper[0]), signal.SIGKILL)
    stage.proc.wait_text("DECODER-RESTARTED", 10)
    n = len(stage.shown())
    wait_for(lambda: len(stage.shown()) >= n + 4, 10)
    assert stage.shown()[-4:] != [stage.shown()[-1]] * 4


def test_S001_c9h_between_pictures_it_sleeps(stage):
    d = stage.pictures("one", ["red", "green"])
    stage.configure(level="info")
    stage.playlist(d, duration_ms=60000, transition_ms=200)
    stage.start()
    wait_for(lambda: stage.status().get("state") == "showing", 5)
    time.sleep(1)   # the next one is decoded

    def ticks():
        return sum(int(v) for v in pathlib.Path(f"/proc/{stage.proc.pid}/stat").read_text().split()[13:15])
    before = ticks()
    time.sleep(5)
    assert ticks() - before <= 5, "more than 1 % of a CPU while nothing moves"


def test_S001_c9h_a_fade_is_smooth_and_does_not_spin(stage):
    d = stage.pictures("one", ["red", "green"])
    stage.configure(level="info")
    stage.playlist(d, duration_ms=4000, transition_ms=2000)
    stage.start()
    wait_for(lambda: len(stage.shown()) == 2, 10)
    before = pathlib.Path(f"/proc/{stage.proc.pid}/status").read_text()
    grab = subprocess.run(["ffmpeg", "-loglevel", "error", "-f", "x11grab", "-framerate", "60", "-video_size", "2x2",
                           "-grab_x", str(W // 2), "-grab_y", str(H // 2), "-t", "1.2", "-i", stage.screen,
                           "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], stdout=subprocess.PIPE, check=True).stdout
    reds = [grab[i] for i in range(0, len(grab), 12)]
    assert reds == sorted(reds, reverse=True), "red only falls while green rises"
    assert len(set(reds)) >= 20, "many steps, not a jump"
    after = pathlib.Path(f"/proc/{stage.proc.pid}/status").read_text()

    def switches(text):
        return int(re.search(r"\nvoluntary_ctxt_switches:\s*(\d+)", text).group(1))
    # Some 60 frames a second, a few sleeps each.
    assert switches(after) - switches(before) < 1200


def test_S001_c9h_stopping_takes_less_than_five_seconds_also_while_fading(stage):
    d = stage.pictures("one", ["red", "green"])
    stage.playlist(d, duration_ms=20000, transition_ms=10000)
    stage.start()
    wait_for(lambda: stage.shown(), 5)
    begun = time.monotonic()
    assert stage.proc.stop() == 0
    assert time.monotonic() - begun < 2
    assert stage.rows()[-1][3] == "0001-red.jpg"


@pytest.mark.parametrize("driver", ["offscreen", "dummy"])
def test_S001_c9h_works_without_any_screen(stage, driver):
    d = stage.pictures("one", ["red", "green"])
    stage.playlist(d, duration_ms=400, transition_ms=100)
    stage.configure(windowed="yes", width=W, height=H)
    stage.proc = Proc("display", [PROGRAMS["helio-display"], "--config", stage.config], stage.folder,
                      env=stage.environment(driver)).start()
    wait_for(lambda: len(stage.rows()) >= 2, 10)
    shot = stage.screenshot()
    assert (shot[0], shot[1]) == (W, H)
    assert stage.proc.stop() == 0


def test_S001_c9h_help_version_and_check_config(stage):
    def run(*arguments):
        return subprocess.run([PROGRAMS["helio-display"], *map(str, arguments)], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=10)
    stage.configure()
    assert "helio-display " in run("--version").stdout
    assert "--screenshot FILE" in run("--help").stdout
    assert run("--config", stage.config, "--check-config").returncode == 0
    stage.config.write_text("[display]\nfolder = /x\nfps = 1000\n")
    bad = run("--config", stage.config, "--check-config")
    assert bad.returncode == 2 and "fps" in bad.stderr
    assert run("--nonsense").returncode == 2


def test_S001_c9h_a_second_display_in_the_same_folder_is_refused(stage):
    stage.start()
    second = subprocess.run([PROGRAMS["helio-display"], "--config", stage.config], stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, timeout=10,
                            env={**os.environ, "SDL_VIDEODRIVER": "dummy"})
    assert second.returncode == 1 and "another process holds" in second.stdout
    assert stage.proc.alive()


def test_S001_c9h_the_log_level_is_read_again_on_sighup(stage):
    stage.configure(level="info")
    stage.start()
    stage.configure(level="debug")
    os.kill(stage.proc.pid, signal.SIGHUP)
    stage.proc.wait_text("LOG-LEVEL", 5)
    d = stage.pictures("one", ["red"])
    stage.playlist(d)
    stage.proc.wait_text("DECODED", 5)


@pytest.mark.sanitized
def test_S001_c9h_a_whole_show_is_without_a_fault_under_sanitizers(stage):
    program = PROGRAMS["helio-display"].read_bytes()
    assert b"__asan_init" in program and b"__ubsan_handle" in program, "this display was built without sanitizers"
    d = stage.pictures("one", ["red", "green", "blue", "white"])
    (d / "0003-blue.jpg").write_bytes((d / "0003-blue.jpg").read_bytes()[:600])
    stage.playlist(d, duration_ms=400, transition_ms=100)
    stage.start()
    wait_for(lambda: len(stage.rows()) >= 3 and stage.status().get("faults"), 40, "a round, and the damaged picture")
    stage.playlist(d, command=["pause"])
    wait_for(lambda: stage.status().get("state") == "paused", 20)
    stage.screenshot()
    other = stage.pictures("two", ["orange", "violet"])
    stage.playlist(other, package=PACKAGE_2, duration_ms=400, transition_ms=100, command=["resume"])
    wait_for(lambda: any(r[2] == PACKAGE_2 for r in stage.rows()), 30, "the other package")
    stage.playlist(other, package=PACKAGE_2, spoil=True)
    wait_for(lambda: stage.proc.lines("PLAYLIST-REFUSED"), 20, "an unverified playlist")
    os.kill(stage.proc.pid, signal.SIGTERM)
    assert stage.proc.p.wait(20) == 0, stage.proc.log.read_text()[-3000:]
    said = stage.proc.log.read_text()
    assert "Sanitizer" not in said and "runtime error" not in said, said[-3000:]
