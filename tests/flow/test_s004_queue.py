"""US 9,288,284: one managed event queue, a pointer per client."""
import re
import subprocess

import pytest

from lib import wire
from lib.between import Between
from lib.fleet import PROGRAMS
from lib.procs import Proc
from lib.steps import answer, settle, until
from lib.wait import wait_for

pb = wire.pb


def catch_up(p):
    return settle(p, 12)


def display_event(fleet, channel, text="x"):
    """A command is an event like any other, and needs no package."""
    return fleet.ctl("exec", "--channel", channel, "ping", text)


def test_S004_1_one_queue_per_channel(fleet_of):
    fleet = fleet_of(clients=("f1", "f2"), server={"server": {"view_period_s": 1}}).up(agents=[])
    f1, f2 = fleet.principal("f1").sign_in(), fleet.principal("f2").sign_in()
    catch_up(f1)
    catch_up(f2)
    # A change that a client indicated, two of the server's own state, a command: four types, one order.
    f1.beat(changes=[pb.Change(change_id=1, key="showing", value="art-7/1")])
    fleet.ctl("channel", "pause", "default")
    fleet.ctl("channel", "resume", "default")
    display_event(fleet, "default")
    fleet.ctl("exec", "f2", "ping")
    names = {pb.ELEMENT_HEAD: "head", pb.ELEMENT_TAIL: "tail", pb.ELEMENT_CONTROL: "control", pb.ELEMENT_COMMAND: "command",
             pb.ELEMENT_DISPLAY: "display"}
    view = pb.QueueView()

    def agrees(queue):
        """helioctl and the retained view say the same: every element in its order, every pointer."""
        shown = fleet.ctl("queue", queue)
        view.ParseFromString(fleet.mosquitto_sub(f"helio/v1/view/queue/{queue}", "-C", "1", "-N"))
        same = [(e["seq"], e["type"], e["text"]) for e in shown["elements"]] == [(e.seq, names[e.type], e.text) for e in view.elements] \
            and {(p["client"], p["seq"]) for p in shown["pointers"]} == {(p.client_id, p.seq) for p in view.pointers}
        return shown if same else None
    shown = wait_for(lambda: agrees("default"), 10, "the view shows what helioctl shows")
    types = [e["type"] for e in shown["elements"]]
    assert types == ["head", "display", "control", "control", "command", "tail"], shown
    seqs = [e["seq"] for e in shown["elements"]][1:]
    assert seqs == list(range(seqs[0], seqs[0] + 5)), "numbers rise by one"
    assert {p["client"] for p in shown["pointers"]} == {"f1", "f2"}
    # A client's private queue is of the same kind.
    private = fleet.ctl("queue", "@f2")
    assert [e["type"] for e in private["elements"]] == ["head", "command", "tail"]
    assert "nothing waits" in fleet.ctl("queue", "@f1", check=False).stderr
    # Negative: one stored copy, however many clients.
    count = fleet.sql("select count(*) from event")
    crowd_enrols(fleet, "extra", 100)
    fleet.procs["heliod"].p.send_signal(1)
    wait_for(lambda: len(fleet.ctl("client", "list")["clients"]) >= 102, 15)
    assert fleet.sql("select count(*) from event") == count and int(count) == 6   # with the one that opened the epoch
    after = fleet.ctl("queue", "default")
    assert [(e["seq"], e["type"], e["text"]) for e in after["elements"]] == [(e["seq"], e["type"], e["text"]) for e in shown["elements"]]
    assert after["detached"] == 100 and after["pointer_total"] == 2, "they are new: detached, and in no element's way"


def crowd_enrols(fleet, prefix, count):
    subprocess.run([PROGRAMS["helio-fleet"], "enrol", "--prefix", prefix, "--count", str(count), "--enrol-key",
                    fleet.ca / "keys/enrol.key", "--out", fleet.ca / "enrolments"], check=True, stdout=subprocess.DEVNULL)


def crowd_beats(fleet, prefix, count):
    """So many devices sign in, answer what new ones are asked, and go: caught up with their channel."""
    bundle = fleet.bundle("server.1")
    subprocess.run([str(a) for a in (PROGRAMS["helio-fleet"], "beats", "--prefix", prefix, "--count", count, "--port",
                                     fleet.port["control"], "--root-file", bundle / "root.bin", "--root-key", bundle / "root.pub",
                                     "--rate", 10 * count, "--seconds", 0.2)], check=True, stdout=subprocess.DEVNULL)


def heap_bytes(fleet):
    """What the server has allocated now, counted by valgrind's massif."""
    shot = fleet.folder / "massif.now"
    subprocess.run(["vgdb", f"--vgdb-prefix={fleet.folder}/vgdb", "snapshot", shot], check=True, stdout=subprocess.DEVNULL,
                   stderr=subprocess.DEVNULL)
    return int(re.findall(r"^mem_heap_B=(\d+)$", shot.read_text(), re.M)[-1])


@pytest.mark.slow
def test_S004_1_an_event_costs_no_memory_for_each_client(fleet_of):
    fleet = fleet_of(clients=(), data_brokers=(), tls=False, interval_ms=60000, log_types="error", level="info")
    crowd_enrols(fleet, "many", 100)
    crowd_enrols(fleet, "few", 1)
    fleet.brokers()
    fleet.procs["heliod"] = Proc("heliod", ["valgrind", "--tool=massif", f"--massif-out-file={fleet.folder}/massif.end",
                                            f"--vgdb-prefix={fleet.folder}/vgdb", PROGRAMS["heliod"], "--config",
                                            fleet.folder / "heliod.ini"], fleet.folder, env={"HELIO_TEST": "1"})
    fleet.heliod(wait=False).wait_text("LINK-UP", 60)
    fleet.ctl("channel", "create", "quiet")
    fleet.ctl("client", "channel", "few000000", "quiet")
    crowd_beats(fleet, "many", 100)
    crowd_beats(fleet, "few", 1)
    text = ["x" * 500] * 8      # four kilobytes: a copy cannot hide
    size = sum(map(len, text))

    def stored():
        return int(fleet.sql("select count(*) from event"))

    def cost(times, *where):
        """Bytes and rows for each of so many events."""
        bytes_, rows = heap_bytes(fleet), stored()
        for i in range(times):
            fleet.ctl("exec", *(w.format(i) for w in where), "ping", *text)
        return (heap_bytes(fleet) - bytes_) / times, (stored() - rows) / times

    def pointers():
        shown = fleet.ctl("queue", "default")["pointers"]
        return len(shown), {p["at"] for p in shown}, {p["seq"] for p in shown}
    wait_for(lambda: pointers()[:2] == (100, {"tail"}), 10, "a hundred clients are caught up")
    tail = pointers()[2]
    for where in (["--channel", "quiet"], ["--channel", "default"], ["many000099"]):
        cost(1, *where)         # what is allocated once
    assert pointers() == (100, {"command"}, tail), "each shows the event that the tail became"
    one, one_rows = cost(6, "--channel", "quiet")
    all_, all_rows = cost(6, "--channel", "default")
    private, private_rows = cost(10, "many{:06d}")
    print(f"{one:.0f} bytes for one client, {all_:.0f} for a hundred, {private:.0f} for each private event")
    # Stored once, for a hundred clients as for one; the difference is less than 40 bytes a client.
    assert one_rows == all_rows == 1 and one > size and all_ < one + size
    # Control: the same event for each client by itself costs a row and a copy each, and massif sees it.
    assert private_rows == 1 and private > size
    assert pointers() == (100, {"command"}, tail), "no pointer was touched"
    assert {int(p) for p in fleet.sql("select distinct pointer from client where channel = 'default'").split()} == tail


def test_S004_2_null_elements(fleet_of):
    fleet = fleet_of(clients=("f1",)).up(agents=[])
    empty = fleet.ctl("queue", "default")
    assert [e["type"] for e in empty["elements"]] == ["head", "tail"]
    f1 = fleet.principal("f1").sign_in()
    catch_up(f1)
    before = fleet.ctl("queue", "default")
    assert {p["client"]: p["at"] for p in before["pointers"]} == {"f1": "tail"}
    tail = before["elements"][-1]["seq"]
    assert f1.beat().body.kind == pb.NO_ACTION
    display_event(fleet, "default")
    after = fleet.ctl("queue", "default")
    # The tail was converted in place: the pointer was not touched and shows the event now.
    assert after["elements"][-2]["seq"] == tail and after["elements"][-2]["type"] == "command"
    pointer = after["pointers"][0]
    assert pointer["seq"] == tail and pointer["at"] == "command"
    r = until(f1, pb.EXECUTE_COMMAND, 3)
    assert str(r.body.event_seq) == str(tail)
    for q in (before, after, fleet.ctl("queue", "default")):
        types = [e["type"] for e in q["elements"]]
        assert types[0] == "head" and types[-1] == "tail" and types.count("head") == types.count("tail") == 1


def test_S004_5_pointers_of_two_clients_show_different_elements(fleet_of):
    fleet = fleet_of(clients=("f1", "f2")).up(agents=[])
    f1, f2 = fleet.principal("f1").sign_in(), fleet.principal("f2").sign_in()
    catch_up(f1)
    catch_up(f2)
    for _ in range(3):
        display_event(fleet, "default")
    f2.ack = pb.ACK_BUSY
    first = [p for p in fleet.ctl("queue", "default")["pointers"] if p["client"] == "f2"][0]["seq"]
    for _ in range(3):
        answer(f1, until(f1, pb.EXECUTE_COMMAND))
        assert f2.beat(ack=pb.ACK_BUSY).body.kind == pb.NO_ACTION
    pointers = {p["client"]: (p["at"], p["seq"]) for p in fleet.ctl("queue", "default")["pointers"]}
    assert pointers["f1"][0] == "tail" and pointers["f2"] == ("command", first), pointers


def test_S004_7_select_by_the_pointer(fleet_of):
    fleet = fleet_of(clients=("f1",)).up(agents=[])
    f1 = fleet.principal("f1").sign_in()
    catch_up(f1)
    for word in ("one", "two", "three"):
        display_event(fleet, "default", word)
    got, seqs = [], []
    for _ in range(3):
        shown = fleet.ctl("queue", "default")["pointers"][0]
        r = f1.beat()       # three consecutive heartbeats
        assert (r.body.kind, r.body.event_seq) == (pb.EXECUTE_COMMAND, shown["seq"]), "another element than the pointer shows"
        got.append(r.body.execute.args[0])
        seqs.append(r.body.event_seq)
        answer(f1, r)
    assert got == ["one", "two", "three"] and seqs == list(range(seqs[0], seqs[0] + 3))
    f1.beat()
    assert fleet.ctl("queue", "default")["pointers"][0]["at"] == "tail"


def test_S004_8_transmit_and_resend_without_a_second_operation(fleet_of):
    fleet = fleet_of(clients=("f1",)).up(agents=[])
    f1 = fleet.principal("f1").sign_in()
    catch_up(f1)
    display_event(fleet, "default", "one")
    display_event(fleet, "default", "two")
    shown, before = f1.last_response_id, f1.ack
    lost = f1.beat()
    assert lost.body.kind == pb.EXECUTE_COMMAND and lost.body.execute.args[0] == "one"
    # The response was lost: the heartbeat still shows the one before.
    f1.last_response_id, f1.ack = shown, before
    again = f1.beat()
    assert again.body.SerializeToString() == lost.body.SerializeToString(), "not the same response"
    assert again.in_reply_to_seq != lost.in_reply_to_seq
    answer(f1, again)
    two = until(f1, pb.EXECUTE_COMMAND)
    assert two.body.execute.args[0] == "two" and two.body.op_id != lost.body.op_id


def test_S004_9_the_pointer_advances_at_transmission_and_survives_kill(fleet_of):
    fleet = fleet_of(clients=("f1",)).up(agents=[])
    f1 = fleet.principal("f1").sign_in()
    catch_up(f1)
    display_event(fleet, "default", "one")
    display_event(fleet, "default", "two")
    r = until(f1, pb.EXECUTE_COMMAND)
    pointer = fleet.ctl("queue", "default")["pointers"][0]
    assert int(pointer["seq"]) > r.body.event_seq
    fleet.procs["heliod"].kill()
    fleet.heliod()
    wait_for(lambda: fleet.ctl("queue", "default", check=False).returncode == 0, 15)
    assert fleet.ctl("queue", "default")["pointers"][0]["seq"] == pointer["seq"]
    seen = [r.body.execute.args[0]]
    answer(f1, r)
    for _ in range(8):
        got = f1.beat(timeout=15)
        if got.body.kind == pb.EXECUTE_COMMAND and got.body.op_id != r.body.op_id:
            seen.append(got.body.execute.args[0])
            answer(f1, got)
    assert seen == ["one", "two"]


def test_S004_9_killed_between_the_write_and_the_publishing_it_is_given_exactly_once(fleet_of):
    fleet = fleet_of(clients=("f1",), data_brokers=(), publishers=())
    fleet.brokers()
    with Between(fleet) as between:
        def die(topic, payload):
            """What was written is about to be published, and the server dies."""
            if topic != "helio/v1/rsp/f1" or pb.Response.FromString(payload).body.kind != pb.EXECUTE_COMMAND:
                return payload
            fleet.procs["heliod"].kill()
            return None
        fleet.server_extra = between.settings()
        fleet.heliod()
        f1 = fleet.principal("f1").sign_in()
        catch_up(f1)
        capture = fleet.capture("helio/v1/rsp/f1", seat="watch.1")
        for word in ("one", "two"):
            display_event(fleet, "default", word)
        before = int(fleet.sql("select pointer from client where id = 'f1'"))
        between.up = die
        f1.send(f1.heartbeat())
        wait_for(lambda: not fleet.procs["heliod"].alive(), 10, "it died")
    # Pointer and response stand in the store together; on the wire is nothing of it. What was logged last is in the rows from the
    # next start on.
    fleet.server_extra = {}
    fleet.heliod()
    wait_for(lambda: fleet.ctl("queue", "default", check=False).returncode == 0, 15)
    assert int(fleet.sql("select pointer from client where id = 'f1'")) == before + 1
    row = fleet.sql("select op_id, event_seq from operation where client = 'f1' and outcome = 0")
    op_id, seq = map(int, row.split("|"))
    assert seq == before
    assert not [p for _, _, p in fleet.captured(capture) if pb.Response.FromString(p).body.kind == pb.EXECUTE_COMMAND]
    got = []
    for _ in range(8):
        r = f1.beat(timeout=15)
        if r.body.kind == pb.EXECUTE_COMMAND:
            got.append((r.body.op_id, r.body.event_seq, r.body.execute.args[0]))
            answer(f1, r)
    assert [word for *_, word in got] == ["one", "two"] and got[0][:2] == (op_id, seq), got
    assert fleet.ctl("queue", "default")["pointers"][0]["at"] == "tail"


def test_S004_16_the_pointer_decides_whether_an_update_is_sent(fleet_of):
    fleet = fleet_of(clients=("f1", "f2")).up(agents=[])
    f1 = fleet.principal("f1").sign_in()
    catch_up(f1)
    display_event(fleet, "default", "history")
    answer(f1, until(f1, pb.EXECUTE_COMMAND))
    assert f1.beat().body.kind == pb.NO_ACTION
    # A newcomer is not told history: one snapshot, then the tail.
    f2 = fleet.principal("f2").sign_in()
    kinds = []
    for _ in range(6):
        r = f2.beat()
        kinds.append(r.body.kind)
        assert r.body.kind != pb.EXECUTE_COMMAND, "history was replayed"
        answer(f2, r)
    assert kinds[-1] == pb.NO_ACTION and pb.SEND_INFORMATION in kinds
    # What comes now goes to both.
    display_event(fleet, "default", "new")
    assert until(f1, pb.EXECUTE_COMMAND).body.execute.args[0] == "new"
    assert until(f2, pb.EXECUTE_COMMAND).body.execute.args[0] == "new"


def test_S004_17_neither_lock_step_nor_duplicates(fleet_of):
    fleet = fleet_of(clients=("f1", "f2")).up(agents=[])
    f1, f2 = fleet.principal("f1").sign_in(), fleet.principal("f2").sign_in()
    catch_up(f1)
    catch_up(f2)
    for word in ("n", "n+1"):
        display_event(fleet, "default", word)
    held = until(f2, pb.EXECUTE_COMMAND)
    assert held.body.execute.args[0] == "n"
    got = []
    for _ in range(2):
        r = until(f1, pb.EXECUTE_COMMAND)
        got.append(r.body.execute.args[0])
        answer(f1, r)
    assert got == ["n", "n+1"], "f1 waited for f2"
    # f2 has not acknowledged n, so it is not given n+1.
    f2.op = pb.Operation(op_id=held.body.op_id, status=pb.OP_RUNNING)
    assert f2.beat().body.kind == pb.NO_ACTION
    # No copies: the events of the channel stand once in the store.
    assert int(fleet.sql("select count(*) from event")) <= 4
