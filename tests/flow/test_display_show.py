"""What is shown when, and how it lies on the screen: hours, dates, orders, moments, fits, screens on their side, huge
pictures. Another program's eye (ffmpeg on the X screen) is the witness; what it should see is computed here."""
import os
import pathlib
import re
import struct
import threading
import time
import zlib

import pytest

from lib.screen import Eye
from lib.stage import COLOURS, PACKAGE_1, PACKAGE_2, Peak, Stage, huge_jpeg, huge_png, png_bytes
from lib.wait import wait_for

DAY_MS = 86_400_000


@pytest.fixture
def stages(folder):
    made = []

    def make(width=320, height=180):
        made.append(Stage(folder / f"stage-{len(made)}", width, height))
        return made[-1]
    yield make
    for s in made:
        s.end()


def now_ms():
    return time.time_ns() // 1_000_000


def head(d, package=PACKAGE_1, duration_ms=1000, transition_ms=0, fit="fit", background="000000"):
    return [("helio-playlist", 2), ("package", package, "art", 1), ("dir", d),
            ("defaults", duration_ms, transition_ms, fit, background)]


def plain(stage, name, colours):
    d = stage.folder / name
    d.mkdir()
    for i, colour in enumerate(colours, 1):
        (d / f"{i:04}-{colour}.png").write_bytes(png_bytes(64, 36, COLOURS[colour]))
    return d


def shown(stage):
    return [re.match(r"\d+-(\w+)\.", name).group(1) for name in stage.shown()]


# ---------------------------------------------------------------- when

def test_S001_c9h_dates_and_hours_are_kept_on_the_device_and_nothing_valid_is_the_waiting_picture(stages):
    stage = stages()
    d = plain(stage, "one", ["red", "green", "blue", "white"])
    now = now_ms()
    minute = now // 60_000 % 1440
    closed = f"127:{(minute + 120) % 1440}-{(minute + 240) % 1440}"
    lines = head(d, duration_ms=500, background="ff00ff") + [
        ("order", "list", 0, "UTC"), ("group", "later", 0, "", 1, 0, 0, closed),
        ("image", "0001-red.png", 0, "", "r", 0, 1, 0, now + 4000),
        ("image", "0002-green.png", 0, "", "g", 1, 1, 0, 0),              # two hours from now
        ("image", "0003-blue.png", 0, "", "b", 0, 1, 0, now - 1000),      # over
        ("image", "0004-white.png", 0, "", "w", 0, 1, now + 6500, 0)]     # begins later
    stage.write(lines)
    stage.start()
    black = []
    eye = threading.Thread(target=lambda: black.append(stage.watch(7)))
    wait_for(lambda: stage.status().get("state") == "showing", 5)
    eye.start()     # before the first window there is only the bare screen
    assert shown(stage) == ["red"]
    wait_for(lambda: stage.status().get("state") == "waiting", 5, "the end of the last one")
    assert abs(now_ms() - (now + 4000)) < 2000
    sky = {bytes(row[x * 3:x * 3 + 3]) for row in stage.grab()[::7] for x in range(0, 320, 7)}
    assert len(sky) > 100, "the waiting picture is no plain colour"
    wait_for(lambda: shown(stage)[-1] == "white", 5, "what begins later")
    assert abs(now_ms() - (now + 6500)) < 2000
    eye.join()
    assert black[0][0] == 0 and black[0][1] > 100
    assert set(shown(stage)) == {"red", "white"}
    assert not [r for r in stage.rows() if r[3] == "0001-red.png" and int(r[4]) + int(r[5]) > now + 5000]


def test_S001_c9h_a_wrong_clock_shows_what_is_known_to_be_valid_and_the_servers_time_counts(stages):
    stage = stages()
    d = plain(stage, "one", ["red", "green", "blue", "white"])
    now = now_ms()
    far = now + 400 * DAY_MS
    stage.write(head(d, duration_ms=400) + [
        ("image", "0001-red.png", 0, "", "r", 0, 1, 0, now + 200 * DAY_MS),
        ("image", "0002-green.png", 0, "", "g", 0, 1, far - DAY_MS, 0)])
    stage.start()
    wait_for(lambda: shown(stage) == ["red"], 5)
    # The agent tells what the server says: it is more than a year later, and this machine's clock is wrong.
    boot = pathlib.Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
    mono = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def tell(text):
        (stage.meet / "clock.tmp").write_text(text)
        os.rename(stage.meet / "clock.tmp", stage.meet / "clock")
    tell(f"server\t{boot}\t{far - mono}\nfloor\t{far}\n")
    wait_for(lambda: shown(stage)[-1] == "green", 5, "what holds by the server's time")
    wait_for(lambda: len([r for r in stage.rows() if r[3] == "0002-green.png"]) >= 2, 5)
    row = stage.rows()[-1]
    assert row[6] == "2" and abs(int(row[4]) - far) < 60_000
    # Another boot's offset says nothing; the floor does: what was over then does not come again.
    tell(f"server\t{'0' * 32}\t{far - mono}\nfloor\t{far}\n")
    n = len(stage.rows())
    wait_for(lambda: len(stage.rows()) >= n + 3, 5)
    assert shown(stage)[-1] == "green" and stage.rows()[-1][6] in "13"


def test_S001_c9h_a_shuffle_shows_each_once_a_round_and_goes_on_after_a_restart(stages):
    stage = stages()
    colours = list(COLOURS)
    d = plain(stage, "one", colours)
    stage.write(head(d, duration_ms=250) + [("order", "shuffle", 7, "")]
                + [("image", f"{i:04}-{c}.png", 0, "", c, 0, 1, 0, 0) for i, c in enumerate(colours, 1)])
    stage.start()
    wait_for(lambda: len(shown(stage)) >= 14, 10)
    first = shown(stage)
    for round_ in (first[:6], first[6:12]):
        assert sorted(round_) == sorted(colours)
    assert first[:6] != first[6:12] and all(a != b for a, b in zip(first, first[1:]))
    assert stage.proc.stop() == 0
    before = shown(stage)
    stage.start()
    wait_for(lambda: len(shown(stage)) >= len(before) + 6, 10)
    after = shown(stage)[len(before):]
    # The round goes on: of what is left of it nothing was shown before the stop.
    left = -len(before) % 6
    assert not set(before[len(before) // 6 * 6:]) & set(after[:left]), (before, after)
    stage.proc.stop()
    n = len(shown(stage))
    # Another seed, another order.
    (stage.meet / "show.place").unlink()
    stage.write(head(d, duration_ms=250) + [("order", "shuffle", 8, "")]
                + [("image", f"{i:04}-{c}.png", 0, "", c, 0, 1, 0, 0) for i, c in enumerate(colours, 1)])
    stage.start()
    wait_for(lambda: len(shown(stage)) >= n + 6, 10)
    assert shown(stage)[n:n + 6] != first[:6]


# ---------------------------------------------------------------- at one moment

@pytest.mark.long   # test_s001_moment.py has its short sibling
def test_S001_c9h_two_displays_change_at_the_same_moment(stages):
    both = [stages(), stages()]
    for s, offset in zip(both, (0, 300)):
        one, two = plain(s, "one", ["red"]), plain(s, "two", ["white"])
        # Pictures of different lengths: without a moment they would change apart.
        s.write(head(one, duration_ms=60_000 + offset) + [("image", "0001-red.png", 0, "", "r", 0, 1, 0, 0)])
        s.start()
    for s in both:
        wait_for(lambda: s.status().get("state") == "showing", 5)
    apart, late = [], []
    for n in range(3):
        colour = "white" if n % 2 == 0 else "red"
        moment = now_ms() + 1900
        eyes = [Eye(s.screen, (320, 180), COLOURS[colour], 2.6) for s in both]
        for s in both:
            folder = s.folder / ("two" if n % 2 == 0 else "one")
            s.write(head(folder, package=f"{n + 3}" * 64, duration_ms=60_000)
                    + [("activate", moment), ("image", f"0001-{colour}.png", 0, "", "", 0, 1, 0, 0)], "playlist.next")
        at = [e.end() for e in eyes]
        assert None not in at, "a screen did not change"
        apart.append(abs(at[0] - at[1]))
        late.append(max(abs(a - moment) for a in at))
        for s in both:   # as the agent does it: the list becomes the present one
            os.rename(s.meet / "playlist.next", s.meet / "playlist")
    # A machine that is busy elsewhere may hold one of them up once.
    assert sorted(apart)[1] <= 50 and sorted(late)[1] <= 60, (apart, late)
    for s in both:
        assert [r[2][:1] for r in s.rows()] == ["1", "3", "4"] and s.status()["package"] == "5" * 64


def test_S001_c9h_a_moment_that_passed_while_it_was_off_counts_and_a_bad_list_for_later_does_not(stages):
    stage = stages()
    one, two = plain(stage, "one", ["red"]), plain(stage, "two", ["green"])
    first = head(one) + [("image", "0001-red.png", 0, "", "r", 0, 1, 0, 0)]
    later = head(two, PACKAGE_2) + [("activate", now_ms() - 5000), ("image", "0001-green.png", 0, "", "g", 0, 1, 0, 0)]
    stage.write(first)
    stage.write(later, "playlist.next", spoil=True)
    stage.start()
    wait_for(lambda: stage.status().get("package") == PACKAGE_1, 5)
    assert stage.status()["faults"][0][1] == "playlist.next"
    assert stage.proc.stop() == 0
    stage.write(later, "playlist.next")
    stage.start()
    wait_for(lambda: stage.status().get("package") == PACKAGE_2, 5)
    assert shown(stage) == ["red", "green"]   # the one before the stop, the other after it


# ---------------------------------------------------------------- how it lies on the screen

def picture(w, h, pixel):
    raw = b"".join(b"\0" + b"".join(bytes(pixel(x, y)) for x in range(w)) for y in range(h))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(raw, 1)) + chunk(b"IEND", b""))


def coloured(x, y):
    """Every pixel says where it is."""
    return (x * 7 % 251, y * 5 % 241, (x // 16 * 40 + y // 16 * 90) % 256)


BACK = (0x20, 0x60, 0xa0)


def golden(fit, size, screen):
    """Pixel (x, y) of an upright screen, for sizes at which no mode has to mix pixels."""
    (w, h), (sw, sh) = size, screen
    if fit == "stretch":   # of one colour: only its place counts
        return lambda x, y: (90, 30, 200)
    if fit == "fit":       # of one colour
        scale = min(sw / w, sh / h)
        fw, fh = round(w * scale), round(h * scale)
        x0, y0 = (sw - fw) // 2, (sh - fh) // 2
        return lambda x, y: (90, 30, 200) if x0 <= x < x0 + fw and y0 <= y < y0 + fh else BACK
    x0, y0 = int((w - sw) / 2), int((h - sh) / 2)   # cropped when larger, in the middle when smaller

    def at(x, y):
        px, py = x + x0, y + y0
        return coloured(px, py) if 0 <= px < w and 0 <= py < h else BACK
    return at


def turned(at, rotate, w, h):
    """What the glass of w x h shows of an upright picture that is turned clockwise."""
    return {0: lambda x, y: at(x, y), 90: lambda x, y: at(y, w - 1 - x), 180: lambda x, y: at(w - 1 - x, h - 1 - y),
            270: lambda x, y: at(h - 1 - y, x)}[rotate]


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_S001_c9h_every_fit_is_exact_to_the_pixel_on_a_screen_turned_by(stages, rotate):
    w, h = 160, 96
    stage = stages(w, h)
    stage.configure(rotate=rotate)
    screen = (w, h) if rotate % 180 == 0 else (h, w)
    sw, sh = screen
    cases = [("fill", (sw + 34, sh)), ("fill", (sw, sh + 22)), ("center", (sw + 20, sh + 10)), ("center", (61, 31)),
             ("fit", (50, 20)), ("fit", (20, 50)), ("stretch", (30, 70)), ("fill", (sw, sh))]
    if rotate > 90:
        cases = cases[2:4] + cases[7:]
    d = stage.folder / "one"
    d.mkdir()
    for i, (fit, (pw, ph)) in enumerate(cases):
        flat = fit in ("fit", "stretch")
        (d / f"{i}.png").write_bytes(picture(pw, ph, (lambda x, y: (90, 30, 200)) if flat else coloured))
    started = False
    for i, (fit, size) in enumerate(cases):
        package = f"{i + 1:x}" * 64
        stage.write(head(d, package, duration_ms=250, fit=fit, background="%02x%02x%02x" % BACK)
                    + [("image", f"{i}.png", 0, "", "", 0, 1, 0, 0)])
        if not started:
            stage.start()
            started = True
        wait_for(lambda: stage.status().get("package") == package, 10, f"{fit} {size}")
        at = turned(golden(fit, size, screen), rotate, w, h)
        want = [b"".join(bytes(at(x, y)) for x in range(w)) for y in range(h)]
        seen = stage.grab()
        wrong = [(x, y, tuple(seen[y][x * 3:x * 3 + 3]), at(x, y)) for y in range(h) if seen[y] != want[y]
                 for x in range(w) if seen[y][x * 3:x * 3 + 3] != want[y][x * 3:x * 3 + 3]]
        assert not wrong, (fit, size, len(wrong), wrong[:4])
    # A screenshot is upright, whatever the screen: of the last case it is the picture itself.
    shot_w, shot_h, rows = stage.screenshot()
    assert (shot_w, shot_h) == screen
    assert rows == [b"".join(bytes(coloured(x, y)) for x in range(sw)) for y in range(sh)]


# ---------------------------------------------------------------- huge pictures

def test_S001_c9h_pictures_of_a_hundred_megapixels_are_shown_in_bounded_memory(stages):
    stage = stages(640, 360)
    d = stage.folder / "one"
    d.mkdir()
    huge_png(d / "0001-huge.png", 10_000)
    huge_jpeg(d / "0002-huge.jpg", 10_000)
    (d / "0003-small.png").write_bytes(png_bytes(64, 36, COLOURS["white"]))
    small = head(d, PACKAGE_2) + [("image", "0003-small.png", 0, "", "", 0, 1, 0, 0)]
    stage.write(small)
    stage.start()
    wait_for(lambda: stage.status().get("state") == "showing", 5)
    peak = Peak(stage)
    stage.write(head(d, duration_ms=300, fit="fill")
                + [("image", f"000{n}-huge.{kind}", 0, fit, "", 0, 1, 0, 0)
                   for fit in ("fill", "fit", "center") for n, kind in ((1, "png"), (2, "jpg"))])
    wait_for(lambda: len([r for r in stage.rows() if r[2] == PACKAGE_1]) >= 6, 60, "six huge pictures")
    kib = peak.end()
    assert not stage.status()["faults"]
    display = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{stage.proc.pid}/status").read_text()).group(1))
    assert len(peak.children) >= 4, "the witness saw nothing"
    # Whole, one of them would take 400 MB. A frame of 640 x 360 and the program itself are in it.
    assert 1000 < kib < 48 * 1024 and display < 160 * 1024
