"""Budgets of sites on the wire: what all devices of a site get, from all data brokers together. Witnesses: the kernel's own count of what
each connection carried, by ss; the data brokers' logs say whose it is; mosquitto_sub's recording of the grants; sqlite3 for the rows."""
import pytest

from lib import wire
from lib.presence import Record, package_of, stored
from lib.sockets import SentSamples, lasts, most_within, rates_over, steady, total
from lib.wait import wait_for
from test_presence_leases import installed, joins, same_file

pb = wire.pb
MB = 1_000_000
OBJECT = 1024 * 1024 + 64 * 1024    # the largest there may be
SITE = ("f1", "f2")


@pytest.fixture
def site_fleet(fleet_of):
    """f1 and f2 stand in the lobby, f3 does not; what f1 and f2 fetch lies on two data brokers."""
    fleet = fleet_of(clients=("f1", "f2", "f3"), data_brokers=("da", "db"), interval_ms=300,
                     server={"server": {"reconnect_spread_s": 0}, "probe": {"enabled": False},
                             "data": {"recent_period_s": 60, "sys_interval_s": 1, "share_bytes_per_s": 0, "budget": ["client f9 1000000"]}})
    fleet.up()
    joins(fleet, "f1", "f2", "f3")
    fleet.ctl("customer", "add", "acme")
    for client, place in (("f1", "lobby"), ("f2", "lobby"), ("f3", "bar")):
        fleet.ctl("customer", "place", "acme", place)
        fleet.ctl("customer", "client", "acme", client, "--place", place)
    return fleet


def most_in_a_second(samples):
    """Where the machine did not stand still, and that is most of it."""
    found = steady(samples)
    return max((most_within(s, 1) for s in found), default=0), lasts(found)


def all_of_it(samples, rate):
    """How much more came, from the first byte to the last, than the rate allows for so long: no stall makes it more."""
    came = [r for r, last in zip(samples[1:], samples) if r[2] > last[2]]
    return came[-1][2] - came[0][2] - rate * (came[-1][1] - came[0][0])


def two_packages(fleet, size):
    packages = {client: package_of(fleet, f"of-{client}", size) for client in SITE}
    homes = {stored(fleet, p) for p in packages.values()}
    assert homes == {"da", "db"}, "the budget is to hold over both brokers"
    return packages


def budgets(fleet):
    return {(b["kind"], b["name"]): b["bytes_per_s"] for b in fleet.ctl("budget", "list")["budgets"]}


def both_fetch(fleet, packages):
    for client, package in packages.items():
        fleet.ctl("channel", "publish", client, package)


def all_there(fleet, packages):
    for client, package in packages.items():
        wait_for(lambda: installed(fleet, client, package), 60, f"{client} has it")
        assert same_file(fleet, client, package, f"of-{client}-1")


def test_S001_c28_a_sites_budget_holds_over_its_devices_and_brokers_and_a_restart_until_it_is_unset(site_fleet):
    fleet, rate = site_fleet, 3 * MB
    record = Record(fleet)
    packages = two_packages(fleet, 16 * MB)
    fleet.ctl("budget", "set", "site", "acme/lobby", rate)
    fleet.ctl("budget", "set", "client", "f3", 40 * MB)
    samples = SentSamples(fleet)
    try:
        both_fetch(fleet, packages)
        wait_for(lambda: total(samples.of(*SITE)) > 6 * MB, 40, "6 MB came")
        # The server is gone in the middle of it, and comes back: what was said to it holds on.
        before = budgets(fleet)
        fleet.procs["heliod"].kill()
        rows = fleet.sql("select kind, name, bytes_per_s from budget order by kind").splitlines()
        fleet.heliod()
        assert budgets(fleet) == before == {("site", "acme/lobby"): rate, ("client", "f3"): 40 * MB, ("client", "f9"): MB}
        came = total(samples.of(*SITE))
        wait_for(lambda: total(samples.of(*SITE)) > max(came + 5 * MB, 13 * MB), 40, "5 MB more came")
        limited = samples.of(*SITE)
        # Taken back while it runs: what the settings say counts again, and they say nothing of sites.
        told = fleet.ctl("budget", "unset", "site", "acme/lobby")
        all_there(fleet, packages)
        before = len(samples.rows)
        # Control: who stands elsewhere never was held up by it, nor the site any more, and the witness sees more when there is more.
        for client in ("f2", "f3"):
            fleet.ctl("channel", "publish", client, packages["f1"])
        for client in ("f2", "f3"):
            wait_for(lambda: installed(fleet, client, packages["f1"]), 60, f"{client} has it")
    finally:
        samples.stop()
    assert [row.split("|")[1:] for row in rows] == [["acme/lobby", str(rate)], ["f3", str(40 * MB)]]
    most, judged = most_in_a_second(limited)
    assert most <= rate + OBJECT and all_of_it(limited, rate) <= 2 * OBJECT, (most, judged, all_of_it(limited, rate))
    assert told["bytes_per_s"] == 0 and budgets(fleet) == {("client", "f3"): 40 * MB, ("client", "f9"): MB}
    assert most_within(samples.of("f2")[before:], 1) > rate + OBJECT, "without the budget it went no faster"
    assert most_within(samples.of("f3"), 1) > rate + OBJECT
    for client in SITE:
        grants = wait_for(lambda: [g for _, _, g in record.grants(client, packages[client])], 10, "its grant is recorded")
        assert all(0 < g.rate_bytes_per_s <= rate for g in grants)
    # What is not there is not unset twice, and one of the settings is not taken away.
    for kind, name in (("site", "acme/lobby"), ("client", "f9")):
        done = fleet.ctl("budget", "unset", kind, name, check=False)
        assert done.returncode != 0 and name in done.stdout + done.stderr, done
    assert budgets(fleet)[("client", "f9")] == MB


def drawn(rate, seconds=20, stall=(8, 14), late=0):
    """Samples of a line that carries so much, but in the stall; then what waited comes at once."""
    rows, n = [], 0
    for tick in range(seconds * 25):
        at = tick / 25
        n += 0 if stall[0] <= at < stall[1] else rate / 25 + (late if stall[1] <= at < stall[1] + 0.04 else 0)
        rows.append((at, at + 0.01, n))
    return rows


def test_S001_c28_a_stall_is_no_excess_and_an_excess_hides_behind_no_stall():
    rate = 3 * MB
    most, judged = most_in_a_second(drawn(rate, late=2 * OBJECT))
    assert most <= rate + OBJECT and judged > 10 and all_of_it(drawn(rate, late=2 * OBJECT), rate) <= 2 * OBJECT
    assert most_within(drawn(rate, late=2 * OBJECT), 1) > rate + OBJECT, "it was nothing that had to be told apart"
    assert most_in_a_second(drawn(1.5 * rate))[0] > rate + OBJECT
    assert all_of_it(drawn(1.5 * rate, stall=(0, 0)), rate) > 2 * OBJECT


@pytest.mark.long
def test_S001_c28_any_ten_seconds_of_a_site_hold_its_budget_within_five_percent(site_fleet):
    fleet, rate = site_fleet, 2 * MB
    packages = two_packages(fleet, 45 * MB)
    fleet.ctl("budget", "set", "site", "acme/lobby", rate)
    samples = SentSamples(fleet)
    try:
        both_fetch(fleet, packages)
        wait_for(lambda: total(samples.of(*SITE)) > 80 * MB, 120, "80 MB came")
    finally:
        samples.stop()
    all_there(fleet, packages)
    rows = samples.of(*SITE)
    both = [r for r in rows if 2 * MB < r[2] < 80 * MB]    # both are under way
    most, judged = most_in_a_second(both)
    assert most <= rate + OBJECT and all_of_it(both, rate) <= 2 * OBJECT, (most, judged, all_of_it(both, rate))
    # Any ten seconds in which the machine did not stand still; there are some, and there would be none if it went by fits and starts.
    rates = [r for s in steady(both) for r in rates_over(s, 10)]
    assert len(rates) > 100 and 0.95 * rate <= min(rates) and max(rates) <= 1.05 * rate, (len(rates), min(rates), max(rates))
