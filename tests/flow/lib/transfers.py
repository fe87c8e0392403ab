"""What the tests of rates read of a transfer: the data broker's own log of what it sent, mosquitto_sub's recording of what was told."""
import re
import time

from . import wire
from .presence import package_of, stored

pb = wire.pb
KB, MB = 1000, 1_000_000
OBJECT = 1024 * 1024 + 64 * 1024    # the largest there may be


def joins(fleet, *clients):
    for c in clients:
        fleet.ctl("channel", "create", c)
        fleet.ctl("client", "channel", c, c)


def sent(fleet, client, broker="da"):
    """(second, bytes) of each object that the broker sent to a client, by its log; a line is stamped to the second."""
    rows = re.findall(rf"^(\S+): Sending PUBLISH to {client} \([^']*'helio/v1/chunk/[^']*', \.\.\. \((\d+) bytes\)", fleet.broker_log(broker), re.M)
    return [(int(time.mktime(time.strptime(at, "%Y-%m-%dT%H:%M:%S"))), int(size)) for at, size in rows]


def per_second(rows):
    """Bytes in each whole second from the first to the last, those two left out."""
    sums = dict.fromkeys(range(rows[0][0], rows[-1][0] + 1), 0)
    for at, size in rows:
        sums[at] += size
    return list(sums.values())[1:-1]


def unstalled(seconds, rate):
    """Of these sums of seconds those before which nothing had stood still: what a busy machine keeps waiting comes at once afterwards."""
    return [n for before, n in zip(seconds, seconds[1:]) if before >= rate / 2]


def installed(fleet, client, package):
    return (fleet.folder / client / "packages" / package).exists()


def rates_told(record, client):
    """(time, rate) of each response to the client, by mosquitto_sub."""
    return [(at, r.rate_bytes_per_s) for at, topic, r in record.of("helio/v1/rsp/", pb.Response) if topic.endswith(f"/{client}")]


def published(fleet, client, size, name):
    package = package_of(fleet, name=name, size=size)
    stored(fleet, package)
    began = time.monotonic()
    fleet.ctl("channel", "publish", client, package)
    return package, began
