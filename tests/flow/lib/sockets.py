"""What the kernel says it sent on each connection of the data brokers, by ss, many times a second: a witness of rates that is finer than a
log of whole seconds. A broker's own log says whose connection it is."""
import re
import subprocess
import threading
import time


class SentSamples:
    """Samples of the bytes that data brokers have sent to each device, until stop()."""

    def __init__(self, fleet, every=0.04):
        self.fleet, self.every, self.rows, self.over = fleet, every, [], threading.Event()
        self.broker_of = {fleet.port[b]: b for b in fleet.data_ids}
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        wanted = " or ".join(f"sport = :{port}" for port in self.broker_of)
        while not self.over.wait(self.every):
            began = time.monotonic()
            text = subprocess.run(["ss", "-tinH", f"( {wanted} )"], stdout=subprocess.PIPE, text=True, check=True).stdout
            ended = time.monotonic()
            found = re.findall(r":(\d+)\s+\S+:(\d+)\s*\n.*?\bbytes_acked:(\d+)", text)
            self.rows.append((began, ended, {(self.broker_of[int(port)], int(peer)): int(n) for port, peer, n in found}))

    def stop(self):
        self.over.set()
        self.thread.join()
        return self

    def whose(self):
        """(broker, port) -> the device, by the brokers' logs."""
        return {(b, int(port)): who for b in self.fleet.data_ids
                for port, who in re.findall(r"New client connected from \S+?:(\d+) as (\S+) ", self.fleet.broker_log(b))}

    def of(self, *clients):
        """[(began, ended, bytes to these devices so far)] of the samples; a connection that has ended keeps what it got."""
        whose, most, out = self.whose(), {}, []
        for began, ended, sums in list(self.rows):
            for connection, n in sums.items():
                if whose.get(connection) in clients:
                    most[connection] = max(n, most.get(connection, 0))
            out.append((began, ended, sum(most.values())))
        return out


def total(samples):
    return samples[-1][2] if samples else 0


def steady(samples, rest=0.5, after=1.0):
    """The samples in stretches that no stall bends: where nothing came for so long, or nobody looked, what waited comes at once for a
    while. A program that always stands and hurries has no stretch at all."""
    stretches, grown = [[]], None
    for before, row in zip([None, *samples], samples):
        came = before is not None and row[2] > before[2]
        if came and grown is not None and row[1] - grown > rest:
            stretches[-1] = [r for r in stretches[-1] if r[0] <= grown]
            stretches.append([])
            begins = row[1] + after
        elif came and grown is None:
            begins = row[0]
        if came:
            grown = row[0]
        if grown is not None and row[0] >= begins:
            stretches[-1].append(row)
    return [s for s in stretches if len(s) > 1]


def lasts(stretches):
    return sum(s[-1][0] - s[0][0] for s in stretches)


def most_within(samples, seconds):
    """The most that came between two samples that lie no further apart than this."""
    most, first = 0, 0
    for began, ended, n in samples:
        while samples[first][0] < ended - seconds:
            first += 1
        most = max(most, n - samples[first][2])
    return most


def rates_over(samples, seconds):
    """Bytes a second between each sample and the first one that is at least so much later."""
    found, last = [], 0
    for began, ended, n in samples:
        while last < len(samples) and samples[last][0] < ended + seconds:
            last += 1
        if last == len(samples):
            break
        found.append((samples[last][2] - n) / ((samples[last][0] + samples[last][1] - began - ended) / 2))
    return found
