"""C11: text is cut between characters (proto/base/text.h): half of one is no UTF-8, and a message that holds it is refused as a whole."""
import re

from test_house import name_of, sources
from test_said_text import call_at

CALL = re.compile(r"\b([a-z_]+)\(")
# Of these sentences what is no UTF-8 becomes blanks; digits of digests and days are no text.
CLEAN = {"err_set", "err_set_errno", "codec_refuse", "warn_at"}
DIGITS = 12


def cuts(text):
    """Calls with a precision of %s: half a character may stand where it ends."""
    text = re.sub(r"//[^\n]*", "", text)
    for m in re.finditer(r'%\.(\d+)s', text):
        line = text.rfind(";", 0, m.start()), text.rfind("{", 0, m.start()), text.rfind("}", 0, m.start())
        begin = max(line) + 1
        calls = [c for c in CALL.finditer(text, begin, m.start()) if c.end() + len(call_at(text, c.end())) > m.start()]
        inner = [c[1] for c in calls if c[1] not in ("if", "while", "return")]
        if int(m[1]) > DIGITS and not (inner and inner[-1] in CLEAN):
            yield " ".join(text[begin:m.end()].split())[-100:]


def test_C11_no_text_is_cut_by_a_precision():
    # Of ids alone: names of findings, files of outputs, names on a medium.
    allowed = {"client/runtime_import.c": 1, "client/output_shelf.c": 1, "server/orders_outcome.c": 1, "server/server_look.c": 2,
               "server/ctl/cmd_media_record.c": 1, "client/display/display_loop.c": 1}
    found = {name_of(path): list(cuts(path.read_text())) for path in sources("client", "server", "proto")}
    wrong = [f"{name}: {calls}" for name, calls in found.items() if len(calls) > allowed.get(name, 0)]
    assert not wrong, "\n".join(wrong)
    assert list(cuts('text_format(a, n, "%s: %.400s", b, c);')) and list(cuts('x = arena_printf(a, "%.100s", err_text());'))
    assert not list(cuts('return err_set(ERR_RANGE, "the name %.40s is none", s);')) and not list(cuts('f("%.12s", digest);'))
