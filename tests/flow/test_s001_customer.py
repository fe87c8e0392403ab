"""US 8,949,380 claims 9 to 13: customers, their client systems and image plans, and the packages that follow from them."""
import json

from lib import wire
from lib.orders import manifest_on, png
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
    assert any("unicorn" in f["what"] or "empty" in f["what"] for f in fleet.ctl("doctor", check=False) and json.loads(
        fleet.ctl("doctor", check=False).stdout)["findings"])


def version(fleet, o):
    return fleet.sql(f"select version from package where hex(id) = upper('{o['package']}')")
