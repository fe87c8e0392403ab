"""US 9,288,284: control events, consolidation, detaching, several channels; on the wire and in the store."""
import random
import re
import shutil

from lib import wire
from lib.steps import answer, settle, until
from lib.wait import wait_for

pb = wire.pb


def rig(fleet_of, clients=("f1", "f2"), more=(), **server):
    fleet = fleet_of(clients=clients + more, publishers=(), data_brokers=(), tls=True, server={"server": server} if server else None).up(agents=[])
    people = [fleet.principal(c).sign_in() for c in clients]
    for p in people:
        settle(p, 12)
    return fleet, people


def change(p, change_id, key, value):
    return p.beat(changes=[pb.Change(change_id=change_id, key=key, value=value)])


def again(fleet):
    """The server is started once more, and answers."""
    fleet.heliod()
    wait_for(lambda: fleet.ctl("queue", "default", check=False).returncode == 0, 15, "the server answers")


def pointers(fleet, channel="default"):
    return {p["client"]: (p["at"], p["seq"]) for p in fleet.ctl("queue", channel)["pointers"]}


def take(p, beats=12):
    """What it is given until it is caught up: (verb or sorted changes) of each response of kinds 2 to 4."""
    got = []
    for _ in range(beats):
        r = p.beat()
        if r.body.kind == pb.NO_ACTION and r.body.reason.code == pb.REASON_CAUGHT_UP:
            return got
        if r.body.kind == pb.EXECUTE_COMMAND:
            got.append((r.body.execute.verb, *r.body.execute.args))
        elif r.body.kind == pb.RETRIEVE_INFORMATION:
            got.append({c.key: c.value for c in r.body.retrieve.changes})
        elif r.body.kind == pb.SEND_INFORMATION:
            got.append("holdings")
        answer(p, r)
    raise AssertionError(f"not caught up after {got}")


def control_rows(fleet):
    return int(fleet.sql(f"select count(*) from event where type = {pb.ELEMENT_CONTROL}"))


def test_S004_3_control_events_come_from_the_server_alone(fleet_of):
    fleet, (f1, f2) = rig(fleet_of)
    before = control_rows(fleet)
    epoch = f1.beat().epoch
    # Negative: a client that names one, in a change, a report or a want, creates none.
    for i, key in enumerate(("epoch", "pause", "control"), 1):
        assert change(f1, i, key, "1").acked_change_id == i
    topic = f"helio/v1/report/{wire.shard('f1')}/f1"
    f1.report_id = getattr(f1, "report_id", 0) + 1
    forged = pb.Report(schema=1, client_id="f1", session_id=f1.session_id, seq=f1.report_id, boot=f1.boot, report_id=f1.report_id,
                       what=pb.INFO_LOGS, part=0, parts=1, data=b"control epoch 9")
    f1.link.publish(topic, wire.sealed(forged, topic, mac_key=f1.mac_up))
    topic = f"helio/v1/want/{wire.shard('f1')}/f1"
    want = pb.Want(schema=1, client_id="f1", session_id=f1.session_id, seq=1, boot=f1.boot)
    want.fetch.package, want.fetch.publisher, want.fetch.request_id, want.fetch.failed_broker = b"\1" * 32, "control", 1, "epoch"
    f1.link.publish(topic, wire.sealed(want, topic, mac_key=f1.mac_up))
    fleet.procs["heliod"].wait_text("GRANT-DENIED client=f1", 10)
    assert f1.beat().epoch == epoch and control_rows(fleet) == before
    assert "CHANGE-REFUSED" in fleet.procs["heliod"].text()
    # Each of an operator's acts changes the server's state at once and is told to each client, in its order.
    for words in (("pause",), ("resume",), ("rate", "65536"), ("close",)):
        fleet.ctl("channel", words[0], "default", *words[1:])
    assert control_rows(fleet) == before + 4
    expected = [("control", "pause"), ("control", "resume"), ("control", "rate", "65536"), ("control", "close")]
    for p in (f1, f2):
        assert take(p) == expected
        assert p.beat().rate_bytes_per_s == 65536
    done = fleet.sql("select client, count(*) from operation where outcome = %d and queue = 'default' and kind = %d group by client"
                     % (pb.OP_DONE, pb.EXECUTE_COMMAND))
    assert done.split() == ["f1|4", "f2|4"], "each reports each once"
    refused = fleet.ctl("exec", "--channel", "default", "ping", check=False)
    assert refused.returncode != 0 and "closed" in refused.stderr
    fleet.ctl("channel", "resume", "default")
    assert take(f1) == [("control", "resume")]


def test_S004_3_a_restored_store_opens_an_epoch(fleet_of):
    fleet, (f1, f2) = rig(fleet_of)
    first = f1.beat().epoch
    store = next((fleet.folder / "heliod").glob("*.db"))
    fleet.procs["heliod"].stop()
    saved = [(f, f.with_name(f.name + ".saved")) for f in store.parent.glob(store.name + "*")]
    for f, copy in saved:
        shutil.copy(f, copy)
    # Control: a plain restart opens none.
    again(fleet)
    assert f1.beat(timeout=15).epoch == first and take(f1) == []
    fleet.procs["heliod"].stop()
    for f, copy in saved:
        copy.replace(f)
    again(fleet)
    assert "STORE-RESTORED" in fleet.procs["heliod"].text()
    for p in (f1, f2):
        assert p.beat(timeout=15).epoch > first
        got = take(p)
        assert [g for g in got if g[0] == "control"] == [("control", "epoch", str(p.beat().epoch))], got
        assert "holdings" in got and take(p) == []
    rows = fleet.sql(f"select count(*) from event where type = {pb.ELEMENT_CONTROL} and text like 'epoch %' and queue = 'default'")
    assert int(rows) == 2, "one when the queue was made, one for the restored store"
    assert fleet.ctl("queue", "default", "--check")["ok"]


def test_S004_3_pause_holds_the_fetch_windows_and_the_agent_reports_each_event(fleet_of, folder):
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), server={"server": {"rate_bytes_per_s": 2_000_000}}).up()
    home = folder / "app"
    home.mkdir()
    (home / "run").write_text("#!/bin/sh\nexit 0\n")
    (home / "run").chmod(0o755)
    size = 8_000_000
    (home / "data").write_bytes(random.Random(4).randbytes(size))
    watch = fleet.watch("helio/v1/rsp/f1")
    package = fleet.software_package("app", "1", home)
    fleet.ctl("channel", "publish", "default", package)

    def fetched():
        found = re.findall(r"Sending PUBLISH to f1 \(.*'helio/v1/chunk/\S+', \.\.\. \((\d+) bytes\)", fleet.broker_log("da"))
        return sum(map(int, found))

    def holds():
        return sum(m.decode(pb.Response).hold for m in watch.of("helio/v1/rsp/f1"))
    wait_for(lambda: fetched() > size // 10, 20, "the fetch has begun")
    fleet.ctl("channel", "pause", "default")
    wait_for(lambda: holds() >= 2, 10, "two responses said hold")
    at = fetched()
    wait_for(lambda: holds() >= 6, 10, "four more")
    assert at < size and fetched() - at <= 512 * 1024, "it fetched on through the pause"
    assert not (fleet.folder / "f1" / "packages" / package).exists()
    # Control: it goes on as soon as it may.
    fleet.ctl("channel", "resume", "default")
    wait_for(lambda: (fleet.folder / "f1" / "packages" / package).exists(), 30, "the package is installed")
    # Both events are told in their place in the order, once each, and the agent reports them.

    def reported():
        return fleet.sql("select e.text, o.outcome from operation o join event e on e.queue = o.queue and e.seq = o.event_seq"
                         f" where o.client = 'f1' and e.type = {pb.ELEMENT_CONTROL} order by o.op_id").split()
    wait_for(lambda: reported() == [f"pause|{pb.OP_DONE}", f"resume|{pb.OP_DONE}"], 10, "pause and resume are done")


def test_S004_4_a_change_of_a_client_reaches_the_others_of_its_channel(fleet_of):
    fleet, (f1, f2, f3) = rig(fleet_of, clients=("f1", "f2", "f3"), more=("f4",))
    fleet.ctl("channel", "create", "elsewhere")
    fleet.ctl("client", "channel", "f3", "elsewhere")
    take(f3)
    fleet.agent("f4")       # a real one; it takes the change and does not indicate it again
    fleet.wait_client("f4", lambda c: c["at_tail"] and c["state"] == "idle")
    beats = fleet.watch("helio/v1/hb/#")
    r = change(f1, 7, "showing", "art-3")
    assert r.acked_change_id == 7
    answer(f1, r)
    assert take(f2) == [{"showing": "art-3"}]
    own = ([{c.key: c.value for c in r.body.retrieve.changes}] if r.body.kind == pb.RETRIEVE_INFORMATION else []) + take(f1)
    assert own in ([], [{"showing": "art-3"}]), "at most once"
    # Negative: another channel gets nothing; the same id adds no element; an unknown key is refused.
    assert take(f3) == []
    rows = fleet.sql("select count(*) from event")
    for id_, key, value in ((7, "showing", "art-3"), (7, "showing", "art-4"), (8, "wallpaper", "x")):
        change(f1, id_, key, value)
    assert fleet.sql("select count(*) from event") == rows
    assert take(f2) == [] and "key=wallpaper" in fleet.procs["heliod"].text()
    shown = fleet.folder / "f4" / "display" / "changes"
    wait_for(lambda: shown.exists() and "showing\tart-3\n" in shown.read_text(), 10, "the display of f4 is told")
    # Control: the next id does add one.
    answer(f1, change(f1, 9, "showing", "art-5"))
    wait_for(lambda: "showing\tart-5\n" in shown.read_text(), 10, "the display of f4 is told")
    assert not any(m.decode(pb.Heartbeat).changes for m in beats.of(f"helio/v1/hb/{wire.shard('f4')}/f4"))
    assert int(fleet.sql("select count(*) from event")) == int(rows) + 1 and take(f2) == [{"showing": "art-5"}]


def test_S004_6_an_updatable_client_is_one_that_is_available(fleet_of):
    fleet, (f1, f2) = rig(fleet_of)
    watch = fleet.watch("helio/v1/rsp/f1")
    for word in ("one", "two"):
        fleet.ctl("exec", "--channel", "default", "ping", word)
    shown = pointers(fleet)["f1"]
    for _ in range(5):
        r = f1.beat(ack=pb.ACK_BUSY)
        assert r.body.kind == pb.NO_ACTION and r.body.reason.code == pb.REASON_BUSY
    assert pointers(fleet)["f1"] == shown, "busy holds the pointer still"
    before = f1.last_response_id, f1.ack
    one = f1.beat()
    assert one.body.kind == pb.EXECUTE_COMMAND and one.body.execute.args[0] == "one"
    # A response that was lost is sent again as it was; while its operation is open nothing else is given.
    f1.last_response_id, f1.ack = before
    assert f1.beat().body.SerializeToString() == one.body.SerializeToString()
    f1.op = pb.Operation(op_id=one.body.op_id, status=pb.OP_RUNNING)
    for _ in range(3):
        assert f1.beat().body.kind == pb.NO_ACTION
    answer(f1, one)
    assert until(f1, pb.EXECUTE_COMMAND).body.execute.args[0] == "two"

    def operations():
        given = [m.decode(pb.Response).body for m in watch.of("helio/v1/rsp/f1")]
        return [b.op_id for b in given if b.kind != pb.NO_ACTION]
    ops = wait_for(lambda: len(set(operations())) >= 2 and operations(), 5, "the other listener heard both")
    assert len(set(ops)) == 2 and ops == sorted(ops), "an operation began while another was open"


def consolidate(fleet, channel="default"):
    text = fleet.ctl_plain("--config", fleet.ctl_config(), "consolidate", channel).stdout
    return re.findall(r"^consolidate chose=([\d,]+) into=(\d+)$", text, re.M)


def two_runs(fleet_of, readers):
    """D1 D2 C3 D4 D5: two runs of display events around a control event. f0 indicates them and takes none."""
    fleet, people = rig(fleet_of, clients=("f0", *readers))
    first = fleet.ctl("queue", "default")["elements"][-1]["seq"]
    for i, one in enumerate((("showing", "a"), ("skip", "b"), None, ("showing", "c"), ("showing", "d")), 1):
        if one:
            people[0].beat(changes=[pb.Change(change_id=i, key=one[0], value=one[1])], ack=pb.ACK_BUSY)
        else:
            fleet.ctl("channel", "rate", "default", "1000000")
    return fleet, people[1:], range(first, first + 5)


ONE_BY_ONE = [{"showing": "a"}, {"skip": "b"}, ("control", "rate", "1000000"), {"showing": "c"}, {"showing": "d"}]


def control_bytes(fleet):
    return fleet.sql(f"select seq, hex(body), flow, at_ms from event where type = {pb.ELEMENT_CONTROL} and queue = 'default' order by seq")


def test_S004_10_only_runs_of_display_events_are_chosen(fleet_of):
    fleet, _, (d1, d2, c3, d4, d5) = two_runs(fleet_of, ())
    before = control_bytes(fleet)
    assert consolidate(fleet) == [(f"{d1},{d2}", str(d2)), (f"{d4},{d5}", str(d5))]
    assert f"consolidate queue=default chose={d1},{d2} into={d2}" in fleet.procs["heliod"].text()
    # A control event is a barrier and keeps its number and its bytes; D C D: nothing is chosen.
    assert control_bytes(fleet) == before and consolidate(fleet) == []
    types = [(e["seq"], e["type"]) for e in fleet.ctl("queue", "default")["elements"]][1:-1]
    assert types == [(d2, "display"), (c3, "control"), (d5, "display")]
    # Commands and requests are never chosen; control: one more display beside the last one is.
    fleet.ctl("exec", "--channel", "default", "ping")
    fleet.ctl("exec", "--channel", "default", "ping")
    assert consolidate(fleet) == []


def test_S004_11_the_consolidated_event_covers_the_chosen_ones(fleet_of):
    fleet, (f1, f2), _ = two_runs(fleet_of, ("f1", "f2"))
    separate = take(f1)
    assert separate == ONE_BY_ONE
    assert len(consolidate(fleet)) == 2
    joined = take(f2)
    ends = []
    for got in (separate, joined):
        ends.append({})
        for changes in (g for g in got if isinstance(g, dict)):
            ends[-1].update(changes)
    assert ends[0] == ends[1] == {"showing": "d", "skip": "b"}
    assert len(joined) == 3 < len(separate), "one response stands for each run"


def test_S004_12_the_consolidated_event_takes_their_place_in_the_order(fleet_of):
    fleet, (f1,), (d1, d2, c3, d4, d5) = two_runs(fleet_of, ("f1",))
    consolidate(fleet)
    seqs = []
    for _ in range(3):
        r = f1.beat()
        seqs.append((r.body.event_seq, pb.ResponseKind.Name(r.body.kind)))
        answer(f1, r)
    assert seqs == [(d2, "RETRIEVE_INFORMATION"), (c3, "EXECUTE_COMMAND"), (d5, "RETRIEVE_INFORMATION")]
    assert take(f1) == []


def test_S004_13_pointers_at_chosen_events_are_found(fleet_of):
    fleet, (f1, f2, f3, f4), (d1, d2, c3, d4, d5) = two_runs(fleet_of, ("f1", "f2", "f3", "f4"))
    answer(f2, until(f2, pb.RETRIEVE_INFORMATION))
    for _ in range(2):
        answer(f3, until(f3, pb.RETRIEVE_INFORMATION))
    take(f4)
    before = pointers(fleet)
    assert [before[f"f{i}"] for i in (1, 2, 3, 4)] == [("display", d1), ("display", d2), ("control", c3), ("tail", d5 + 1)]
    consolidate(fleet)

    def moved():
        view = pb.QueueView()
        view.ParseFromString(fleet.mosquitto_sub("helio/v1/view/queue/default", "-C", "1", "-N"))
        kept = [(e.seq, e.first_seq, e.standing) for e in view.elements if e.type in (pb.ELEMENT_DISPLAY, pb.ELEMENT_CONTROL)]
        return kept == [(d2, d1, 3), (c3, c3, 1), (d5, d4, 0)] and {p.client_id: p.seq for p in view.pointers}
    assert wait_for(moved, 10, "the view shows the consolidated events") == {"f0": d2, "f1": d2, "f2": d2, "f3": c3, "f4": d5 + 1}
    after = pointers(fleet)
    assert after["f3"] == before["f3"] and after["f4"] == before["f4"], "who stood elsewhere stands there"


def test_S004_14_moved_pointers_show_elements_of_the_list_after_a_kill(fleet_of):
    fleet, (f1, f2), (d1, d2, c3, d4, d5) = two_runs(fleet_of, ("f1", "f2"))
    answer(f2, until(f2, pb.RETRIEVE_INFORMATION))
    consolidate(fleet)
    found = fleet.ctl("queue", "default", "--check")
    assert (found["ok"], found["elements"], found["at_elements"], found["at_tail"]) == (True, 3, 3, 0)
    fleet.procs["heliod"].kill()
    again(fleet)
    assert fleet.ctl("queue", "default", "--check") == found
    # f2 stood at the second of them: what it gets covers the first again, and nothing is missing.
    assert f1.beat(timeout=15).body.kind == f2.beat(timeout=15).body.kind == pb.NO_ACTION
    assert take(f1) == take(f2) == [{"showing": "a", "skip": "b"}, ("control", "rate", "1000000"), {"showing": "d"}]
    # Control: who is through stands at the tail.
    assert fleet.ctl("queue", "default", "--check")["at_tail"] == 2


def test_S004_15_slow_clients_do_not_slow_others(fleet_of):
    fleet, (f1, f2, f3) = rig(fleet_of, clients=("f1", "f2", "f3"), queue_high_water=10, queue_max=200)
    fleet.ctl("channel", "create", "elsewhere")
    fleet.ctl("client", "channel", "f2", "elsewhere")
    state = {"id": 0}

    def event():
        state["id"] += 1
        f3.beat(changes=[pb.Change(change_id=state["id"], key=("showing", "skip")[state["id"] % 2], value=str(state["id"]))],
                ack=pb.ACK_BUSY)

    def run(events):
        """After each event f1 beats until it is at the tail: how many beats that takes, and how long the queue gets."""
        beats, most = [], 0
        for i in range(1, events + 1):
            event()
            beats.append(0)
            caught_up = False
            while not caught_up:
                r = f1.beat()
                beats[-1] += 1
                caught_up = r.body.kind == pb.NO_ACTION and r.body.reason.code == pb.REASON_CAUGHT_UP
                answer(f1, r)
            if i % 10 == 0:
                most = max(most, fleet.ctl("queue", "default")["element_total"])
                take(f3)
        return sum(beats) / events, most
    alone, _ = run(10)
    fleet.ctl("client", "channel", "f2", "default")
    take(f2)        # caught up; from here on it is silent
    beside, most = run(50)
    assert beside <= alone * 1.1, f"{beside} beats an event beside a silent client, {alone} without"
    assert most <= 10, "consolidation keeps the queue below high water"
    where = pointers(fleet)
    assert where["f1"][0] == "tail" and where["f2"][0] == "display", where
    # Control: without consolidation it grows to all that the slow one did not take.
    fleet.procs["heliod"].stop()
    fleet.server_extra["server"]["queue_high_water"] = 200
    again(fleet)
    f3.beat(timeout=15)
    for _ in range(50):
        event()
    assert fleet.ctl("queue", "default")["element_total"] >= 50


def test_S004_18_the_slowest_are_detached_and_miss_no_newest_value(fleet_of):
    fleet, (f1, f2) = rig(fleet_of, queue_high_water=4, queue_max=6)
    change(f2, 1, "showing", "old")
    flow = None
    for i in range(8):
        flow = fleet.ctl("exec", "--channel", "default", "ping", str(i))["flow"]
        take(f2)
    f2.beat(changes=[pb.Change(change_id=2, key="showing", value="new")])
    view = fleet.ctl("queue", "default")
    assert view["detached"] == 1 and pointers(fleet)["f1"][0] == "head"
    assert view["element_total"] <= 6
    # On the wire: holdings, one RETRIEVE of all it lacks, then the tail; no event as history.
    assert take(f1) == ["holdings", {"showing": "new"}]
    assert pointers(fleet)["f1"][0] == "tail" and take(f1) == []
    # What it was never told is recorded and shown to the author.
    assert fleet.sql("select count(*) from skipped where client = 'f1'") == "8"
    rows = [o for o in fleet.ctl("operations", "f1")["operations"] if o["outcome"] == "skipped"]
    assert len(rows) == 8 and {o["author"] for o in rows} == {"alice.1"}
    seen = {c["client"]: c["state"] for c in fleet.ctl("flow", str(flow))["clients"]}
    assert seen == {"f1": "skipped", "f2": "done"}, seen
    # Control: who keeps up is told, and nothing of it is in the list.
    fleet.ctl("exec", "--channel", "default", "ping", "told")
    assert take(f1) == [("ping", "told")] and fleet.sql("select count(*) from skipped where client = 'f1'") == "8"


def test_several_channels_of_one_client(fleet_of):
    fleet, (f1, f2) = rig(fleet_of)
    fleet.ctl("channel", "create", "urgent")
    fleet.ctl("channel", "weight", "urgent", "500")
    fleet.ctl("client", "channel", "f2", "urgent")
    take(f2)
    fleet.ctl("client", "channel", "f1", "default,urgent")
    take(f1)
    assert [(p["channel"], p["weight"]) for p in fleet.client("f1")["channels"]] == [("default", 100), ("urgent", 500)]
    fleet.ctl("exec", "--channel", "default", "ping", "light")
    fleet.ctl("exec", "--channel", "urgent", "ping", "heavy")
    assert take(f1) == [("ping", "heavy"), ("ping", "light")]
    # f2's change goes to urgent only; it overrules what default says of the same key.
    f2.beat(changes=[pb.Change(change_id=1, key="skip", value="u")])
    assert take(f1) == [{"skip": "u"}]
    f1.beat(changes=[pb.Change(change_id=1, key="skip", value="d")])
    assert take(f1) == [], "a lighter channel's value was given"
    view = pb.StateView()
    view.ParseFromString(wait_for(lambda: fleet.mosquitto_sub("helio/v1/view/state/f1", "-C", "1", "-N"), 5))
    assert view.channel == "default" and list(view.more_channels) == ["urgent"]
    # Over a kill it stands where it was, in both.
    fleet.procs["heliod"].kill()
    again(fleet)
    assert f1.beat(timeout=15).body.kind == pb.NO_ACTION
    assert fleet.sql("select place, channel from membership where client = 'f1'") == "1|urgent"
    assert {c: pointers(fleet, c)["f1"][0] for c in ("default", "urgent")} == {"default": "tail", "urgent": "tail"}
    # Out of urgent, default's value counts again; control: in both it did not.
    fleet.ctl("client", "channel", "f1", "default")
    assert {"skip": "d"} in take(f1)
    assert all(fleet.ctl("queue", c, "--check")["ok"] for c in ("default", "urgent"))
