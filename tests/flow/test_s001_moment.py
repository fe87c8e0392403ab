"""A package for a moment: fetched when it is offered, shown by every display at the same instant."""
import time

from lib.screen import Eye, Screen
from lib.stage import png_bytes
from lib.wait import wait_for

SIZE = (320, 180)


def plain(fleet, folder, version, rgb):
    """A package of one picture of one colour."""
    path = folder / f"all-{version}.png"
    path.write_bytes(png_bytes(*SIZE, rgb))
    image = fleet.ctl("image", "add", path)["images"][0]["image"]
    built = fleet.ctl("package", "build", "--name", "art", "--version", version, "--duration", "60000", "--transition", "0",
                      "--image", image)
    fleet.ctl("package", "publish", built["package"])
    return built["package"]


def slot(fleet, client):
    return (fleet.folder / client / "slots/images/art/current").resolve().name


def test_S001_c9h_a_package_for_a_moment_is_fetched_before_and_shown_by_all_at_once(fleet_of, folder):
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",), interval_ms=200).up()
    red, white, blue = (200, 40, 30), (230, 230, 225), (40, 70, 200)
    one, two, three = (plain(fleet, folder, v, c) for v, c in (("1", red), ("2", white), ("3", blue)))
    fleet.ctl("channel", "publish", "default", one, "--wait")
    with Screen(fleet, "f1", *SIZE) as a, Screen(fleet, "f2", *SIZE) as b:
        for client in ("f1", "f2"):
            fleet.wait_client(client, lambda c: c["showing"]["package"] == one, 20)
        at = time.time_ns() // 1_000_000 + 7000
        fleet.ctl("channel", "publish", "default", two, "--at", at, "--wait")
        # Held by both, and nothing has changed: not on the screens, not in what is current.
        assert time.time() * 1000 < at - 3000, "this machine is too slow for the test's moment"
        for client, screen in (("f1", a), ("f2", b)):
            assert (fleet.folder / client / "packages" / two).is_dir() and slot(fleet, client) == one
            assert (screen.meet / "playlist.next").exists() and abs(screen.middle()[0] - red[0]) < 12
        # One device starts again meanwhile, and the other one's way to the server is cut: nothing depends on them.
        fleet.procs["f1"].kill()
        fleet.procs["broker-control"].kill()
        fleet.agent("f1")
        time.sleep(max(0, at / 1000 - time.time() - 1.6))
        eyes = [Eye(s.name, SIZE, white, 2.6) for s in (a, b)]
        seen = [e.end() for e in eyes]
        assert None not in seen, "a screen did not change"
        assert abs(seen[0] - seen[1]) <= 50 and max(abs(s - at) for s in seen) <= 100, [s - at for s in seen]
        for client, screen in (("f1", a), ("f2", b)):
            wait_for(lambda: slot(fleet, client) == two and not (screen.meet / "playlist.next").exists(), 10, client)
            assert f"package\t{two}" in (screen.meet / "playlist").read_text()
        # The server hears of it; what is ordered at once takes the place of what waits.
        fleet.broker("control")
        for client in ("f1", "f2"):
            fleet.wait_client(client, lambda c: c["showing"]["package"] == two, 30)
        fleet.ctl("channel", "publish", "default", three, "--at", time.time_ns() // 1_000_000 + 3_600_000, "--wait")
        assert slot(fleet, "f1") == two and (a.meet / "playlist.next").exists()
        fleet.ctl("channel", "publish", "default", one, "--wait")
        wait_for(lambda: slot(fleet, "f1") == one and not (a.meet / "playlist.next").exists(), 10)
