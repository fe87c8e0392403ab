"""The access rules on live brokers: who may say what, who hears what, and who comes in at all.
mosquitto_pub -V 5 is the witness of PUBACK reasons, certificates are the fleet's own."""
import json
import os
import re
import signal
import subprocess
import time

import pytest

from lib import wire
from lib.fleet import PROGRAMS
from lib.wait import stays, wait_for

pb = wire.pb
WHO = {"client": "f1", "publisher": "pub", "operator": "alice.1", "server": "server.1"}
OTHER = {"client": "f2", "publisher": "pub2", "operator": "alice.2", "server": "server.2"}


@pytest.fixture
def brokers(fleet_of):
    fleet = fleet_of(clients=("f1", "f2"), publishers=("pub", "pub2"), data_brokers=("da",))
    fleet.brokers()
    return fleet


def table(fleet):
    return json.loads(fleet.ctl_plain("topics", "--json").stdout)


def concrete(row, id_):
    """The row's topic for an id: its own shard, a digest, a second level."""
    t = row["pattern"].replace("%s", wire.shard(id_), 1)
    t = re.sub("%[cpi]", id_, t, count=1).replace("%h", "ab" * 32)
    return t.replace("%i", "1")


def puback(fleet, seat, topic, broker="control", payload="x", retain=False):
    """The reason code of the PUBACK for one QoS 1 publish."""
    b = fleet.bundle(seat)
    argv = ["mosquitto_pub", "-V", "5", "-d", "-h", "localhost", "-p", fleet.port[broker], "--cafile", b / "ca.crt",
            "--cert", b / "tls.crt", "--key", b / "tls.key", "-i", seat, "-q", "1", "-t", topic,
            *(["-n", "-r"] if payload is None else ["-m", payload]), *(["-r"] if retain and payload is not None else [])]
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = re.search(r"PUBACK \(Mid: \d+, RC:(\d+)\)", done.stdout)
    assert found, f"{argv}: {done.stdout}"
    return int(found[1])


def test_X_2_each_role_writes_what_the_table_gives_it_and_nothing_else(brokers):
    wrong = []
    for row in table(brokers):
        for role, id_ in WHO.items():
            if role == "server" and row["name"] == "host":
                continue
            for level in (id_, OTHER[role]):
                for broker in ("control", "da"):
                    kind = "control" if broker == "control" else "data"
                    own = level == id_ or not row["writer_is_level"]
                    may = role in row["writers"] and kind in row["brokers"] and own
                    # Patterns of devices hold for every certificate, under its own name: the server
                    # looks at the enrolled role.
                    may = may or ("client" in row["writers"] and kind in row["brokers"] and level == id_)
                    got = puback(brokers, id_, concrete(row, level), broker)
                    if got not in ((0, 16) if may else (135,)):
                        wrong.append(f"{role} {id_} on {concrete(row, level)} at {broker}: {got}")
    assert not wrong, "\n".join(wrong)


def test_X_2_each_role_hears_what_the_table_gives_it_and_nothing_else(brokers):
    wrong = []
    for broker, kind in (("control", "control"), ("da", "data")):
        seats = [*WHO.values(), *[o for r, o in OTHER.items() if r != "server"], "watch.1"]
        ears = {seat: brokers.watch("helio/v1/#", broker=broker, seat=seat) for seat in seats}
        said = {}
        for row in table(brokers):
            if kind not in row["brokers"]:
                continue
            for role in row["writers"]:
                reader_role = row["readers"][0]
                for level in (WHO[role], OTHER[role]) if row["writer_is_level"] else (WHO[reader_role], OTHER[reader_role]):
                    writer = level if row["writer_is_level"] else WHO[role]
                    topic = concrete(row, level)
                    ears[writer].publish(topic, f"{len(said)}".encode())
                    said[topic] = (row, level)
        wait_for(lambda: len(ears["watch.1"].messages) >= len(said), 10, "the watcher hears everything")
        assert {m.topic for m in ears["watch.1"].messages} == set(said)
        # What was said went out in one order to everybody: give the slowest ear a moment.
        time.sleep(0.5)
        role_of = {**{i: r for r, i in WHO.items()}, **{i: r for r, i in OTHER.items()}}
        for seat, ear in ears.items():
            if seat == "watch.1":
                continue
            heard = {m.topic for m in ear.messages}
            for topic, (row, level) in said.items():
                own = level == seat or not row["reader_is_level"]
                may = role_of[seat] in row["readers"] and own
                may = may or ("client" in row["readers"] and own)
                if (topic in heard) != may:
                    wrong.append(f"{seat} on {broker} {'heard' if topic in heard else 'did not hear'} {topic}")
    assert not wrong, "\n".join(wrong)


def test_X_2_a_device_cannot_put_content_or_answers_on_a_broker(brokers):
    watcher = brokers.watch("helio/v1/#", broker="da")
    for topic in ("helio/v1/chunk/f1/" + "ab" * 32, "helio/v1/chunk/pub/" + "ab" * 32, "helio/v1/pkg/f1/" + "ab" * 32,
                  "helio/v1/mark/f1", "helio/v1/inbox/f2", "helio/v1/anything", "$SYS/broker/uptime"):
        assert puback(brokers, "f1", topic, "da", retain=True) == 135, topic
    for topic in ("helio/v1/rsp/f1", "helio/v1/rsp/f2", "helio/v1/grant/f1", "helio/v1/offer/f1", "helio/v1/view/state/f1",
                  "helio/v1/host/server.1", "helio/v1/api/f1", "helio/v1/pub/f1", "helio/v1/apir/f1/1", "helio/v1/pubcmd/f1"):
        assert puback(brokers, "f1", topic) == 135, topic
    assert puback(brokers, "f1", "helio/v1/inbox/f1", "da") in (0, 16)
    wait_for(lambda: watcher.of("helio/v1/inbox/f1"), 5)
    assert {m.topic for m in watcher.messages} == {"helio/v1/inbox/f1"}


def test_X_2_a_publisher_withdraws_its_own_content_only(brokers):
    mine, theirs = "helio/v1/chunk/pub/" + "ab" * 32, "helio/v1/chunk/pub2/" + "ab" * 32
    assert puback(brokers, "pub", mine, "da", retain=True) in (0, 16)
    assert puback(brokers, "pub2", theirs, "da", retain=True) in (0, 16)
    assert puback(brokers, "pub", theirs, "da", payload=None) == 135
    late = brokers.watch("helio/v1/chunk/+/+", broker="da")
    wait_for(lambda: len(late.messages) == 2, 5)
    assert all(m.retain for m in late.messages)
    assert puback(brokers, "pub", mine, "da", payload=None) in (0, 16)
    wait_for(lambda: late.messages[-1].payload == b"", 5)


def test_X_2_a_denied_subscription_delivers_nothing(brokers):
    """SUBACK says granted all the same: only delivery is a proof."""
    thief = brokers.watch("helio/v1/rsp/f2", "helio/v1/grant/f2", "helio/v1/hb/#", "helio/v1/view/#", "helio/v1/api/#",
                          "$SYS/#", seat="f1")
    owner = brokers.watch("helio/v1/rsp/f2", seat="f2")
    server = brokers.watch(seat="server.1")
    for topic in ("helio/v1/rsp/f2", "helio/v1/grant/f2", "helio/v1/view/state/f2", "helio/v1/view/queue/default"):
        server.publish(topic, b"secret")
    wait_for(lambda: owner.messages, 5)
    stays(lambda: not thief.messages, 1.5)


def test_X_2_nobody_takes_anothers_client_id(brokers):
    f2 = brokers.watch("helio/v1/rsp/f2", seat="f2")
    # f1 with its own certificate says it is f2: it becomes f1, and f2 stays.
    intruder = wire.Client(brokers.port["control"], brokers.bundle("f1"), client_id="f2")
    brokers.witnesses.append(intruder)
    intruder.subscribe("helio/v1/rsp/f2")
    server = brokers.watch(seat="server.1")
    server.publish("helio/v1/rsp/f2", b"for f2")
    wait_for(lambda: f2.of("helio/v1/rsp/f2"), 5)
    assert not getattr(f2, "gone", False)
    assert not intruder.messages
    log = brokers.broker_log("control")
    assert "already connected" not in log, "f2 was thrown off"


def handshake(fleet, *more, version="-tls1_3"):
    done = subprocess.run(["openssl", "s_client", "-connect", f"localhost:{fleet.port['control']}", version,
                           "-verify_return_error", "-CAfile", str(fleet.ca / "ca.crt"), *map(str, more)],
                          input=b"", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=20)
    return done.stdout.decode(errors="replace")


def connects(fleet, cert, key, cafile=None, plain=False, seat="f1"):
    """True when an MQTT connection comes up."""
    tls = [] if plain else ["--cafile", cafile or fleet.ca / "ca.crt", *(["--cert", cert, "--key", key] if cert else [])]
    argv = ["mosquitto_sub", "-V", "5", "-h", "localhost", "-p", fleet.port["control"], "-i", seat, "-t", "helio/v1/host/+",
            "-W", "1", *tls]
    done = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20)
    return done.returncode == 27   # waited for a message and got none


def test_X_2_only_a_certificate_of_this_fleet_comes_in(brokers, folder):
    f1 = brokers.bundle("f1")
    assert connects(brokers, f1 / "tls.crt", f1 / "tls.key")
    assert not connects(brokers, None, None), "without a certificate"
    assert not connects(brokers, None, None, plain=True), "without TLS"
    brokers.ctl_plain("ca", "init", folder / "wrong", "--fleet", "test")
    brokers.ctl_plain("enrol", "client", "f1", "--ca", folder / "wrong")
    wrong = folder / "wrong/out/f1"
    assert not connects(brokers, wrong / "tls.crt", wrong / "tls.key"), "of an authority with the same name"
    assert not connects(brokers, f1 / "tls.crt", f1 / "tls.key", cafile=wrong / "ca.crt"), "the client checks the broker"
    b = brokers.bundle("control")
    assert not connects(brokers, b / "tls.crt", b / "tls.key"), "a broker's certificate is no client's"


def test_S001_c29_tls_below_1_3_is_refused(brokers):
    f1 = brokers.bundle("f1")
    cert = ("-cert", f1 / "tls.crt", "-key", f1 / "tls.key")
    assert "Verify return code: 0 (ok)" in handshake(brokers, *cert)
    assert "TLSv1.3" in handshake(brokers, *cert)
    for version in ("-tls1", "-tls1_1", "-tls1_2"):
        said = handshake(brokers, *cert, "-cipher", "ALL:@SECLEVEL=0", version=version)
        assert "alert protocol version" in said or "no protocols available" in said, said
        assert "Cipher is (NONE)" in said, said


def test_S001_c2_every_listener_wants_tls_and_ipv6_is_served(fleet_of):
    fleet = fleet_of(clients=("f1",), publishers=("pub",), data_brokers=("da",))
    home = fleet.folder / "broker-control"
    home.mkdir()
    for f in ("ca.crt", "tls.crt", "tls.key"):
        (home / f).write_bytes((fleet.bundle("control") / f).read_bytes())
    fleet.ctl_plain("broker-conf", "control", "--out", home, f"port={fleet.port['control']}", "binds=127.0.0.1 ::1",
                    f"run_user={'root' if os.getuid() == 0 else os.environ['USER']}", "log_types=all")
    fleet.broker("control")
    listening = subprocess.run(["ss", "-ltnH"], stdout=subprocess.PIPE, text=True).stdout
    doors = {line.split()[3] for line in listening.splitlines() if line.split()[3].endswith(f":{fleet.port['control']}")}
    assert doors == {f"127.0.0.1:{fleet.port['control']}", f"[::1]:{fleet.port['control']}"}
    f1 = fleet.bundle("f1")
    for host in ("127.0.0.1", "::1"):
        done = subprocess.run(["mosquitto_pub", "-V", "5", "-d", "-h", host, "-p", str(fleet.port["control"]), "--cafile",
                               f1 / "ca.crt", "--cert", f1 / "tls.crt", "--key", f1 / "tls.key", "-i", "f1", "-q", "1",
                               "-t", wire.hb_topic("f1"), "-m", "x"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        # mosquitto_pub checks the address against the IP SANs of the broker's certificate.
        assert re.search(r"RC:(0|16)\)", done.stdout), done.stdout


def test_X_2_content_of_a_publisher_that_lost_its_right_is_not_delivered(brokers):
    topic = "helio/v1/chunk/pub/" + "cd" * 32
    assert puback(brokers, "pub", topic, "da", retain=True) in (0, 16)
    assert wait_for(lambda: brokers.watch(topic, broker="da", seat="f1").messages or None, 5)
    home = brokers.folder / "broker-da"
    acl = (home / "acl").read_text()
    block = re.search(r"\nuser pub\n(topic [^\n]*\n)+", acl)
    (home / "acl").write_text(acl.replace(block[0], "\n"))
    os.kill(brokers.procs["broker-da"].pid, signal.SIGHUP)
    wait_for(lambda: puback(brokers, "pub", topic, "da") == 135, 5, "the new rules hold")
    late = brokers.watch(topic, broker="da", seat="f1")
    stays(lambda: not late.messages, 1)


def test_X_2_a_revoked_certificate_is_shut_out(brokers):
    f1, f2 = brokers.bundle("f1"), brokers.bundle("f2")
    assert connects(brokers, f2 / "tls.crt", f2 / "tls.key", seat="f2")
    brokers.ctl_plain("ca", "revoke", "f2", "--ca", brokers.ca)
    home = brokers.folder / "broker-control"
    conf = (home / "mosquitto.conf").read_text()
    (home / "mosquitto.conf").write_text(conf.replace("tls_version ", f"crlfile {brokers.ca}/crl.pem\ntls_version "))
    brokers.procs["broker-control"].stop()
    brokers.broker("control")
    assert not connects(brokers, f2 / "tls.crt", f2 / "tls.key", seat="f2")
    assert connects(brokers, f1 / "tls.crt", f1 / "tls.key")


def test_X_2_hostile_names_in_a_certificate_open_nothing(brokers):
    """helioctl refuses such ids; here the authority itself was misused. Patterns deny + # and /."""
    import datetime
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    ca_key = serialization.load_pem_private_key((brokers.ca / "ca.key").read_bytes(), None)
    ca = x509.load_pem_x509_certificate((brokers.ca / "ca.crt").read_bytes())
    server = brokers.watch(seat="server.1")
    f2 = brokers.watch("helio/v1/rsp/f2", seat="f2")
    sent = 0
    for number, name in enumerate(("+", "#", "f2/x", "+/f2", "a/#", "$share", "%u", "$SYS")):
        key = ec.generate_private_key(ec.SECP256R1())
        cert = (x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
                .issuer_name(ca.subject).public_key(key.public_key()).serial_number(1000 + number)
                .not_valid_before(datetime.datetime(1970, 1, 1)).not_valid_after(datetime.datetime(2060, 1, 1))
                .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)
                .sign(ca_key, hashes.SHA256()))
        out = brokers.folder / f"hostile{number}"
        out.mkdir()
        (out / "tls.crt").write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        (out / "tls.key").write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                                        serialization.NoEncryption()))
        (out / "ca.crt").write_bytes((brokers.ca / "ca.crt").read_bytes())
        try:
            thief = wire.Client(brokers.port["control"], out, client_id="x")
        except (AssertionError, OSError):
            continue   # refused at the door: as good
        brokers.witnesses.append(thief)
        thief.subscribe("helio/v1/rsp/f2", "helio/v1/hb/#")
        server.publish("helio/v1/rsp/f2", b"for f2 alone")
        sent += 1
        wait_for(lambda: len(f2.messages) == sent, 5)
        stays(lambda: not thief.messages, 0.3)
