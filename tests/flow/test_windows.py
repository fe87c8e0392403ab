"""Windows that measure, on lines that are slow, stumble and hang: the broker never drops a message in silence, and a line of some bytes a second
has no long queue. What the broker says of itself is the witness: its log, and its own count of what it dropped."""
import json
import random
import re
import time

from lib.presence import Record, counted, package_of, stored
from lib.proxy import Proxy
from lib.wait import wait_for
from test_presence_leases import installed, same_file

QUEUE = 3_000_000     # of a small box: max_queued_bytes
DROPPED = "$SYS/broker/publish/messages/dropped"


class Site:
    """One device behind a line of the test's, and a data broker that keeps little for it."""

    def __init__(self, fleet):
        self.fleet = fleet
        fleet.broker("da")
        fleet.procs["broker-da"].stop()
        conf = fleet.folder / "broker-da/mosquitto.conf"
        conf.write_text(re.sub(r"max_queued_bytes \d+", f"max_queued_bytes {QUEUE}", conf.read_text()))
        fleet.brokers()
        self.drops = fleet.capture(DROPPED, broker="da", seat="watch.1")
        real = fleet.port["da"]
        self.line = Proxy(real, narrow=True).start()
        fleet.port["da"] = self.line.port     # a grant names the broker as the server knows it
        try:
            fleet.heliod().wait_text("LINK-UP", 15, count=2)
            fleet.publisher()
            fleet.agent("f1", {"agent": {"window_kib": 16384}})
            fleet.wait_client("f1", lambda c: c["reach"] == "online", 20)
        finally:
            fleet.port["da"] = real

    def dropped(self):
        """What the broker said last."""
        return int(float(self.fleet.captured(self.drops)[-1][2]))

    def publish(self, version, size):
        package = package_of(self.fleet, size=size, version=str(version))
        stored(self.fleet, package)
        return package

    def begin(self, package):
        """The rollout; where the broker's log stood."""
        mark = len(self.fleet.broker_log("da"))
        self.fleet.ctl("channel", "publish", "default", package)
        return mark

    def fetched(self, package, version, timeout=60):
        wait_for(lambda: installed(self.fleet, "f1", package), timeout, "it is installed")
        assert same_file(self.fleet, "f1", package, f"app-{version}")


def drops_told(fleet):
    done = fleet.ctl("doctor", check=False)
    return [f for f in json.loads(done.stdout)["findings"] if f["id"] == "BROKER-DROPS" and f["where"] == "da"]


def asked(log, who="f1"):
    """The chunks that it subscribed to, in order."""
    return re.findall(rf": {who} 1 (helio/v1/chunk/\S+)", log)


def outstanding(log):
    """How many objects f1 had asked for and not acknowledged, after each line of the broker that changes it."""
    now, found = 0, []
    for line in re.findall(r": f1 1 helio/v1/|Received PUBACK from f1 ", log):
        now += 1 if line.startswith(": f1") else -1
        found.append(now)
    return found


def test_a_slow_line_has_a_small_window_and_a_small_broker_drops_nothing(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=200, capacity=2_000_000_000,
                     server={"probe": {"enabled": False}, "data": {"sys_interval_s": 1, "recent_period_s": 0, "queue_bytes": QUEUE}})
    site = Site(fleet)
    with site.line:
        for version in (1, 2, 3):       # a machine that stands still for a moment is a slow line
            fast = site.publish(version, 12_000_000)
            mark = site.begin(fast)
            site.fetched(fast, version)
            log = fleet.broker_log("da")[mark:]
            packets, wide = len(re.findall(r"Received SUBSCRIBE from f1", log)), max(outstanding(log))
            if packets <= len(asked(log)) / 2 and wide >= 8:
                break
        assert packets <= len(asked(log)) / 2, f"{packets} SUBSCRIBE for {len(asked(log))} objects"
        assert wide >= 8, f"{wide} objects under way on a fast line"

        slow = site.publish("slow", 7_000_000)
        site.line.rate = 4_000_000
        mark = site.begin(slow)
        site.fetched(slow, "slow")
        log = fleet.broker_log("da")[mark:]
        settled = outstanding(log)[len(outstanding(log)) // 2:]
        assert max(settled) <= max(6, wide // 2), f"{max(settled)} objects under way on a slow line, {wide} on a fast one"
        assert len(asked(log)) <= len(set(asked(log))) + 3, "asked for twice"
        counted(fleet)
        assert site.dropped() == 0 and not drops_told(fleet)

        # The control: a window that does not measure, as wide as the package, on the same line to the same broker.
        topics = [w for t in asked(log) for w in ("-t", t)]
        real, fleet.port["da"] = fleet.port["da"], site.line.port
        try:
            fleet.mosquitto_sub("none", *topics, broker="da", check=False, timeout=1)
        finally:
            fleet.port["da"] = real
        wait_for(lambda: site.dropped() > 0, 10, "the broker dropped what was too much for it")
        wait_for(lambda: drops_told(fleet), 20, "doctor says so", every=0.3)


def test_a_line_that_stumbles_hangs_and_breaks_brings_it_all_and_nothing_is_dropped(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=200, capacity=2_000_000_000,
                     server={"probe": {"enabled": False}, "data": {"sys_interval_s": 1, "recent_period_s": 0, "queue_bytes": QUEUE}})
    site = Site(fleet)
    size, noise = 9_000_000, random.Random(7)
    with site.line:
        package = site.publish("1", size)
        site.line.rate = 5_000_000
        before, mark = len(site.line.down), site.begin(package)

        def came():
            return len(site.line.down) - before

        def stumble(seconds):
            site.line.held.set()
            time.sleep(seconds)
            site.line.held.clear()
        wait_for(lambda: came() > 1_000_000, 20, "it has begun", every=0.02)
        for _ in range(4):      # as lost packets look above TCP: nothing, and then all of it
            time.sleep(0.1)
            stumble(noise.uniform(0.02, 0.25))
        stumble(1.8)            # half open: the connection stands, and nobody speaks
        wait_for(lambda: came() > size * 2 / 3, 20, "it goes on", every=0.02)
        site.line.cut()
        site.fetched(package, 1)
        log = fleet.broker_log("da")[mark:]
        assert len(asked(log)) > len(set(asked(log))), "silence and a new connection ask again"
        assert came() < size + 2 * QUEUE, f"{came()} bytes for {size}"
        counted(fleet)
        assert site.dropped() == 0


def at_once(log):
    """How many of the devices were connected to a data broker after each line that changes it."""
    now, found = set(), []
    for came, went in re.findall(r"New client connected from \S+ as (f\d) |Client (f\d) (?:disconnected|closed its connection)", log):
        now = now | {came} if came else now - {went}
        found.append(len(now))
    return found


def test_a_crowd_takes_the_slots_of_a_brokers_memory_in_turn(fleet_of):
    clients = ("f1", "f2", "f3", "f4")
    fleet = fleet_of(clients=clients, data_brokers=("da",), interval_ms=200,
                     server={"probe": {"enabled": False}, "server": {"rate_bytes_per_s": 3_000_000},
                             "data": {"sys_interval_s": 1, "recent_period_s": 0, "transfers_bytes": 2_300_000}})    # two objects of the largest size
    fleet.up()
    record = Record(fleet)
    package = package_of(fleet, size=3_000_000)
    stored(fleet, package)
    fleet.ctl("channel", "publish", "default", package)
    for one in clients:
        wait_for(lambda: installed(fleet, one, package), 60, f"{one} has it")
        assert same_file(fleet, one, package)
    # Each walks through it in an order of its own, so that no filter is everybody's.
    orders = [asked(fleet.broker_log("da"), one) for one in clients]
    assert len({tuple(o) for o in orders}) == len(clients) and len({frozenset(o) for o in orders}) == 1, orders
    refused = wait_for(lambda: [g for _, _, g in record.grants(package=package, granted=False)], 10, "the record is there")
    assert all(g.reason.startswith("slots: ") and g.retry_after_ms >= 1000 for g in refused), refused
    # Two at a time, and never a third one.
    wait_for(lambda: at_once(fleet.broker_log("da"))[-1] == 0, 10, "all have left")
    assert max(at_once(fleet.broker_log("da"))) == 2, at_once(fleet.broker_log("da"))
    wait_for(lambda: {who for _, who, _ in record.grants(package=package)} == set(clients), 10, "the record has a grant for each")
    windows = [g.window_bytes for _, _, g in record.grants(package=package)]
    assert 0 < max(windows) <= 1_150_000, windows
