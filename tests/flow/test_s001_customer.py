"""US 8,949,380 claims 9 to 13: customers, their client systems and image plans, and the packages that follow from them."""
import json

from lib import wire
from lib.orders import manifest_on, png
from lib.seat import Seat
from lib.steps import answer
from lib.wait import wait_for

pb = wire.pb


def customers(fleet):
    """Two customers of different plans: a harbour with f1 and f2, a town with f3."""
    fleet.ctl("customer", "add", "harbour", "--name", "The \"old\" harbour", "--time-zone", "Europe/Athens")
    fleet.ctl("customer", "plan", "harbour", "all", "--expression", "sea and not night")
    fleet.ctl("customer", "place", "harbour", "pier", "--address", "Pier 1")
    fleet.ctl("customer", "client", "harbour", "f1", "--screen", "1920x1080", "--place", "pier")
    fleet.ctl("customer", "client", "harbour", "f2", "--screen", "1900x1000")
    fleet.ctl("customer", "add", "town")
    fleet.ctl("customer", "plan", "town", "all", "--expression", "city")
    return fleet.ctl("customer", "client", "town", "f3", "--screen", "1080x1920")


def refused(fleet, word, *args):
    done = fleet.ctl(*args, check=False)
    assert done.returncode != 0, done.stdout
    said = json.loads(done.stdout or done.stderr)
    assert said["error_word"] == word, said
    return said["error"]


def stored(fleet):
    """Everything of a customer that an edit could change, by sqlite3."""
    return fleet.sql("select * from customer order by id; select * from customer_client order by client;"
                     " select * from customer_plan order by customer, id; select * from customer_place;"
                     " select count(*) from customer_history")


def test_S001_c9b_the_store_holds_clients_and_criteria_of_customers(fleet_of):
    fleet = fleet_of(clients=("f1", "f2", "f3"))
    fleet.up(agents=[])
    customers(fleet)
    show = fleet.ctl("customer", "show", "harbour")
    row = fleet.sql("select id, name, time_zone, revision from customer where id = 'harbour'")
    assert row == "harbour|The \"old\" harbour|Europe/Athens|5"
    assert [show["customer"], show["name"], show["time_zone"], str(show["revision"])] == row.split("|")
    assert fleet.sql("select client, place, width_px, height_px from customer_client where customer = 'harbour' order by client") \
        == "f1|pier|1920|1080\nf2||1900|1000"
    assert [c["client"] for c in show["clients"]] == ["f1", "f2"]
    assert fleet.sql("select expression, pick, max_images from customer_plan where customer = 'harbour'") == "sea and not night|list|0"
    assert show["plans"][0]["expression"] == "sea and not night"
    # One order for both screens of one class, another for the other customer.
    assert [(o["order"], o["clients"]) for o in show["orders"]] == [("c.harbour.1920x1080", 2)]
    assert fleet.sql("select id, clients from package_order order by id") == "c.harbour.1920x1080|2\nc.town.1080x1920|1"
    before = stored(fleet)
    # A client belongs to one customer.
    assert "belongs to customer harbour" in refused(fleet, "exists", "customer", "client", "town", "f1")
    # c10: an id that is nobody's, a place that is none.
    refused(fleet, "not-found", "customer", "client", "town", "f9")
    refused(fleet, "not-found", "customer", "client", "harbour", "f1", "--place", "attic")
    assert stored(fleet) == before


def test_S001_c10_a_client_has_a_name_a_place_and_a_resolution(fleet_of):
    fleet = fleet_of(data_brokers=("da",), clients=("f1", "f2", "f3"))
    fleet.up(agents=[])
    customers(fleet)
    fleet.ctl("customer", "place", "harbour", "hall", "--name", "Great hall", "--time-zone", "Atlantic/Azores")
    done = fleet.ctl("customer", "client", "harbour", "f2", "--name", "<b>Left</b>", "--place", "hall", "--screen", "1080x1920")
    assert done["before"]["width"] == 1900 and done["after"]["place"] == "hall"
    row = "select name, place, width_px, height_px from customer_client where client = 'f2'"
    assert fleet.sql(row) == "<b>Left</b>|hall|1080|1920"
    # Its package is made for that screen, in the place's hours; the other client's is untouched.
    orders = {o["screen"]: o for o in fleet.ctl("customer", "show", "harbour")["orders"]}
    assert orders["1080x1920"]["time_zone"] == "Atlantic/Azores" and orders["1920x1080"]["time_zone"] == "Europe/Athens"
    assert fleet.client("f2")["channel"] == orders["1080x1920"]["order"] != fleet.client("f1")["channel"] == "c.harbour.1920x1080"
    # What an operator gives it besides stays beside it.
    fleet.ctl("channel", "create", "updates")
    fleet.ctl("client", "channel", "f2", "updates")
    assert [c["channel"] for c in fleet.client("f2")["channels"]] == [orders["1080x1920"]["order"], "updates"]
    # Where the operator says nothing, the device's own word counts, as soon as it says another.
    fleet.ctl("customer", "client", "town", "f3", "--screen", "auto")
    assert fleet.client("f3")["channel"] == "c.town.any"
    f3 = fleet.principal("f3").sign_in()
    f3.beat(status=pb.Status(state="idle", agent_version="1", interval_ms=1000, clock_quality=3, screen_width_px=1280, screen_height_px=800))
    assert [(c["package"], c["fits"]) for c in fleet.ctl("customer", "show", "town")["clients"]] == [("none", True)]
    fleet.wait_client("f3", lambda c: c["channel"] == "c.town.1280x800")
    assert fleet.sql("select id, clients, withdrawn from package_order where customer = 'town' and not withdrawn") == "c.town.1280x800|1|0"
    before = stored(fleet)
    refused(fleet, "not-found", "customer", "client", "harbour", "f9", "--name", "nobody")
    refused(fleet, "not-found", "customer", "client", "nobody", "f1", "--name", "x")
    assert fleet.ctl("customer", "client", "harbour", "f1", "--screen", "1920", check=False).returncode != 0
    refused(fleet, "range", "customer", "set", "harbour", "--time-zone", "Europe/Nowhere")
    assert stored(fleet) == before
    # A device that is taken out of the fleet is nobody's any more.
    fleet.ctl("client", "remove", "f2")
    assert fleet.sql("select count(*) from customer_client where client = 'f2'") == "0"
    assert [o["screen"] for o in fleet.ctl("customer", "show", "harbour")["orders"]] == ["1920x1080"]


# ---------------------------------------------------------------- to the screen

PACKAGER = {"packager": {"settle_ms": 100, "period_s": 1}}


def packaging(fleet_of, clients=("f1", "f2", "f3"), agents=("f1", "f2", "f3"), key=True):
    fleet = fleet_of(data_brokers=("da",), clients=clients, server={"data": {"recent_period_s": 0}})
    fleet.publisher_extra = {"packager": {**PACKAGER["packager"], **({"image_key": fleet.ca / "keys/image.key"} if key else {})}}
    fleet.up(agents=list(agents))
    for name, tag in (("wave", "sea"), ("beach", "sea"), ("tower", "city"), ("wood", "forest")):
        picture(fleet, name, tag)
    return fleet


def picture(fleet, name, *tags):
    path = png(fleet.folder / "in" / f"{name}.png", seed=sum(map(ord, name)))
    return fleet.ctl("image", "add", path, *[w for t in tags for w in ("--tag", t)])["images"][0]["image"]


def order(fleet, customer, number=0):
    return fleet.ctl("customer", "show", customer)["orders"][number]


def made(fleet, customer, fact=lambda o: True, timeout=20):
    """The order of a customer once its publisher has answered and the channel shows the package."""
    return wait_for(lambda: (lambda o: o["answered"] and o["package"] and o["package"] == o["shown"] and fact(o) and o)(order(fleet, customer)),
                    timeout, f"a package of {customer}", every=0.2)


def titles(fleet, package):
    """Of the pictures in a package, as its manifest lies on the data broker: mosquitto_sub, protoc, zstd."""
    return [f.picture.title for f in manifest_on(fleet, bytes.fromhex(package))[1]]


def holds(fleet, client, package):
    return fleet.wait_client(client, lambda c: package in c["holdings"] and c["showing"]["package"] in (package, ""), 20)


def events(fleet, channel):
    """DISPLAY events that ever were in a channel, by sqlite3."""
    return fleet.sql(f"select author, text from event where queue = '{channel}' and type = {DISPLAY} order by seq").splitlines()


DISPLAY = 3


def test_S001_c13_a_preference_becomes_a_package_on_the_wire(fleet_of):
    fleet = packaging(fleet_of)
    capture = fleet.capture("helio/v1/pubcmd/pub", "helio/v1/rsp/+")
    customers(fleet)
    harbour, town = made(fleet, "harbour"), made(fleet, "town")
    # S001-c9.c: exactly the pictures that match, for each customer its own.
    for client, package in (("f1", harbour), ("f2", harbour), ("f3", town)):
        holds(fleet, client, package["package"])
    assert sorted(titles(fleet, harbour["package"])) == ["beach", "wave"]
    assert titles(fleet, town["package"]) == ["tower"]
    # The order itself, as it went to the publisher.
    orders = [fleet.protoc("Directive", payload) for _, topic, payload in fleet.captured(capture)
              if topic == "helio/v1/pubcmd/pub" and "PACKAGE_ORDER" in fleet.protoc("Directive", payload)]
    assert any('order: "c.harbour.1920x1080"' in o and 'expression: "sea and not night"' in o
               and 'time_zone: "Europe/Athens"' in o and "screen_width_px: 1920" in o for o in orders), orders[:3]
    # S004-4: the package follows from the customer's edit as one display event of its channel, and of no other.
    assert events(fleet, "c.harbour.1920x1080") == [f"alice.1|c.harbour@{version(fleet, harbour)}"]
    assert len(events(fleet, "c.town.1080x1920")) == 1
    # The preference changes: sea becomes city. The next package has the city's picture; the other customer's stays.
    fleet.ctl("customer", "plan", "harbour", "all", "--expression", "city")
    after = made(fleet, "harbour", lambda o: o["package"] != harbour["package"])
    for client in ("f1", "f2"):
        holds(fleet, client, after["package"])
    assert titles(fleet, after["package"]) == ["tower"]
    assert order(fleet, "town")["package"] == town["package"]
    assert len(events(fleet, "c.harbour.1920x1080")) == 2 and len(events(fleet, "c.town.1080x1920")) == 1
    told = [pb.Response.FromString(p).body for _, t, p in fleet.captured(capture) if t == "helio/v1/rsp/f3"]
    assert {p.package.hex() for b in told for p in b.retrieve.packages} == {town["package"]}
    # A tag that no picture has: kept, with a warning, and what is shown stays.
    fleet.ctl("customer", "plan", "harbour", "all", "--expression", "unicorn")
    said = wait_for(lambda: (lambda o: o["answered"] and not o["package"] and o)(order(fleet, "harbour")), 20, "an answer")
    assert "empty" in said["reason"] and "unicorn" in " ".join(said["warnings"]) and said["shown"] == after["package"], said
    assert fleet.sql("select expression from customer_plan where customer = 'harbour'") == "unicorn"
    assert len(events(fleet, "c.harbour.1920x1080")) == 2
    assert after["package"] in fleet.client("f1")["holdings"]
    findings = json.loads(fleet.ctl("doctor", check=False).stdout)["findings"]
    assert any(f["id"] == "c.harbour.1920x1080" and "empty" in f["what"] for f in findings), findings


def test_S001_c9c_a_new_picture_becomes_a_new_version_without_any_act(fleet_of):
    fleet = packaging(fleet_of, agents=())
    customers(fleet)
    fleet.ctl("customer", "plan", "harbour", "all", "--dayparts", "mon-fri 08:00-18:00; sat,sun 22:00-02:00", "--weight", "3")
    harbour, town = made(fleet, "harbour", lambda o: o["revision"] == 6), made(fleet, "town")
    # What the customer said of hours and zone is what devices are told.
    root, files, _ = wait_for(lambda: manifest_on(fleet, bytes.fromhex(harbour["package"])), 20, "the manifest")
    assert root.show.time_zone == "Europe/Athens" and root.name == "c.harbour"
    assert [(d.weekdays, d.from_minute, d.until_minute) for d in root.groups[0].dayparts] == [(0x1f, 480, 1080), (0x60, 1320, 120)]
    assert root.groups[0].plan == "all" and root.groups[0].weight == 3
    before = events(fleet, "c.harbour.1920x1080")
    # One that somebody wants, one that nobody wants.
    picture(fleet, "surf", "sea")
    picture(fleet, "rock", "mountain")
    after = made(fleet, "harbour", lambda o: o["package"] != harbour["package"])
    assert sorted(titles(fleet, after["package"])) == ["beach", "surf", "wave"]
    assert order(fleet, "town")["package"] == town["package"]
    assert events(fleet, "c.harbour.1920x1080")[len(before):] == [f"pub|c.harbour@{version(fleet, after)}"]
    assert fleet.ctl("customer", "show", "harbour")["revision"] == 6
    # How far it is at a device, by what the device says: no room for it, room, and there.
    f1 = fleet.principal("f1").sign_in()

    def said(free_bytes, **more):
        f1.beat(status=pb.Status(state="idle", agent_version="1", interval_ms=1000, clock_quality=3, free_bytes=free_bytes), **more)
        client = fleet.ctl("customer", "show", "harbour")["clients"][0]
        assert client["client"] == "f1"
        return client["package"], client["fits"]
    assert 4096 < int(fleet.sql(f"select size_bytes from package_order where id = 'c.harbour.1920x1080'")) < 1 << 20
    def tight():
        return [f["what"] for f in json.loads(fleet.ctl("doctor", check=False).stdout)["findings"] if f["id"] == "ROOM-f1"]
    assert said(4096) == ("awaited", False)
    assert len(tight()) == 1 and "f1 has 4096 bytes free" in tight()[0] and "c.harbour.1920x1080" in tight()[0]
    assert said(1 << 30) == ("awaited", True) and not tight()
    held = pb.Holdings(items=[pb.Holding(package=bytes.fromhex(after["package"]), complete=True)])
    assert said(4096, holdings=held) == ("held", True)


def version(fleet, o):
    return fleet.sql(f"select version from package where hex(id) = upper('{o['package']}')")


def obey(p, told=None, beats=3):
    """Does as a good client does until there is nothing to do: says that it has what it was to fetch. Returns the packages that
    it was told of besides."""
    named = []
    for _ in range(beats):
        fresh = told or p.beat()
        held = [pb.Holding(package=k.package, complete=True) for k in fresh.body.retrieve.packages]
        if fresh.body.kind == pb.NO_ACTION:
            return named
        if not told:
            named += [h.package for h in held]
        answer(p, fresh)
        told = p.beat(holdings=pb.Holdings(items=held)) if held else None
        if told is not None and told.body.kind == pb.NO_ACTION:
            return named
    raise AssertionError(f"there is always something to do: {fresh}")


def test_S004_4_a_customers_edit_is_one_display_event_of_its_channel(fleet_of):
    fleet = packaging(fleet_of, agents=())
    f1, f2, f3 = (fleet.principal(c).sign_in() for c in ("f1", "f2", "f3"))
    customers(fleet)
    harbour = made(fleet, "harbour")
    made(fleet, "town")
    for p in (f1, f2, f3):
        obey(p, beats=8)
    seen = events(fleet, "c.harbour.1920x1080")
    assert seen == [f"alice.1|c.harbour@{version(fleet, harbour)}"]
    fleet.ctl("customer", "plan", "harbour", "all", "--expression", "city or forest")
    after = made(fleet, "harbour", lambda o: o["package"] != harbour["package"])
    # Both clients of the channel are told of it, at their next heartbeat, once; the other customer's is not.
    numbers = []
    for p in (f1, f2):
        told = p.beat()
        assert told.body.kind == pb.RETRIEVE_INFORMATION, told
        (named,) = told.body.retrieve.packages
        assert named.package.hex() == after["package"] and named.activate
        numbers.append(told.body.event_seq)
        assert obey(p, told) == []
    assert numbers[0] == numbers[1] > 0
    assert f3.beat().body.kind == pb.NO_ACTION
    (author, text), = [e.split("|") for e in events(fleet, "c.harbour.1920x1080")[len(seen):]]
    assert author == "alice.1" and text == f"c.harbour@{version(fleet, after)}"
    # An edit that yields what is shown already is none, and nobody is told anything.
    revision = after["revision"]
    fleet.ctl("customer", "plan", "harbour", "all", "--expression", "forest or city")
    made(fleet, "harbour", lambda o: o["revision"] > revision)
    assert len(events(fleet, "c.harbour.1920x1080")) == len(seen) + 1
    assert [p.beat().body.kind for p in (f1, f2, f3)] == [pb.NO_ACTION] * 3
    # An edit that was answered has its one event, also when the server is killed before the package is there.
    fleet.ctl("customer", "plan", "harbour", "all", "--expression", "sea")
    fleet.procs["heliod"].kill()
    fleet.heliod()
    back = made(fleet, "harbour", lambda o: o["package"] == harbour["package"])
    assert back["revision"] > after["revision"]
    assert len(events(fleet, "c.harbour.1920x1080")) == len(seen) + 2


# ---------------------------------------------------------------- edits

def edit_many(fleet, seat, revision, edits, kill_after):
    """Edits of one plan, many on the way at a time; heliod is killed when so many are answered, or not at all. Returns the
    highest revision that was answered as done."""
    asked = answered = 0
    highest = revision
    for _ in range(edits):
        seat.ask("customer-plan-set", wait=False, customer="harbour", revision=revision + asked, plan="all",
                 expression=f"sea and not night{revision + asked}")
        asked += 1
        while asked - answered > 40 or (asked == edits and answered < asked):
            said = seat.heard()
            assert said and not said[1], said
            answered += 1
            highest = max(highest, said[2]["revision"])
        if kill_after is not None and answered >= kill_after:
            fleet.procs["heliod"].kill()
            break
    while (said := seat.heard(timeout=0.5)):
        if not said[1]:
            highest = max(highest, said[2]["revision"])
    return highest


def whole(fleet):
    """The store after a kill: sqlite3 finds it sound, and every edit is there with all that belongs to it or not at all."""
    assert fleet.sql("pragma integrity_check") == "ok"
    revision, edits, last, plan, body = fleet.sql(
        "select c.revision, (select count(*) from customer_history h where h.customer = c.id),"
        " (select max(revision) from customer_history h where h.customer = c.id),"
        " (select expression from customer_plan p where p.customer = c.id),"
        " (select json_extract(after, '$.expression') from customer_history h where h.customer = c.id and h.revision = c.revision)"
        " from customer c where c.id = 'harbour'").split("|")
    assert revision == edits == last and plan == body, (revision, edits, last, plan, body)
    return int(revision)


def test_S001_c12_an_edit_that_was_answered_outlives_a_kill(fleet_of):
    fleet = fleet_of(data_brokers=("da",), clients=("f1",))
    fleet.up(agents=[])
    fleet.ctl("customer", "add", "harbour")
    fleet.ctl("customer", "plan", "harbour", "all", "--expression", "sea")
    fleet.ctl("customer", "client", "harbour", "f1", "--screen", "1920x1080")
    revision, done = 3, 0
    for edits, kill_after in ((600, 250), (600, 150), (600, None)):
        if not fleet.procs["heliod"].alive():
            fleet.heliod()
        seat = Seat(fleet)
        answered = edit_many(fleet, seat, revision, edits, kill_after)
        seat.close()
        if kill_after is None:
            fleet.procs["heliod"].stop()
        else:
            whole(fleet)    # rows may lack the last groups, never a part of one: those are in the redo log
            fleet.heliod()
        found = whole(fleet)
        # Nothing that was answered is lost; what was asked and not answered may be there.
        assert answered <= found, (answered, found)
        done += found - revision
        revision = found
    assert done >= 1000, done
    # A plain restart keeps it all.
    before = stored(fleet)
    fleet.heliod()
    assert fleet.ctl("customer", "show", "harbour")["revision"] == revision
    assert stored(fleet) == before
    assert fleet.client("f1")["channel"] == "c.harbour.1920x1080"


def test_S001_c12_two_editors_do_not_overwrite_each_other(fleet_of):
    fleet = fleet_of(data_brokers=("da",), clients=("f1", "f2", "f3"))
    fleet.up(agents=[])
    customers(fleet)
    seen = fleet.ctl("customer", "show", "harbour")["revision"]
    fleet.ctl("customer", "plan", "harbour", "all", "--revision", seen, "--max-images", "7")
    wait_for(lambda: stored(fleet).startswith(f"harbour|{seen + 1}|"), 10, "rows follow what was answered")
    before = stored(fleet)
    why = refused(fleet, "stale", "customer", "plan", "harbour", "all", "--revision", seen, "--expression", "mine")
    assert f"revision {seen + 1}, not {seen}" in why
    # What is not valid leaves the row as it was.
    for args in (("--expression", "sea and"), ("--expression", "a\nb"), ("--max-bytes", "-1"), ("--dayparts", "mon 25:00-26:00"),
                 ("--order", "random"), ("--from", "2026-02-30")):
        done = fleet.ctl("customer", "plan", "harbour", "all", *args, check=False)
        assert done.returncode != 0, args
    assert stored(fleet) == before
    # Who, when, what it was before.
    history = fleet.ctl("customer", "history", "harbour")["edits"]
    assert [e["revision"] for e in history] == list(range(seen + 1, 0, -1))
    assert history[0]["seat"] == "alice.1" and history[0]["before"]["max_images"] == 0 and history[0]["after"]["max_images"] == 7
    row = fleet.sql(f"select seat, json_extract(before, '$.max_images') from customer_history where customer = 'harbour' and revision = {seen + 1}")
    assert row == "alice.1|0"
    changed = fleet.ctl("customer", "diff", "harbour", str(seen))["items"]
    assert [(c["item"], c["before"]["max_images"], c["after"]["max_images"]) for c in changed] == [("all", 0, 7)]


def test_S001_c13_a_dry_run_shows_the_pictures_and_changes_nothing(fleet_of):
    fleet = packaging(fleet_of, clients=("f1",), agents=())
    fleet.ctl("customer", "add", "harbour")
    fleet.ctl("customer", "plan", "harbour", "all", "--expression", "sea")
    fleet.ctl("customer", "client", "harbour", "f1", "--screen", "1920x1080")
    package = made(fleet, "harbour")["package"]
    before = stored(fleet), fleet.sql("select id, revision, hex(body) from package_order")
    would = fleet.ctl("customer", "plan", "harbour", "all", "--expression", "city or sea and not beach", "--dry-run")
    assert would["dry_run"] and would["changed"]
    (one,) = would["orders"]
    assert [p["title"] for p in one["added"]] == ["tower"] and one["removed"] == [], one
    assert one["publisher_says"]["package_would_change"] is True
    # An edit that takes the same pictures says that the package stays.
    same = fleet.ctl("customer", "plan", "harbour", "all", "--expression", "sea or sea", "--dry-run")["orders"][0]
    assert same["change"] == "changed" and same["added"] == same["removed"] == []
    # And nothing was written, nor was anything made.
    assert (stored(fleet), fleet.sql("select id, revision, hex(body) from package_order")) == before
    assert order(fleet, "harbour")["package"] == package
    preview = fleet.ctl("customer", "preview", "harbour")["orders"][0]["pictures"]
    assert {p["title"]: p["in"] for p in preview} == {"wave": True, "beach": True, "tower": False, "wood": False}
    assert all(p["why"] for p in preview)
    # An expression that matches everything by mistake is seen before it is shown; an empty one matches nothing.
    all_ = fleet.ctl("customer", "plan", "harbour", "all", "--expression", "*", "--dry-run")["orders"][0]
    assert len(all_["added"]) == 2
    none = fleet.ctl("customer", "plan", "harbour", "all", "--expression", "", "--dry-run")["orders"][0]
    assert len(none["removed"]) == 2 and none["added"] == []


def test_S001_c13_a_preview_of_many_long_plans_is_whole(fleet_of):
    """Longer than a packet of the publisher's socket: 32 plans of 950 bytes and their hours."""
    fleet = packaging(fleet_of, clients=("f1",), agents=())
    fleet.ctl("customer", "add", "harbour")
    hours = "; ".join(f"{day} {h:02}:15-{h + 2:02}:45" for day in ("mon", "sat") for h in range(0, 21, 3))
    for n in range(32):
        long = " or ".join(["sea" if n == 31 else "land", *(f"{n:02}-{i:02}-" + "x" * 52 for i in range(15))])
        assert 900 < len(long) <= 960
        fleet.ctl("customer", "plan", "harbour", f"plan{n:02}", "--expression", long, "--dayparts", hours)
    fleet.ctl("customer", "client", "harbour", "f1", "--screen", "1920x1080")
    whole = fleet.ctl("customer", "preview", "harbour")["orders"][0]
    assert len(whole["encoded"]) > 65_536 and len(bytes.fromhex(whole["encoded"])) == len(whole["encoded"]) // 2
    assert sorted(p["title"] for p in whole["pictures"] if p["in"]) == ["beach", "wave"]
    assert {p["title"]: p["in"] for p in whole["pictures"]} == {"beach": True, "wave": True, "tower": False, "wood": False}
