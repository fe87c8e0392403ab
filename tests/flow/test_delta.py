"""An update from what a device holds costs no more than a patch. What crossed the wire is read in the data broker's own
log; zstd --patch-from is the peer, mosquitto_sub says what lies there, sha256sum what was installed."""
import random
import re
import subprocess

from lib.media import importing, recorded, sha256sum, shown, unpack
from lib.wait import wait_for

SIZE = 3_000_000
NAME = "program.bin"


def program(folder, number, size=SIZE):
    """Like machine code: a later version has some bytes more in the middle, and addresses behind them that moved."""
    home = folder / f"program-{number}"
    home.mkdir()
    code = bytearray(random.Random(1).randbytes(size))
    if number > 1:
        for at in range(5000, size, 5000):
            code[at] = (code[at] + 16 * (number - 1)) % 256
        middle = size // 2
        code[middle:middle] = random.Random(number).randbytes(2000)
    (home / NAME).write_bytes(code)
    (home / "run").write_text("#!/bin/sh\nexit 0\n")
    (home / "run").chmod(0o755)
    return home


def patch_from(old, new, folder):
    """Bytes of the peer's patch, and of the whole file compressed as well as it can."""
    def size(*more):
        out = folder / "peer.zst"
        subprocess.run(["zstd", "-q", "-f", "-19", "--long=31", *more, new / NAME, "-o", out], check=True)
        return out.stat().st_size
    return size("--patch-from", old / NAME), size()


def sent(fleet, client, since=0):
    """Bytes of every message that the data broker sent to this client, with topic and 10 bytes of MQTT."""
    log = fleet.broker_log("da")[since:]
    rows = re.findall(rf"Sending PUBLISH to {client} \(d\d, q\d, r\d, m\d+, '(\S+)', \.\.\. \((\d+) bytes\)", log)
    return [(topic, int(size) + len(topic) + 10) for topic, size in rows]


def installed(fleet, client, package, timeout=40):
    wait_for(lambda: (fleet.folder / client / "packages" / package).exists(), timeout, f"{client} has {package[:12]}")


def assert_same_files(fleet, client, package, home):
    def sums(folder):
        return subprocess.run(["sha256sum", NAME, "run"], cwd=folder, stdout=subprocess.PIPE, check=True).stdout
    assert sums(fleet.folder / client / "packages" / package / "files") == sums(home)


class Updated:
    """f1 and f2 hold version 1; version 2 and its delta lie on the broker and are told to nobody yet."""

    def __init__(self, fleet_of, folder, clients=("f1", "f2"), **settings):
        self.fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",), **settings,
                              server={"data": {"recent_period_s": 0}})
        self.fleet.up(agents=list(clients))
        self.homes = {n: program(folder, n) for n in (1, 2)}
        self.first = self.fleet.software_package("app", "1", self.homes[1])
        self.fleet.ctl("channel", "publish", "default", self.first)
        for client in clients:
            installed(self.fleet, client, self.first)
        self.second = self.fleet.software_package("app", "2", self.homes[2])
        # Publishing waited for nothing; the delta follows when it is made.
        self.fleet.procs["heliod"].wait_text("stored=1", 40)
        self.mark = len(self.fleet.broker_log("da"))

    def publish(self):
        self.fleet.ctl("channel", "publish", "default", self.second)

    def index(self, base, timeout=2):
        """What mosquitto_sub finds on the topic of the index."""
        return self.fleet.mosquitto_sub(f"helio/v1/idx/pub/{self.second}/{base}", "-C", "1", "-N", broker="da",
                                        timeout=timeout, check=False)


def published_slowly(fleet, home):
    """Version 2 for everybody, at a rate that leaves time to cut it; and where the broker's log stands before it."""
    fleet.server_extra["server"] = {"rate_bytes_per_s": 150_000}
    fleet.procs["heliod"].stop()
    fleet.heliod()
    package = fleet.software_package("app", "2", home)
    fleet.procs["heliod"].wait_text("stored=1", 60)
    mark = len(fleet.broker_log("da"))
    fleet.ctl("channel", "publish", "default", package)
    return package, mark


def test_S001_c9_an_update_costs_no_more_than_a_patch(fleet_of, folder):
    u = Updated(fleet_of, folder, clients=("f1",))
    patch, whole = patch_from(u.homes[1], u.homes[2], folder)
    base, = u.fleet.ctl("package", "show", u.second)["bases"]
    assert base["stored"] and base["package"] == u.first and base["version"] == "1"
    assert len(u.index(u.first)) > 100 and len(u.index("full")) > 100
    u.publish()
    installed(u.fleet, "f1", u.second)
    assert_same_files(u.fleet, "f1", u.second, u.homes[2])
    rows = sent(u.fleet, "f1", u.mark)
    cost = sum(size for _, size in rows)
    print(f"delta {cost} bytes in {len(rows)} messages, zstd --patch-from {patch}, whole {whole}")
    assert cost <= 1.15 * patch + 6000
    assert any(topic.endswith(f"/{u.first}") for topic, _ in rows), "the index of the delta served"
    # What was announced is what came, to the byte of the objects.
    plan = re.search(r"bytes=(\d+)", u.fleet.procs["f1"].lines("FETCH-PLAN")[-1])
    objects = [(topic, size - len(topic) - 10) for topic, size in rows if "/chunk/" in topic]
    assert sum(size for _, size in objects[2:]) == int(plan[1]), "the page and its index came before"
    # Control: a client that holds nothing costs the whole.
    u.fleet.agent("f2")
    installed(u.fleet, "f2", u.second)
    assert_same_files(u.fleet, "f2", u.second, u.homes[2])
    assert sum(size for _, size in sent(u.fleet, "f2", u.mark)) > 0.95 * whole
    # Nobody holds version 1 and lacks version 2 any more: its delta goes, the package stays.
    wait_for(lambda: u.index(u.first, timeout=1) == b"", 30, "the delta is withdrawn")
    assert len(u.index("full")) > 100


def test_S001_c9_a_rotten_base_falls_back_to_the_full_objects(fleet_of, folder):
    u = Updated(fleet_of, folder, clients=("f1",))
    path = u.fleet.folder / "f1" / "packages" / u.first / "files" / NAME
    path.chmod(0o600)
    with open(path, "r+b") as f:
        f.seek(SIZE // 3)
        byte = f.read(1)[0]
        f.seek(SIZE // 3)
        f.write(bytes([byte ^ 1]))
    path.chmod(0o400)
    u.publish()
    installed(u.fleet, "f1", u.second)
    assert_same_files(u.fleet, "f1", u.second, u.homes[2])
    assert u.fleet.procs["f1"].lines("FETCH-DELTA-DROPPED")
    u.fleet.procs["heliod"].wait_text("outcome=done", 20, count=2)
    assert not u.fleet.procs["f1"].lines("FETCH-FAILED")
    # It is told: how much, and of which package. Control: of the sound one before, nothing.
    u.fleet.procs["heliod"].wait_text("rotten", 20)
    first, *later = u.fleet.procs["heliod"].lines("OP-ENDED")
    assert "rotten" not in first and any(f"1 rotten chunks in the held package {u.first[:12]}" in line for line in later)


def test_S001_c30_an_update_that_was_cut_goes_on_with_the_rest_of_its_delta(fleet_of, folder):
    """Killed when half of the delta objects are there: the others come, and of the first half only what was on its way."""
    size, new = 8_000_000, 60_000

    def large(number):
        home = folder / f"large-{number}"
        home.mkdir()
        code = bytearray(random.Random(1).randbytes(size))
        for at in range(400_000, size, 1_000_000) if number > 1 else ():
            code[at:at + new] = random.Random(at).randbytes(new)
        (home / NAME).write_bytes(code)
        (home / "run").write_text("#!/bin/sh\nexit 0\n")
        return home
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), server={"data": {"recent_period_s": 0}})
    homes = {n: large(n) for n in (1, 2)}
    fleet.up()
    first = fleet.software_package("app", "1", homes[1])
    fleet.ctl("channel", "publish", "default", first)
    installed(fleet, "f1", first)
    # Version 1 came at full speed, version 2 comes slowly.
    second, mark = published_slowly(fleet, homes[2])

    def chunks(since):
        return [topic for topic, n in sent(fleet, "f1", since) if "/chunk/" in topic and n > new / 2]
    wait_for(lambda: len(chunks(mark)) >= 4, 30, "half of the delta is there")
    fleet.procs["f1"].kill()
    before, cut = chunks(mark), len(fleet.broker_log("da"))
    assert len(before) < 8, "it was not cut in the middle"
    fleet.agent("f1")
    installed(fleet, "f1", second)
    assert_same_files(fleet, "f1", second, homes[2])
    after = chunks(cut)
    print(f"{len(before)} large objects before the kill, {len(after)} after, {len(set(before) & set(after))} twice")
    assert not fleet.procs["f1"].lines("FETCH-DELTA-DROPPED")
    assert len(set(before) & set(after)) <= 2, "what was stored came again"
    assert sum(n for _, n in sent(fleet, "f1", cut)) < 8 * new, "the rest, not the whole"


def test_S001_c9_a_delta_object_that_is_missing_does_not_fail_the_update(fleet_of, folder):
    u = Updated(fleet_of, folder, clients=("f1",))
    index = u.fleet.protoc("Envelope", u.index(u.first))
    assert "payload" in index
    # Somebody with the publisher's certificate takes the large delta objects away; the index stays.
    u.fleet.procs["pub"].stop()
    b, since = u.fleet.bundle("pub"), u.fleet.broker_log("da")
    objects = re.findall(r"Received PUBLISH from pub \(d\d, q1, r1, m\d+, '(helio/v1/chunk/pub/\w+)', \.\.\. \((\d+) bytes\)", since)
    mine = [topic for topic, _ in objects[-5:]]
    for topic in mine[1:4]:
        subprocess.run(["mosquitto_pub", "-V", "5", "-h", "localhost", "-p", str(u.fleet.port["da"]), "--cafile", b / "ca.crt",
                        "--cert", b / "tls.crt", "--key", b / "tls.key", "-i", "pub", "-q", "1", "-r", "-n", "-t", topic], check=True)
    u.publish()
    installed(u.fleet, "f1", u.second, timeout=60)
    assert_same_files(u.fleet, "f1", u.second, u.homes[2])
    assert u.fleet.procs["f1"].lines("FETCH-DELTA-DROPPED")
    assert not u.fleet.procs["f1"].lines("FETCH-FAILED")


def test_S001_c9_each_base_that_is_held_has_its_delta(fleet_of, folder):
    """f1 holds version 2, f2 was left out and has version 1, f3 has version 2 from a stick: each updates from what it has."""
    fleet = fleet_of(clients=("f1", "f2", "f3"), data_brokers=("da",), server={"data": {"recent_period_s": 0}})
    homes = {n: program(folder, n, 700_000) for n in (1, 2, 3)}
    fleet.up()
    fleet.ctl("channel", "create", "late")
    fleet.ctl("client", "channel", "f2", "late")
    first = fleet.software_package("app", "1", homes[1])
    for channel in ("default", "late"):
        fleet.ctl("channel", "publish", channel, first)
    for client in ("f1", "f2", "f3"):
        installed(fleet, client, first)
        wait_for(lambda: first in str(fleet.ctl("client", "show", client)), 20, f"{client} said what it holds")
    fleet.procs["f3"].stop()
    second = fleet.software_package("app", "2", homes[2])
    fleet.ctl("channel", "publish", "default", second)
    installed(fleet, "f1", second)
    fleet.ctl("media", "order", "f3", "--package", second)
    done = importing(fleet, "f3", unpack(recorded(fleet, "f3", second, 40)["path"], folder / "stick"))
    assert done.returncode == 0 and shown(fleet, "f3", "app") == second, done
    third = fleet.software_package("app", "3", homes[3])

    def bases():
        return {b["package"] for b in fleet.ctl("package", "show", third)["bases"] if b["stored"]}
    wait_for(lambda: bases() == {first, second}, 60, "a delta from each base")
    for base in (first, second):
        found = fleet.mosquitto_sub(f"helio/v1/idx/pub/{third}/{base}", "-C", "1", "-N", broker="da")
        assert "payload" in fleet.protoc("Envelope", found)
    mark = len(fleet.broker_log("da"))
    for channel in ("default", "late"):
        fleet.ctl("channel", "publish", channel, third)
    fleet.agent("f3")
    costs = {}
    for client, base, old in (("f1", second, 2), ("f2", first, 1), ("f3", second, 2)):
        installed(fleet, client, third)
        assert_same_files(fleet, client, third, homes[3])
        rows = [(topic, n) for topic, n in sent(fleet, client, mark)]
        assert [topic for topic, _ in rows if topic.startswith(f"helio/v1/idx/pub/{third}/")] == [f"helio/v1/idx/pub/{third}/{base}"]
        costs[client] = sum(n for _, n in rows)
        patch, whole = patch_from(homes[old], homes[3], folder)
        assert costs[client] <= 1.15 * patch + 6000 < whole / 2, (client, costs, patch, whole)
    print(costs)
    assert costs["f2"] <= 1.5 * costs["f1"], "one version further back costs little more"


def test_S001_c9_an_interrupted_attempt_at_another_version_serves_beside_a_delta(fleet_of, folder):
    """The attempt at version 2 is cut; version 3 comes as delta objects and full ones on one page, without what the attempt had.
    A picture of one chunk lies under its own hash: sha256sum says which topic is whose."""
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",), server={"data": {"recent_period_s": 0}})
    homes = {n: program(folder, n, 700_000) for n in (1, 2)}
    homes[3] = folder / "program-3"
    for n in (1, 2):
        whole = (homes[n] / NAME).read_bytes()
        (homes[n] / NAME).write_bytes(bytes(b & 31 for b in whole))    # it shrinks, as programs do
    for n in range(6):
        (homes[2] / f"picture-{n}").write_bytes(random.Random(n).randbytes(150_000))
    subprocess.run(["cp", "-a", homes[2], homes[3]], check=True)
    (homes[3] / "run").write_text("#!/bin/sh\nexit 3\n")
    pictures = {f"helio/v1/chunk/pub/{sha256sum(homes[2] / f'picture-{n}')}" for n in range(6)}
    fleet.up()
    first = fleet.software_package("app", "1", homes[1])
    fleet.ctl("channel", "publish", "default", first)
    for client in ("f1", "f2"):
        installed(fleet, client, first)
    fleet.procs["f2"].stop()    # the control: it makes no attempt
    second, mark = published_slowly(fleet, homes[2])

    def came(since):
        return [topic for topic, _ in sent(fleet, "f1", since) if topic in pictures]
    wait_for(lambda: len(came(mark)) >= 4, 30, "some pictures are there")
    fleet.procs["f1"].kill()
    before, cut = came(mark), len(fleet.broker_log("da"))
    assert len(set(before)) < 6, "it was not cut in the middle"
    fleet.ctl("package", "withdraw", second)
    third = fleet.software_package("app", "3", homes[3])
    fleet.procs["heliod"].wait_text("stored=1", 60, count=2)
    fleet.ctl("channel", "publish", "default", third)
    for client in ("f1", "f2"):
        fleet.agent(client)
    for client in ("f1", "f2"):
        installed(fleet, client, third)
        assert_same_files(fleet, client, third, homes[3])
    rows, after = sent(fleet, "f1", cut), came(cut)
    assert not (fleet.folder / "f1/packages" / second).exists(), "the attempt stayed an attempt"
    assert f"helio/v1/idx/pub/{third}/{first}" in [topic for topic, _ in rows]
    assert not fleet.procs["f1"].lines("FETCH-DELTA-DROPPED")
    assert set(before) | set(after) == pictures and len(set(before) & set(after)) <= 2, "what the attempt had came again"
    patch, _ = patch_from(homes[1], homes[3], folder)
    rest = sum(n for topic, n in rows if topic not in pictures)
    print(f"{len(before)} pictures before, {len(after)} after, {rest} bytes beside them, patch {patch}")
    assert rest <= 1.15 * patch + 6000, "the program came as a patch"
    assert pictures <= {topic for topic, _ in sent(fleet, "f2", cut)}, "control: who made no attempt gets every picture"


def test_S001_c30_what_a_device_was_made_with_need_not_travel(fleet_of, folder):
    """f1 names the folder of its factory software as a seed, which has most of version 2; f2, the control, does not."""
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",))
    homes = {n: program(folder, n, 900_000) for n in (1, 2)}
    made_with = folder / "opt/app"
    made_with.mkdir(parents=True)
    code = bytearray((homes[1] / NAME).read_bytes())
    code[100:104] = b"made"
    (made_with / "other-name").write_bytes(code)
    fleet.up(agents=[])
    package = fleet.software_package("app", "1", homes[1])
    fleet.ctl("channel", "publish", "default", package)
    fleet.agent_extra = {"agent": {"seed": [made_with, "/nowhere/at/all"]}}
    fleet.agent("f1")
    fleet.agent_extra = {}
    fleet.agent("f2")
    for client in ("f1", "f2"):
        installed(fleet, client, package)
        assert_same_files(fleet, client, package, homes[1])
    seeded, whole = (sum(n for topic, n in sent(fleet, client) if "/chunk/" in topic) for client in ("f1", "f2"))
    print(f"{seeded} bytes with a seed, {whole} without")
    assert seeded < whole / 2 and whole > 900_000


def words(number, size):
    """Text of words: compresses well, and better when more of it is known."""
    r = random.Random(number)
    vocabulary = ["".join(r.choices("abcdefghijklmnopqrstuvwxyz_", k=r.randint(2, 12))) for _ in range(4000)]
    sentences = [" ".join(r.choices(vocabulary, k=r.randint(5, 14))) for _ in range(20_000)]
    return "\n".join(r.choices(sentences, k=size // 75))[:size].encode()


def suite(folder, size=2_200_000):
    """Programs that have most of their text in common, as those of one project have."""
    home = folder / "suite"
    home.mkdir()
    common = words(1, size)
    for n in range(4):
        own = bytearray(common)
        for at in range(30_000 + n * 7000, len(own), 50_000):
            own[at:at] = f"\n// build {n} of the suite at {at}\n".encode()
        (home / f"tool-{n}.js").write_bytes(own)
    (home / "run").write_text("#!/bin/sh\nexit 0\n")
    return home


def test_S001_c18_a_first_install_costs_about_one_compressed_stream(fleet_of, folder):
    """In the small profile, with a device that is killed half-way; zstd is the peer, sha256sum says what was installed."""
    fleet = fleet_of(clients=("f1", "f2"), data_brokers=("da",), server={"data": {"recent_period_s": 0},
                                                                         "server": {"rate_bytes_per_s": 150_000}})
    home = suite(folder)
    tar = folder / "suite.tar"
    subprocess.run(["tar", "--sort=name", "-cf", tar, "-C", home, "."], check=True)
    stream = len(subprocess.run(["zstd", "-q", "-19", "--long=27", "-c", tar], check=True, stdout=subprocess.PIPE).stdout)
    fleet.up()
    package = fleet.software_package("suite", "1", home, "--profile", "small")
    fleet.ctl("channel", "publish", "default", package)

    def chunks():
        return [topic for topic, n in sent(fleet, "f1") if "/chunk/" in topic and n > 10_000]
    wait_for(lambda: len(chunks()) >= 3, 30, "some objects are there")
    fleet.procs["f1"].kill()
    before, cut = chunks(), sent(fleet, "f1")
    fleet.agent("f1")
    for client in ("f1", "f2"):
        installed(fleet, client, package, 60)
        there = fleet.folder / client / "packages" / package / "files"
        names = sorted(p.name for p in home.iterdir())
        assert [subprocess.run(["sha256sum", *names], cwd=d, stdout=subprocess.PIPE, check=True).stdout for d in (there,)] == [
            subprocess.run(["sha256sum", *names], cwd=home, stdout=subprocess.PIPE, check=True).stdout]
    cost = sum(n for _, n in sent(fleet, "f2"))
    print(f"first install {cost} bytes, one zstd stream {stream}")
    assert cost <= 1.15 * stream
    again = [topic for topic, n in sent(fleet, "f1")[len(cut):] if topic in set(before)]
    assert len(again) <= 2, "what was stored when it was killed is not fetched again"
    # Control: the fast profile of the same files costs much more than one stream.
    fast = fleet.ctl("package", "show", fleet.software_package("suite", "2", home))
    assert fast["object_bytes"] > 1.5 * stream
