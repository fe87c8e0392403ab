"""The 36 claims of the image distribution family, as far as link, agent and display reach."""
import collections
import ipaddress
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import ssl
import subprocess
import time

import pytest

from lib import wire
from lib.fleet import PROGRAMS, ROOT
from lib.netns import namespace
from lib.procs import Proc, free_ports
from lib.proxy import Proxy
from lib.screen import Screen
from lib.steps import answer, responses, settle, until
from lib.wait import stays, wait_for

pb = wire.pb
HB = "helio/v1/hb/#"


def beats(watch, client):
    return [h for h in (m.decode(pb.Heartbeat) for m in watch.of("helio/v1/hb/")) if h.client_id == client and h.session_id]


def big_folder(folder, megabytes, seed=7):
    home = folder / f"software-{megabytes}-{seed}"
    home.mkdir()
    rng = random.Random(seed)
    (home / "image.bin").write_bytes(rng.randbytes(megabytes * 1024 * 1024))
    (home / "run").write_text("#!/bin/sh\nexit 0\n")
    (home / "run").chmod(0o755)
    return home


def test_S001_c9a_image_store(fleet_of, pictures, folder):
    fleet = fleet_of(clients=()).up()
    for p in pictures[:3]:
        fleet.ctl("image", "add", p, "--tag", "sea", "--licence", "CC0")
    listed = fleet.ctl("image", "list")["images"]
    assert len(listed) == 3
    stored = [f for f in (fleet.folder / "pub" / "images").rglob("*") if f.is_file()]
    sums = subprocess.run(["sha256sum", *stored], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert {line.split()[0] for line in sums.splitlines()} == {i["image"] for i in listed}
    for i in listed:
        assert i["width"] == 1920 and i["height"] == 1080 and "sea" in i["tags"]
    # The same content again is the same picture.
    fleet.ctl("image", "add", pictures[0])
    assert len(fleet.ctl("image", "list")["images"]) == 3
    # Negative: what is no picture is refused by name, and the next good one works.
    bad = folder / "bad.jpg"
    bad.write_bytes(b"\xff\xd8\xff\xe0 this is not a picture")
    refused = fleet.ctl("image", "add", bad, check=False)
    assert refused.returncode != 0
    missing = fleet.ctl("image", "add", folder / "nothing.jpg", check=False)
    assert missing.returncode != 0
    assert len(fleet.ctl("image", "list")["images"]) == 3
    fleet.ctl("image", "add", pictures[3])
    assert len(fleet.ctl("image", "list")["images"]) == 4


def test_S001_c9d_distribution_is_an_answer_to_a_heartbeat(fleet_of, pictures):
    fleet = fleet_of(clients=("f1",)).up()
    package = fleet.image_package("art", "1", pictures)
    watch = fleet.watch(HB, "helio/v1/rsp/#")
    fleet.procs["f1"].pause()
    fleet.ctl("channel", "publish", "default", package)
    stays(lambda: not [r for r in responses(watch, "f1") if r.body.retrieve.packages], 1.5)
    fleet.procs["f1"].go_on()
    wait_for(lambda: [r for r in responses(watch, "f1") if r.body.retrieve.packages], 10)
    r = [r for r in responses(watch, "f1") if r.body.retrieve.packages][0]
    sent = {h.seq: h for h in beats(watch, "f1")}
    assert r.in_reply_to_seq in sent, "the notice does not answer a heartbeat"


def test_S001_c9e_server_and_client_are_two_programs_without_shared_files(fleet_of, folder):
    fleet = fleet_of(clients=("f1",))
    fleet.brokers()
    fleet.heliod()
    # The device has its bundle and its state, nothing of the server's.
    device = folder / "device"
    shutil.copytree(fleet.bundle("f1"), device / "bundle")
    settings = fleet.common("f1")
    for section, key in (("identity", "key"), ("identity", "root_file"), ("identity", "root_key"), ("tls", "ca"),
                         ("tls", "cert"), ("tls", "key")):
        settings[section][key] = device / "bundle" / settings[section][key].name
    settings["agent"] = {"state_dir": device / "state"}
    config = fleet.write("device", settings, {})
    strace = Proc("device", ["strace", "-f", "-e", "trace=openat", "-o", folder / "opened", PROGRAMS["helio-agent"],
                             "--config", config], folder).start()
    fleet.procs["device"] = strace
    fleet.wait_client("f1", lambda c: c["reach"] == "online", 20)
    opened = (folder / "opened").read_text()
    assert str(device / "state") in opened
    assert str(fleet.folder / "heliod") not in opened and str(fleet.ca) + "/" not in opened
    # The agent is strace's child: it is asked to end, and strace ends with it.
    child = pathlib.Path(f"/proc/{strace.pid}/task/{strace.pid}/children").read_text().split()[0]
    os.kill(int(child), signal.SIGTERM)
    wait_for(lambda: not strace.alive(), 10, "agent and strace end")


def test_S001_c9f_heartbeat_component(fleet_of):
    fleet = fleet_of(clients=("f1",)).up()
    watch = fleet.watch(HB, "helio/v1/rsp/f1")
    wait_for(lambda: len(beats(watch, "f1")) >= 5 and len(responses(watch, "f1")) >= 5, 10)
    seqs = [h.seq for h in beats(watch, "f1")]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    # Control: no agent, no heartbeat.
    fleet.procs["f1"].stop()
    ended = time.time() * 1000
    stays(lambda: not [h for h in beats(watch, "f1") if h.sent_unix_ms > ended], 1.0)


def test_S001_c9g_a_chunk_with_wrong_bytes_is_never_used(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",)).up()
    home = big_folder(folder, 2)
    package = fleet.software_package("app", "1", home)
    wait_for(lambda: any(p["package"] == package and p["state"] in ("stored", "linger") for p in
                         fleet.ctl("package", "list")["packages"]), 30)
    # The publisher's own certificate, in the wrong hands, replaces an object by other bytes.
    fleet.procs["pub"].stop()
    watch = fleet.watch("helio/v1/chunk/#", broker="da")
    wait_for(lambda: len(watch.of("helio/v1/chunk/")) >= 3, 10)
    victim = max(watch.of("helio/v1/chunk/"), key=lambda m: len(m.payload))
    rogue = wire.Client(fleet.port["da"], fleet.bundle("pub"))
    wrong = bytearray(victim.payload)
    wrong[1000] ^= 1
    rogue.publish(victim.topic, bytes(wrong), retain=True)
    fleet.ctl("channel", "publish", "default", package)
    fleet.procs["f1"].wait_text("hash", 20)
    assert not (fleet.folder / "f1" / "packages" / package).exists()
    rogue.publish(victim.topic, victim.payload, retain=True)
    rogue.close()
    fleet.publisher()
    wait_for(lambda: (fleet.folder / "f1" / "packages" / package).exists(), 60, "the good bytes are taken")
    got = (fleet.folder / "f1" / "packages" / package / "files" / "image.bin").read_bytes()
    assert got == (home / "image.bin").read_bytes()


@pytest.mark.slow
def test_S001_c9h_received_images_are_displayed(fleet_of, pictures, folder):
    fleet = fleet_of(clients=("f1",)).up()
    with Screen(fleet, "f1") as screen:
        package = fleet.image_package("art", "1", pictures)
        fleet.ctl("channel", "publish", "default", package)
        fleet.wait_client("f1", lambda c: c["showing"]["package"] == package, 40)
        shown = wait_for(lambda: screen.ledger()[:2], 30)
        names = sorted(f.name for f in (fleet.folder / "f1" / "packages" / package / "files").iterdir())
        assert shown[0][:2] == (package, names[0])
        for name in names:
            subprocess.run(["file", fleet.folder / "f1" / "packages" / package / "files" / name], check=True,
                           stdout=subprocess.DEVNULL)
        # While a second version cannot complete, the first one goes on.
        fleet.procs["broker-da"].kill()
        fleet.procs["broker-db"].kill()
        second = fleet.ctl("package", "build", "--name", "art", "--version", "2", "--image",
                           fleet.ctl("image", "list")["images"][0]["image"])
        fleet.ctl("package", "publish", second["package"])
        assert fleet.client("f1")["showing"]["package"] == package
        before = len(screen.ledger())
        wait_for(lambda: len(screen.ledger()) > before, 20)
        assert screen.ledger()[-1][0] == package


def test_S001_c15_unique_identifier_per_client(fleet_of):
    fleet = fleet_of(clients=("f1", "f2")).up(agents=["f1"])
    assert {c["id"] for c in fleet.ctl("client", "list")["clients"] if c["role"] == "client"} == {"f1", "f2"}
    again = fleet.ctl_plain("enrol", "client", "f1", "--ca", fleet.ca, check=False)
    assert again.returncode != 0 and "f1" in again.stderr
    for bad in ("bad/id", "a+b", "#", "", "x" * 65, "sp ace"):
        refused = fleet.ctl_plain("enrol", "client", bad, "--ca", fleet.ca, check=False)
        assert refused.returncode != 0
    # A second process with the same state folder does not start; one with the same id and key ends the first session.
    config = fleet.folder / "f1.ini"
    second = subprocess.run([PROGRAMS["helio-agent"], "--config", config], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, timeout=10, env={**os.environ, "HELIO_TEST": "1"})
    assert second.returncode != 0 and "another agent" in second.stdout
    # The same id and key signs in once more: only one session lives, the other one is refused by name.
    rival = fleet.principal("f2").sign_in()
    rival.beat()
    old_session, old_key, old_seq = rival.session_id, rival.mac_up, rival.seq
    rival.boot_counter += 1
    rival.sign_in()
    rival.beat()
    rival.mark_seen()
    rival.send(rival.heartbeat(session_id=old_session, seq=old_seq + 1), mac_key=old_key)
    fleet.procs["heliod"].wait_text("reason=session", 15)
    rival.quiet(0.3)


def test_S001_c16_each_heartbeat_includes_the_identifier(fleet_of):
    fleet = fleet_of(clients=("f1", "f2")).up()
    watch = fleet.watch(HB)
    wait_for(lambda: len(watch.of("helio/v1/hb/")) >= 8, 10)
    for m in watch.of("helio/v1/hb/"):
        assert m.decode(pb.Heartbeat).client_id == m.topic.split("/")[-1]
    fleet.procs["f1"].stop()
    f1 = fleet.principal("f1").sign_in()
    settle(f1)
    f1.mark_seen()

    def rejected():
        return sum(n for word, n in fleet.ctl("counters")["counters"].items() if word.startswith("reject."))
    before, heard = rejected(), fleet.client("f1")["last_heard_unix_ms"]
    for wrong in ("f2", ""):
        f1.send(f1.heartbeat(client_id=wrong))
    wait_for(lambda: rejected() == before + 2, 10, "each is rejected and counted")
    f1.quiet(0.3)
    assert fleet.client("f1")["last_heard_unix_ms"] == heard
    assert f1.beat().body.kind == pb.NO_ACTION


def test_S001_c19_method_for_each_client(fleet_of, pictures):
    fleet = fleet_of(interval_ms=250, data_brokers=("da",)).up()
    watch = fleet.watch(HB, "helio/v1/rsp/#")
    fleet.ctl("channel", "publish", "default", fleet.image_package("art", "1", pictures[:1]))
    for client in fleet.clients:
        fleet.ctl("exec", client, "ping")
        fleet.ctl("ask", client, "display")
    wait_for(lambda: all(fleet.client(c)["state"] == "idle" and fleet.client(c)["private_elements"] == 0
                         for c in fleet.clients), 30)
    for client in fleet.clients:
        kinds = collections.Counter(r.body.kind for r in responses(watch, client))
        assert set(kinds) == {pb.NO_ACTION, pb.SEND_INFORMATION, pb.RETRIEVE_INFORMATION, pb.EXECUTE_COMMAND}, (client, kinds)
        assert fleet.client(client)["packages"] == 1
        assert fleet.client(client)["mismatches"] == 0


def test_S001_c20_display_information(fleet_of):
    fleet = fleet_of(clients=("f1",)).up()
    watch = fleet.watch("helio/v1/rsp/f1", "helio/v1/report/#")
    fleet.ctl("ask", "f1", "display")
    report = wait_for(lambda: [m.decode(pb.Report) for m in watch.of("helio/v1/report/")], 10)[0]
    asked = [r for r in responses(watch, "f1") if r.body.kind == pb.SEND_INFORMATION]
    assert asked[0].body.send.what == pb.INFO_DISPLAY
    assert report.display.free_bytes > 0
    stored = wait_for(lambda: fleet.ctl("reports", "f1", "display", check=False), 10)
    assert stored.returncode == 0, stored.stderr
    assert stored.returncode == 0
    # Negative: an unknown kind of information is refused before it is sent, and one that the agent cannot give by the agent.
    fleet.ctl("ask", "f1", "screenshot")
    watch.subscribe(HB)
    wait_for(lambda: any(h.op.status == pb.OP_REFUSED for h in beats(watch, "f1")), 10)
    assert fleet.ctl("ask", "f1", "secrets", check=False).returncode != 0


def test_S001_c22_the_address_to_which_information_is_sent(fleet_of):
    fleet = fleet_of(clients=("f1",))
    fleet.agent_extra = {"agent": {"report_to": [f"localhost:{fleet.port['db']}", f"127.0.0.1:{fleet.port['db']}"]}}
    fleet.up()
    on_db = fleet.watch("helio/v1/inbox/#", broker="db")
    on_cb = fleet.watch("helio/v1/report/#", broker="control", seat="watch.2")
    fleet.ctl("ask", "f1", "display", "--to", "db")
    report = wait_for(lambda: on_db.of("helio/v1/inbox/f1"), 20)[0].decode(pb.Report)
    assert report.client_id == "f1" and report.what == pb.INFO_DISPLAY
    fleet.wait_client("f1", lambda c: c["state"] == "idle", 15)
    assert not on_cb.of("helio/v1/report/")
    # Negative: an address outside the client's list is refused, and nothing connects to it.
    log = len(fleet.broker_log("da"))
    fleet.ctl("ask", "f1", "display", "--to", "da")
    on_cb.subscribe(HB)
    wait_for(lambda: any(h.op.status == pb.OP_REFUSED for h in beats(on_cb, "f1")), 15)
    assert not re.search(r"as f1 ", fleet.broker_log("da")[log:])


def test_S001_c23_retrieve_identifies_a_package(fleet_of, pictures):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",)).up()
    watch = fleet.watch("helio/v1/rsp/f1", HB)
    package = fleet.image_package("art", "1", pictures)
    wait_for(lambda: fleet.ctl("package", "show", package)["state"] in ("stored", "linger"), 30)
    topic = f"helio/v1/pkg/pub/{package}"
    envelope = fleet.mosquitto_sub(topic, "-C", "1", "-N", broker="da")
    parsed = pb.Envelope()
    parsed.ParseFromString(envelope)
    digest = subprocess.run(["sha256sum"], input=parsed.payload, stdout=subprocess.PIPE).stdout.split()[0].decode()
    assert digest == package, "the package id is not the hash of the manifest"
    # Negative: another manifest under the same topic.
    other = fleet.image_package("art", "0", pictures[:1])
    wait_for(lambda: fleet.ctl("package", "show", other)["state"] in ("stored", "linger"), 30)
    wrong = fleet.mosquitto_sub(f"helio/v1/pkg/pub/{other}", "-C", "1", "-N", broker="da")
    fleet.procs["pub"].stop()
    rogue = wire.Client(fleet.port["da"], fleet.bundle("pub"))
    rogue.publish(topic, wrong, retain=True)
    fleet.ctl("channel", "publish", "default", package)
    fleet.procs["f1"].wait_text("manifest", 20)
    assert not (fleet.folder / "f1" / "packages" / package).exists()
    rogue.publish(topic, envelope, retain=True)
    rogue.close()
    fleet.publisher()
    wait_for(lambda: (fleet.folder / "f1" / "packages" / package).exists(), 60)
    refs = wait_for(lambda: [r.body.retrieve.packages[0] for r in responses(watch, "f1") if r.body.retrieve.packages], 10, "it is recorded")
    assert refs[0].package.hex() == package and refs[0].name == "art" and refs[0].version == "1"


def test_S001_c29_tls_on_every_listener(fleet_of, pictures):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",))
    proxies = {}
    real = dict(fleet.port)
    fleet.brokers()
    for name in ("control", "da"):
        proxies[name] = Proxy(real[name]).start()
        fleet.port[name] = proxies[name].port
    try:
        fleet.heliod()
        fleet.publisher()
        fleet.agent("f1")
        fleet.wait_client("f1", lambda c: c["reach"] == "online", 20)
        package = fleet.image_package("art", "1", pictures)
        fleet.ctl("channel", "publish", "default", package)
        wait_for(lambda: (fleet.folder / "f1" / "packages" / package).exists(), 40)
        marker = sorted((fleet.folder / "f1" / "packages" / package / "files").iterdir())[0].read_bytes()[2000:2032]
        for name, proxy in proxies.items():
            seen = proxy.recorded()
            assert len(seen) > 2000 and marker not in seen and b"helio/v1/" not in seen, name
        assert len(proxies["da"].recorded()) > 100000
    finally:
        for p in proxies.values():
            p.stop()
        fleet.port.update(real)
    # Positive control: the same proxy in front of a plain broker does see topic and bytes.
    port = free_ports(1)[0]
    conf = fleet.folder / "plain.conf"
    conf.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    plain = Proc("plain", ["mosquitto", "-c", conf], fleet.folder).start()
    fleet.procs["broker-plain"] = plain
    wait_for(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, 10)
    with Proxy(port).start() as proxy:
        subprocess.run(["mosquitto_pub", "-p", str(proxy.port), "-t", "helio/v1/x", "-s"], input=marker, check=True)
        wait_for(lambda: marker in proxy.recorded() and b"helio/v1/x" in proxy.recorded(), 5, "the proxy sees plain bytes")
    # A wrong authority is refused, and so are old versions of TLS and a client without a certificate.
    b = fleet.bundle("watch.1")
    for wrong in (["-CAfile", ROOT / "LICENSE"], ["-tls1_1"], ["-tls1_2"], []):
        argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{real['control']}", "-verify_return_error", "-brief"]
        if wrong[:1] != ["-CAfile"]:
            argv += ["-CAfile", b / "ca.crt"]
        if wrong[:1] in (["-tls1_1"], ["-tls1_2"]):
            argv += ["-cert", b / "tls.crt", "-key", b / "tls.key"]
        done = subprocess.run([*map(str, argv), *map(str, wrong)], input=b"\x10\x0d", stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=10)
        if wrong:
            assert done.returncode != 0, done.stdout
    bare = ssl.create_default_context(cafile=str(b / "ca.crt"))
    with pytest.raises((ssl.SSLError, OSError)):
        with socket.create_connection(("127.0.0.1", real["control"]), timeout=5) as s:
            with bare.wrap_socket(s, server_hostname="localhost") as t:
                t.sendall(b"\x10\x0d\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x00")
                if not t.recv(1):
                    raise OSError("closed")


def slow(fleet, bytes_per_s):
    fleet.server_extra = {"server": {"rate_bytes_per_s": bytes_per_s}}


def subscribed_chunks(text, client="f1"):
    return re.findall(rf" {client} 1 (helio/v1/chunk/\S+)", text)


@pytest.mark.slow
def test_S001_c30_resume_after_kill(fleet_of, folder):
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",))
    slow(fleet, 8_000_000)
    fleet.up(agents=["f1"])
    home = big_folder(folder, 40)
    package = fleet.software_package("app", "1", home)
    fleet.ctl("channel", "publish", "default", package)
    staging = fleet.folder / "f1" / "staging" / package

    def share():
        files = [f for f in staging.rglob("*") if f.is_file()] if staging.exists() else []
        return sum(os.stat(f).st_blocks * 512 for f in files)
    wait_for(lambda: share() > 12_000_000, 40, "40 % are there")
    fleet.procs["f1"].kill()
    before = subscribed_chunks(fleet.broker_log("da"))
    mark = len(fleet.broker_log("da"))
    fleet.agent("f1")
    wait_for(lambda: (fleet.folder / "f1" / "packages" / package).exists(), 60, "it completes")
    after = subscribed_chunks(fleet.broker_log("da")[mark:])
    resume = re.search(r"have=(\d+) of=(\d+)", fleet.procs["f1"].lines("have=")[-1])
    have, of = int(resume[1]), int(resume[2])
    assert 0 < have < of
    assert len(set(after)) <= of - have + 8, f"{len(set(after))} asked again, {of - have} were missing"
    assert len(set(before) | set(after)) >= of - 8
    assert (fleet.folder / "f1" / "packages" / package / "files/image.bin").read_bytes() == (home / "image.bin").read_bytes()
    # Control: a fresh client fetches all of it.
    mark = len(fleet.broker_log("da"))
    fleet.agent("f2")
    wait_for(lambda: (fleet.folder / "f2" / "packages" / package).exists(), 60)
    assert len(set(subscribed_chunks(fleet.broker_log("da")[mark:], "f2"))) >= of - 8


def test_S001_c30_one_corrupted_chunk_is_fetched_again(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",))
    slow(fleet, 8_000_000)
    fleet.up()
    home = big_folder(folder, 30)
    package = fleet.software_package("app", "1", home)
    fleet.ctl("channel", "publish", "default", package)
    image = fleet.folder / "f1" / "staging" / package / "files" / "image.bin"
    wait_for(lambda: image.exists() and os.stat(image).st_blocks * 512 > 10_000_000, 40)
    fleet.procs["f1"].kill()
    good = (home / "image.bin").read_bytes()
    data = bytearray(image.read_bytes())
    held = next(i for i in range(0, len(data) - 4096, 4096) if data[i:i + 4096] == good[i:i + 4096])
    data[held + 100] ^= 0xff
    os.chmod(image, 0o600)
    image.write_bytes(bytes(data))
    fleet.agent("f1")
    wait_for(lambda: (fleet.folder / "f1" / "packages" / package).exists(), 60)
    assert (fleet.folder / "f1" / "packages" / package / "files/image.bin").read_bytes() == good


def test_S001_c30_broker_restart_in_mid_transfer(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",))
    slow(fleet, 6_000_000)
    fleet.up()
    home = big_folder(folder, 24)
    package = fleet.software_package("app", "1", home)
    fleet.ctl("channel", "publish", "default", package)
    staging = fleet.folder / "f1" / "staging" / package
    wait_for(lambda: staging.exists() and sum(os.stat(f).st_blocks * 512 for f in staging.rglob("*") if f.is_file()) > 6_000_000, 40)
    fleet.procs["broker-da"].kill()
    fleet.broker("da")
    wait_for(lambda: (fleet.folder / "f1" / "packages" / package).exists(), 90, "it completes after the broker forgot")
    assert (fleet.folder / "f1" / "packages" / package / "files/image.bin").read_bytes() == (home / "image.bin").read_bytes()


def test_S001_c31_name_first_then_ip(fleet_of):
    fleet = fleet_of(clients=("f1",))
    fleet.brokers()
    fleet.heliod()
    agent = fleet.agent("f1")
    agent.wait_text("via=name", 15)
    agent.stop()
    agent = fleet.agent("f1", {"control": {"name": "nowhere.invalid"}})
    agent.wait_text("via=ip", 20)
    fleet.wait_client("f1", lambda c: c["reach"] == "online", 20)
    agent.stop()
    # Both dead: no crash, and a status of its own. A name whose port refuses is in test_s001_discovery.py.
    dead = free_ports(1)[0]
    agent = fleet.agent("f1", {"control": {"name": "nowhere.invalid", "port": dead}})
    lines = agent.wait_text("LINK-DOWN", 20, count=3)
    assert agent.alive() and lines
    agent.stop()
    config = fleet.folder / "f1.ini"
    once = subprocess.run([PROGRAMS["helio-agent"], "--config", config, "--once"], timeout=60,
                          env={**os.environ, "HELIO_TEST": "1"}, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL)
    assert once.returncode == 3


def test_S001_c31_no_downgrade_without_an_ip_san(fleet_of):
    fleet = fleet_of(clients=("f1",))
    # A broker certificate that names the host only.
    fleet.enrol("broker", "nosan", "--dns", "localhost")
    for f in ("tls.crt", "tls.key"):
        (fleet.bundle("control") / f).write_bytes((fleet.bundle("nosan") / f).read_bytes())
    fleet.brokers()
    agent = fleet.agent("f1", {"control": {"name": "nowhere.invalid"}})
    agent.wait_text("LINK-DOWN", 20)
    log = fleet.broker_log("control")
    assert "as f1" not in log, "connected without a verified address"
    agent.stop()
    fleet.agent("f1").wait_text("via=name", 15)


def addresses_inside(net, device):
    """What the kernel says of the interface that leads to the broker, both families."""
    shown = json.loads(net.run("-j", "addr", "show", "dev", device))[0]["addr_info"]
    return {a["local"] for a in shown if a["scope"] == "global"}


def next_beat_after(watch, client, change):
    """Makes a change between two heartbeats and returns the one before it and the next one after it."""
    for _ in range(20):
        count = len(beats(watch, client))
        before = wait_for(lambda: beats(watch, client)[count:], 15)[-1]
        count = len(beats(watch, client))
        change()
        changed = time.time() * 1000
        after = wait_for(lambda: beats(watch, client)[count:], 15)[0]
        if after.sent_unix_ms >= changed:
            return before, after
    raise AssertionError("the change always took longer than an interval")


def shown_by(fleet, client):
    """The address in the next heartbeat, by mosquitto_sub and protoc."""
    text = fleet.protoc("Heartbeat", fleet.mosquitto_sub(wire.hb_topic(client), "-C", "1", "-N", timeout=10))
    escaped = re.search(r'^ip_address: "(.*)"$', text, re.M)[1]
    raw = escaped.encode().decode("unicode_escape").encode("latin-1")
    assert len(raw) in (4, 16)
    return str(ipaddress.ip_address(raw))


def test_S001_c32_the_address_is_that_of_the_route_to_the_broker_and_follows_it(fleet_of):
    with namespace() as net:
        fleet = fleet_of(clients=("f4", "f6"), data_brokers=(), binds=("127.0.0.1", net.host4, net.host6))
        fleet.brokers()
        fleet.heliod()
        watch = fleet.watch(HB)
        net.give(1)
        for client, host in (("f4", net.host4), ("f6", net.host6)):
            fleet.procs[client] = Proc(client, net.argv(PROGRAMS["helio-agent"], "--config", fleet.folder / f"{client}.ini"),
                                       fleet.folder, env={"HELIO_TEST": "1"})
            fleet.agent(client, {"control": {"name": "", "ip": host, "keepalive_s": 5, "backoff_min_ms": 100}})
        own = {"f4": net.device4, "f6": net.device6}
        for client in own:
            fleet.wait_client(client, lambda c: c["reach"] == "online", 20)
            # The kernel's word inside, the broker's word of its peer, and the heartbeat: one address.
            assert own[client](1) in addresses_inside(net, net.inner)
            assert f"New connection from {own[client](1)}:" in fleet.broker_log("control")
            assert shown_by(fleet, client) == own[client](1)
            assert fleet.client(client)["ip"] == own[client](1)
        # Beside it lie addresses that lead elsewhere: listing them would have found these first.
        assert len(addresses_inside(net, "lo")) == 2

        # Another address for the route, the connection as it was: the very next heartbeat says it.
        def connections():
            return re.findall(r"New connection from (?!127\.)(\S+) on", fleet.broker_log("control"))
        first = connections()

        net.give(2)     # beside the first, which the route goes on to prefer

        def reroute():
            net.prefer(2)
        for client, change in (("f4", reroute), ("f6", lambda: None)):
            before, after = next_beat_after(watch, client, change)
            assert after.seq == before.seq + 1 and after.session_id == before.session_id
            assert str(ipaddress.ip_address(after.ip_address)) == own[client](2)
            fleet.wait_client(client, lambda c: c["ip"] == own[client](2), 5)
        assert connections() == first and len(first) == 2
        fleet.procs["heliod"].wait_text("ADDRESS-CHANGED client=f4", 5)

        # Both are taken away and a third is given, as by a router that is new: what is heard next says it.
        net.take_all()
        for client in own:
            fleet.procs[client].wait_text(f"OWN-ADDRESS client={client} ip=00000000", 10)
        gone = {client: len(beats(watch, client)) for client in own}
        net.give(3)
        for client in own:
            def fresh():
                return [str(ipaddress.ip_address(h.ip_address)) for h in beats(watch, client)[gone[client]:] if any(h.ip_address)]
            wait_for(fresh, 30, f"{client} is heard again")
            assert set(fresh()) == {own[client](3)}, "0.0.0.0 while there is no route, and the new one after that"
            wait_for(lambda: f"New connection from {own[client](3)}:" in fleet.broker_log("control"), 10)
            assert shown_by(fleet, client) == own[client](3)


def test_S001_c32_heartbeat_includes_ip_address_and_id(fleet_of):
    fleet = fleet_of(clients=("f1",)).up()
    watch = fleet.watch(HB)
    hb = wait_for(lambda: beats(watch, "f1"), 10)[0]
    assert hb.ip_address == socket.inet_aton("127.0.0.1") and hb.client_id == "f1"
    assert fleet.client("f1")["ip"] == "127.0.0.1"
    fleet.procs["f1"].stop()
    f1 = fleet.principal("f1").sign_in()
    settle(f1)
    for good in (ipaddress.ip_address("2001:db8::7"), ipaddress.ip_address("127.0.0.9")):
        f1.beat(ip_address=good.packed)
        fleet.wait_client("f1", lambda c: c["ip"] == str(good), 10)
    # Every other length is refused, counted by its name, and changes nothing.
    f1.mark_seen()
    counted = fleet.ctl("counters")["counters"]["reject.ip"]
    heard = fleet.client("f1")["last_heard_unix_ms"]
    wrong = [n for n in range(19) if n not in (4, 16)]
    for n in wrong:
        f1.send(f1.heartbeat(ip_address=b"x" * n))
    wait_for(lambda: fleet.ctl("counters")["counters"]["reject.ip"] == counted + len(wrong), 10, "each is counted")
    f1.quiet(0.3)
    assert fleet.client("f1")["ip"] == "127.0.0.9" and fleet.client("f1")["last_heard_unix_ms"] == heard
    fleet.procs["heliod"].wait_text("reason=ip", 5)
    assert f1.beat(ip_address=socket.inet_aton("127.0.0.10")).in_reply_to_seq == f1.seq


def test_S001_c33_identifier_last_supplied(fleet_of):
    fleet = fleet_of(clients=("f1",), interval_ms=250).up()
    watch = fleet.watch(HB, "helio/v1/rsp/f1")
    for _ in range(3):
        fleet.ctl("exec", "f1", "ping")
    wait_for(lambda: len(beats(watch, "f1")) >= 20, 15)
    last, checked = None, 0
    for m in watch.messages:
        if "/rsp/" in m.topic:
            last = m.decode(pb.Response).body.response_id
        elif last is not None:
            hb = m.decode(pb.Heartbeat)
            assert hb.last_response_id == last, "not the response delivered last"
            checked += 1
    assert checked >= 10
    # Negative: an id that was never issued leads to a resync.
    fleet.procs["f1"].stop()
    f1 = fleet.principal("f1").sign_in()
    settle(f1)
    r = f1.beat(last_response_id=f1.last_response_id + 5)
    r = r if r.body.kind == pb.EXECUTE_COMMAND else f1.beat()
    assert r.body.kind == pb.EXECUTE_COMMAND and r.body.execute.verb == "resync"


def test_S001_c33_a_wiped_client_begins_anew_without_a_mismatch(fleet_of):
    fleet = fleet_of(clients=("f1",)).up()
    fleet.ctl("exec", "f1", "ping", "--wait")
    fleet.procs["f1"].stop()
    shutil.rmtree(fleet.folder / "f1")
    watch = fleet.watch(HB, "helio/v1/rsp/f1")
    fleet.agent("f1")
    wait_for(lambda: len(beats(watch, "f1")) >= 4, 15)
    assert beats(watch, "f1")[0].last_response_id == 0
    fleet.wait_client("f1", lambda c: c["state"] == "idle" and c["at_tail"], 15)
    assert fleet.client("f1")["mismatches"] == 0
    assert any(r.body.kind == pb.SEND_INFORMATION and r.body.send.what == pb.INFO_HOLDINGS for r in responses(watch, "f1"))


@pytest.mark.slow
def test_S001_c36_operation_id_and_status(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=200)
    fleet.server_extra = {"server": {"rate_bytes_per_s": 6_000_000, "reconnect_spread_s": 0}, "data": {"first_viewer_grace_s": 1}}
    fleet.up()
    watch = fleet.watch(HB, "helio/v1/rsp/f1")
    package = fleet.software_package("app", "1", big_folder(folder, 20))
    # Nobody asked for it yet and it was withdrawn: between acceptance and the first bytes it has to be sent anew.
    wait_for(lambda: fleet.ctl("package", "show", package)["state"] == "waiting", 20)
    fleet.ctl("channel", "publish", "default", package)
    wait_for(lambda: (fleet.folder / "f1" / "packages" / package).exists(), 60)
    op = [r.body.op_id for r in responses(watch, "f1") if r.body.retrieve.packages][0]
    wait_for(lambda: any(h.op.op_id == op and h.op.status == pb.OP_DONE for h in beats(watch, "f1")), 15)
    life = [(h.op.status, h.op.percent) for h in beats(watch, "f1") if h.op.op_id == op]
    running = [p for s, p in life if s == pb.OP_RUNNING]
    assert running == sorted(running) and len(set(running)) >= 2, "the percent does not rise"
    assert [s for s, _ in life] == sorted([s for s, _ in life])
    assert {s for s, _ in life} == {pb.OP_ACCEPTED, pb.OP_RUNNING, pb.OP_DONE} and life[0] == (pb.OP_ACCEPTED, 0)
    # Unique for ever, also over a kill of the server.
    for round_ in range(3):
        for _ in range(8):
            fleet.ctl("exec", "f1", "ping")
        fleet.wait_client("f1", lambda c: c["private_elements"] == 0 and c["state"] == "idle", 40)
        fleet.procs["heliod"].kill()
        fleet.heliod()
        fleet.wait_client("f1", lambda c: c["reach"] == "online", 20)
    opened = [r.body.op_id for r in responses(watch, "f1") if r.body.kind != pb.NO_ACTION]
    first = list(dict.fromkeys(opened))
    bodies = collections.defaultdict(set)
    for r in responses(watch, "f1"):
        if r.body.kind != pb.NO_ACTION:
            bodies[r.body.op_id].add(r.body.SerializeToString())
    assert len(first) >= 24 and all(len(b) == 1 for b in bodies.values()), "an op id was used twice"


def test_S001_c36_a_step_back_or_a_foreign_operation_is_a_mismatch(fleet_of):
    fleet = fleet_of(clients=("f1", "f2")).up(agents=[])
    f1, f2 = (fleet.principal(c).sign_in() for c in ("f1", "f2"))
    settle(f1)
    settle(f2)
    fleet.ctl("exec", "f1", "ping")
    r = until(f1, pb.EXECUTE_COMMAND)
    f1.op = pb.Operation(op_id=r.body.op_id, status=pb.OP_DONE)
    f1.beat()
    f1.beat()
    honest = fleet.client("f1")["mismatches"]
    f1.op = pb.Operation(op_id=r.body.op_id, status=pb.OP_RUNNING)
    f1.beat()
    f1.beat()
    stepped = fleet.client("f1")["mismatches"]
    assert stepped > honest, "RUNNING after DONE was believed"
    # One that was never given, and one that another client works at.
    for _ in range(5):
        fleet.ctl("exec", "f2", "ping")
        other = until(f2, pb.EXECUTE_COMMAND)
        answer(f2, other)
        settle(f2)
    fleet.ctl("exec", "f2", "ping")
    other = until(f2, pb.EXECUTE_COMMAND)
    for foreign in (r.body.op_id + 77, other.body.op_id):
        f1.op = None
        settle(f1)
        before = fleet.client("f1")["mismatches"]
        f1.op = pb.Operation(op_id=foreign, status=pb.OP_RUNNING)
        r = f1.beat()
        assert r.body.kind == pb.EXECUTE_COMMAND and r.body.execute.verb == "cancel"
        assert fleet.client("f1")["mismatches"] == before + 1, "an operation of somebody else was believed"
