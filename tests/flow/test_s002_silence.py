"""When many fall silent at once, that is the network and not the devices: what follows from silence waits for a person."""
import random
import subprocess

import pytest

from lib import wire
from lib.fleet import PROGRAMS
from lib.wait import stays, wait_for

pb = wire.pb
DEVICES = 40


def devices(fleet):
    b = fleet.bundle("server.1")
    argv = [PROGRAMS["helio-fleet"], "beats", "--prefix", "dev", "--count", DEVICES, "--port", fleet.port["control"],
            "--root-file", b / "root.bin", "--root-key", b / "root.pub", "--rate", DEVICES * 4, "--seconds", 600]
    return subprocess.Popen([str(a) for a in argv], stdout=subprocess.DEVNULL)


def stops(watch):
    return [d for d in (m.decode(pb.Directive) for m in watch.of("helio/v1/pubcmd/pub")) if d.kind == pb.STOP]


def lies_there(fleet, package):
    """A fresh subscription on the data broker."""
    reader = wire.Client(fleet.port["da"], client_id="reader")
    try:
        reader.subscribe(f"helio/v1/pkg/pub/{package}")
        return bool(reader.next(timeout=1).payload)
    except AssertionError:
        return False
    finally:
        reader.close()


@pytest.mark.slow
def test_S002_11_in_a_mass_silence_nothing_is_stopped_until_a_person_says_so(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), tls=False, level="info", log_types="error", interval_ms=300,
                     server={"server": {"offers_per_s": 100000, "reconnect_spread_s": 0, "silent_after_s": 1},
                             "data": {"lease_ttl_s": 3, "linger_s": 1, "first_viewer_grace_s": 0}})
    fleet.server_extra["server"]["rate_bytes_per_s"] = 200_000
    subprocess.run([PROGRAMS["helio-fleet"], "enrol", "--prefix", "dev", "--count", str(DEVICES), "--enrol-key",
                    fleet.ca / "keys/enrol.key", "--out", fleet.ca / "enrolments"], check=True, stdout=subprocess.DEVNULL)
    fleet.up()
    watch = wire.Client(fleet.port["control"], client_id="watch").subscribe("helio/v1/pubcmd/pub")
    fleet.witnesses.append(watch)
    running = devices(fleet)
    try:
        wait_for(lambda: fleet.ctl("status")["online"] == DEVICES + 1, 30, "everybody is online")
        fleet.ctl("channel", "create", "lab")
        fleet.ctl("client", "channel", "f1", "lab")
        home = folder / "software"
        home.mkdir()
        (home / "image.bin").write_bytes(random.Random(3).randbytes(3_000_000))
        package = fleet.software_package("app", "1", home)
        fleet.ctl("channel", "publish", "lab", package)
        heliod = fleet.procs["heliod"]
        heliod.wait_text("LEASE-GRANTED client=f1", 20)
    finally:
        running.kill()
        running.wait()
    fleet.procs["f1"].kill()
    # All are silent before the lease has aged, and the lease ages before anybody says that they are gone indeed.
    wait_for(lambda: fleet.ctl("status")["mass_silence"], 20, "they fell silent at once")
    heliod.wait_text("LEASE-END client=f1", 20)
    stays(lambda: not stops(watch), 2)
    assert lies_there(fleet, package)
    # It is kept over a crash: a restart proves nothing.
    heliod.kill()
    fleet.heliod()
    assert fleet.ctl("status")["mass_silence"] and fleet.sql("select count(*) from meta where key = 'mass-silence'") == "1"
    stays(lambda: not stops(watch), 2)
    assert lies_there(fleet, package)
    # A person says so: now what nobody wants is withdrawn.
    assert not fleet.ctl("silence", "release")["mass_silence"]
    wait_for(lambda: stops(watch), 15, "STOP")
    assert not fleet.ctl("status")["mass_silence"]
    again = fleet.ctl("silence", "release", check=False)
    assert again.returncode != 0 and "nothing waits" in again.stderr
