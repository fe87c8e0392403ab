"""C1, C2: every picture that a careless program shows wrongly or dies of, as a file: taken in by the publisher, and, as if it had
come past it, put before a display. ffmpeg says what was made of it, and what is to be seen; each file is made by program."""
import json
import subprocess

import pytest

from lib.fleet import Fleet
from lib.screen import Camera, near
from lib.stage import PACKAGE_1, PACKAGE_2, Stage
from lib.traps import QUARTERS, traps
from lib.wait import wait_for

BACK = (255, 0, 255)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return traps(tmp_path_factory.mktemp("traps") / "made")


def files(found, folder):
    folder.mkdir()
    for trap in found:
        (folder / trap.name).write_bytes(trap.data)
    return folder


# ---------------------------------------------------------------- taken in

def size_of(data):
    """By the headers alone."""
    if data[:3] != b"\xff\xd8\xff":
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    at = data.index(b"\xff\xc0") + 5
    return int.from_bytes(data[at + 2:at + 4], "big"), int.from_bytes(data[at:at + 2], "big")


def is_plain(data):
    """Whether it is what devices are sent: a baseline JPEG without notes, or a PNG of 8 bits without any."""
    if data[:3] == b"\xff\xd8\xff":
        at, kinds = 2, set()
        while data[at + 1] != 0xda:
            kinds.add(data[at + 1])
            at += 2 + int.from_bytes(data[at + 2:at + 4], "big")
        return kinds <= {0xe0, 0xee, 0xdb, 0xc0, 0xc4, 0xdd} and 0xc0 in kinds and data[-2:] == b"\xff\xd9"
    chunks, at = [], 8
    while at < len(data):
        chunks.append(data[at + 4:at + 8])
        at += 12 + int.from_bytes(data[at:at + 4], "big")
    return set(chunks) <= {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"} and data[24] <= 8 and data[28] == 0 and chunks[-1] == b"IEND"


def decoded(paths, folder):
    """RGBA of each, by one ffmpeg."""
    folder.mkdir()
    reads = [word for path in paths for word in ("-f", "png_pipe" if path.read_bytes()[:4] == b"\x89PNG" else "jpeg_pipe", "-i", str(path))]
    writes = [w for i in range(len(paths)) for w in ("-map", str(i), "-f", "rawvideo", "-pix_fmt", "rgba", str(folder / str(i)))]
    subprocess.run(["ffmpeg", "-loglevel", "error", *reads, *writes], check=True)
    return [(folder / str(i)).read_bytes() for i in range(len(paths))]


def middles(pixels, size, channels):
    """The pixel in the middle of each quarter."""
    w, h = size
    assert len(pixels) == w * h * channels, (len(pixels), size)
    at = [((h * y // 4) * w + w * x // 4) * channels for y in (1, 3) for x in (1, 3)]
    return [tuple(pixels[a:a + channels]) for a in at]


def as_meant(trap, stored, pixels):
    seen = middles(pixels, size_of(stored), 4)
    same = all(p[3] == 0 if i in trap.clear else p[3] == 255 and near(p, trap.colours[i], trap.near) for i, p in enumerate(seen))
    return size_of(stored) == trap.size and is_plain(stored) and same


def test_S001_c9a_every_file_of_the_traps_is_made_upright_and_plain_or_refused(found, tmp_path):
    fleet = Fleet(tmp_path / "fleet", data_brokers=("da",), clients=())
    try:
        fleet.brokers()
        fleet.publisher()
        folder = files(found, tmp_path / "in")
        said = json.loads(fleet.ctl("image", "add", folder, check=False).stdout)["images"]
        said = {one["file"].rsplit("/", 1)[1]: one for one in said}
        told = {name: {"error": one["error"]} if "error" in one else one for name, one in said.items()}
        for trap in found:      # a folder is searched for pictures by their endings; what has another is named
            if trap.name not in said:
                one = json.loads(fleet.ctl("image", "add", folder / trap.name, check=False).stdout)["images"][0]
                told[trap.name] = {"error": one["error"]} if "error" in one else one
    finally:
        fleet.down()
    good = [t for t in found if t.colours]
    wrong = [(t.name, told[t.name]) for t in found if bool(t.colours) == ("error" in told[t.name])]
    wrong += [(t.name, told[t.name]) for t in found if not t.colours and (t.refused not in told[t.name].get("error", "") or len(told[t.name]["error"]) < 10)]
    assert not wrong, wrong
    blobs = [fleet.folder / "pub/images" / told[t.name]["image"][:2] / told[t.name]["image"] for t in good]
    pixels = decoded(blobs, tmp_path / "out")
    wrong = [(t.name, middles(p, size_of(b.read_bytes()), 4)) for t, b, p in zip(good, blobs, pixels) if not as_meant(t, b.read_bytes(), p)]
    assert not wrong, wrong
    # The control: what went in is not what is asked for, where it is to be turned, mixed or made plain.
    assert not [t.name for t in good if t.name.startswith("held-") and not t.name.startswith("held-1") and is_plain(t.data)]
    assert not any(is_plain(t.data) for t in good if t.name.split(".")[0] in ("progressive", "arithmetic", "coarse", "interlaced", "16-bit", "animation"))
    # The same picture in other clothes is one picture.
    assert len({told[n]["image"] for n in ("rgb.png", "behind-its-end.png", "animation-hidden.png")}) == 1


# ---------------------------------------------------------------- before a screen

def head(d, package):
    return [("helio-playlist", 2), ("package", package, "art", 1), ("dir", d), ("defaults", 3_600_000, 0, "stretch", "%02x%02x%02x" % BACK)]


def lines(names, duration_ms=0):
    return [("image", name, duration_ms, "", "", 0, 1, 0, 0) for name in names]


def test_S001_c9h_every_file_of_the_traps_is_shown_as_it_is_or_passed_over(found, tmp_path):
    d = files(found, tmp_path / "one")
    stage = Stage(tmp_path / "stage", 320, 240)
    stage.name, camera = stage.screen, None
    try:
        stage.write(head(d, PACKAGE_1) + lines(["rgb.png"], 250))
        stage.start()
        wait_for(lambda: stage.status().get("state") == "showing", 10)
        camera = Camera(stage, fps=50)
        none_is_seen(stage, camera, d, [t for t in found if not t.colours or t.display and t.display != "-"])
        # Upright ones only: what orientation a file asks for is looked at by the publisher.
        each_is_seen(stage, camera, d, [t for t in found if t.colours and not t.display],
                     next(t for t in found if t.name == "held-3.jpg"))
    finally:
        if camera:
            camera.end()
        stage.end()


def none_is_seen(stage, camera, d, bad):
    """Among them a good one, again and again: each other is tried once, told, and never seen."""
    stage.write(head(d, PACKAGE_2) + lines(["rgb.png"], 250) + lines((t.name for t in bad), 250))
    names, seen = {t.name for t in bad}, set()

    def told():
        seen.add(tuple(middles(camera.frame(), (320, 240), 3)))
        return names <= {r[3] for r in stage.rows() if r[8] == "failed"}
    wait_for(told, 30, "each was tried", every=0)
    assert seen == {QUARTERS}, seen
    assert {r[3] for r in stage.rows() if r[8] in ("whole", "cut")} == {"rgb.png"}
    said = stage.proc.lines("PICTURE-UNREADABLE")
    said = {t.name: [line for line in said if f" what={t.name} " in line] for t in bad}
    wrong = [(t.name, said[t.name]) for t in bad if len(said[t.name]) != 1 or t.display not in said[t.name][0]]
    assert not wrong, wrong


def each_is_seen(stage, camera, d, good, turned):
    names, faults = [t.name for t in [*good, turned]], len(stage.proc.lines("PICTURE-UNREADABLE"))
    # The control: one that was stored upside down is seen so.
    cases = [(t.name, t.near, [BACK if i in t.clear else c for i, c in enumerate(t.colours)]) for t in good]
    cases.append((turned.name, turned.near, turned.colours[::-1]))
    for n, (name, distance, want) in enumerate(cases, 1):
        stage.write([*head(d, "3" * 64), ("command", n, "show", n)] + lines(names))

        def seen():
            return stage.status().get("image"), middles(camera.frame(), (320, 240), 3)

        def is_seen():
            shown, pixels = seen()
            return shown == name and all(near(p, c, max(2, distance)) for p, c in zip(pixels, want))
        try:
            wait_for(is_seen, 10, name, every=0)
        except AssertionError:
            raise AssertionError((name, want, seen())) from None
    assert len(stage.proc.lines("PICTURE-UNREADABLE")) == faults and len(good) > 30
