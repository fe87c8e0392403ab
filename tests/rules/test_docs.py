"""What is written down is what the programs do."""
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("HELIO_BUILD", ROOT / "build/dev"))


def test_S000_8_the_drawn_table_is_the_one_that_judges():
    drawn = (ROOT / "server/ACCORDANCE.md").read_text()
    told = subprocess.run([BUILD / "server/heliod", "--accordance"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert told == drawn, "heliod --accordance > server/ACCORDANCE.md"
    assert drawn.count("\n| ") > 20 and "stateDiagram" in drawn
