"""US 8,949,380 / claims 9 to 13 with 3 to 5 and 17, as two customers would try it: plans of their own, a change of plan, a
week of dayparts with the clock hurried on, a screen that was without network and then without power for a month and came
back through a stick. Witnesses: mosquitto_sub, protoc and zstd for what lies on the wire, ffmpeg for what the screens show,
Python's own time zones for the hours, bsdtar for the stick, sqlite3 for what the server counted."""
import datetime
import json
import os
import re
import signal
import time
import zoneinfo
from collections import Counter

import pytest

from lib.media import QUICK, importing, recorded, sha256sum, unpack
from lib.orders import manifest_on
from lib.screen import Camera, Screen, near
from lib.stage import png_bytes
from lib.wait import wait_for
from lib.wallclock import WallClock

SIZE = (320, 180)
ATHENS = zoneinfo.ZoneInfo("Europe/Athens")
DAY = 86_400
# title: colour of the picture, tags
PICTURES = {"wave": ((40, 70, 200), ("sea",)), "gull": ((60, 160, 220), ("sea", "bird")), "moon": ((60, 20, 90), ("night",)),
            "flag": ((230, 200, 30), ("feast",)), "tower": ((200, 40, 30), ("city",)), "park": ((40, 180, 60), ("city", "green"))}
WORKDAY, NIGHT, FEAST = "mon-fri 08:00-18:00", "mon-fri 20:00-02:00", "sat 10:00-16:00"


def open_plans(at):
    """Which plans of the harbour are open at a Unix second, by the clock on a wall in Athens; written here, not by our code."""
    local = datetime.datetime.fromtimestamp(at, ATHENS)
    day, hour = local.weekday(), local.hour + local.minute / 60 + local.second / 3600
    found = {"work"} if day < 5 and 8 <= hour < 18 else set()
    if day < 5 and hour >= 20 or day in (1, 2, 3, 4, 5) and hour < 2:
        found.add("night")
    if day == 5 and 10 <= hour < 16:
        found.add("feast")
    return found


FIRST = {"work": {"wave", "gull"}, "night": {"moon"}, "feast": {"flag"}}
SECOND = {"work": {"wave"}, "night": {"moon"}, "feast": {"flag"}}     # without the bird


def wanted(at, pictures):
    return set().union(*(pictures[p] for p in open_plans(at))) if open_plans(at) else {"waiting"}


def seen(camera):
    """The title of the picture that stands on the screen, "waiting" for the waiting picture, "black", or the colour."""
    rgb = camera.frame()
    if len({rgb[at:at + 3] for at in range(0, len(rgb), 3 * 97)}) > 60:
        return "waiting"
    at = (SIZE[1] // 2 * SIZE[0] + SIZE[0] // 2) * 3
    middle = tuple(rgb[at:at + 3])
    titles = [t for t, (colour, _) in PICTURES.items() if near(middle, colour, 4)]
    return titles[0] if titles else "black" if near(middle, (0, 0, 0)) else middle


def customers(fleet, folder):
    for title, (colour, tags) in PICTURES.items():
        path = folder / f"{title}.png"
        path.write_bytes(png_bytes(*SIZE, colour))
        fleet.ctl("image", "add", path, "--title", title, *[w for t in tags for w in ("--tag", t)])
    show = ("--duration", "1000", "--transition", "0")
    fleet.ctl("customer", "add", "harbour", "--name", "Harbour office", "--time-zone", "Europe/Athens", *show)
    fleet.ctl("customer", "plan", "harbour", "work", "--expression", "sea", "--dayparts", WORKDAY)
    fleet.ctl("customer", "plan", "harbour", "night", "--expression", "night", "--dayparts", NIGHT)
    fleet.ctl("customer", "plan", "harbour", "feast", "--expression", "feast and not city", "--dayparts", FEAST)
    fleet.ctl("customer", "client", "harbour", "f1", "--screen", "320x180")
    fleet.ctl("customer", "add", "town", "--name", "Town hall", "--time-zone", "Europe/Berlin", *show)
    fleet.ctl("customer", "plan", "town", "all", "--expression", "city", "--order", "shuffle")
    fleet.ctl("customer", "client", "town", "f2", "--screen", "320x180")


def made(fleet, customer, not_this=None):
    """The package of a customer's only order, once its channel shows it."""
    def look():
        order = fleet.ctl("customer", "show", customer)["orders"][0]
        return order["answered"] and order["package"] == order["shown"] and order["package"] not in ("", not_this) and order["package"]
    return wait_for(look, 30, f"a package of {customer}", every=0.2)


def on_wire(fleet, package):
    """Titles by plan, as mosquitto_sub finds them in the manifest on the data broker."""
    root, files, _ = manifest_on(fleet, bytes.fromhex(package))
    plans = [g.plan for g in root.groups]
    return {(plans[f.picture.group - 1], f.picture.title) for f in files}


def pairs(pictures):
    return {(plan, title) for plan, titles in pictures.items() for title in titles}


def delivery(fleet, customer):
    client = fleet.ctl("customer", "show", customer)["clients"][0]
    return client["package"], client["medium"]


def next_monday():
    """00:00 in Athens on the Monday after the coming one, Unix seconds."""
    today = datetime.datetime.now(ATHENS).date()
    monday = today + datetime.timedelta(days=14 - today.weekday())
    return int(datetime.datetime(monday.year, monday.month, monday.day, tzinfo=ATHENS).timestamp())


class Device:
    """f1's screen, whose wall clock the test moves while the rest of the world goes on."""

    def __init__(self, fleet):
        self.fleet, self.clock = fleet, WallClock(fleet.folder, "f1")
        self.screen = self.camera = None
        self.whole = set()      # what was once waited for until every picture of it had come

    def on(self):
        # It starts as after a power cut: what the server told in another boot of the machine says nothing of this one.
        told = self.fleet.folder / "f1/display/clock"
        if told.exists():
            told.write_text("".join(line for line in told.read_text().splitlines(True) if not line.startswith("server")))
        self.screen = Screen(self.fleet, "f1", *SIZE, env={**self.clock.env(), "TZ": "UTC"}).__enter__()
        said, pid = self.fleet.folder / "f1/display/status", f"pid\t{self.screen.proc.p.pid}\n"
        wait_for(lambda: said.exists() and pid in said.read_text(), 20, "the display runs")
        self.camera = Camera(self.screen)

    def off(self):
        if self.camera:
            self.camera.end()
        if self.screen and self.screen.x.poll() is None:
            self.screen.__exit__()
        self.camera = None

    def go_to(self, at):
        self.clock.step(int(at - time.time()))
        os.kill(int(self.screen.proc.p.pid), signal.SIGUSR1)     # it looks at once, not within fifteen seconds

    def shows(self, at, pictures):
        """Goes to a moment and waits until the screen shows what is wanted then; the first time until all of it came, and nothing else."""
        self.go_to(at)
        want = frozenset(wanted(at, pictures))
        wait_for(lambda: seen(self.camera) in want, 10, f"{want} at {datetime.datetime.fromtimestamp(at, ATHENS):%a %H:%M:%S}", every=0)
        came = {seen(self.camera)}
        if want not in self.whole:
            wait_for(lambda: want <= came or came.add(seen(self.camera)), 10, f"all of {set(want)}", every=0)
        self.whole.add(want)
        assert came <= want, (came, want)
        return came


def edges(monday):
    """A minute before and after each hour at which something begins or ends, from Monday to Monday."""
    out, at = [], monday
    while at < monday + 7 * DAY:
        if open_plans(at) != open_plans(at - 60):
            out += [at - 60, at + 2]
        at += 1800
    return out


def rows_are_right(rows, pictures):
    """Every row of the ledger lies in the hours of its plan. Rows end where the test moved the clock: their begin counts."""
    plan_of = {title: plan for plan, titles in pictures.items() for title in titles}
    for _, image, begin, _ in rows:
        title = image[5:].split(".")[0]
        assert plan_of[title] in open_plans(begin / 1000), (image, datetime.datetime.fromtimestamp(begin / 1000, ATHENS))


def trial(fleet_of, folder, moments):
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",), interval_ms=200,
                     server={"server": {**QUICK, "silent_after_s": 2, "medium_after_s": 4}, "data": {"recent_period_s": 0}})
    fleet.publisher_extra = {"packager": {"settle_ms": 100, "period_s": 1, "image_key": fleet.ca / "keys/image.key"}}
    fleet.up()
    customers(fleet, folder)
    harbour, town = made(fleet, "harbour"), made(fleet, "town")
    assert on_wire(fleet, harbour) == pairs(FIRST) and on_wire(fleet, town) == pairs({"all": {"tower", "park"}})
    device = Device(fleet)
    with Screen(fleet, "f2", *SIZE) as two:
        camera = Camera(two)
        try:
            change_of_plan(fleet, camera, harbour, town)
        finally:
            camera.end()
    fleet.wait_client("f1", lambda c: harbour in c["holdings"], 20)
    fleet.procs["f1"].kill()
    try:
        alone(fleet, folder, device, harbour, moments)
    finally:
        device.off()


def alone(fleet, folder, device, harbour, moments):
    """The cable is out: the device goes on by itself, hour after hour of a week; then it has no power for a month."""
    device.on()
    monday = next_monday()
    came = set().union(*(device.shows(at, FIRST) for at in moments(monday)))
    assert came == {"waiting", "moon", "flag", "wave", "gull"}, came
    rows = device.screen.ledger()
    rows_are_right(rows, FIRST)
    # The hours are those of Athens: by another clock what was shown would be wrong.
    with pytest.raises(AssertionError):
        rows_are_right([(p, i, b + 3 * 3_600_000, e) for p, i, b, e in rows], FIRST)
    device.off()
    rows = device.screen.ledger()

    stick, changed = by_stick(fleet, folder, harbour)
    came_back(fleet, device, stick, changed, monday, rows)


def change_of_plan(fleet, camera, harbour, town):
    """The town wants no park any more: told before, then seen on its screen; nobody else notices."""
    came = set()
    wait_for(lambda: came.add(seen(camera)) or {"tower", "park"} <= came, 20, "both pictures of the town", every=0.05)
    edit = ("customer", "plan", "town", "all", "--expression", "city and not green")
    would = fleet.ctl(*edit, "--dry-run")["orders"][0]
    assert [i["title"] for i in would["removed"]] == ["park"] and would["added"] == []
    assert fleet.ctl("customer", "show", "town")["orders"][0]["package"] == town
    fleet.ctl(*edit)
    assert on_wire(fleet, made(fleet, "town", town)) == {("all", "tower")}
    wait_for(lambda: delivery(fleet, "town") == ("shown", ""), 20, "the town's screen shows it")
    assert {seen(camera) for _ in range(10)} == {"tower"}
    assert made(fleet, "harbour") == harbour


def by_stick(fleet, folder, before):
    """While f1 is away the harbour changes its mind; the medium is made by itself and goes onto a stick."""
    wait_for(lambda: fleet.ctl("media", "route", "f1")["via"] == "MEDIUM", 20, "f1 is given up by the link")
    fleet.ctl("customer", "plan", "harbour", "work", "--expression", "sea and not bird")
    package = made(fleet, "harbour", before)
    assert on_wire(fleet, package) == pairs(SECOND)
    order = recorded(fleet, "f1", package)
    assert sha256sum(order["path"]) == order["sha256"] and delivery(fleet, "harbour") == ("awaited", "recorded")
    assert "MEDIA-TO-POST" in [f["id"] for f in doctor(fleet)]
    fleet.ctl("media", "posted", order["number"])
    assert delivery(fleet, "harbour") == ("awaited", "posted")
    return unpack(order["path"], folder / "stick"), package


def doctor(fleet):
    done = fleet.ctl("doctor", check=False)
    return json.loads(done.stdout)["findings"]


def came_back(fleet, device, stick, package, monday, rows):
    month = monday + 35 * DAY
    device.clock.step(int(month - time.time()))
    done = importing(fleet, "f1", stick, env=device.clock.env())
    assert done.returncode == 0 and f"returned\t{len(rows)}\n" in done.stdout, done
    device.on()
    device.whole.clear()
    for at in (month + 3 * DAY + 9 * 3600, month + 3 * DAY + 21 * 3600, month + 4 * DAY + 3 * 3600, month + 5 * DAY + 11 * 3600):
        device.shows(at, SECOND)
    fresh = [r for r in device.screen.ledger() if r not in rows]
    assert {r[0] for r in rows} != {package} == {r[0] for r in fresh}
    rows_are_right(fresh, SECOND)
    device.off()

    # The stick comes back: each showing is counted once, with the time that the device says.
    fleet.ctl("media", "merge", stick)
    assert fleet.ctl("media", "merge", stick)["merged"][0]["rows_new"] == 0
    assert delivery(fleet, "harbour") == ("awaited", "arrived")
    counted(fleet, rows)
    # And the link: nothing has to be sent, the rest of the ledger comes, and nothing is missing.
    fetched = len(subscriptions(fleet, "f1"))
    assert fetched
    fleet.agent("f1")
    fleet.wait_client("f1", lambda c: c["reach"] == "online" and package in c["holdings"] and c["state"] == "idle", 20)
    assert delivery(fleet, "harbour") == ("held", "")
    fleet.ctl("ask", "f1", "usage", "--wait")
    every = device.screen.ledger()
    assert len(every) > len(rows)
    counted(fleet, every)
    assert fleet.ctl("usage", "gaps", "f1")["missing"] == 0
    assert len(subscriptions(fleet, "f1")) == fetched


def subscriptions(fleet, client):
    """What a client ever asked the data broker for, by the broker's log."""
    return re.findall(rf"Received SUBSCRIBE from {client}\b", fleet.broker_log("da"))


def counted(fleet, rows):
    """The server's store by sqlite3, and its sums by picture and by hour, are the device's ledger."""
    held = fleet.sql("select image, from_ms, from_ms + duration_ms from usage where client = 'f1' order by ledger_seq").splitlines()
    assert held == [f"{image}|{begin}|{end}" for _, image, begin, end in rows]
    by_picture, by_hour = Counter(), Counter()
    for _, image, begin, end in rows:
        by_picture[image[5:]] += end - begin
        by_hour[str(begin // 3_600_000 * 3600)] += end - begin
    for by, want in (("picture", by_picture), ("hour", by_hour), ("customer", Counter(harbour=sum(by_picture.values())))):
        sums = fleet.ctl("usage", "sums", "f1", "--by", by)["sums"]
        assert {s["key"]: s["duration_ms"] for s in sums} == want, by


@pytest.mark.slow
def test_S001_c9_two_customers_a_change_of_plan_and_a_month_without_power(fleet_of, folder):
    """From Friday to Sunday, where something begins or ends."""
    trial(fleet_of, folder, lambda monday: [at for at in edges(monday) if at > monday + 4 * DAY])


@pytest.mark.long
def test_S001_c9_two_customers_a_week_of_dayparts_and_a_month_without_power(fleet_of, folder):
    """Every half hour of the week, and each border from both sides."""
    trial(fleet_of, folder, lambda monday: sorted({*edges(monday), *range(monday + 60, monday + 7 * DAY, 1800)}))
