"""The image store: content-addressed, edited, imported in bulk, and never rid of what something names. Pictures are made by
program; sha256sum, sqlite3 and the files themselves are the witnesses."""
import hashlib
import json
import os
import pathlib
import re
import signal
import subprocess
import zlib

import pytest

from lib import icc, wire
from lib.fleet import PROGRAMS
from lib.orders import OrderVoice, manifest_on, on_broker, order_of, png
from lib.wait import wait_for

pb = wire.pb


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """One publisher for the tests of this module; each uses pictures of its own."""
    from lib.fleet import Fleet
    fleet = Fleet(tmp_path_factory.mktemp("images"), data_brokers=("da",), clients=())
    fleet.publisher_extra = {"packager": {"settle_ms": 50, "period_s": 1, "image_key": fleet.ca / "keys/image.key"}}
    fleet.brokers()
    fleet.publisher()
    fleet.voice = OrderVoice(fleet)
    fleet.voice.ready()
    yield fleet
    fleet.down()


def killed(fleet):
    """kill -9, and started again: its socket's name outlives it."""
    fleet.procs["pub"].kill()
    (fleet.folder / "pub.sock").unlink()
    fleet.publisher()


def blob(fleet, image):
    return fleet.folder / "pub/images" / image[:2] / image


def listed(fleet, *args):
    return {row["image"]: row for row in fleet.ctl("image", "list", *args)["images"]}


def added(fleet, path, *args):
    return fleet.ctl("image", "add", path, *args)["images"][0]["image"]


def refusal(fleet, path):
    done = fleet.ctl("image", "add", path, check=False)
    assert done.returncode == 1, done.stdout
    return json.loads(done.stdout)["images"][0]["error"]


def test_S001_c9a_pictures_are_kept_edited_and_found(store):
    folder = store.folder / "edit"
    image = added(store, png(folder / "0007-old_harbour.png", seed=70), "--tag", "sea", "--tag", "old town", "--tag", "rating=4",
                  "--weight", "3", "--licence", "CC0-1.0", "--released", "2026-03-01", "--expires", "2099-01-01")
    said = subprocess.run(["sha256sum", blob(store, image)], capture_output=True, text=True, check=True).stdout.split()[0]
    assert said == image
    row = listed(store)[image]
    assert (row["title"], row["tags"], row["weight"], row["licence"]) == ("old harbour", ["old town", "rating=4", "sea"], 3, "CC0-1.0")
    assert (row["width"], row["height"], row["orientation"], row["format"]) == (64, 48, "landscape", "png")
    assert (row["released_unix_ms"], row["expires_unix_ms"]) == (1772323200000, 4070908800000)
    # The same content under another name is the same picture, and gains the tags.
    (folder / "copy.png").write_bytes((folder / "0007-old_harbour.png").read_bytes())
    again = store.ctl("image", "add", folder / "copy.png", "--tag", "night")["images"][0]
    assert again["duplicate"] and again["image"] == image and "night" in listed(store)[image]["tags"]
    # So is a file of other bytes and the same pixels: a text chunk is no content.
    noted = png(folder / "noted.png", seed=70, chunks=[(b"tEXt", b"Comment\0made twice")])
    assert store.ctl("image", "add", noted)["images"][0]["image"] == image
    # Found by an expression over all of it.
    for where, found in (("sea and night", True), ("\"old town\" and rating >= 4", True), ("width > 64", False),
                         ("orientation = landscape and expires > 2050-01-01", True), ("not licence = CC0-1.0", False)):
        assert (image in listed(store, "--where", where)) == found, where
    edited = store.ctl("image", "set", image[:12], "--title", "New <b>title", "--add-tag", "city", "--remove-tag", "sea",
                       "--expires", "none", "--weight", "0")
    assert (edited["title"], edited["weight"], edited["expires_unix_ms"]) == ("New <b>title", 0, 0)
    assert edited["tags"] == ["city", "night", "old town", "rating=4"] and listed(store)[image] == edited
    for wrong in (("--weight", "1001"), ("--expires", "2026-13-01"), ("--expires", "2026-02-01"), ("--title", "two\nlines"),
                  ("--add-tag", "a\"b"), ("--add-tag", "x" * 65)):
        done = store.ctl("image", "set", image, *wrong, check=False)
        assert done.returncode != 0 and listed(store)[image] == edited, wrong
    # A thumbnail: small, and of the same shape.
    done = subprocess.run([PROGRAMS["helioctl"], "--config", store.ctl_config(), "image", "thumb", image, "--side", "32"],
                          stdout=subprocess.PIPE, check=True).stdout
    assert done[:8] == b"\x89PNG\r\n\x1a\n" and (int.from_bytes(done[16:20], "big"), int.from_bytes(done[20:24], "big")) == (32, 24)
    # Retired: gone from the list and from new packages, and back when it is wanted.
    store.ctl("image", "retire", image)
    assert image not in listed(store) and image in listed(store, "--retired") and blob(store, image).exists()
    store.ctl("image", "restore", image)
    assert image in listed(store)


def apng(path):
    """Two frames: the first one is what a still picture shows."""
    frames = [(b"acTL", (2).to_bytes(4, "big") + bytes(4)), (b"fcTL", bytes(26)), (b"fdAT", bytes(4) + zlib.compress(b"x" * 50))]
    return png(path, seed=91, chunks=frames)


def test_S001_c9a_every_trap_has_its_answer(store):
    folder = store.folder / "traps"
    folder.mkdir()
    good = png(folder / "good.png", seed=90).read_bytes()

    def put(name, data):
        (folder / name).write_bytes(data)
        return folder / name
    refused = {
        "empty.png": (b"", "empty"), "text.jpg": (b"hello\n" * 99, "not a JPEG"), "anim.png": (b"GIF89a" + bytes(60), "ffmpeg -i IN.gif"),
        "draw.png": (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "rsvg-convert"),
        "cut.png": (good[:len(good) // 2], "ends in the middle"), "program.jpg": (b"\x7fELF" + bytes(60), "not a JPEG"),
        "huge.png": (good[:16] + (70000).to_bytes(4, "big") * 2 + good[24:], "at most 16384"),
        "bomb.png": (good[:16] + (16000).to_bytes(4, "big") * 2 + good[24:], "in all"),
        "rotten.png": (good[:60] + bytes([good[60] ^ 255]) + good[61:], ""),
        "xbm.png": (b"#define a_width 1\n", "not a JPEG"), "bmp.png": (b"BM" + bytes(60), "a BMP"),
        "phone.jpg": (b"\0\0\0\x18ftypheic" + bytes(60), "heif-convert IN.heic OUT.jpg"), "film.jpg": (b"\0\0\0\x18ftypisom" + bytes(60), "a film"),
        "scan.jpg": (b"MM\0*" + bytes(60), "a TIFF"), "paper.jpg": (b"%PDF-1.7\n", "pdftoppm"),
    }
    before = len(list(blob(store, "aa").parent.parent.glob("*/*")))
    for name, (data, why) in refused.items():
        assert why in refusal(store, put(name, data)), name
    assert refusal(store, "/dev/null") and len(list(blob(store, "aa").parent.parent.glob("*/*"))) == before
    # Good ones in odd clothes: by its bytes, not by its name; 16 bits become 8; of an animation the first frame.
    called = added(store, put("called.jpg", good))
    assert listed(store)[called]["format"] == "png"
    deep = added(store, png(folder / "deep.png", seed=92, depth=16))
    assert blob(store, deep).read_bytes()[24] == 8
    still = blob(store, added(store, apng(folder / "moving.png"))).read_bytes()
    assert b"acTL" not in still and b"fdAT" not in still
    profile = added(store, png(folder / "profile.png", seed=93, chunks=[(b"iCCP", b"p\0\0" + zlib.compress(b"secret" * 9999))]))
    assert b"iCCP" not in blob(store, profile).read_bytes()
    # Names: whatever a file is called, its title is text, and nothing but the digest is a path.
    names = ["\x1b]52;c;aGk=\x07.png", "two\nlines.png", "‮gnp.exe.png", "a\"b.png", "$(reboot);`id`.png", "..%2f..%2fpasswd.png",
             "x" * 240 + ".png", "'; DROP TABLE image; --.png", "ファイル.png", " .png"]
    for i, name in enumerate(names):
        path = png(folder / "names" / f"{i}.png", seed=200 + i)
        path.rename(path.parent / name)
        image = added(store, path.parent / name)
        row = listed(store)[image]
        assert row["title"] and len(row["title"].encode()) <= 200 and not re.search("[\x00-\x1f\x7f‮\"]", row["title"]), name
    os.rename(png(folder / "raw/raw.png", seed=300), os.fsencode(folder / "raw") + b"/\xff\xfe\x80.png")
    image = added(store, folder / "raw")
    assert listed(store)[image]["title"] == "???"
    assert store.sql("PRAGMA integrity_check", "pub") == "ok"
    names_on_disk = [p.name for p in (store.folder / "pub/images").glob("*/*")]
    assert all(re.fullmatch("[0-9a-f]{64}", n) for n in names_on_disk)


def test_S001_c9a_an_import_goes_on_where_it_was_cut(store):
    folder = store.folder / "bulk"
    for i in range(40):
        png(folder / f"part{i % 4}" / f"{i:03d}.png", seed=1000 + i)
    (folder / "part1/bad.png").write_bytes(b"no picture")
    (folder / "part2/notes.txt").write_text("not looked at")
    (folder / "part3/.hidden.png").write_bytes(b"not looked at")
    (folder / "part3/loop").symlink_to(folder)
    count = "SELECT count(*) FROM image_tag WHERE tag = 'bulk'"
    argv = [str(a) for a in (PROGRAMS["helioctl"], "--config", store.ctl_config(), "image", "add", folder, "--recursive", "--tag", "bulk")]
    first = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: int(store.sql(count, "pub")) >= 5, 20, "five pictures")
    first.send_signal(signal.SIGKILL)
    first.wait()
    cut = int(store.sql(count, "pub"))
    # The publisher dies, too, with pictures under way: what is named by no row is swept at its next start.
    killed(store)
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 1 and "bad.png" in done.stderr          # one bad file did not stop the rest
    added_, known, refused = map(int, re.search(r"(\d+) added, (\d+) known already, (\d+) refused", done.stdout).groups())
    assert (added_ + known, refused) == (40, 1) and known >= cut - 4
    assert store.sql(count, "pub") == "40"
    # Once more: all of them known by their digests, none decoded again.
    decoded = len(store.procs["pub"].lines("IMAGE-ADDED"))
    done = subprocess.run(argv, capture_output=True, text=True)
    assert "0 added, 40 known already, 1 refused" in done.stdout
    assert len(store.procs["pub"].lines("IMAGE-ADDED")) == decoded
    # Without --recursive a folder of folders has no pictures, and says so.
    done = store.ctl("image", "add", folder, check=False)
    assert done.returncode == 5 and "--recursive" in done.stderr


def sizes_of_screens_that_are_gone(store):
    """What was made for a class of screens goes when no order is for it any more, and only that."""
    def files():
        return {p.name for p in (store.folder / "pub/images").glob("*/*")}

    def rows(width):
        return set(store.sql(f"SELECT lower(hex(sha256)) FROM variant WHERE width = {width}", "pub").split())
    store.voice.order(order_of("c.gc.b", "keepme", screen_width_px=48, screen_height_px=48))
    store.voice.order(order_of("c.gc.c", "keepme", screen_width_px=32, screen_height_px=32))
    small, smaller, both = rows(48), rows(32), files()
    assert small and smaller and small | smaller <= both and not small & smaller
    store.voice.order(order_of("c.gc.c", "keepme", revision=2, screen_width_px=32, screen_height_px=32, withdrawn=True))
    dry = store.ctl("image", "gc", "--dry-run")
    assert dry["sizes_removed"] == len(smaller) and files() == both and rows(32) == smaller
    gone = store.ctl("image", "gc")
    assert gone["sizes_removed"] == len(smaller) and gone["sizes_bytes"] == dry["sizes_bytes"] > 0
    assert files() == both - smaller and rows(48) == small and rows(32) == set()
    # The screens come back: the same sizes, the same bytes, the same package.
    again = store.voice.order(order_of("c.gc.c", "keepme", revision=3, screen_width_px=32, screen_height_px=32))
    assert again.package and files() == both and rows(32) == smaller
    assert store.ctl("image", "gc")["sizes_removed"] == 0


def test_S001_c9a_what_something_names_is_not_collected(store):
    store.voice.ready()
    images = [added(store, png(store.folder / "gc" / f"{i}.png", seed=2000 + i, width=256, height=192), "--tag", "keepme") for i in range(3)]
    free = added(store, png(store.folder / "gc/free.png", seed=2100), "--tag", "unused")
    first = store.voice.order(order_of("c.gc.a", "keepme", screen_width_px=64, screen_height_px=64))
    assert first.included == 3
    for image in (*images[:2], free):
        store.ctl("image", "retire", image)
    second = store.voice.outcome("c.gc.a", lambda o: o.included == 1)
    assert second.package != first.package
    # The first package is no longer shown, but may lie on a broker, be leased, or be gone back to.
    dry = store.ctl("image", "gc", "--dry-run", "--older-than", "0")
    kept = {row["image"]: row["kept"] for row in dry["images"]}
    assert kept[free] == "" and all("package gc" in kept[i] for i in images[:2]) and images[2] not in kept
    assert blob(store, free).exists() and dry["removed"] == 1
    # Not yet: retired only lately.
    assert store.ctl("image", "gc")["removed"] == 0 and blob(store, free).exists()
    assert store.ctl("image", "gc", "--older-than", "0")["removed"] == 1
    assert not blob(store, free).exists() and free not in listed(store, "--retired")
    for image in images:
        assert hashlib.sha256(blob(store, image).read_bytes()).hexdigest() == image
    # Their variants, too, and they are what lies on the broker: the first package is still whole.
    wait_for(lambda: [m for m in store.voice.said if m.state == pb.PUB_STORED and m.package == first.package], 20, "stored")
    root, files, _ = manifest_on(store, first.package)
    assert [(f.picture.width_px, f.picture.height_px) for f in files] == [(64, 48)] * 3
    sizes = store.sql("SELECT count(*), count(DISTINCT sha256) FROM variant WHERE width = 64", "pub")
    assert sizes == "3|3"
    sizes_of_screens_that_are_gone(store)
    # Tricks: a file that no row names is swept at the start; a row's file is not, even after kill -9 in the middle of it all.
    stray = hashlib.sha256(b"stray").hexdigest()
    blob(store, stray).parent.mkdir(exist_ok=True)
    blob(store, stray).write_bytes(b"stray")
    killed(store)
    assert not blob(store, stray).exists() and all(blob(store, i).exists() for i in images)
    # Collecting while pictures come in: nothing that was just added again is lost.
    path = png(store.folder / "gc/again.png", seed=2200)
    for _ in range(5):
        image = added(store, path)
        store.ctl("image", "retire", image)
        adding = subprocess.Popen([str(a) for a in (PROGRAMS["helioctl"], "--config", store.ctl_config(), "image", "add", path)],
                                  stdout=subprocess.DEVNULL)
        store.ctl("image", "gc", "--older-than", "0", check=False)
        assert adding.wait() == 0
        store.ctl("image", "add", path)
        assert blob(store, image).exists() and image in listed(store)


def test_S001_c9a_why_a_picture_is_in_or_out(store):
    store.voice.ready()
    sea = added(store, png(store.folder / "why/sea.png", seed=3000), "--tag", "whysea")
    night = added(store, png(store.folder / "why/night.png", seed=3001), "--tag", "whysea", "--tag", "whynight", "--expires", "2020-01-01")
    o = order_of("c.why.a", "whysea and not whynight")
    o.parts.add(plan="dark", expression="whynight")
    store.voice.order(o)

    def why(image, *more):
        found = store.ctl("image", "why", image, "c.why.a", *more)["orders"]
        assert [row["order"] for row in found] == ["c.why.a"]
        return found[0]["in"], {p["plan"]: (p["in"], p["why"]) for p in found[0]["plans"]}
    inside, plans = why(sea)
    assert inside and plans["all"][0] and "`whynight` does not hold" in plans["all"][1] and not plans["dark"][0]
    inside, plans = why(night)
    assert not inside and "`whynight` holds, and is not wanted" in plans["all"][1] and "expired on 2020-01-01" in plans["dark"][1]
    done = store.ctl("image", "why", "0" * 64, "c.why.a", check=False)
    assert done.returncode == 5
    rows = {r["order"]: r for r in store.ctl("package", "orders")["orders"]}
    assert rows["c.why.a"]["included"] == 1 and rows["c.why.a"]["customer"] == "harbour"


# ---------------------------------------------------------------- colours

COLOURS = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 120, 40), (30, 90, 160), (128, 128, 128), (220, 30, 200)]


def patches(path, colours, chunks=(), gray=False):
    """Squares of 16 pixels side by side, as PNG."""
    rows = b"".join(b"\0" + b"".join((bytes([c[0]]) if gray else bytes(c)) * 16 for c in colours) for _ in range(16))

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
    head = (16 * len(colours)).to_bytes(4, "big") + (16).to_bytes(4, "big") + bytes([8, 0 if gray else 2, 0, 0, 0])
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunk(*c) for c in chunks)
                     + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return path


def middles(path, count):
    """The colour in the middle of each square, as ffmpeg decodes it."""
    done = subprocess.run(["ffmpeg", "-loglevel", "error", "-i", path, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], stdout=subprocess.PIPE, check=True)
    at = 8 * 16 * count * 3
    return [tuple(done.stdout[at + (16 * i + 8) * 3:at + (16 * i + 8) * 3 + 3]) for i in range(count)]


def furthest(got, want):
    return max(abs(a - b) for g, w in zip(got, want) for a, b in zip(g, w))


def made_by_ffmpeg(png_path, path, *options):
    subprocess.run(["ffmpeg", "-loglevel", "error", "-y", "-i", png_path, *options, path], check=True)
    return path.read_bytes()


def test_S001_c9a_colours_of_a_profile_become_those_of_sRGB(store):
    folder = store.folder / "colours"
    folder.mkdir()
    n, steps = len(COLOURS), 0x0233      # a power of 2.2
    p3 = icc.profile(b"RGB ", icc.gamma_curve(steps), icc.DISPLAY_P3)
    want = [icc.in_srgb(c, icc.DISPLAY_P3, steps) for c in COLOURS]
    assert furthest(want, COLOURS) > 25       # the picture would look wrong
    packed = (b"iCCP", b"P3\0\0" + zlib.compress(p3))
    plain = patches(folder / "plain.png", COLOURS)
    stored = blob(store, added(store, patches(folder / "p3.png", COLOURS, [packed])))
    assert furthest(middles(stored, n), want) <= 1 and b"iCCP" not in stored.read_bytes()
    # JPEG: the profile in two markers, the second one first.
    jpeg = made_by_ffmpeg(plain, folder / "p3.jpg", "-q:v", "1", "-pix_fmt", "yuvj444p")
    halves = [b"\xff\xe2" + (16 + len(part)).to_bytes(2, "big") + b"ICC_PROFILE\0" + bytes([i, 2]) + part
              for i, part in ((2, p3[200:]), (1, p3[:200]))]
    (folder / "p3.jpg").write_bytes(jpeg[:2] + b"".join(halves) + jpeg[2:])
    stored = blob(store, added(store, folder / "p3.jpg"))
    assert furthest(middles(stored, n), want) <= 5 and b"ICC_PROFILE" not in stored.read_bytes()
    # WebP without loss, with the profile in a chunk.
    webp = made_by_ffmpeg(plain, folder / "p3.webp", "-c:v", "libwebp", "-lossless", "1")
    frame = webp[webp.index(b"VP8L"):]
    body = b"WEBPVP8X" + (10).to_bytes(4, "little") + bytes([0x20, 0, 0, 0]) + (16 * n - 1).to_bytes(3, "little") + (15).to_bytes(3, "little")
    body += b"ICCP" + len(p3).to_bytes(4, "little") + p3 + bytes(len(p3) % 2) + frame
    (folder / "p3.webp").write_bytes(b"RIFF" + len(body).to_bytes(4, "little") + body)
    stored = blob(store, added(store, folder / "p3.webp"))
    assert furthest(middles(stored, n), want) <= 1
    # Gray with a curve of its own.
    grays = [(v, v, v) for v in (0, 30, 90, 128, 200, 255)]
    own = [(b"iCCP", b"g\0\0" + zlib.compress(icc.profile(b"GRAY", icc.gamma_curve(0x01cd))))]      # 1.8
    stored = blob(store, added(store, patches(folder / "gray.png", grays, own, gray=True)))
    want = [(round(255 * icc.linear_to_srgb((v / 255) ** (0x01cd / 256))),) * 3 for v, _, _ in grays]
    assert furthest(want, grays) > 8 and furthest(middles(stored, len(grays)), want) <= 1

    # What needs no change gets none: no profile, that of sRGB, one that is none or is for other pixels, a chunk that says sRGB.
    srgb = icc.profile(b"RGB ", icc.srgb_curve(), icc.SRGB)
    pixels = plain.read_bytes()[33:]
    assert blob(store, added(store, plain)).read_bytes()[33:] == pixels
    for i, chunk in enumerate([(b"iCCP", b"s\0\0" + zlib.compress(srgb)), (b"iCCP", b"n\0\0" + zlib.compress(p3[:300])), (b"iCCP", b"no zero at all"),
                               (b"iCCP", b"x\0\0" + zlib.compress(bytes(9 << 20))), own[0]]):
        stored = blob(store, added(store, patches(folder / f"same-{i}.png", COLOURS, [chunk])))
        assert stored.read_bytes()[33:] == pixels, i
    stored = blob(store, added(store, patches(folder / "both.png", COLOURS, [(b"sRGB", b"\0"), packed])))
    assert stored.read_bytes()[33:] == pixels
    half = jpeg[:2] + halves[0] + jpeg[2:]      # a profile that is cut does not make the picture bad
    (folder / "half.jpg").write_bytes(half)
    assert furthest(middles(blob(store, added(store, folder / "half.jpg")), n), COLOURS) <= 5
