"""Picture files that a careless reader shows wrongly, or dies of: each made here, by ffmpeg, or by odd_jpeg.c, none is stored.

Most have a colour in each quarter (QUARTERS), so that what is turned, inverted or half is seen."""
import pathlib
import subprocess
import zlib
from dataclasses import dataclass

W, H = 64, 48
QUARTERS = ((200, 40, 30), (40, 180, 60), (40, 70, 200), (230, 200, 30))     # upper left and right, lower left and right
GRAYS = ((20,) * 3, (100,) * 3, (180,) * 3, (250,) * 3)
BITS = ((0,) * 3, (255,) * 3, (255,) * 3, (0,) * 3)
HERE = pathlib.Path(__file__).parent


@dataclass
class Trap:
    name: str                   # of the file; its ending may lie
    data: bytes
    colours: tuple = QUARTERS   # of the upright picture; None: no picture
    near: int = 0               # as far from them as this
    clear: tuple = ()           # quarters that are transparent
    refused: str = ""           # by the ingest, because of this
    display: str = ""           # what the display says of it when it differs: refused by it, or "shown"
    size: tuple = (W, H)


# ---------------------------------------------------------------- pixels and PNG

def quarter(x, y, w=W, h=H):
    return (x >= w // 2) + 2 * (y >= h // 2)


def drawn(w=W, h=H, colours=QUARTERS):
    """Rows of pixels."""
    return [[colours[quarter(x, y, w, h)] for x in range(w)] for y in range(h)]


def packed(rows):
    return b"".join(bytes(c for pixel in row for c in pixel) for row in rows)


def turned(rows, orientation):
    """As a camera stores it that was held so: what EXIF's orientation turns upright."""
    def columns(r):
        return [list(c) for c in zip(*r)]

    def mirrored(r):
        return [row[::-1] for row in r]
    return {1: lambda: rows, 2: lambda: mirrored(rows), 3: lambda: mirrored(rows[::-1]), 4: lambda: rows[::-1], 5: lambda: columns(rows),
            6: lambda: columns(rows)[::-1], 7: lambda: mirrored(columns(rows))[::-1], 8: lambda: columns(rows[::-1])}[orientation]()


def chunk(kind, data):
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
TYPES = {"gray": 0, "rgb": 2, "palette": 3, "graya": 4, "rgba": 6}


def scanlines(rows, depth):
    """Rows of samples, packed as PNG has them: no filter."""
    out = bytearray()
    for row in rows:
        bits, n = 0, 0
        for pixel in row:
            for sample in pixel:
                bits, n = bits << depth | sample, n + depth
        pad = -n % 8
        out += b"\0" + (bits << pad).to_bytes((n + pad) // 8, "big")
    return bytes(out)


def png(kind="rgb", depth=8, rows=None, interlaced=False, before=(), image=None, head=None):
    """rows: of samples. before: chunks before the pixels. image, head: instead of what is right."""
    rows = drawn() if rows is None else rows
    w, h = len(rows[0]), len(rows)
    passes = [[row[x::dx] for row in rows[y::dy]] for x, y, dx, dy in ADAM7] if interlaced else [rows]
    data = b"".join(scanlines(p, depth) for p in passes if p and p[0])
    head = head or w.to_bytes(4, "big") + h.to_bytes(4, "big") + bytes([depth, TYPES[kind], 0, 0, interlaced])
    image = zlib.compress(data, 9) if image is None else image
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(chunk(*c) for c in before) + chunk(b"IDAT", image) + chunk(b"IEND", b"")


def deep(rows, more=()):
    """Samples of 8 bits to 16."""
    return [[tuple(257 * s for s in pixel) + more for pixel in row] for row in rows]


def indexed():
    """A palette of the quarters' colours, and pixels of one sample."""
    return (b"PLTE", b"".join(map(bytes, QUARTERS))), [[(quarter(x, y),) for x in range(W)] for y in range(H)]


def levels(values):
    return [[(values[quarter(x, y)],) for x in range(W)] for y in range(H)]


def pngs():
    alpha = [[p + (0 if p == QUARTERS[0] else 255,) for p in row] for row in drawn()]
    plte, index = indexed()
    gray = [c[0] for c in GRAYS]
    grays = dict(colours=GRAYS)
    still = png()
    frame = b"\0\0\0\0" + W.to_bytes(4, "big") + H.to_bytes(4, "big") + bytes(8) + b"\0\1\0\12\0\0"
    hidden = (chunk(b"acTL", b"\0\0\0\1\0\0\0\0"), chunk(b"fcTL", frame) + chunk(b"fdAT", b"\0\0\0\1" + zlib.compress(bytes((3 * W + 1) * H))))
    return [
        Trap("rgb.png", still),
        Trap("16-bit.png", png(depth=16, rows=deep(drawn()))),
        Trap("16-bit-alpha.png", png("rgba", 16, [[tuple(257 * s for s in p) for p in row] for row in alpha]), clear=(0,)),
        Trap("alpha.png", png("rgba", rows=alpha), clear=(0,)),
        Trap("gray-1-bit.png", png("gray", 1, levels([0, 1, 1, 0])), colours=BITS),
        Trap("gray-16-bit.png", png("gray", 16, levels([257 * g for g in gray])), **grays),
        Trap("gray-alpha.png", png("graya", 8, [[(*p, 255) for p in row] for row in levels(gray)]), **grays),
        Trap("palette.png", png("palette", 2, index, before=[plte])),
        Trap("palette-clear.png", png("palette", 2, index, before=[plte, (b"tRNS", b"\0\xff\xff\xff")]), clear=(0,)),
        Trap("key-clear.png", png(before=[(b"tRNS", b"".join(c.to_bytes(2, "big") for c in QUARTERS[0]))]), clear=(0,)),
        Trap("interlaced.png", png(interlaced=True)),
        Trap("interlaced-16-bit.png", png(depth=16, rows=deep(drawn()), interlaced=True)),
        Trap("interlaced-palette.png", png("palette", 2, index, True, [plte])),
        Trap("interlaced-1x1.png", png(rows=[[QUARTERS[0]]], interlaced=True), colours=(QUARTERS[0],) * 4, size=(1, 1)),
        Trap("long.png", png(rows=[[QUARTERS[0]] * 8000 + [QUARTERS[1]] * 8000]), colours=(QUARTERS[0], QUARTERS[1]) * 2, size=(16000, 1)),
        Trap("animation.png", animated("apng", "-plays", "0")),
        Trap("animation-hidden.png", still[:33] + hidden[0] + still[33:-12] + hidden[1] + still[-12:]),
        Trap("behind-its-end.png", still + b"<?php unlink('/'); ?>" * 99),
        Trap("palette.jpg", png("palette", 2, index, before=[plte]) + b"\n"),
        # ---- none
        Trap("half.png", still[:len(still) // 2], None, refused="ends in the middle"),
        Trap("half-interlaced.png", png(interlaced=True)[:200], None, refused="ends in the middle"),
        Trap("without-its-end.png", still[:-12], None, refused="ends in the middle", display="PNG"),
        Trap("bent.png", still[:70] + bytes([still[70] ^ 8]) + still[71:], None, refused=""),
        Trap("few-rows.png", png(image=zlib.compress(packed(drawn())[:3000])), None, refused=""),
        Trap("no-pixels.png", png(head=bytes(8) + b"\x08\x02\0\0\0"), None, refused="no area"),
        Trap("two-to-the-31.png", png(head=b"\x80\0\0\0\0\0\0\1\x08\x02\0\0\0"), None, refused="at most 16384"),
        Trap("16000x16000.png", bomb(16000), None, refused="67108864 in all", display="at most"),
        Trap("palette-less.png", png("palette", 2, index), None, refused=""),
    ]


def bomb(side):
    """A plain colour: 768 MB of pixels in a megabyte, as any program may write it; one piece of its stream again and again."""
    rows = (b"\0" + bytes(QUARTERS[0]) * side) * 100
    pack, check = zlib.compressobj(9, zlib.DEFLATED, -15), 1
    piece = pack.compress(rows) + pack.flush(zlib.Z_FULL_FLUSH)
    for _ in range(side // 100):
        check = zlib.adler32(rows, check)
    return png(image=b"\x78\xda" + piece * (side // 100) + b"\x03\0" + check.to_bytes(4, "big"), head=side.to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0")


# ---------------------------------------------------------------- what ffmpeg makes

def ffmpeg(data, kind, *options, pictures=1, size=(W, H)):
    """Raw RGB, as many pictures one behind the other."""
    done = subprocess.run(["ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size[0]}x{size[1]}", "-r", "5", "-i", "-",
                           "-frames:v", str(pictures), *options, "-f", kind, "pipe:1" if kind not in ("avif", "mp4") else "/dev/stdout"],
                          input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0 and done.stdout, (kind, done.stderr)
    return done.stdout


def animated(kind, *options):
    return ffmpeg(packed(drawn()) + bytes(W * H * 3), kind, *options, pictures=2)


def in_a_file(folder, name, *options, pictures=1):
    """Formats whose writer goes back to what it wrote."""
    path = folder / name
    subprocess.run(["ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{W}x{H}", "-r", "5", "-i", "-", "-frames:v",
                    str(pictures), *options, str(path)], input=packed(drawn()) * pictures, check=True, stderr=subprocess.PIPE)
    return path.read_bytes()


def riff(chunks):
    body = b"WEBP" + b"".join(kind + len(data).to_bytes(4, "little") + data + bytes(len(data) % 2) for kind, data in chunks)
    return b"RIFF" + len(body).to_bytes(4, "little") + body


def exif(orientation, big=True):
    """Of one entry, as a telephone writes it."""
    order = "big" if big else "little"
    entry = b"".join(n.to_bytes(size, order) for n, size in ((0x0112, 2), (3, 2), (1, 4), (orientation, 2), (0, 2)))
    return (b"MM\0*" if big else b"II*\0") + (8).to_bytes(4, order) + (1).to_bytes(2, order) + entry + bytes(4)


def webps():
    raw = packed(drawn())
    plain = ffmpeg(raw, "webp", "-c:v", "libwebp", "-lossless", "1", "-pix_fmt", "bgra")
    frame = plain[plain.index(b"VP8L"):]
    frame = frame[8:8 + int.from_bytes(frame[4:8], "little")]
    out = [Trap("lossless.webp", plain), Trap("lossy.webp", ffmpeg(raw, "webp", "-c:v", "libwebp", "-q:v", "95"), near=12),
           Trap("animation.webp", animated("webp", "-c:v", "libwebp_anim"), None, refused="animation"),
           Trap("half.webp", plain[:len(plain) // 2], None, refused="ends in the middle"),
           Trap("large.webp", riff([(b"VP8L", b"\x2f" + (16382 | 16382 << 14).to_bytes(4, "little") + frame[5:])]), None, refused="67108864 in all")]
    for o in range(1, 9):
        rows = turned(drawn(), o)
        w, h = len(rows[0]), len(rows)
        data = ffmpeg(packed(rows), "webp", "-c:v", "libwebp", "-lossless", "1", "-pix_fmt", "bgra", size=(w, h))
        data = data[data.index(b"VP8L"):]
        head = bytes([8, 0, 0, 0]) + (w - 1).to_bytes(3, "little") + (h - 1).to_bytes(3, "little")
        image = data[8:8 + int.from_bytes(data[4:8], "little")]
        out.append(Trap(f"held-{o}.webp", riff([(b"VP8X", head), (b"VP8L", image), (b"EXIF", exif(o, o % 2))])))
    for trap in out:
        trap.display = "neither JPEG nor PNG"
    return out


def others(folder):
    """Whole files of kinds that are not taken."""
    raw = packed(drawn())
    svg = (b'<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="http://www.w3.org/1999/xlink" width="64" height="48">'
           b'<image x:href="http://192.0.2.1/p.png"/><image x:href="file:///etc/passwd"/><script>1</script></svg>')
    entity = b'<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + svg
    found = {
        "animation.gif": (animated("gif"), "a GIF"), "picture.tif": (in_a_file(folder, "p.tif"), "a TIFF"),
        "picture.bmp": (ffmpeg(raw, "image2pipe", "-c:v", "bmp"), "a BMP"), "picture.avif": (in_a_file(folder, "p.avif", "-cpu-used", "8"), "an AVIF"),
        "phone.heic": (in_a_file(folder, "p.mp4", "-c:v", "libx265", "-x265-params", "log-level=0", "-brand", "heic"), "a HEIC"),
        "film.mp4": (in_a_file(folder, "f.mp4", "-c:v", "mpeg4", pictures=3), "a film"),
        "film.jpg": (in_a_file(folder, "g.mp4", "-c:v", "mpeg4", pictures=3), "a film"),
        "picture.jp2": (ffmpeg(raw, "image2pipe", "-c:v", "jpeg2000"), "a JPEG 2000"), "picture.jxl": (ffmpeg(raw, "image2pipe", "-c:v", "libjxl"), "a JPEG XL"),
        "drawing.svg": (svg, "an SVG"), "entity.svg": (entity, "an XML"), "drawing.png": (svg, "an SVG"),
        "drawing.svgz": (zlib.compress(svg, wbits=31), "not a JPEG"),
        "paper.pdf": (b"%PDF-1.7\n" + svg, "a PDF"), "empty.jpg": (b"", "empty"), "one-byte.png": (b"\x89", "not a JPEG"),
        "text.jpg": (b"hello\n" * 999, "not a JPEG"), "page.jpg": (b"<!DOCTYPE html><html></html>", "not a JPEG"),
        "program.png": (b"\x7fELF" + bytes(999), "not a JPEG"), "icon.png": (b"\0\0\1\0\1\0" + bytes(99), "not a JPEG"),
    }
    return [Trap(name, data, None, refused=why, display="empty" if not data else "neither JPEG nor PNG") for name, (data, why) in found.items()]


# ---------------------------------------------------------------- JPEG

def marker(code, data):
    return b"\xff" + bytes([code]) + (len(data) + 2).to_bytes(2, "big") + data


def jpegs(folder):
    program = folder / "odd_jpeg"
    done = subprocess.run(["cc", "-O1", "-o", program, HERE / "odd_jpeg.c", "-ljpeg"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout

    def odd(kind, rows=None):
        rows = rows or drawn()
        return subprocess.run([program, kind, str(len(rows[0])), str(len(rows))], input=packed(rows), stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, check=True).stdout
    plain, small = odd("baseline"), odd("baseline", [[GRAYS[0]] * 16] * 16)
    gray = tuple((c[0],) * 3 for c in QUARTERS)
    thumb = b"Exif\0\0" + exif(1) + small
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>"
    size = plain.index(b"\xff\xc0") + 5
    side = turned(drawn(), 6)
    out = [Trap(f"{kind}.jpg", odd(kind), near=6) for kind in ("baseline", "progressive", "arithmetic", "restarts", "rgb", "cmyk", "cmyk-plain", "ycck")]
    out += [
        Trap("coarse.jpg", odd("rough"), near=8), Trap("gray.jpg", odd("gray"), gray, 6), Trap("picture.png", plain, near=6),
        Trap("thumbnail.jpg", plain[:2] + marker(0xe1, thumb) + plain[2:], near=6),
        Trap("two-pictures.jpg", plain + small, near=6), Trap("behind-its-end.jpg", plain + b"<?php unlink('/'); ?>" * 99, near=6),
        Trap("filled.jpg", plain[:2] + b"\xff" * 40 + plain[3:], near=6),
        Trap("xmp-first.jpg", (d := odd("baseline", side))[:2] + marker(0xe1, xmp) + marker(0xe1, b"Exif\0\0" + exif(6)) + d[2:], near=8, display="-"),
        # ---- none
        Trap("half.jpg", plain[:len(plain) // 2], None), Trap("half-progressive.jpg", odd("progressive")[:400], None),
        Trap("without-its-end.jpg", plain[:-2], None), Trap("header.jpg", plain[:20], None),
        Trap("lossless.jpg", ffmpeg(packed(drawn()), "image2pipe", "-c:v", "ljpeg"), None),
        Trap("jpeg-ls.jpg", ffmpeg(packed(drawn()), "image2pipe", "-c:v", "jpegls"), None),
        Trap("65500x65500.jpg", plain[:size] + b"\xff\xdc\xff\xdc" + plain[size + 4:], None, refused="at most 16384", display="at most"),
        Trap("no-rows.jpg", plain[:size] + b"\0\0" + plain[size + 2:], None),
    ]
    for o in range(1, 9):
        data = odd("baseline" if o % 3 else "progressive", turned(drawn(), o))
        out.append(Trap(f"held-{o}.jpg", data[:2] + marker(0xe1, b"Exif\0\0" + exif(o, o % 2 == 0)) + data[2:], near=8, display="-"))
    data = odd("cmyk", turned(drawn(), 8))
    out.append(Trap("held-8-cmyk.jpg", data[:2] + marker(0xe1, b"Exif\0\0" + exif(8)) + data[2:], near=8, display="-"))
    out += [Trap(f"held-{o}.png", png(rows=turned(drawn(), o), before=[(b"eXIf", exif(o))]), display="-") for o in range(1, 9)]
    out.append(Trap("held-6-interlaced.png", png(rows=turned(drawn(), 6), interlaced=True, before=[(b"eXIf", exif(6))]), display="-"))
    return out


def traps(folder):
    folder.mkdir(exist_ok=True)
    found = pngs() + jpegs(folder) + webps() + others(folder)
    assert len({t.name for t in found}) == len(found)
    return found
