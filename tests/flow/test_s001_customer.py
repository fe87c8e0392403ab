"""US 8,949,380 claims 9 to 13: customers, their client systems and image plans, and the packages that follow from them."""
import json
import re

from lib import wire
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
