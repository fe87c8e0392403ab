"""Row rates: agents fetch under a budget of their broker, or of their site over two brokers. The kernel's count of what each connection
carried, by ss, says how much came in any second at most, beside the rate and one of the largest objects; how much in any ten seconds, beside
the rate; and what the one that got least got of what the one that got most did, while all were under way. Seconds in which the machine stood
still, and those after them, are told apart: `steady_`."""
import pathlib
import tempfile

from lib.fleet import Fleet
from lib.presence import package_of, stored
from lib.sockets import SentSamples, lasts, most_within, rates_over, steady, total
from lib.transfers import MB, OBJECT, installed, joins
from lib.wait import wait_for

SITE = "acme/lobby"


def fleet_of(folder, clients):
    ids = [f"f{n}" for n in range(1, clients + 1)]
    return Fleet(folder, data_brokers=("da", "db"), clients=ids, interval_ms=300, log_types="error notice", level="info", capacity=2_000 * MB,
                 server={"server": {"reconnect_spread_s": 0}, "probe": {"enabled": False},
                         "data": {"recent_period_s": 60, "sys_interval_s": 1, "share_bytes_per_s": 0}})


def started(fleet):
    """Half of the clients fetch what lies on one broker, half what lies on the other; all stand in the lobby."""
    fleet.up()
    joins(fleet, *fleet.clients)
    fleet.ctl("customer", "add", "acme")
    fleet.ctl("customer", "place", "acme", "lobby")
    for client in fleet.clients:
        fleet.ctl("customer", "client", "acme", client, "--place", "lobby")


def fetched(fleet, packages, rate):
    """Samples of the whole, and of those moments in which everybody was under way; each client's bytes in these."""
    fleet.ctl("budget", "set", "site", SITE, rate)
    samples = SentSamples(fleet, every=0.02)
    try:
        for n, client in enumerate(fleet.clients):
            fleet.ctl("channel", "publish", client, packages[n % len(packages)])
        for n, client in enumerate(fleet.clients):
            wait_for(lambda: installed(fleet, client, packages[n % len(packages)]), 300, f"{client} has it", every=0.2)
    finally:
        samples.stop()
    whole = samples.of(*fleet.clients)
    each = [samples.of(c) for c in fleet.clients]
    all_at = [n for n in range(len(whole)) if all(0.02 * total(e) < e[n][2] < 0.97 * total(e) for e in each)]
    begun, ended = all_at[0], all_at[-1]
    return whole, whole[begun:ended + 1], [e[ended][2] - e[begun][2] for e in each]


def measured(row, clients, rate, seconds):
    with tempfile.TemporaryDirectory(prefix="helio-bench-") as d:
        fleet = fleet_of(pathlib.Path(d), clients)
        try:
            started(fleet)
            packages = []
            for n in range(min(2, clients)):
                packages.append(package_of(fleet, f"of-{n}", rate * seconds // clients))
                stored(fleet, packages[-1], 60)
            whole, together, shares = fetched(fleet, packages, rate)
        finally:
            fleet.down()
    found, allowed = steady(whole), rate + OBJECT
    tens, steady_tens = rates_over(together, 10), [r for s in steady(together) for r in rates_over(s, 10)]
    row("rates", clients=clients, brokers=len(packages), rate=rate, bytes=total(whole), samples=len(whole),
        most_in_1s=most_within(whole, 1), ratio_to_rate_and_object=most_within(whole, 1) / allowed,
        ratio_to_rate_and_object_steady=max((most_within(s, 1) for s in found), default=0) / allowed, steady_s=lasts(found),
        ratio_to_rate_10s_most=max(tens, default=0) / rate, ratio_to_rate_10s_least=min(tens, default=0) / rate,
        steady_10s=f"{min(steady_tens, default=0) / rate:.3f}..{max(steady_tens, default=0) / rate:.3f}",
        ratio_to_largest_share=min(shares) / max(shares), object=OBJECT, tls=1, qos=1, mqtt=5)


def bench_rates(row, quick):
    for clients, rate, seconds in ((1, 2 * MB, 16), (8, 8 * MB, 18)) if quick else ((1, 2 * MB, 60), (2, 3 * MB, 60), (8, 8 * MB, 60), (16, 64 * MB, 40)):
        measured(row, clients, rate, seconds)
