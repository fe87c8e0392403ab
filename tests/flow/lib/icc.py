"""ICC profiles made by program (ICC.1, version 2, matrix and curve), and what a colour in one of them is in sRGB, by the
definitions alone: no colour library stands here."""
import struct

# Columns are the red, green and blue of a space, as XYZ under D50.
SRGB = ((0.4360747, 0.3850649, 0.1430804), (0.2225045, 0.7168786, 0.0606169), (0.0139322, 0.0971045, 0.7141733))
DISPLAY_P3 = ((0.5151200, 0.2919800, 0.1571000), (0.2412000, 0.6922500, 0.0665700), (-0.0010500, 0.0418900, 0.7840700))
D50 = (0.9642, 1.0, 0.8249)


def srgb_to_linear(v):
    return v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4


def linear_to_srgb(v):
    v = min(1.0, max(0.0, v))
    return 12.92 * v if v <= 0.0031308 else 1.055 * v ** (1 / 2.4) - 0.055


def number(v):
    return struct.pack(">i", round(v * 65536))


def xyz(v):
    return b"XYZ " + bytes(4) + b"".join(map(number, v))


def gamma_curve(steps):
    """A power in 1/256."""
    return b"curv" + bytes(4) + struct.pack(">IH", 1, steps) + bytes(2)


def srgb_curve():
    return b"curv" + bytes(4) + struct.pack(">I1024H", 1024, *[round(srgb_to_linear(i / 1023) * 65535) for i in range(1024)])


def profile(space, curve, matrix=None):
    tags = {b"wtpt": xyz(D50), b"cprt": b"text" + bytes(4) + b"none\0", b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"made\0" + bytes(78)}
    if space == b"GRAY":
        tags[b"kTRC"] = curve
    else:
        for i, name in enumerate((b"r", b"g", b"b")):
            tags[name + b"XYZ"] = xyz([row[i] for row in matrix])
            tags[name + b"TRC"] = curve
    table, data, at = b"", b"", 128 + 4 + 12 * len(tags)
    for name, value in tags.items():
        value += bytes(-len(value) % 4)
        table += name + struct.pack(">II", at + len(data), len(value))
        data += value
    size = at + len(data)
    head = struct.pack(">I4sI4s4s4s", size, b"none", 0x02100000, b"mntr", space, b"XYZ ") + struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    head += b"acsp" + bytes(28) + b"".join(map(number, D50))
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + data


def solve(m, v):
    """m * x = v, by Cramer's rule."""
    def det(a):
        return sum(a[0][i] * (a[1][(i + 1) % 3] * a[2][(i + 2) % 3] - a[1][(i + 2) % 3] * a[2][(i + 1) % 3]) for i in range(3))
    return [det([[v[r] if c == k else m[r][c] for c in range(3)] for r in range(3)]) / det(m) for k in range(3)]


def in_srgb(rgb, matrix, steps):
    linear = [(v / 255) ** (steps / 256) for v in rgb]
    d50 = [sum(matrix[r][c] * linear[c] for c in range(3)) for r in range(3)]
    return tuple(round(255 * linear_to_srgb(v)) for v in solve(SRGB, d50))
