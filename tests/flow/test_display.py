"""The display alone, in a real window on an X server of its own, without an agent: the test writes the
playlist. Needs Xvfb and ffmpeg (x11grab and blackdetect are the witness that no frame is black); both are
named in the list of test packages, and without them these tests fail, they are not skipped."""
import hashlib
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import threading
import time

import pytest

from lib.fleet import PROGRAMS
from lib.procs import Proc
from lib.stage import COLOURS, H, PACKAGE_1, PACKAGE_2, Stage, W, png_bytes, png_pixels
from lib.wait import stays, wait_for


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
        assert 950 <= int(row[5]) <= 3000       # a machine that is busy elsewhere may hold one of them up
        assert abs(int(before[4]) + int(before[5]) - int(row[4])) <= 50
    assert statistics.median(int(r[5]) for r in rows[:4]) <= 1200
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
    assert frames > 120, "the witness was asleep"
    shown = stage.shown()
    first = shown.index("0001-orange.jpg")
    assert set(shown[:first]) <= {"0001-red.jpg", "0002-green.png", "0003-blue.jpg"}
    assert shown[first:first + 3] == ["0001-orange.jpg", "0002-violet.png", "0001-orange.jpg"]
    # The old picture had its whole time.
    row = [r for r in stage.rows() if r[2] == PACKAGE_1][-1]
    assert 950 <= int(row[5]) <= 2500
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
    wait_for(lambda: "skipped" in {r[8] for r in stage.rows()}, 30, "a second round")
    wait_for(lambda: stage.rows()[-1][8] == "whole", 20, "the round's end")
    rows = stage.rows()
    assert {r[3] for r in rows if r[8] in ("whole", "cut")} == {"0001-red.jpg", "0002-green.png"}
    # Of what was not shown the ledger says so: tried once, then passed over in each round.
    bad = ["0003-blue.jpg", "0004-text.jpg", "0005-absent.png"]
    assert [r[3] for r in rows if r[8] == "failed"] == bad
    assert [r[3] for r in rows if r[8] == "skipped"][:3] == bad
    assert {(r[5], r[9]) for r in rows if r[8] in ("failed", "skipped")} == {("0", "unreadable")}
    assert all(int(r[5]) >= int(r[7]) == 400 and r[9] == "-" for r in rows if r[8] == "whole")
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
    assert all((r[8] == "cut") == (int(r[5]) < int(r[7])) == (r[9] != "-") for r in stage.rows())
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
    assert ["cut", "crash"] in [r[8:] for r in stage.rows()]


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
    assert time.monotonic() - begun < 5
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
