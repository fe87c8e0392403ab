"""Row scale_out: heartbeats a second on SQLite, on PostgreSQL, and on PostgreSQL with two servers that share the clients, searched in
turn so that all three see the same machine; and how long the clients of a server that is killed are without an answer."""
import contextlib
import pathlib
import statistics
import tempfile
import time

from lib import wire
from lib.postgres import Postgres, programs
from lib.wait import wait_for
from load import Generator, highest_rates

SERVERS = ("server.1", "server.2")
LEASE_MS = 2000


def owners(postgres):
    return dict(postgres.sql("SELECT shard, holder FROM shard_lease WHERE shard < 256"))


def divided(postgres):
    held = list(owners(postgres).values())
    return all(held.count(server) == 128 for server in SERVERS)


class Shared(Generator):
    """Two servers; helio-fleet counts the first one's time on the CPU."""

    def __init__(self, folder, clients, postgres):
        self.postgres = postgres
        super().__init__(folder, clients, False, settings={"store": postgres.url, "share": True, "lease_ms": LEASE_MS}, servers=SERVERS)

    def others(self):
        self.fleet.heliod(wait=False, id_="server.2", name="heliod2")  # of a log without LINK-UP
        wait_for(lambda: divided(self.postgres), 60, "each has half")


def rates(row, d, clients, seconds):
    with contextlib.ExitStack() as stack:
        single, shared = (stack.enter_context(Postgres(durable=True)) for _ in range(2))
        made = {"sqlite": lambda f: Generator(f, clients, False),
                "postgresql": lambda f: Generator(f, clients, False, settings={"store": single.url}),
                "postgresql-2": lambda f: Shared(f, clients, shared)}
        generators = {}
        try:
            for name, make in made.items():
                generators[name] = make(d / name)
            best = highest_rates(generators, seconds)
            half = min(best.values()) // 2
            at_half = {name: g.run(half, seconds) for name, g in generators.items()}
        finally:
            for g in generators.values():
                g.down()
    for name, rate in best.items():
        row("scale_out", part="beats", store=name, clients=clients, highest_per_s=rate, ratio_to_sqlite=rate / best["sqlite"], half_rate=half,
            cpu_us_of_first=at_half[name]["server_cpu_us"], p50_us=at_half[name]["p50_us"], p99_us=at_half[name]["p99_us"], tls=0, qos=0)


def silent_s(said, clients, killed):
    """Of each client: from the kill to its first answer after it."""
    first = {}
    for m in said:
        client = m.topic.rsplit("/", 1)[1]
        if m.at > killed and client in clients:
            first.setdefault(client, m.at - killed)
    return list(first.values())


def take_over(row, d, clients):
    with Postgres(durable=True) as postgres:
        g = Shared(d / "take-over", clients, postgres)
        try:
            watch = wire.Client(g.fleet.port["control"], client_id="watch.2")
            g.fleet.witnesses.append(watch)
            watch.subscribe("helio/v1/rsp/#")
            held = owners(postgres)
            ids = [f"dev{n:06}" for n in range(clients)]
            theirs = {c for c in ids if held[str(int(wire.shard(c), 16))] == "server.1"}
            g.start(4 * clients, 8)
            time.sleep(2)    # the load runs: what is measured is the gap in it
            killed = time.time()
            g.fleet.procs["heliod"].kill()
            g.result()
            said = []
            while not watch.inbox.empty():
                said.append(watch.inbox.get())
            # What was on its way when it died is no answer of the other: the gap lies behind it.
            gap = silent_s(said, theirs, killed + 0.3)
            row("scale_out", part="take-over", clients=clients, lease_ms=LEASE_MS, of=len(theirs), answered=len(gap),
                median_s=statistics.median(gap) + 0.3, last_s=max(gap) + 0.3, beats_per_client_s=4)
        finally:
            g.down()


def bench_scale_out(row, quick):
    if not programs():
        print("scale_out: PostgreSQL is not installed")
        return
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        rates(row, pathlib.Path(d), 300 if quick else 1000, 1 if quick else 3)
        take_over(row, pathlib.Path(d), 200)
