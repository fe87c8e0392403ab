"""Other brokers than one Mosquitto on each place: one that tells no load, one behind a bridge, and those that speak no MQTT 5, which
are refused in words."""
import json
import os
import shutil
import subprocess

import pytest

from lib.old_broker import OldBroker
from lib.presence import package_of, stored
from lib.procs import Proc, free_ports, port_answers
from lib.wait import wait_for
from test_presence_leases import installed, joins, same_file

SERVER = {"server": {"reconnect_spread_s": 0, "host_period_ms": 300}, "data": {"recent_period_s": 0, "sys_interval_s": 1}}
NO_MQTT5 = "it speaks no MQTT 5, only MQTT 3.1.1 or older"


def findings(fleet, where=None):
    done = fleet.ctl("doctor", check=False)
    return {f["id"]: f for f in json.loads(done.stdout)["findings"] if where in (None, f.get("where"))}


def broker_of(fleet, id_):
    return next(b for b in fleet.ctl("brokers")["brokers"] if b["id"] == id_)


def lines(fleet, load):
    return [f"{d} localhost 127.0.0.1 {fleet.port[d]} {fleet.capacity}{load}" for d in fleet.data_ids]


def test_other_broker_that_tells_no_load_is_used_when_its_line_says_so(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=200, server=SERVER)
    fleet.broker_extra["da"] = {"sys_interval_s": "0"}      # Mosquitto with no $SYS at all
    fleet.up()
    assert fleet.mosquitto_sub("$SYS/broker/uptime", broker="da", timeout=1, check=False) == b""
    joins(fleet, "f1")
    package = package_of(fleet, "app", 300_000)
    # The control: without the word it is reachable, and never chosen; doctor says what to write.
    told = wait_for(lambda: findings(fleet, "da").get("PROBE-LOAD"), 20, "the finding")
    assert told["level"] == "warn" and "none at the end of its line" in told["mend"]
    assert broker_of(fleet, "da")["reachable"] and broker_of(fleet, "da")["stale"]
    assert fleet.ctl("package", "show", package)["state"] == "deferred"
    fleet.procs["heliod"].stop()
    fleet.server_extra = {**SERVER, "data": {**SERVER["data"], "broker": lines(fleet, " none")}}
    fleet.heliod()
    stored(fleet, package)
    fleet.ctl("channel", "publish", "f1", package)
    wait_for(lambda: installed(fleet, "f1", package), 30)
    assert same_file(fleet, "f1", package)
    assert not broker_of(fleet, "da")["stale"] and "PROBE-LOAD" not in findings(fleet, "da")


def test_other_broker_without_mqtt5_is_refused_in_words_and_not_used(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=("da", "db"), interval_ms=200, server=SERVER)
    for b in ("control", "db"):
        fleet.broker(b)
    old = OldBroker(fleet.port["da"], fleet.bundle("da"))
    try:
        fleet.heliod(wait=False).wait_text("LINK-UP", 15, count=2)
        fleet.publisher()
        fleet.agent("f1")
        said = wait_for(lambda: findings(fleet, "da").get("PROBE-MQTT5"), 20, "the finding")
        assert said["level"] == "error" and said["what"].startswith(NO_MQTT5) and "MQTT 5" in said["mend"]
        shown = broker_of(fleet, "da")
        assert shown["refused"] and not shown["reachable"] and 5 in old.versions
        assert len(fleet.procs["heliod"].lines("PROBE-MQTT5")) == 1, "said once"
        # It is never a place for content, though its id comes first.
        joins(fleet, "f1")
        package = package_of(fleet, "app", 300_000)
        assert stored(fleet, package) == "db"
        fleet.ctl("channel", "publish", "f1", package)
        wait_for(lambda: installed(fleet, "f1", package), 30)
    finally:
        old.close()
    # A real one in its place is taken without a restart of the server.
    fleet.broker("da")
    wait_for(lambda: broker_of(fleet, "da")["reachable"] and not broker_of(fleet, "da")["refused"], 40, "da is used")
    assert "PROBE-MQTT5" not in findings(fleet, "da")


def test_other_broker_without_mqtt5_as_control_broker_ends_the_server(fleet_of):
    fleet = fleet_of(clients=(), publishers=(), data_brokers=(), server=SERVER, tls=False)
    old = OldBroker(fleet.port["control"])
    try:
        heliod = fleet.heliod(wait=False)
        wait_for(lambda: not heliod.alive(), 20, "it ends")
        assert heliod.p.returncode != 0 and NO_MQTT5 in heliod.text() and heliod.lines("PROBE-REFUSED")
        heliod.p = None
    finally:
        old.close()


AEDES = "const {Aedes} = require('aedes'); Aedes.createBroker().then(b => require('net').createServer(b.handle).listen(PORT, '127.0.0.1'))"


def aedes_home(folder):
    """A folder in which node finds aedes: HELIO_AEDES, or freshly installed by npm."""
    for program in ("node", "npm"):
        if not shutil.which(program):
            pytest.skip(f"there is no {program}")
    home = os.environ.get("HELIO_AEDES")
    if not home:
        home = str(folder / "aedes")
        done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", home, "aedes"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120)
        if done.returncode != 0:
            pytest.skip(f"npm cannot install aedes: {done.stdout[-300:]}")
    return home


@pytest.mark.long
def test_other_broker_aedes_speaks_no_mqtt5_and_is_refused(fleet_of, folder):
    home = aedes_home(folder)
    fleet = fleet_of(clients=(), publishers=(), data_brokers=("da",), server=SERVER, tls=False)
    fleet.broker("control")
    node = Proc("aedes", ["node", "-e", AEDES.replace("PORT", str(fleet.port["da"]))], fleet.folder, cwd=home).start()
    try:
        wait_for(lambda: port_answers(fleet.port["da"]) or not node.alive(), 20, "aedes listens")
        assert node.alive(), node.text()
        # The witness: mosquitto_pub comes in as 3.1.1, and not as 5.
        ways = {v: subprocess.run(["mosquitto_pub", "-V", v, "-h", "127.0.0.1", "-p", str(fleet.port["da"]), "-t", "x", "-m", "y"],
                                  stderr=subprocess.STDOUT, stdout=subprocess.PIPE, timeout=20).returncode for v in ("mqttv311", "mqttv5")}
        if ways["mqttv5"] == 0:
            pytest.skip("this aedes speaks MQTT 5")
        assert ways["mqttv311"] == 0
        fleet.heliod(wait=False).wait_text("LINK-UP", 15)
        assert wait_for(lambda: findings(fleet, "da").get("PROBE-MQTT5"), 20)["what"].startswith(NO_MQTT5)
        assert broker_of(fleet, "da")["refused"]
    finally:
        node.kill()


BRIDGE = """listener {port} 127.0.0.1
allow_anonymous true
persistence false
set_tcp_nodelay true
max_packet_size 1900000
log_type all
connection site
address 127.0.0.1:{to}
bridge_protocol_version mqttv50
bridge_max_packet_size 0
notifications false
cleansession true
restart_timeout 1
{topics}
"""


def bridged(fleet, name, to, *topics):
    """Another Mosquitto that is joined with one of the fleet's by a bridge."""
    port = free_ports(1)[0]
    conf = fleet.folder / f"{name}.conf"
    conf.write_text(BRIDGE.format(port=port, to=fleet.port[to], topics="\n".join(f"topic {t}" for t in topics)))
    fleet.port[name] = port
    fleet.procs[f"broker-{name}"] = Proc(f"broker-{name}", ["mosquitto", "-c", conf], fleet.folder).start()
    wait_for(lambda: port_answers(port), 10, f"{name} listens")
    wait_for(lambda: " as " in (log := fleet.broker_log(to)) and ".site " in log, 10, "the bridge stands")


def test_other_broker_behind_a_bridge_serves_a_site_unchanged(fleet_of):
    """Devices speak to a Mosquitto of their site, heliod and the publisher to another one; a bridge joins the two."""
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",), interval_ms=300, tls=False, server=SERVER)
    fleet.brokers()
    bridged(fleet, "site", "control", "helio/v1/# both 1")
    fleet.heliod().wait_text("LINK-UP", 15, count=2)
    fleet.publisher()
    fleet.agent("f1", {"control": {"port": fleet.port["site"]}})
    fleet.agent("f2")
    for c in ("f1", "f2"):
        fleet.wait_client(c, lambda s: s["reach"] == "online", 20)
    joins(fleet, "f1", "f2")
    package = package_of(fleet, "app", 300_000)
    stored(fleet, package)
    for c in ("f1", "f2"):
        fleet.ctl("channel", "publish", c, package)
    for c in ("f1", "f2"):
        wait_for(lambda: installed(fleet, c, package), 30)
        assert same_file(fleet, c, package)
    assert " as f1 " in fleet.broker_log("site") and " as f1 " not in fleet.broker_log("control")
    # The bridge ends: the device is heard no more; nothing stands for it.
    fleet.procs["broker-site"].kill()
    fleet.wait_client("f2", lambda s: s["reach"] == "online", 10)
    wait_for(lambda: fleet.client("f1")["reach"] != "online", 20, "f1 is missed")
