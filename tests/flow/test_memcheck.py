"""Server and device under valgrind, which sees what no sanitizer of ours does: reads of memory that nobody wrote."""
import pytest

from lib.fleet import ROOT

MEMCHECK = ["valgrind", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite",
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
    for name in ("f1", "heliod"):
        code = fleet.procs[name].stop(timeout=60)
        said = "\n".join(fleet.procs[name].lines("=="))
        assert "Memcheck" in said, said       # it did run under it
        assert code == 0 and "ERROR SUMMARY: 0 errors" in said, said[:6000]
