"""Packages and their hours on the way to the screen: a package for a moment, fetched when it is offered and shown by every
display at the same instant; and the hours that a customer chose, kept by the device."""
import datetime
import time
import zoneinfo

import pytest

from lib.orders import png
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


def swapped(fleet, screens, before, after, white, red):
    """Two devices change at a moment that they were told before; how many ms after it their screens did."""
    at = time.time_ns() // 1_000_000 + 7000
    fleet.ctl("channel", "publish", "default", after, "--at", at, "--wait")
    # Held by both, and nothing has changed: not on the screens, not in what is current.
    assert time.time() * 1000 < at - 3000, "this machine is too slow for the test's moment"
    for client, screen in screens.items():
        assert (fleet.folder / client / "packages" / after).is_dir() and slot(fleet, client) == before
        assert (screen.meet / "playlist.next").exists() and abs(screen.middle()[0] - red[0]) < 12
    # One device starts again meanwhile, and the other one's way to the server is cut: nothing depends on them.
    fleet.procs["f1"].kill()
    fleet.procs["broker-control"].kill()
    fleet.agent("f1")
    time.sleep(max(0, at / 1000 - time.time() - 1.6))
    eyes = [Eye(s.name, SIZE, white, 2.6) for s in screens.values()]
    seen = [e.end() for e in eyes]
    assert None not in seen, "a screen did not change"
    for client, screen in screens.items():
        wait_for(lambda: slot(fleet, client) == after and not (screen.meet / "playlist.next").exists(), 10, client)
        assert f"package\t{after}" in (screen.meet / "playlist").read_text()
    # The server hears of it.
    fleet.broker("control")
    for client in screens:
        fleet.wait_client(client, lambda c: c["showing"]["package"] == after, 30)
    return [s - at for s in seen]


@pytest.mark.quiet
def test_S001_c9h_a_package_for_a_moment_is_fetched_before_and_shown_by_all_at_once(fleet_of, folder):
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",), interval_ms=200).up()
    red, white, blue = (200, 40, 30), (230, 230, 225), (40, 70, 200)
    one, two, three = (plain(fleet, folder, v, c) for v, c in (("1", red), ("2", white), ("3", blue)))
    fleet.ctl("channel", "publish", "default", one, "--wait")
    with Screen(fleet, "f1", *SIZE) as a, Screen(fleet, "f2", *SIZE) as b:
        for client in ("f1", "f2"):
            fleet.wait_client(client, lambda c: c["showing"]["package"] == one, 20)
        # The only data broker was chosen a moment ago, and is not the next choice at once.
        wait_for(lambda: fleet.ctl("package", "show", two)["state"] in ("stored", "linger"), 20, "it lies there")
        # A busy machine shows a picture late now and then: one round of three is as it should be.
        for _ in range(3):
            late = swapped(fleet, {"f1": a, "f2": b}, one, two, white, red)
            if abs(late[0] - late[1]) <= 50 and max(map(abs, late)) <= 100:
                break
            fleet.ctl("channel", "publish", "default", one, "--wait")
            for client in ("f1", "f2"):
                fleet.wait_client(client, lambda c: c["showing"]["package"] == one, 20)
        assert abs(late[0] - late[1]) <= 50 and max(map(abs, late)) <= 100, late
        # What is ordered at once takes the place of what waits.
        fleet.ctl("channel", "publish", "default", three, "--at", time.time_ns() // 1_000_000 + 3_600_000, "--wait")
        assert slot(fleet, "f1") == two and (a.meet / "playlist.next").exists()
        fleet.ctl("channel", "publish", "default", one, "--wait")
        wait_for(lambda: slot(fleet, "f1") == one and not (a.meet / "playlist.next").exists(), 10)


def hours_from(zone, begin, end):
    """All days, from so many hours before or after this one to so many."""
    now = datetime.datetime.now(zoneinfo.ZoneInfo(zone))
    at = [(now + datetime.timedelta(hours=h)).strftime("%H:00") for h in (begin, end)]
    return f"mon-fri {at[0]}-{at[1]}; sat,sun {at[0]}-{at[1]}"


def test_S001_c9h_the_hours_that_a_customer_chose_are_kept_on_the_screen(fleet_of, folder):
    fleet = fleet_of(data_brokers=("da",), clients=("f1",), interval_ms=200, server={"data": {"recent_period_s": 0}})
    fleet.publisher_extra = {"packager": {"settle_ms": 100, "period_s": 1, "image_key": fleet.ca / "keys/image.key"}}
    fleet.up()
    for n, (name, tag) in enumerate((("wave", "sea"), ("tower", "city"))):
        fleet.ctl("image", "add", png(folder / f"{name}.png", seed=n + 1), "--tag", tag)
    zone = "Asia/Kathmandu"      # far from here, and a quarter of an hour beside the others
    fleet.ctl("customer", "add", "cafe", "--time-zone", zone, "--duration", "1000", "--transition", "0")
    fleet.ctl("customer", "plan", "cafe", "day", "--expression", "sea", "--dayparts", hours_from(zone, -2, 3))
    fleet.ctl("customer", "plan", "cafe", "night", "--expression", "city", "--dayparts", hours_from(zone, 4, 6), "--weight", "3")
    fleet.ctl("customer", "client", "cafe", "f1", "--screen", "320x180")
    with Screen(fleet, "f1", *SIZE) as screen:
        shown = wait_for(lambda: (lambda rows: len(rows) >= 2 and rows)(screen.ledger()), 40, "two showings")
        assert {image[5:] for _, image, _, _ in shown} == {"wave.png"}
        # What the device was told, read without our code: two plans, their hours and weights, and the zone.
        lines = [line.split("\t") for line in (screen.meet / "playlist").read_text().splitlines()]
        groups = {line[1]: line for line in lines if line[0] == "group"}
        assert groups.keys() == {"day", "night"} and groups["night"][4] == "3"
        assert [line[3] for line in lines if line[0] == "order"] == [zone]
        assert len([line for line in lines if line[0] == "image"]) == 2
        # The customer chooses other hours: what was shown is over, what was not comes.
        fleet.ctl("customer", "plan", "cafe", "day", "--dayparts", hours_from(zone, 4, 6))
        fleet.ctl("customer", "plan", "cafe", "night", "--dayparts", hours_from(zone, -2, 3))
        n = len(screen.ledger())
        wait_for(lambda: [r[1][5:] for r in screen.ledger()[n:]][-2:] == ["tower.png"] * 2, 40, "the other picture")
