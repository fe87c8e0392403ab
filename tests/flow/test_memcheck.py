"""Server and device under valgrind, which sees what no sanitizer of ours does: reads of memory that nobody wrote."""
import subprocess

import pytest

from lib.fleet import PROGRAMS, ROOT
from lib.orders import png
from lib.wait import wait_for

MEMCHECK = ["valgrind", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite", "--show-leak-kinds=definite",
            "--child-silent-after-fork=yes", f"--suppressions={ROOT}/tests/valgrind.supp"]


@pytest.mark.long
def test_X_7_a_day_of_server_and_device_is_clean_under_memcheck(fleet_of, pictures):
    log = pictures[0].parent / "device.log"
    log.write_text("2026-11-21T10:00:00Z one\n2026-11-21T10:00:01Z two\n")
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=1000,
                     agent={"logs": {"unit": [f"device file {log}"]}, "commands": {"run": ["say 20 /bin/echo ..."]}})
    fleet.under = {"heliod": MEMCHECK, "f1": MEMCHECK}      # the decoder of the publisher has too little room for it
    fleet.up(agents=())
    fleet.agent("f1")
    fleet.wait_client("f1", lambda c: c["reach"] == "online", 60)
    package = fleet.image_package("walls", "1", pictures)
    fleet.ctl("channel", "publish", "default", package, "--wait", "--timeout", 200, timeout=220)
    assert fleet.ctl("exec", "--wait", "--output", "f1", "say", "hello", timeout=90)["output"]["bytes"] == 6
    fleet.ctl("ask", "f1", "logs", "--wait", "--unit", "device", timeout=90)
    fleet.ctl("why", "f1")
    clean(fleet, "f1", "heliod")


def clean(fleet, *names):
    for name in names:
        code = fleet.procs[name].stop(timeout=60)
        said = "\n".join(fleet.procs[name].lines("=="))
        assert "Memcheck" in said, said       # it did run under it
        assert code == 0 and "ERROR SUMMARY: 0 errors" in said, said[:6000]


@pytest.mark.long
def test_X_7_a_day_of_the_publisher_is_clean_under_memcheck(fleet_of, folder):
    """Pictures in, packages of customers out, on the wire and gone again."""
    fleet = fleet_of(clients=("f1",), data_brokers=("da",), interval_ms=1000, server={"data": {"recent_period_s": 0}})
    fleet.publisher_extra = {"packager": {"settle_ms": 100, "period_s": 1, "image_key": fleet.ca / "keys/image.key"}}
    fleet.under = {"pub": MEMCHECK}
    fleet.up()
    added = [fleet.ctl("image", "add", png(folder / f"{n}.png", 400, 300, seed=n), "--tag", "sea", timeout=120)["images"][0]["image"]
             for n in range(3)]
    fleet.ctl("image", "add", ROOT / "README.md", check=False, timeout=120)
    with open(folder / "thumb", "wb") as out:
        subprocess.run([PROGRAMS["helioctl"], "--config", fleet.ctl_config(), "image", "thumb", added[0], "--side", "64"], stdout=out, check=True)
    fleet.ctl("image", "set", added[0], "--add-tag", "rating=4")
    fleet.ctl("customer", "add", "harbour")
    fleet.ctl("customer", "plan", "harbour", "all", "--expression", "sea and not rating > 5")
    fleet.ctl("customer", "client", "harbour", "f1", "--screen", "320x240")

    def made():
        order = fleet.ctl("customer", "show", "harbour")["orders"][0]
        return order["answered"] and order["package"] == order["shown"] and order["package"]
    first = wait_for(made, 120, "the first package", every=0.5)
    fleet.wait_client("f1", lambda c: first in c["holdings"], 120)
    fleet.ctl("image", "retire", added[1])
    second = wait_for(lambda: made() not in (False, "", first) and made(), 120, "the second package", every=0.5)
    fleet.wait_client("f1", lambda c: second in c["holdings"], 120)
    fleet.ctl("customer", "preview", "harbour", timeout=120)
    fleet.ctl("image", "why", added[1], "f1", timeout=120)
    for version in ("1", "2"):
        (folder / version).write_bytes(bytes(range(256)) * 3000 + version.encode())
        fleet.software_package("app", version, folder / version)
    fleet.ctl("image", "gc", "--older-than", "0", check=False)
    fleet.ctl("package", "orders")
    clean(fleet, "pub")
