"""What the tests of the presence server read on the wire and on the data brokers, by Debian's own clients."""
import concurrent.futures
import hashlib
import random
import re
import subprocess
import time

from . import rogue, wire
from .wait import patience, wait_for

pb = wire.pb
MARKS = "helio/v1/mark/+"


class Record:
    """Everything that crosses the control broker, by mosquitto_sub, with its time stamps."""

    def __init__(self, fleet):
        self.fleet = fleet
        self.capture = fleet.capture("helio/v1/#")

    def of(self, prefix, kind):
        return [(at, topic, kind.FromString(p)) for at, topic, p in self.fleet.captured(self.capture)
                if topic.startswith(prefix) and p]

    def directives(self, package=None, kind=None, publisher="pub"):
        found = [(at, d) for at, topic, d in self.of("helio/v1/pubcmd/", pb.Directive) if topic.endswith(f"/{publisher}")]
        return [(at, d) for at, d in found if (package is None or d.package.hex() == package) and (kind is None or d.kind == kind)]

    def directive(self, package, kind, count=1, timeout=20, publisher="pub"):
        """Waits for so many of them, and gives the last one."""
        return wait_for(lambda: self.directives(package, kind, publisher)[count - 1:], timeout,
                        f"{pb.DirectiveKind.Name(kind)} for {package[:8]}")[0][1]

    def grants(self, client=None, package=None, granted=True):
        found = [(at, topic.rsplit("/", 1)[1], g) for at, topic, g in self.of("helio/v1/grant/", pb.Grant) if not g.release_acked]
        return [(at, who, g) for at, who, g in found if g.granted == granted and client in (None, who)
                and package in (None, g.package.hex())]

    def wants(self, client=None):
        found = [(at, topic.rsplit("/", 1)[1], w.fetch) for at, topic, w in self.of("helio/v1/want/", pb.Want) if w.HasField("fetch")]
        return [row for row in found if client in (None, row[1])]


def targets(rows):
    return [d.to.broker_id for _, d in rows]


def sys_value(fleet, broker, name):
    return float(fleet.mosquitto_sub(f"$SYS/broker/{name}", "-C", "1", broker=broker).split()[0])


def published(fleet):
    """Bytes of content that each data broker ever received, by its own count (that of messages stays 0 at QoS 1 in 2.0.11)."""
    return {b: sys_value(fleet, b, "publish/bytes/received") for b in fleet.data_ids}


def all_there(fleet, broker, topics):
    """A late subscriber finds every one of these topics; it need not wait when it does."""
    return set(late(fleet, broker, *topics, timeout=10, count=len(topics))) == set(topics)


def late(fleet, broker, *topics, timeout=1, count=0):
    """topic -> payload of what a late subscriber of a data broker finds there. The publishers' marks are asked for last, and the broker
    sends in the order of the topics: what has not come before a mark is not there. Where there is no mark, time has to tell."""
    asked = [*topics] if count else [*topics, MARKS]
    b = fleet.bundle("watch.2")
    argv = ["stdbuf", "-oL", "mosquitto_sub", "-V", "5", "-h", "localhost", "-p", fleet.port[broker], "--cafile", b / "ca.crt", "--cert", b / "tls.crt",
            "--key", b / "tls.key", "-i", "watch.2", "-q", "1", "-W", max(1, round(patience(timeout))), "--retained-only", "-F", "%r %t %x",
            *[w for t in asked for w in ("-t", t)], *(["-C", count] if count else [])]
    found = {}
    with subprocess.Popen([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as sub:
        for line in sub.stdout:
            retained, topic, payload = line.rstrip("\n").split(" ")
            assert retained == "1"
            if topic.startswith(MARKS[:-1]):
                break
            found[topic] = bytes.fromhex(payload)
        sub.kill()    # its own handler of SIGTERM takes a lock that it may hold
    return found


def lies_at(fleet, package, publisher="pub"):
    """The data brokers where a late subscriber finds its manifest."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        found = pool.map(lambda b: late(fleet, b, f"helio/v1/pkg/{publisher}/{package}"), fleet.data_ids)
        return [b for b, topics in zip(fleet.data_ids, found) if topics]


def counted(fleet):
    """Waits until each data broker has told its counts anew: its uptime is told with them, every two seconds at sys_interval 1."""
    since = {b: sys_value(fleet, b, "uptime") for b in fleet.data_ids}
    wait_for(lambda: all(sys_value(fleet, b, "uptime") > at for b, at in since.items()), 20, "the brokers tell their counts", every=0.2)


def quiet_counts(fleet):
    """What was received, once the brokers have counted everything."""
    def same():
        counted(fleet)
        before = published(fleet)
        counted(fleet)
        return before if published(fleet) == before else None
    return wait_for(same, 30, "the counts stand still")


def software(folder, name, size, seed=None):
    home = folder / f"software-{name}"
    home.mkdir()
    (home / "data").write_bytes(random.Random(seed or name).randbytes(size))
    return home


def package_of(fleet, name="app", size=200_000, version="1", seed=None, publisher="pub"):
    return fleet.software_package(name, version, software(fleet.folder, f"{name}-{version}", size, seed), publisher=publisher)


def stored(fleet, package, timeout=30):
    """Waits until the server has read it back; the broker where it lies."""
    return wait_for(lambda: (lambda s: s["broker"] if s["state"] in ("stored", "linger") else None)(fleet.ctl("package", "show", package)),
                    timeout, f"{package[:8]} is stored")


def content(fleet, publisher, name, version="1", size=1000):
    """A package made by hand, signed as a release."""
    keys = fleet.ca / "keys"
    files = {"data": random.Random(name + version).randbytes(size)}
    return rogue.Content(files, name, version).make(wire.read_key(keys / "software.key"), publisher.key)


def offer(publisher, c, kinds=(pb.TRANSMIT, pb.DEFER, pb.DIRECTIVE_NOTED)):
    """Offers it and gives the directive that answers."""
    publisher.say(pb.PUB_OFFER, package=c.id, manifest=c.envelope, object_bytes=sum(map(len, c.objects.values())))
    return publisher.directive(kinds, c.id)


def choices(fleet, package=None):
    """The choices that the server printed: (chosen, {broker: score}, {brokers out}, fallback)."""
    out = []
    for line in fleet.procs["heliod"].lines("PLACE-CHOICE"):
        if package and f"package={package[:8]}" not in line:
            continue
        scores = dict(re.findall(r"([\w.-]+)=(\d+\.\d+)", re.search(r'scores="?([^"]*)', line)[1]))
        away = set(re.findall(r"([\w.-]+)=\d+\.\d+\(out\)", line))
        out.append((re.search(r"chosen=(\S+)", line)[1], {k: float(v) for k, v in scores.items()}, away,
                    re.search(r"fallback=(\S+)", line)[1] == "yes"))
    return out


def connected(fleet, broker, who):
    """The broker's own log."""
    return re.findall(rf"New client connected from \S+ as {re.escape(who)} ", fleet.broker_log(broker))


def pump(fleet, broker, count, size=1_100_000, publisher="pump"):
    """Lets a broker send so many messages of this size: mosquitto_pub puts one there, mosquitto_sub takes it again and again."""
    b, path = fleet.bundle(publisher), fleet.folder / "pumped"
    path.write_bytes(random.Random(1).randbytes(size))
    topic = f"helio/v1/chunk/{publisher}/{hashlib.sha256(path.read_bytes()).hexdigest()}"
    subprocess.run([str(a) for a in ("mosquitto_pub", "-V", "5", "-h", "localhost", "-p", fleet.port[broker], "--cafile", b / "ca.crt", "--cert",
                                     b / "tls.crt", "--key", b / "tls.key", "-i", publisher, "-q", "1", "-r", "-t", topic, "-f", path)], check=True)
    for _ in range(count):
        assert len(fleet.mosquitto_sub(topic, "-C", "1", "-N", broker=broker)) == size


def load(fleet, broker):
    """Bytes a second out of a broker, the average of a minute, by its own count."""
    return sys_value(fleet, broker, "load/bytes/sent/1min") / 60


def at_pace(seconds, since):
    """Sleeps until so many seconds after that moment: what must happen later than a period."""
    time.sleep(max(0, since + seconds - time.monotonic()))
