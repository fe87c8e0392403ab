"""Every row of bad input, C1 to C15, has tests that bear its name."""
import re

from test_house import ROOT


def named():
    """Row -> tests: C programs register theirs, Python's begin with test_."""
    found = {}
    for path in (*ROOT.glob("tests/unit/test_*.c"), *ROOT.glob("tests/flow/test_*.py"), *ROOT.glob("tests/rules/test_*.py")):
        pattern = r"(?:unit_test\w*|CASE|TEST|WITH_\w+)\(\s*(\w+)" if path.suffix == ".c" else r"^def (test_\w+)\("
        for name in re.findall(pattern, path.read_text(), re.M):
            for row in re.findall(r"(?:^|_)C(\d+)(?=_)", name):
                found.setdefault(int(row), set()).add(f"{path.name}: {name}")
    return found


def test_every_row_of_bad_input_has_a_test_of_its_name():
    found = named()
    missing = [f"C{row}" for row in range(1, 16) if not found.get(row)]
    assert not missing, missing
    assert 99 not in found and "test_flooding.c: C10_chosen_ids_cost_a_server_no_more_than_others" in found[10]
