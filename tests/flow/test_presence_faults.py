"""What goes wrong at data brokers and between: they forget, are full, hang, are gone; programs are killed in every state. What is wanted
arrives in the end, from a broker whose copy the server read back."""
import datetime
import re
import threading
import time

import pytest

from lib import rogue, wire
from lib.boss import FakeServer
from lib.presence import Record, all_there, content, late, lies_at, offer, package_of, published, quiet_counts, software, stored
from lib.proxy import Proxy
from lib.wait import stays, wait_for
from test_presence_leases import answered, ask, fleet_for, installed, joins, same_file, told

pb = wire.pb


def plain(fleet_of, **data):
    """Brokers without certificates, so that a test may do on them what nobody else may."""
    fleet = fleet_of(clients=("f1",), data_brokers=("da", "db"), interval_ms=200, tls=False,
                     server={"server": {"reconnect_spread_s": 0}, "probe": {"enabled": False},
                             "data": {"recent_period_s": 0, "sys_interval_s": 1, "broker_away_s": 2, **data}})
    fleet.brokers()
    return fleet


def begin(fleet):
    fleet.heliod().wait_text("LINK-UP", 15, count=3)
    fleet.publisher()
    fleet.agent("f1")
    fleet.wait_client("f1", lambda c: c["reach"] == "online", 20)
    return fleet


class Eraser:
    """A broker that accepts, acknowledges and forgets: every retained message of content is cleared as soon as it came."""

    def __init__(self, fleet, broker):
        self.link = wire.Client(fleet.port[broker], client_id="eraser")
        self.erased = 0
        self.link.m.on_message = self._came
        self.link.subscribe("helio/v1/pkg/#", "helio/v1/idx/#")
        fleet.witnesses.append(self.link)

    def _came(self, c, u, m):
        if m.payload:
            self.erased += 1
            c.publish(m.topic, b"", qos=1, retain=True)


@pytest.mark.long
def test_S002_7_a_broker_that_accepts_and_forgets_is_left(fleet_of):
    fleet = begin(plain(fleet_of))
    eraser = Eraser(fleet, "da")
    watch = wire.Client(fleet.port["control"], client_id="look").subscribe("helio/v1/grant/f1")
    fleet.witnesses.append(watch)
    package = package_of(fleet, size=300_000)
    fleet.ctl("channel", "publish", "default", package)
    wait_for(lambda: installed(fleet, "f1", package), 60, "it arrives all the same")
    assert same_file(fleet, "f1", package) and eraser.erased >= 1
    given = [getattr(g, "from").broker_id for g in (m.decode(pb.Grant) for m in watch.messages) if g.granted]
    assert given and given[-1] == "db", f"granted from what forgot it: {given}"
    # By the server's own look, or, where that was quicker than the eraser, by what the client said.
    assert fleet.procs["heliod"].lines("PLACE-LOST") or fleet.procs["heliod"].lines("FETCH-COMPLAINT client=f1")


@pytest.mark.long
def test_S002_4_a_full_broker_is_left_and_gets_its_room_back(fleet_of):
    fleet = plain(fleet_of)
    fleet.procs["broker-da"].stop()
    conf = fleet.folder / "broker-da/mosquitto.conf"
    conf.write_text(conf.read_text() + "\nmemory_limit 4000000\n")
    fleet.broker("da")
    begin(fleet)
    package = package_of(fleet, size=8_000_000)
    fleet.ctl("channel", "publish", "default", package)
    wait_for(lambda: installed(fleet, "f1", package), 30, "it arrives from the other one")
    assert same_file(fleet, "f1", package)
    assert fleet.procs["pub"].lines("PUBLISH-FAILED broker=da"), "that one was not full"
    assert fleet.procs["heliod"].lines("COPY-LEFT")


@pytest.mark.long
def test_S002_4_a_broker_that_hangs_while_it_is_filled_is_left(fleet_of):
    fleet = begin(plain(fleet_of))
    heliod = fleet.procs["heliod"]
    try:
        built = fleet.ctl("package", "build", "--name", "app", "--version", "1", "--software", software(fleet.folder, "app-1", 12_000_000))["package"]
        fleet.ctl("package", "publish", built)
        heliod.wait_text("kind=transmit", 10)
        (first,) = {re.search(r"broker=(\S+)", line)[1] for line in heliod.lines("kind=transmit")}
        fleet.procs[f"broker-{first}"].pause()     # the connections stand, nobody answers
        assert "PUBLISH-STORED" not in fleet.procs["pub"].text(), "it was over before the broker hung"
        fleet.ctl("channel", "publish", "default", built)
        wait_for(lambda: installed(fleet, "f1", built), 60, "it arrives from the other one")
        assert same_file(fleet, "f1", built)
        assert heliod.lines("its data broker is away")
    finally:
        for b in fleet.data_ids:
            fleet.procs[f"broker-{b}"].go_on()


@pytest.mark.slow
def test_S002_7_a_broker_behind_a_narrow_line_is_read_back_all_the_same(fleet_of):
    """What says where the objects lie takes many seconds to come: nothing of it is missing, and nothing is sent again."""
    fleet = fleet_for(fleet_of, clients=("f1",), sys_interval_s=30)
    fleet.broker_extra["da"] = {"sys_interval_s": "30"}     # no room for them on this line
    line = Proxy(fleet.port["da"]).start()
    fleet.witnesses.append(line)
    line.close = line.stop
    fleet.server_extra["data"]["broker"] = [f"da localhost 127.0.0.1 {line.port} {fleet.capacity}"]
    fleet.up()
    heliod = fleet.procs["heliod"]
    stored(fleet, package_of(fleet, "small", 1000))         # everybody is connected
    line.rate = 100
    package = package_of(fleet, "large", 2_000_000)
    heliod.wait_text(f"READBACK broker=da package={package[:8]}", 120)
    line.rate = 0
    began = stamp(heliod.lines(f"package={package[:12]} name=large version=1 from=sending to=verifying")[0])
    took = stamp(heliod.lines(f"READBACK broker=da package={package[:8]}")[0]) - began
    assert took > 4, f"{took:.1f} s: it was no narrow line"
    assert len(heliod.lines(f"READBACK broker=da package={package[:8]}")) == 1 and "verdict=proven" in heliod.lines("READBACK")[-1]
    assert not heliod.lines("PLACE-LOST") and not heliod.lines("kind=repair")
    fleet.ctl("channel", "publish", "default", package)
    wait_for(lambda: installed(fleet, "f1", package), 60)
    assert same_file(fleet, "f1", package, "large-1")


@pytest.mark.slow
def test_S002_4_a_half_open_broker_is_left_for_another_and_emptied_when_it_is_heard_again(fleet_of):
    """Its connections stand and not a byte passes, while it is filled; the broker itself lives on, with half of the package."""
    fleet = fleet_for(fleet_of, clients=("f1",), brokers=("da", "db"), broker_away_s=2, linger_s=1)
    line = Proxy(fleet.port["da"]).start()
    fleet.witnesses.append(line)
    line.close = line.stop
    fleet.server_extra["data"]["broker"] = [f"{b} localhost 127.0.0.1 {port} {fleet.capacity}" for b, port in (("da", line.port), ("db", fleet.port["db"]))]
    fleet.up()
    built = fleet.ctl("package", "build", "--name", "app", "--version", "1", "--software", software(fleet.folder, "app-1", 60_000_000))["package"]
    fleet.ctl("package", "publish", built)
    wait_for(lambda: fleet.broker_log("da").count("helio/v1/chunk/pub/") > 8, 20, "it is being filled", every=0.001)
    line.held.set()
    try:
        assert "PUBLISH-STORED" not in fleet.procs["pub"].text(), "it was over before the line was silent"
        fleet.ctl("channel", "publish", "default", built)
        wait_for(lambda: installed(fleet, "f1", built), 90, "it arrives from the other one")
        assert same_file(fleet, "f1", built) and fleet.procs["heliod"].lines("its data broker is away")
        assert late(fleet, "da", "helio/v1/chunk/pub/+"), "it had nothing to forget"
    finally:
        line.held.clear()
    for b in fleet.data_ids:
        wait_for(lambda: not late(fleet, b, "helio/v1/chunk/#", "helio/v1/pkg/#", "helio/v1/idx/#"), 90, f"nothing lies at {b}", every=0.3)


def stamp(line):
    return datetime.datetime.fromisoformat(line.split(" ")[0].replace("Z", "+00:00")).timestamp()


def test_S002_5_with_all_brokers_gone_it_waits_and_goes_on_when_one_is_back(fleet_of):
    fleet = begin(plain(fleet_of))
    for b in fleet.data_ids:
        fleet.procs[f"broker-{b}"].kill()
    wait_for(lambda: not any(b["reachable"] for b in fleet.ctl("brokers")["brokers"]), 15)
    package = package_of(fleet, size=100_000)
    fleet.ctl("channel", "publish", "default", package)
    wait_for(lambda: fleet.ctl("package", "show", package)["state"] == "deferred", 10)
    assert "no data broker is reachable" in fleet.ctl("package", "show", package)["detail"]
    stays(lambda: not fleet.procs["heliod"].lines("LEASE-GRANTED"), 1)
    fleet.broker("db")
    wait_for(lambda: installed(fleet, "f1", package), 40, "it goes on")
    assert same_file(fleet, "f1", package)


# ---- killed in each state

MOMENTS = {"sending": "kind=transmit", "verifying": "to=verifying", "stored": "event=proven", "stopping": "kind=stop", "waiting": "kind=wait"}


def killed_at(fleet, who, moment):
    """One package of its own: it is brought to the state, the program is killed there and started again, and the package is served."""
    heliod, name = fleet.procs["heliod"], f"{who}-{moment}".replace("broker-", "")
    seen = len(heliod.lines(MOMENTS[moment]))
    package = package_of(fleet, name, 3_000_000)
    heliod.wait_text(MOMENTS[moment], 20, count=seen + 1)
    fleet.procs[who].kill()
    if who == "heliod":
        fleet.heliod()
    elif who == "pub":
        fleet.publisher()
    else:
        fleet.broker(who.removeprefix("broker-"))
    fleet.ctl("channel", "publish", "default", package)
    wait_for(lambda: installed(fleet, "f1", package), 60, f"{who} was killed at {moment}")
    assert same_file(fleet, "f1", package, f"{name}-1")
    return package


def killed(fleet_of, pairs):
    fleet = fleet_for(fleet_of, clients=("f1",), first_viewer_grace_s=1, linger_s=1, broker_away_s=2).up()
    record = Record(fleet)
    packages = [killed_at(fleet, who, moment) for who, moment in pairs]
    # In the end nobody wants any of them: all are withdrawn, and nothing is left behind by what was killed.
    for p in packages:
        wait_for(lambda: fleet.ctl("package", "show", p)["state"] == "waiting", 40, "it waits again")
    assert not late(fleet, "da", "helio/v1/chunk/#", "helio/v1/pkg/#", "helio/v1/idx/#")
    assert not fleet.sql("select id from lease")
    ids = [d.directive_id for _, d in record.directives(packages[0]) if d.directive_id]
    assert ids == sorted(ids), "a directive was said with an older number than before"


@pytest.mark.slow
def test_S002_12_S002_7_killed_in_a_state_it_goes_on_from_there(fleet_of):
    killed(fleet_of, [("heliod", "sending"), ("pub", "stopping"), ("broker-da", "stored")])


@pytest.mark.long
@pytest.mark.parametrize("who", ["heliod", "pub", "broker-da"])
def test_S002_12_S002_7_killed_in_each_state_it_goes_on_from_there(fleet_of, who):
    killed(fleet_of, [(who, moment) for moment in MOMENTS])


# ---- within one chunk

UNDER_WAY = 4       # objects that a publisher has handed over at most: what it sends while they are unacknowledged

def test_S002_11_S002_12_a_publisher_stops_and_pauses_within_one_chunk(fleet_of):
    fleet = fleet_of(clients=(), publishers=("pub",), server={"probe": {"enabled": False}})
    fleet.brokers()
    boss = FakeServer(fleet)
    fleet.publisher()
    boss.session(7)
    size = 100_000_000
    package = fleet.ctl("package", "build", "--name", "app", "--version", "1", "--software", software(fleet.folder, "app-1", size))["package"]
    id_ = bytes.fromhex(package)
    asking = threading.Thread(target=lambda: fleet.ctl("package", "publish", package, check=False))
    asking.start()
    wait_for(lambda: boss.heard(pb.PUB_OFFER, id_), 10)

    def chunks(log):
        return [int(n) for n in re.findall(r"Received PUBLISH from pub \(.*'helio/v1/chunk/.*\.\.\. \((\d+) bytes\)", log) if n != "0"]

    def interrupted(kind, number):
        """TRANSMIT, and a word against it when it is under way; the objects that came after that word was obeyed."""
        before = len(chunks(fleet.broker_log("da")))
        boss.say(pb.TRANSMIT, id_, number, "da")
        wait_for(lambda: len(chunks(fleet.broker_log("da"))) > before + 8, 20, every=0.001)
        told_n = len(fleet.procs["pub"].lines(f"DIRECTIVE kind={kind[1]} "))
        boss.say(kind[0], id_, number + 1)
        fleet.procs["pub"].wait_text(f"DIRECTIVE kind={kind[1]} ", 10, count=told_n + 1)
        came = len(chunks(fleet.broker_log("da")))
        time.sleep(0.5)
        return len(chunks(fleet.broker_log("da"))) - came, came - before

    more, first = interrupted((pb.WAIT, "wait"), 5)
    assert more <= UNDER_WAY, f"{first} objects until WAIT was seen, {more} after it"
    more, first = interrupted((pb.DEFER, "defer"), 10)
    paused = quiet_counts(fleet)
    lying = late(fleet, "da", "helio/v1/chunk/pub/+")
    print(f"{first} objects until DEFER was seen, {more} after it")
    assert more <= UNDER_WAY and lying and not boss.heard(pb.PUB_STORED), "it was over before it was told to wait"
    assert not lies_at(fleet, package)
    assert published(fleet) == paused and all_there(fleet, "da", lying)
    # It goes on where it stopped, also after it was killed: what lies there is not sent again.
    fleet.procs["pub"].kill()
    fleet.publisher()
    boss.session(8)
    wait_for(lambda: len(boss.heard(pb.PUB_OFFER, id_)) > 1, 10)
    assert quiet_counts(fleet) == paused, "started again in the middle, it sent something that nobody directed"
    mark = len(fleet.broker_log("da"))
    boss.say(pb.TRANSMIT, id_, 20, "da")
    wait_for(lambda: boss.heard(pb.PUB_STORED, id_), 30, "it is stored")
    total = len(set(re.findall(r"Received PUBLISH from pub \(.*'(helio/v1/chunk/\S+)'", fleet.broker_log("da"))))
    assert len(lying) < total
    again = set(re.findall(r"Received PUBLISH from pub \(.*'(helio/v1/chunk/\S+)'", fleet.broker_log("da")[mark:])) & set(lying)
    assert len(again) <= 6, f"{len(again)} of {len(lying)} were sent again"
    assert lies_at(fleet, package) == ["da"]
    # STOP in the middle: it ends as soon, and takes away what it brought.
    boss.say(pb.STOP, id_, 30, "da")
    wait_for(lambda: boss.heard(pb.PUB_STOPPED, id_), 20)
    more, first = interrupted((pb.STOP, "stop"), 40)
    assert more <= UNDER_WAY and first < total, f"{first} of {total} objects until STOP was seen, {more} after it"
    wait_for(lambda: len(boss.heard(pb.PUB_STOPPED, id_)) > 1, 20)
    assert not late(fleet, "da", "helio/v1/chunk/#", "helio/v1/pkg/#", "helio/v1/idx/#")
    asking.join()
