"""The statements of SQL that a program has in it have places in the cache of its store, with room for more: readelf and the program's own
constants say how many there are."""
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("HELIO_BUILD", ROOT / "build/dev"))
PLACES = int(re.search(r"#define STATEMENT_CACHE (\d+)", (ROOT / "server/db/db_engine.h").read_text())[1])
STATEMENT = re.compile(rb"(SELECT|INSERT|UPDATE|DELETE|REPLACE|WITH|BEGIN|COMMIT)\b")


def statements(program):
    """Each is counted as often as it stands there: the address is what the cache goes by."""
    sections = subprocess.run(["readelf", "-S", "-W", program], stdout=subprocess.PIPE, text=True, check=True).stdout
    at, size = (int(n, 16) for n in re.search(r" \.rodata +PROGBITS +\S+ +(\S+) +(\S+)", sections).groups())
    constants = program.read_bytes()[at:at + size].split(b"\0")
    return [text for text in constants if STATEMENT.match(text)]


@pytest.mark.parametrize("program, known", (
    ("server/heliod", b"DELETE FROM lease WHERE id = $1"), ("server/publisher/helio-publisher", b"SELECT value FROM meta WHERE name = $1")))
def test_statements_have_room_in_the_cache(program, known):
    found = statements(BUILD / program)
    assert known in found and len(found) > 50    # control: the count sees them
    assert len(found) < 0.9 * PLACES, f"{program} has {len(found)} statements, and its store {PLACES} places: raise STATEMENT_CACHE"
