"""US 9,288,284: one managed event queue, a pointer per client."""
from lib import wire
from lib.steps import answer, settle, until
from lib.wait import wait_for

pb = wire.pb


def catch_up(p):
    return settle(p, 12)


def display_event(fleet, channel, text="x"):
    """A command is an event like any other, and needs no package."""
    return fleet.ctl("exec", "--channel", channel, "ping", text)


def test_S004_1_one_queue_per_channel(fleet_of):
    fleet = fleet_of(clients=("f1", "f2")).up(agents=[])
    f1, f2 = fleet.principal("f1").sign_in(), fleet.principal("f2").sign_in()
    catch_up(f1)
    catch_up(f2)
    fleet.ctl("channel", "pause", "default")
    fleet.ctl("channel", "resume", "default")
    display_event(fleet, "default")
    shown = fleet.ctl("queue", "default")
    view = pb.QueueView()

    def seen():
        view.ParseFromString(fleet.mosquitto_sub("helio/v1/view/queue/default", "-C", "1", "-N"))
        return len(view.elements) == len(shown["elements"])
    wait_for(seen, 5, "the view shows all elements")
    names = {pb.ELEMENT_HEAD: "head", pb.ELEMENT_TAIL: "tail", pb.ELEMENT_CONTROL: "control", pb.ELEMENT_COMMAND: "command",
             pb.ELEMENT_DISPLAY: "display"}
    assert [(e["seq"], e["type"]) for e in shown["elements"]] == [(str(e.seq) if isinstance(shown["elements"][0]["seq"], str)
                                                                    else e.seq, names[e.type]) for e in view.elements]
    types = [e["type"] for e in shown["elements"]]
    assert types[0] == "head" and types[-1] == "tail" and types.count("control") == 2 and "command" in types
    pointers = {p["client"]: p["at"] for p in shown["pointers"]}
    assert set(pointers) == {"f1", "f2"}
    # Negative: one stored copy, however many clients.
    count = fleet.sql("select count(*) from event")
    for n in range(20):
        fleet.enrol("client", f"extra{n}")
    fleet.procs["heliod"].p.send_signal(1)
    wait_for(lambda: len(fleet.ctl("client", "list")["clients"]) >= 22, 15)
    again = fleet.sql("select count(*) from event")
    assert count == again and int(count) >= 3


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
        r = until(f1, pb.EXECUTE_COMMAND)
        assert str(r.body.event_seq) == str(shown["seq"]), "another element than the pointer shows"
        got.append(r.body.execute.args[0])
        seqs.append(r.body.event_seq)
        answer(f1, r)
    assert got == ["one", "two", "three"] and seqs == sorted(seqs)
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
