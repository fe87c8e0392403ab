"""US 8,949,380 / claim 3: a medium is carried both ways; what a silent client did comes back on the stick."""
import shutil
import time

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from lib import wire
from lib.media import importing, orders, package, recorded, rig, shown, unpack

pb = wire.pb
BOOT = "0123456789abcdef" * 2
BEGIN = int(time.time()) * 1000 - 40 * 86_400_000   # forty days ago: it is still kept


def ledger(fleet, client, package, count, first=1):
    """What a display would have written, line by line."""
    folder = fleet.folder / client / "display"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "shown.log", "a") as out:
        for n in range(first, first + count):
            out.write("\t".join([str(n), BOOT, package, f"{n:04d}-art.jpg", str(BEGIN + n * 8000), "8000", "ntp"]) + "\n")


def parts(path):
    """The file without our code: lengths, envelopes."""
    data, out = path.read_bytes(), []
    while data:
        size = int.from_bytes(data[:4], "little")
        out.append(data[4:4 + size])
        assert len(out[-1]) == size
        data = data[4 + size:]
    return out


def verified(envelope, key):
    e = pb.Envelope.FromString(envelope)
    kind = e.payload_type.encode()
    Ed25519PublicKey.from_public_bytes(key).verify(e.signatures[0].signature,
                                                   b"DSSEv1 %d %s %d " % (len(kind), kind, len(e.payload)) + e.payload)
    return pb.MediumReturn.FromString(e.payload)


def usage(fleet, client):
    return fleet.sql(f"select ledger_seq, from_ms, duration_ms from usage where client = '{client}' order by ledger_seq").splitlines()


def test_S001_c3_what_a_silent_client_did_comes_back_on_the_stick(fleet_of, folder):
    fleet = rig(fleet_of, clients=("f2", "f3"), agents=())
    one = package(fleet)
    fleet.ctl("channel", "publish", "default", one)
    order = recorded(fleet, "f2", one)
    stick = unpack(order["path"], folder / "stick")
    ledger(fleet, "f2", one, 700)
    done = importing(fleet, "f2", stick)
    assert done.returncode == 0 and shown(fleet, "f2") == one and "returned\t700\n" in done.stdout, done
    back = stick / "helio/return/f2.bin"
    # Signed by the identity of this client, which is enrolled and was never heard; its own times.
    key = wire.raw_public(wire.read_key(fleet.bundle("f2") / "identity.key"))
    said = [verified(part, key) for part in parts(back)]
    assert [r.outcome for r in said[0].results] == ["installed"] and said[0].results[0].order == int(order["number"])
    rows = [row for part in said for row in part.usage]
    assert [r.ledger_seq for r in rows] == list(range(1, 701)) and rows[6].from_unix_ms == BEGIN + 56_000
    heard = fleet.ctl("client", "show", "f2")["last_heard_unix_ms"]

    # Bent, of somebody else, cut: refused, and nothing is changed.
    good = back.read_bytes()
    for name, data in (("f2", good[:200] + bytes([good[200] ^ 1]) + good[201:]), ("f3", good), ("f2", good[:-100])):
        bad = folder / "bad/helio/return"
        bad.mkdir(parents=True, exist_ok=True)
        (bad / f"{name}.bin").write_bytes(data)
        done = fleet.ctl("media", "merge", folder / "bad", check=False)
        assert done.returncode != 0, (name, done)
        (bad / f"{name}.bin").unlink()
    assert len(usage(fleet, "f2")) < 700 and usage(fleet, "f3") == []   # whole parts before the cut count

    done = fleet.ctl("media", "merge", stick)["merged"]
    assert [(m["client"], m["ok"], m["rows"]) for m in done] == [("f2", True, 700)], done
    assert usage(fleet, "f2") == [f"{n}|{BEGIN + n * 8000}|8000" for n in range(1, 701)]
    assert int(orders(fleet, "f2", one)[0]["state"]) == pb.MEDIA_ARRIVED
    assert int(orders(fleet, "f3", one)[0]["state"]) == pb.MEDIA_RECORDED
    # It is no communication: who was never heard was not heard by this.
    assert fleet.ctl("client", "show", "f2")["last_heard_unix_ms"] == heard == 0
    # Again, from its folder and as one file: nothing is new.
    for path in (stick, stick / "helio/return", back):
        done = fleet.ctl("media", "merge", path)["merged"]
        assert [(m["rows"], m["rows_new"], m["orders_new"]) for m in done] == [(700, 0, 0)], done
    # Later the same stick comes back with more, and then the older file once more.
    ledger(fleet, "f2", one, 5, first=701)
    done = importing(fleet, "f2", stick)
    assert done.returncode == 0 and "held\t" in done.stdout and "returned\t705\n" in done.stdout, done
    assert [m["rows_new"] for m in fleet.ctl("media", "merge", stick)["merged"]] == [5]
    back.write_bytes(good)
    assert [(m["rows_new"], m["orders_new"]) for m in fleet.ctl("media", "merge", stick)["merged"]] == [(0, 0)]
    assert len(usage(fleet, "f2")) == 705

    # Unplugged for long: all of its time comes back, in as many parts as that takes, its last row too.
    ledger(fleet, "f2", one, 44_295, first=706)
    done = importing(fleet, "f2", stick)
    assert done.returncode == 0 and "returned\t45000\n" in done.stdout, done
    said = [verified(part, key) for part in parts(back)]
    assert {m.parts for m in said} == {150} and [m.part for m in said] == list(range(150))
    assert [row.ledger_seq for m in said for row in m.usage] == list(range(1, 45_001))
    assert [(m["rows"], m["rows_new"]) for m in fleet.ctl("media", "merge", stick)["merged"]] == [(45_000, 44_295)]
    assert fleet.sql("select count(*), min(ledger_seq), max(ledger_seq), sum(duration_ms) from usage") == "45000|1|45000|360000000"


def test_S001_c3_a_refusal_is_told_and_nothing_is_written_behind_links(fleet_of, folder):
    fleet = rig(fleet_of, clients=("f2",), agents=())
    one = package(fleet)
    fleet.ctl("channel", "publish", "default", one)
    stick = unpack(recorded(fleet, "f2", one)["path"], folder / "stick")
    outside = folder / "outside"
    outside.mkdir()
    (stick / "helio/return").symlink_to(outside)
    chunk = next((stick / "helio/v1/chunk/pub").iterdir())
    chunk.write_bytes(b"x" + chunk.read_bytes()[1:])
    done = importing(fleet, "f2", stick)
    assert done.returncode != 0 and "media refused reason=hash" in done.stderr and "IMPORT-NO-RETURN" in done.stderr, done.stderr[-2000:]
    assert list(outside.iterdir()) == []
    (stick / "helio/return").unlink()
    done = importing(fleet, "f2", stick)
    assert done.returncode != 0 and (stick / "helio/return/f2.bin").exists(), done
    fleet.ctl("media", "merge", stick)
    row = orders(fleet, "f2", one)[0]
    assert int(row["state"]) == pb.MEDIA_RECORDED and row["detail"] == "refused by the device: hash", row
    # A stick that only collects: a folder helio/return, and nothing for anybody.
    empty = folder / "empty"
    (empty / "helio/return").mkdir(parents=True)
    ledger(fleet, "f2", one, 3)
    done = importing(fleet, "f2", empty)
    assert done.returncode == 0 and "returned\t3\n" in done.stdout, done
    assert [m["rows_new"] for m in fleet.ctl("media", "merge", empty)["merged"]] == [3]
    # What is no medium at all gets nothing.
    done = importing(fleet, "f2", outside)
    assert done.returncode != 0 and "reason=no-medium" in done.stderr and list(outside.iterdir()) == [], done


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace makes the stick full")
def test_S001_c3_a_stick_that_is_full_or_read_only_keeps_what_was_on_it(fleet_of, folder):
    fleet = rig(fleet_of, clients=("f2",), agents=())
    one = package(fleet)
    fleet.ctl("channel", "publish", "default", one)
    stick = unpack(recorded(fleet, "f2", one)["path"], folder / "stick")
    ledger(fleet, "f2", one, 400)
    assert importing(fleet, "f2", stick).returncode == 0
    back, part = stick / "helio/return/f2.bin", stick / "helio/return/f2.bin.part"
    good = back.read_bytes()
    ledger(fleet, "f2", one, 400, first=401)
    for calls, error, word in (("write", "ENOSPC", "no-space"), ("fsync", "EIO", "io"), ("openat", "EROFS", "read-only")):
        broken = ["strace", "-f", "-o", "/dev/null", "-P", part, "-P", "f2.bin.part", "-e", f"trace={calls}", "-e", f"inject={calls}:error={error}"]
        done = importing(fleet, "f2", stick, under=broken)
        # What the stick brought is installed all the same; that nothing could be written is said.
        assert shown(fleet, "f2") == one and f"IMPORT-NO-RETURN client=f2 word={word}" in done.stderr, done.stderr[-1500:]
        assert "returned" not in done.stdout and back.read_bytes() == good and not part.exists(), (calls, done.stdout)
    done = importing(fleet, "f2", stick)   # the control: it was the stick
    assert "returned\t800\n" in done.stdout and back.read_bytes() != good and not part.exists()
