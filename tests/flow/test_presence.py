"""The presence server and its publishers: who is directed, to where, and what lies there then. mosquitto_sub and the brokers' own
counts and logs are the witnesses; content is put together again from the wire with zstd and sha256sum, without a program of ours."""
import hashlib
import re
import subprocess
import time

import pytest

from lib import rogue, wire
from lib.boss import FakeServer
from lib.fleet import PROGRAMS
from lib.presence import Record, connected, content, counted, late, lies_at, offer, package_of, published, quiet_counts, software, stored
from lib.wait import stays, wait_for

pb = wire.pb
QUIET = {"probe": {"enabled": False}, "server": {"host_period_ms": 3600000, "reconnect_spread_s": 0}}     # nothing else on data brokers


def at_work(fleet):
    fleet.brokers()
    fleet.heliod().wait_text("LINK-UP", 15, count=1 + len(fleet.data_ids))
    for id_ in fleet.publishers:
        if id_ == "pub":
            fleet.publisher(id_)
    return fleet


def publish_in_vain(fleet, package):
    argv = [PROGRAMS["helioctl"], "--config", fleet.ctl_config(), "package", "publish", package]
    return subprocess.Popen([str(a) for a in argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def test_S002_1_a_publisher_asks_the_presence_server_and_without_it_nothing_is_sent(fleet_of):
    fleet = at_work(fleet_of(clients=(), server={**QUIET, "data": {"recent_period_s": 0}}))
    record = Record(fleet)
    before = published(fleet)
    first = package_of(fleet, "first")
    record.directive(first, pb.TRANSMIT)
    stored(fleet, first)
    wait_for(lambda: sum(published(fleet).values()) > sum(before.values()) + 150_000, 5, "the count sees a publication")
    # The server is gone: the publisher goes on asking, and sends nothing anywhere.
    built = fleet.ctl("package", "build", "--name", "second", "--version", "1", "--software", software(fleet.folder, "second", 100_000))
    second = built["package"]
    fleet.procs["heliod"].kill()
    before, told = quiet_counts(fleet), len(record.directives())
    asking = publish_in_vain(fleet, second)
    try:
        wait_for(lambda: [m for _, _, m in record.of("helio/v1/pub/pub", pb.PublisherMsg) if m.package.hex() == second], 10, "it asks")
        time.sleep(2.5)         # twice the interval in which a broker counts
        assert published(fleet) == before and len(record.directives()) == told
        assert not lies_at(fleet, second)
    finally:
        asking.kill()
        asking.wait()
    fleet.heliod()
    record.directive(second, pb.TRANSMIT)
    assert stored(fleet, second) in lies_at(fleet, second)


def test_S002_2_data_servers_are_several_and_the_control_broker_is_none_of_them(fleet_of):
    fleet = at_work(fleet_of(clients=(), data_brokers=("da", "db", "dc"), server={**QUIET, "data": {"recent_period_s": 60}}))
    b = fleet.bundle("watch.2")
    control = subprocess.Popen([str(a) for a in ("mosquitto_sub", "-V", "5", "-h", "localhost", "-p", fleet.port["control"], "--cafile", b / "ca.crt",
                                                 "--cert", b / "tls.crt", "--key", b / "tls.key", "-i", "watch.2", "-t", "helio/v1/pkg/#",
                                                 "-t", "helio/v1/chunk/#", "-W", "5")], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    packages = [package_of(fleet, f"app-{n}", 50_000) for n in range(3)]
    assert sorted(stored(fleet, p) for p in packages) == ["da", "db", "dc"]
    assert lies_at(fleet, packages[0]) == [stored(fleet, packages[0])]
    watch = fleet.watch("helio/v1/view/ds/+")
    views = wait_for(lambda: (lambda v: v if len(v) == 3 and all(x.reachable for x in v.values()) else None)(
        {m.topic.rsplit("/", 1)[1]: m.decode(pb.DataServerLoad) for m in watch.messages}), 10, "three views")
    assert set(views) == {"da", "db", "dc"} and all(v.capacity_bytes_per_s == fleet.capacity for v in views.values())
    for m in watch.messages:
        assert wire.signature_holds(m.payload, m.topic, fleet.online_public())
        assert "reachable: true" in fleet.protoc("DataServerLoad", m.payload) or not m.decode(pb.DataServerLoad).reachable
    fleet.procs["broker-dc"].kill()
    wait_for(lambda: not {m.topic: m.decode(pb.DataServerLoad) for m in list(watch.messages)}["helio/v1/view/ds/dc"].reachable, 10)
    out, _ = control.communicate(timeout=30)
    assert control.returncode == 27 and not out, "content crossed the control broker"


def test_S002_2_one_data_server_is_for_development_and_said_so(fleet_of):
    fleet = fleet_of(clients=(), data_brokers=("da",), publishers=())
    fleet.brokers()
    fleet.heliod().wait_text("plurality=1", 10)
    fleet.procs["heliod"].kill()
    fleet.data_ids.append("db")
    fleet.port["db"] = fleet.port["da"]
    seen = len(fleet.procs["heliod"].lines("plurality=1"))
    began = len(fleet.procs["heliod"].lines("STARTED"))
    fleet.heliod().wait_text("STARTED", 10, count=began + 1)
    assert len(fleet.procs["heliod"].lines("plurality=1")) == seen == 1
    fleet.data_ids.remove("db")


def test_S002_3_a_request_to_publish_obtains_one_directive_or_a_reasoned_refusal(fleet_of):
    fleet = fleet_of(clients=(), publishers=("hand", "hand2", "pump"), server={**QUIET, "data": {"recent_period_s": 0}})
    hidden = fleet.ca / "enrolments/pump.enrol"        # a certificate of the fleet, but nobody enrolled it
    hidden.rename(fleet.folder / "pump.enrol")
    at_work(fleet)
    record = Record(fleet)
    one, two = rogue.Publisher(fleet, "hand"), rogue.Publisher(fleet, "hand2")
    mine = content(fleet, one, "mine")
    d = offer(one, mine)
    assert d.kind == pb.TRANSMIT and d.package == mine.id and d.to.broker_id in fleet.data_ids
    record.directive(mine.hex, pb.TRANSMIT, publisher="hand")
    assert len(record.directives(mine.hex, publisher="hand")) == 1
    # Of another: the package, and the name.
    d = offer(two, mine)
    assert d.kind == pb.DIRECTIVE_NOTED and d.reason.startswith("refused: ") and "hand" in d.reason and d.directive_id == 0
    d = offer(two, content(fleet, two, "mine", "2"))
    assert d.kind == pb.DIRECTIVE_NOTED and "belongs to publisher hand" in d.reason
    # A manifest that nobody signed as a release, one byte that is not what was signed, an id that is not the manifest's.
    own = content(fleet, two, "own")
    unsigned = rogue.Content({"data": b"x"}, "forged").make(two.key, two.key)
    bent = own.envelope[:40] + bytes([own.envelope[40] ^ 1]) + own.envelope[41:]
    for id_, manifest in ((unsigned.id, unsigned.envelope), (own.id, bent), (mine.id, own.envelope)):
        two.say(pb.PUB_OFFER, package=id_, manifest=manifest, object_bytes=1)
        d = two.directive((pb.TRANSMIT, pb.DEFER, pb.DIRECTIVE_NOTED), id_)
        assert d.kind == pb.DIRECTIVE_NOTED and d.reason.startswith("refused: "), d
    # Not sealed with the session's key, and said again: nobody answers at all.

    def told():
        return [d.seq for _, d in record.directives(publisher="hand2")]
    wait_for(lambda: d.seq in told(), 10, "the last word is recorded")
    heard = told()
    two.say(pb.PUB_OFFER, package=own.id, manifest=b"")
    m = pb.PublisherMsg(schema=1, publisher="hand2", session_id=two.session_id, seq=two.seq + 1, boot=two.boot, request_id=99, state=pb.PUB_OFFER,
                        package=own.id, manifest=own.envelope, object_bytes=1)
    two.link.publish(two.topic, wire.sealed(m, two.topic, mac_key=bytes(32)))
    m.ClearField("auth")
    two.link.publish(two.topic, m.SerializeToString())
    m.seq = 1
    two.link.publish(two.topic, wire.sealed(m, two.topic, mac_key=two.mac_up))
    # Nobody of the fleet: no offer of a session, so nothing can be asked.
    with pytest.raises(AssertionError):
        rogue.Publisher.sign_in.__get__(stranger(fleet))(timeout=1)
    assert fleet.sql("select count(*) from package") == "1"
    d = offer(two, own)
    assert d.kind == pb.TRANSMIT, "and it still can publish"
    wait_for(lambda: d.seq in told(), 10, "that is recorded")
    assert told()[:told().index(d.seq)] == heard and not record.directives(publisher="pump")


def stranger(fleet):
    s = rogue.Publisher.__new__(rogue.Publisher)
    wire.Principal.__init__(s, fleet.port["control"], fleet.bundle("pump"), fleet.online_public())
    fleet.witnesses.append(s)
    s.topic = "helio/v1/pub/pump"
    return s


def test_S002_6_the_publisher_connects_to_the_named_broker_and_only_there(fleet_of):
    fleet = at_work(fleet_of(clients=(), data_brokers=("da", "db", "dc"), server={**QUIET, "data": {"recent_period_s": 0, "first_viewer_grace_s": 0}}))
    record = Record(fleet)
    package = package_of(fleet)
    one = stored(fleet, package)
    record.directive(package, pb.TRANSMIT)
    (d,) = {d.SerializeToString(): d for _, d in record.directives(package, pb.TRANSMIT)}.values()
    assert (d.to.broker_id, d.to.host, d.to.ip, d.to.port, d.to.tls) == (one, "localhost", "127.0.0.1", fleet.port[one], True)
    assert d.to.topic == f"helio/v1/pkg/pub/{package}" and f'host: "localhost"' in fleet.protoc("Directive", d.SerializeToString())
    assert connected(fleet, one, "pub")
    assert not [b for b in fleet.data_ids if b != one and connected(fleet, b, "pub")], "it was at a broker that nobody named"
    # A publisher that is started without a server has no directive: it connects to no data broker and transmits nothing.
    fleet.procs["heliod"].kill()
    fleet.procs["pub"].kill()
    before, seen = quiet_counts(fleet), {b: len(connected(fleet, b, "pub")) for b in fleet.data_ids}
    fleet.publisher("pub")
    fleet.procs["pub"].wait_text("CONTROL-UP", 10, count=2)
    counted(fleet)
    counted(fleet)
    assert published(fleet) == before and {b: len(connected(fleet, b, "pub")) for b in fleet.data_ids} == seen


def test_S002_6_forged_stale_and_foreign_directives_are_ignored(fleet_of):
    fleet = fleet_of(clients=(), publishers=("pub",), server=QUIET)
    fleet.brokers()
    boss = FakeServer(fleet)
    fleet.publisher()
    boss.session(7)
    wait_for(lambda: boss.heard(pb.PUB_ALIVE), 10, "it is in session")
    ids = [fleet.ctl("package", "build", "--name", n, "--version", "1", "--software", software(fleet.folder, n, 60_000))["package"]
           for n in ("offered", "only-built")]
    offered, built = map(bytes.fromhex, ids)
    asking = publish_in_vain(fleet, ids[0])
    wait_for(lambda: boss.heard(pb.PUB_OFFER, offered), 10, "it is offered")
    before = quiet_counts(fleet)
    heard = boss.say(pb.TRANSMIT, offered, 5, "da", mac_key=bytes(32))          # not the session's key
    boss.say(pb.TRANSMIT, built, 6, "da")                                       # was never offered
    boss.say(pb.TRANSMIT, hashlib.sha256(b"unknown").digest(), 7, "da")         # nobody has it
    boss.link.publish(boss.topic, heard[:-35])                                  # nothing sealed at all
    boss.session_id += 1
    boss.say(pb.TRANSMIT, offered, 8, "da")                                     # of another session
    boss.session_id -= 1
    fleet.procs["pub"].wait_text("DIRECTIVE-IGNORED", 10)
    fleet.procs["pub"].wait_text("DIRECTIVE-REFUSED", 10)
    time.sleep(1.5)
    assert published(fleet) == before and not [b for b in fleet.data_ids if connected(fleet, b, "pub")]
    # A good one is obeyed, an older one and one that is said again do not undo it.
    replay = boss.say(pb.TRANSMIT, offered, 20, "db")
    wait_for(lambda: boss.heard(pb.PUB_STORED, offered), 20, "it is stored")
    boss.say(pb.STOP, offered, 19)
    boss.link.publish(boss.topic, replay)
    time.sleep(1)
    assert lies_at(fleet, ids[0]) == ["db"] and not connected(fleet, "da", "pub")
    boss.say(pb.STOP, offered, 21)
    wait_for(lambda: boss.heard(pb.PUB_STOPPED, offered), 20, "it is stopped")
    assert not lies_at(fleet, ids[0])
    asking.kill()
    asking.wait()


def unpacked(fleet, broker, objects, own=None):
    """What objects of an index yield, one behind the other: taken from the broker by mosquitto_sub, unpacked by zstd."""
    out = b""
    for o in sorted(objects, key=lambda o: o.first_chunk):
        name = o.sha256 or own[o.first_chunk]
        raw = fleet.mosquitto_sub(f"helio/v1/chunk/pub/{name.hex()}", "-C", "1", "-N", broker=broker)
        assert hashlib.sha256(raw).digest() == name
        out += raw if o.coding == pb.RAW else subprocess.run(["zstd", "-dc"], input=raw, stdout=subprocess.PIPE, check=True).stdout
    return out


def chunk_list(page):
    """The distinct chunks of a manifest page in their order: [(sha256, size)]."""
    found = {}
    for f in page.files:
        names = [f.chunk_sha256[i:i + 32] for i in range(0, len(f.chunk_sha256), 32)] or [f.sha256]
        for name, size in zip(names, list(f.chunk_size) or [f.size_bytes]):
            found.setdefault(name, size)
    return list(found.items())


def files_of(fleet, broker, package):
    """path -> bytes, from what lies on the broker and nothing else."""
    envelope = pb.Envelope.FromString(fleet.mosquitto_sub(f"helio/v1/pkg/pub/{package}", "-C", "1", "-N", broker=broker))
    assert hashlib.sha256(envelope.payload).hexdigest() == package
    manifest = pb.Manifest.FromString(envelope.payload)
    index = pb.Index.FromString(pb.Envelope.FromString(fleet.mosquitto_sub(f"helio/v1/idx/pub/{package}/full", "-C", "1", "-N", broker=broker)).payload)
    pages = unpacked(fleet, broker, index.page_objects, [p.sha256 for p in manifest.pages])
    out = {}
    for ref, entry in zip(index.pages, manifest.pages):
        page, pages = pages[:entry.size_bytes], pages[entry.size_bytes:]
        assert hashlib.sha256(page).digest() == entry.sha256
        page = pb.ManifestPage.FromString(page)
        listed = pb.IndexPage.FromString(unpacked(fleet, broker, [ref.object], [ref.sha256]))
        rest, chunks = unpacked(fleet, broker, listed.objects, [name for name, _ in chunk_list(page)]), {}
        for name, size in chunk_list(page):
            chunks[name], rest = rest[:size], rest[size:]
            assert hashlib.sha256(chunks[name]).digest() == name
        for f in page.files:
            names = [f.chunk_sha256[i:i + 32] for i in range(0, len(f.chunk_sha256), 32)] or [f.sha256]
            out[f.path] = out.get(f.path, b"") + b"".join(chunks[n] for n in names)
    return out


def test_S002_7_what_is_stored_is_read_by_anybody_and_gives_the_file_again(fleet_of, folder):
    fleet = at_work(fleet_of(clients=(), server={"data": {"recent_period_s": 0}}))
    package = package_of(fleet, size=700_000)
    broker = stored(fleet, package)
    topic = f"helio/v1/pkg/pub/{package}"
    assert fleet.mosquitto_sub(topic, "-C", "1", "-F", "%r", broker=broker).strip() == b"1"
    (folder / "rebuilt").write_bytes(files_of(fleet, broker, package)["data"])
    sums = subprocess.run(["sha256sum", folder / "rebuilt", fleet.folder / "software-app-1/data"], stdout=subprocess.PIPE, text=True,
                          check=True).stdout.splitlines()
    assert sums[0].split()[0] == sums[1].split()[0]
    # The manifest comes last: whoever sees it finds everything, and the server believed its own eyes only.
    lines = re.findall(r"Received PUBLISH from pub \(.*'helio/v1/(\w+)/", fleet.broker_log(broker))
    assert lines.count("chunk") >= 3 and lines.index("pkg") == lines.index("idx") - 1 > max(n for n, w in enumerate(lines) if w == "chunk")
    assert re.search(rf"server.1 1 {topic}", fleet.broker_log(broker)), "the server did not subscribe to what it calls stored"


@pytest.mark.slow
def test_S002_7_a_broker_that_forgot_is_filled_again_only_if_somebody_wants_it(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), server={
        **QUIET, "server": {"reconnect_spread_s": 0, "rate_bytes_per_s": 700_000}, "data": {"recent_period_s": 0, "linger_s": 60, "lease_ttl_s": 30}})
    fleet.up()
    record = Record(fleet)
    unwanted, wanted = package_of(fleet, "unwanted", 100_000), package_of(fleet, "wanted", 2_500_000)
    for p in (unwanted, wanted):
        stored(fleet, p)
    fleet.ctl("channel", "publish", "default", wanted)
    wait_for(lambda: record.grants("f1", wanted), 20)
    given, before = len(record.grants()), {p: len(record.directives(p, pb.TRANSMIT)) for p in (wanted, unwanted)}
    assert before == {wanted: 1, unwanted: 1}
    fleet.procs["broker-da"].kill()
    fleet.procs["pub"].pause()          # nothing can come back while we look
    fleet.broker("da")
    heliod = fleet.procs["heliod"]
    heliod.wait_text(f"PLACE-LOST package={wanted[:8]}", 20)
    heliod.wait_text(f"PLACE-LOST package={unwanted[:8]}", 20)
    record.directive(wanted, pb.TRANSMIT, 2)
    assert not late(fleet, "da", "helio/v1/pkg/#", "helio/v1/chunk/#", "helio/v1/idx/#")
    stays(lambda: len(record.grants()) == given, 1.5)
    fleet.procs["pub"].go_on()
    wait_for((fleet.folder / "f1/packages" / wanted).exists, 60, "it completes after the refill")
    assert len(record.grants()) > given
    assert len(record.directives(unwanted, pb.TRANSMIT)) == 1, "what nobody wants was sent again"
    assert lies_at(fleet, wanted) == ["da"] and not lies_at(fleet, unwanted)
    record.directive(unwanted, pb.WAIT)
