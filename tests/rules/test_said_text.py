"""C11: what helioctl prints of an answer goes through an escape; no statement prints it raw."""
import re

from test_house import name_of, sources

PRINTS = re.compile(r"\b(?:f?printf|fputs|puts|ctl_say|ctl_note|ctl_usage)\(")
RAW = re.compile(r"(?<![*\w])(?:json_text\([^()]*\)(?!\[0\])|\w+->valuestring)")


def call_at(text, begin):
    """The text of the call whose parenthesis stands at begin - 1."""
    depth, at = 1, begin
    while depth and at < len(text):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        at += 1
    return text[begin:at - 1]


def raw_prints(text):
    text = re.sub(r'"(\\.|[^"\\\n])*"|\'(\\.|[^\'\\\n])*\'', '""', text)
    for m in PRINTS.finditer(text):
        call = call_at(text, m.end())
        while (safe := re.search(r"\b(?:ctl_safe|is_digest|strcmp)\(", call)):
            call = call[:safe.start()] + call[safe.end() + len(call_at(call, safe.end())) + 1:]
        if RAW.search(call):
            yield " ".join(call.split())


def test_C11_no_statement_of_helioctl_prints_an_answer_raw():
    # A raw number of JSON, which no server writes, and a digest that was looked at.
    allowed = {"decode.c": 2}
    found = {name_of(path): list(raw_prints(path.read_text())) for path in sources("server/ctl")}
    wrong = [f"{name}: {calls}" for name, calls in found.items() if len(calls) > allowed.get(name.rsplit("/", 1)[-1], 0)]
    assert not wrong, "\n".join(wrong)
    assert list(raw_prints('ctl_say(c, "%s", json_text(m, "name"));')) and list(raw_prints('printf("%s", v->valuestring);'))
    assert not list(raw_prints('printf("%s%s", ctl_safe(json_text(m, "name")), *json_text(m, "x") ? "a" : "b");'))
