"""What a device says of its display, held against the display's own ledger and against the screen itself; and what it
refuses to say."""
import hashlib
import hmac
import re
import subprocess
import time

from lib import wire
from lib.screen import Screen, near
from lib.wait import stays, wait_for

pb = wire.pb
COLOURS = {"red": (200, 40, 30), "green": (40, 180, 60), "blue": (40, 70, 200), "white": (230, 230, 225)}


def colour_pictures(folder):
    folder.mkdir()
    out = []
    for name, rgb in COLOURS.items():
        path = folder / f"{name}.png"
        subprocess.run(["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "color=c=0x%02x%02x%02x:s=640x360" % rgb,
                        "-frames:v", "1", path], check=True)
        out.append(path)
    return out


def gallery(fleet, folder):
    """A package of four plain pictures, 0.6 s each, without fading."""
    images = [fleet.ctl("image", "add", p)["images"][0]["image"] for p in colour_pictures(folder / "pictures")]
    built = fleet.ctl("package", "build", "--name", "art", "--version", "7", "--duration", 600, "--transition", 0,
                      *[w for i in images for w in ("--image", i)])
    fleet.ctl("package", "publish", built["package"])
    fleet.ctl("channel", "publish", "default", built["package"])
    return built["package"]


def asked(fleet, watch):
    """Asks for the display information: when, and the report as it lies on the wire."""
    seen, began = len(watch.of("helio/v1/report/")), time.time()
    fleet.ctl("ask", "f1", "display")
    m = wait_for(lambda: watch.of("helio/v1/report/")[seen:], 15, "a report")[0]
    report = m.decode(pb.Report)
    assert report.client_id == "f1" and report.what == pb.INFO_DISPLAY and report.HasField("display")
    return began * 1000, m.at * 1000, report.display


def colour_of(image):
    return COLOURS[re.search("|".join(COLOURS), image).group()]


def on_screen(ledger, begin, end):
    """Pictures that the ledger shows at some moment between the two."""
    return {image for _, image, came, went in ledger if came <= end and went >= begin}


def test_S001_c20_the_report_names_the_picture_that_the_ledger_and_the_screen_show(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=200).up()
    watch = fleet.watch("helio/v1/report/#")
    package = gallery(fleet, folder)
    with Screen(fleet, "f1", 648, 366) as screen:
        wait_for(lambda: len({image for _, image, *_ in screen.ledger()}) == len(COLOURS), 40, "each was shown once")
        # The show goes on while it is asked about.
        answers = [asked(fleet, watch) for _ in range(4)]
        wait_for(lambda: screen.ledger()[-1][3] > answers[-1][1], 15, "the ledger covers the last answer")
        ledger = screen.ledger()
        for began, came, display in answers:
            shown = on_screen(ledger, began - 100, came)    # the status file comes a moment after the picture
            assert display.showing_image in shown, (display.showing_image, shown)
            assert display.showing_package.hex() == package == {row[0] for row in ledger}.pop()
            assert len(shown) < len(COLOURS), "this would be true of every answer"
        # The show stands still: one picture, seen by a camera, named by the report, and later by the ledger.
        named = []
        fleet.ctl("exec", "f1", "pause")
        for name in ("blue", "white"):
            image = next(i for _, i, *_ in ledger if name in i)
            fleet.ctl("exec", "f1", "show", image, "--wait")
            wait_for(lambda: near(screen.middle(), COLOURS[name]), 10, f"{name} on the screen")
            began, came, display = asked(fleet, watch)
            assert near(screen.middle(), colour_of(display.showing_image))
            named.append((began, came, display.showing_image))
        fleet.ctl("exec", "f1", "resume")
        wait_for(lambda: screen.ledger()[-1][3] > named[-1][1], 15)
        assert [on_screen(screen.ledger(), began, came) for began, came, _ in named] == [{i} for _, _, i in named]
        assert len({image for *_, image in named}) == 2, "the report says always the same"
        # The rest of it: name, version, resolution, free space.
        assert (display.showing_name, display.showing_version) == ("art", "7") and display.display_alive
        assert (display.width_px, display.height_px) == (screen.width, screen.height)
        assert_free_space(fleet, display)
        stored = fleet.ctl("reports", "f1", "display")
        assert named[-1][2] in str(stored)
    # Control: without a display nothing is claimed to be shown, and another screen is another resolution.
    display = wait_for(lambda: (lambda d: not d.display_alive and d)(asked(fleet, watch)[2]), 20)
    assert display.showing_image == "" and not any(display.showing_package)
    with Screen(fleet, "f1", 800, 450) as other:
        wait_for(lambda: (other.meet / "status").exists() and "screen\t800\t450" in (other.meet / "status").read_text(), 15)
        display = asked(fleet, watch)[2]
        assert (display.width_px, display.height_px) == (800, 450) and display.display_alive


def assert_free_space(fleet, display):
    """df says the same, but for what others write meanwhile."""
    done = subprocess.run(["df", "-B1", "--output=avail", fleet.folder / "f1"], stdout=subprocess.PIPE, text=True, check=True)
    available = int(done.stdout.split()[-1])
    assert abs(display.free_bytes - available) < max(256 << 20, available // 50), (display.free_bytes, available)


def forged(fleet, beat, response_id, what):
    """SEND_INFORMATION under the session's own MAC, as only the server could say it."""
    keys = dict(line.split() for line in (fleet.folder / "f1.session").read_text().splitlines())
    r = pb.Response(schema=1, client_id="f1", session_id=beat.session_id, in_reply_to_seq=beat.seq, boot=beat.boot,
                    heartbeat_interval_ms=fleet.interval_ms)
    r.body.response_id = r.body.op_id = response_id
    r.body.kind, r.body.state, r.body.attempt = pb.SEND_INFORMATION, pb.CS_AWAIT_INFO, 1
    r.body.reason.code = pb.REASON_EVENT
    r.body.send.what, r.body.send.max_bytes = pb.INFO_SCREENSHOT, 1000
    # Google's protobuf writes no 0: it is put into the finished bytes.
    before = r.SerializeToString()
    raw = before.replace(b"\x08\x06\x20\xe8\x07", bytes([8, what]) + b"\x20\xe8\x07")
    assert raw != before or what == pb.INFO_SCREENSHOT
    mac = hmac.new(bytes.fromhex(keys["mac_down"]), b"helio/v1/rsp/f1\0" + raw, hashlib.sha256).digest()
    payload = raw + wire.AUTH_MAC + mac
    server = wire.Client(fleet.port["control"], fleet.bundle("server.1"))
    server.publish("helio/v1/rsp/f1", payload)
    server.close()


def test_S001_c20_a_question_for_nothing_or_for_something_unknown_ends_refused_by_name(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",)).up()
    fleet.ctl("ask", "f1", "display", "--wait")
    agent = fleet.procs["f1"]
    watch = fleet.watch("helio/v1/hb/#", "helio/v1/report/#")
    heliod = fleet.procs["heliod"]
    heliod.pause()
    try:
        def beat():
            """A heartbeat that nobody answered yet."""
            seen = len(watch.of("helio/v1/hb/"))
            return wait_for(lambda: watch.of("helio/v1/hb/")[seen:], 10, "a heartbeat")[0].decode(pb.Heartbeat)
        first = beat()
        for n, (what, reason) in enumerate(((0, "send.what is missing or 0"), (8, "send.what is 8, at most 7"))):
            id_ = first.last_response_id + 1 + n

            def refused():
                """The beat that the forged answer names may be answered already: then it takes the next one."""
                forged(fleet, beat(), id_, what)
                after = beat()
                return after.op.op_id == id_ and after.ack != pb.ACK_RESEND and after
            after = wait_for(refused, 20, "it is taken")
            # On the wire: its operation ended, once and for good, and it is acknowledged, not asked for again.
            assert after.op.status == pb.OP_REFUSED and after.op.detail == "not understood: " + reason
            assert after.last_response_id == id_ and after.ack != pb.ACK_RESEND
            assert len([l for l in agent.lines("OP-END") if f"op={id_} " in l]) == 1
            assert not watch.of("helio/v1/report/")
        # Control: the same words with a question that exists are obeyed.
        forged(fleet, beat(), first.last_response_id + 3, pb.INFO_DISPLAY)
        report = wait_for(lambda: watch.of("helio/v1/report/"), 10, "a report")[0].decode(pb.Report)
        assert report.op_id == first.last_response_id + 3 and report.what == pb.INFO_DISPLAY
    finally:
        heliod.go_on()


def test_S001_c20_information_that_a_device_cannot_give_ends_refused(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",)).up()
    watch = fleet.watch("helio/v1/hb/#", "helio/v1/report/#", "helio/v1/rsp/f1")
    wait_for(lambda: fleet.client("f1")["state"] == "idle", 10)
    reports = len(watch.of("helio/v1/report/"))
    fleet.ctl("ask", "f1", "screenshot")
    refused = wait_for(lambda: [h for h in (m.decode(pb.Heartbeat) for m in watch.of("helio/v1/hb/"))
                                if h.op.status == pb.OP_REFUSED], 10, "op REFUSED")[0]
    asked_for = [b for b in (m.decode(pb.Response).body for m in watch.of("helio/v1/rsp/f1"))
                 if b.send.what == pb.INFO_SCREENSHOT]
    assert refused.op.op_id == asked_for[0].op_id and refused.op.detail.startswith("unsupported: ")
    stays(lambda: len(watch.of("helio/v1/report/")) == reports, 0.5)
    # The server asks once: what is refused is not tried again.
    fleet.wait_client("f1", lambda c: c["state"] == "idle", 10)
    assert len({b.op_id for b in asked_for}) == 1
    # A word that is no question is refused before it is one.
    assert fleet.ctl("ask", "f1", "secrets", check=False).returncode != 0
