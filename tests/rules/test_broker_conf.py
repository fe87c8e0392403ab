"""The broker templates against what they must equal: the topic table, proto/limits.h, Ansible's own
rendering, and Mosquitto."""
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

import broker_render

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "deploy"))

from ports import free_ports  # noqa: E402

HELIOCTL = pathlib.Path(os.environ.get("HELIO_BUILD", ROOT / "build/dev")) / "server/ctl/helioctl"
KINDS = ("control", "data", "test")
ROLE_WORDS = {"server": "servers", "publisher": "publishers", "operator": "operators"}
# Values that differ from every default, lists of none, one and several words.
VARIED = {
    "control": dict(broker_id="c.9", port="18883", binds="127.0.0.1 ::1 10.0.0.7", servers="s1 s2",
                    publishers="", operators="o.1 o.2 o.3", readers="f2 f3", watchers="w", log_types="all", crl_file="/etc/crl.pem",
                    max_connections="-1", memory_limit_bytes="0", log_dest="file /var/log/m.log", run_user="root"),
    "data": dict(broker_id="d.9", port="18884", binds="127.0.0.1", servers="s1", publishers="p1 p2 p3",
                 operators="", watchers="", log_types="error subscribe unsubscribe", sys_interval_s="1",
                 shelf_plugin="/usr/lib/helio-shelf.so", shelf_dir="/srv/shelf", shelf_budget_bytes="9000000"),
    "test": dict(broker_id="t.9", port="11884", log_types="error"),
}


def helioctl(*args, check=True):
    done = subprocess.run([str(HELIOCTL), *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if check:
        assert done.returncode == 0, f"{args}: {done.returncode}\n{done.stderr}"
    return done


def limits():
    text = (ROOT / "proto/limits.h").read_text()
    found = {}
    for name, value in re.findall(r"^#define ([A-Z_]+) ([^/\n]+)", text, re.M):
        for known in sorted(found, key=len, reverse=True):
            value = re.sub(rf"\b{known}\b", str(found[known]), value)
        if re.fullmatch(r"[0-9 ()*+]+", value.strip()):
            found[name] = eval(value)  # digits, blanks and operators only
    return found


def table():
    return json.loads(helioctl("topics", "--json").stdout)


def lines_of(text):
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def rights_of(acl):
    """{"": pattern lines, "server.1": its lines ...}"""
    who, found = "", {"": []}
    for line in lines_of(acl):
        if line.startswith("user "):
            who = line.split(" ", 1)[1]
            assert who not in found, f"{who} has two blocks"
            found[who] = []
        else:
            assert line.startswith("topic " if who else "pattern "), line
            found[who].append(line.split(" ", 1)[1])
    return found


def shape(row, own):
    return re.sub(r"%[sh]", "+", re.sub(r"%[cpi]", own, row["pattern"], count=1).replace("%i", "+"))


def expected_patterns(kind):
    """Clients are many: what they may is a pattern on %u. Common reading holds for everybody."""
    found = []
    for row in table():
        if kind not in row["brokers"]:
            continue
        if "client" in row["writers"]:
            found.append("write " + shape(row, "%u"))
        if "client" in row["readers"]:
            found.append("read " + shape(row, "%u" if row["reader_is_level"] else "+"))
    return found


def expected_block(kind, role, id_):
    """Servers, publishers and seats are few: a block each, with what no pattern gives them."""
    found = ["read $SYS/broker/#"] if role == "server" else []
    for row in table():
        if kind not in row["brokers"]:
            continue
        if role in row["writers"]:
            found.append("write " + shape(row, id_ if row["writer_is_level"] else "+"))
        if role in row["readers"] and "client" not in row["readers"]:
            found.append("read " + shape(row, id_ if row["reader_is_level"] else "+"))
    return found


# ---------------------------------------------------------------- the topic table

@pytest.mark.parametrize("kind", ["control", "data"])
def test_broker_conf_rights_equal_the_topic_table(kind, tmp_path):
    names = dict(servers="s.1 s.2", publishers="p.1", operators="o.1", readers="f2", watchers="w.1")
    helioctl("broker-conf", kind, "--out", tmp_path, *[f"{k}={v}" for k, v in names.items()])
    rights = rights_of((tmp_path / "acl").read_text())
    assert sorted(rights.pop("")) == sorted(expected_patterns(kind))
    # A device that may read states gets that and nothing else beside the patterns.
    assert rights.pop("f2", []) == (["read helio/v1/view/state/+"] if kind == "control" else [])
    assert rights.pop("w.1") == ["read $SYS/broker/#", "read helio/v1/#"]
    for role, words in ROLE_WORDS.items():
        for id_ in names[words].split():
            assert sorted(rights.pop(id_)) == sorted(expected_block(kind, role, id_)), id_
    assert not rights


def test_broker_conf_every_topic_has_a_writer_and_a_reader_on_its_broker():
    for row in table():
        assert row["writers"] and row["readers"] and row["brokers"], row
        assert row["writer_is_level"] or row["writers"] == ["server"], f"{row['name']}: who says whose it is?"


# ---------------------------------------------------------------- numbers

def test_broker_conf_numbers_equal_the_limits_of_the_language():
    limit = limits()
    largest = {kind: max(r["limit_bytes"] for r in table() if kind in r["brokers"]) for kind in ("control", "data")}
    assert largest == {"control": limit["LIMIT_REPORT"], "data": limit["LIMIT_OBJECT"]}
    for kind in KINDS:
        values = dict(line.split(" ", 1) for line in lines_of(broker_render.render_text(kind, f"{kind}.conf.j2", {}))
                      if " " in line)
        inflight = limit["BROKER_MAX_INFLIGHT" if kind == "data" else "CONTROL_MAX_INFLIGHT"]
        assert int(values["max_inflight_messages"]) == inflight
        # Paho stalls when all that the broker takes is under way; the server's links go to both kinds of broker.
        assert limit["SERVER_OUTSTANDING"] <= limit["CONTROL_MAX_INFLIGHT"] // 2
        assert int(values["max_queued_messages"]) == limit["BROKER_MAX_QUEUED"]
        payload = largest["data" if kind == "test" else kind]
        assert int(values["message_size_limit"]) == payload
        packet = int(values["max_packet_size"])
        # A packet is its payload, its topic and a few bytes of MQTT.
        assert packet >= payload + limit["LIMIT_TOPIC"] + 64
        assert packet == (limit["LIMIT_REPORT"] + 4096 if kind == "control" else limit["LIMIT_PACKET"])
        # One full window of the largest objects waits without a drop.
        window = limit["FETCH_WINDOW_MAX"] if kind != "control" else limit["CONTROL_OUTSTANDING"]
        assert int(values["max_queued_bytes"]) >= window * payload
        for name, value in (("persistence", "false"), ("set_tcp_nodelay", "true"), ("retain_available", "true"),
                            ("queue_qos0_messages", "false"), ("per_listener_settings", "false")):
            assert values[name] == value, name


@pytest.mark.parametrize("kind", ["control", "data"])
def test_broker_conf_has_no_door_without_a_certificate(kind):
    text = broker_render.render_text(kind, f"{kind}.conf.j2", {"binds": "0.0.0.0 :: 127.0.0.1"})
    lines = lines_of(text)
    assert lines.count("allow_anonymous false") == 1
    assert "check_retain_source true" in lines and "allow_zero_length_clientid false" in lines
    first = next(i for i, line in enumerate(lines) if line.startswith("listener "))
    # What stands before the first listener would open Mosquitto's default one.
    assert not [line for line in lines[:first] if line.split()[0] in ("port", "bind_address", "protocol", "socket_domain")]
    doors = "\n".join(lines[first:]).split("listener ")[1:]
    assert len(doors) == 3
    for door in doors:
        for needed in ("require_certificate true", "tls_version tlsv1.3", "use_identity_as_username true",
                       "use_username_as_clientid true"):
            assert needed in door.splitlines(), door
        assert {"cafile", "certfile", "keyfile", "max_connections"} <= {line.split()[0] for line in door.splitlines()}


def test_broker_conf_test_broker_is_for_loopback_alone():
    doors = [line for line in broker_render.render_text("test", "test.conf.j2", {}).splitlines()
             if line.startswith("listener ")]
    assert doors == ["listener 1883 127.0.0.1"]


# ---------------------------------------------------------------- three renderers, one result

PLAY = """
- hosts: localhost
  gather_facts: false
  connection: local
  vars_files: [{home}/defaults.yml, "{home}/defaults-{kind}.yml", {home}/blocks.yml]
  tasks:
    - ansible.builtin.template: {{ src: "{home}/{kind}.conf.j2", dest: "{out}/mosquitto.conf" }}
    - ansible.builtin.template: {{ src: "{home}/acl-{kind}.j2", dest: "{out}/acl" }}
      when: kind != "test"
"""


def ansible_render(kind, out, variables, scratch):
    play = scratch / f"{out.name}.yml"
    play.write_text(PLAY.format(home=broker_render.HOME, kind=kind, out=out))
    extra = scratch / f"{out.name}.json"
    extra.write_text(json.dumps({**variables, "conf_dir": "/etc/x"}))
    env = {**os.environ, "HOME": str(scratch), "ANSIBLE_LOCAL_TEMP": str(scratch / "tmp"), "ANSIBLE_NOCOLOR": "1",
           "ANSIBLE_LOCALHOST_WARNING": "False", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(["ansible-playbook", "-i", "localhost,", str(play), "-e", f"@{extra}"], env=env,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("varied", [False, True], ids=["defaults", "varied"])
def test_broker_conf_helioctl_and_ansible_render_the_same_bytes(kind, varied, tmp_path):
    assert shutil.which("ansible-playbook"), "ansible-core is missing: deploy/install-packages test"
    variables = VARIED[kind] if varied else {}
    ours, theirs = tmp_path / "helioctl", tmp_path / "ansible"
    theirs.mkdir()
    helioctl("broker-conf", kind, "--out", ours, "conf_dir=/etc/x", *[f"{k}={v}" for k, v in variables.items()])
    ansible_render(kind, theirs, variables, tmp_path)
    names = ["mosquitto.conf"] if kind == "test" else ["acl", "mosquitto.conf"]
    assert sorted(p.name for p in ours.iterdir()) == names == sorted(p.name for p in theirs.iterdir())
    for name in names:
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
        template = f"acl-{kind}.j2" if name == "acl" else f"{kind}.conf.j2"
        third = broker_render.render_text(kind, template, {**variables, "conf_dir": "/etc/x"})
        assert third.encode() == (ours / name).read_bytes(), f"{name} by Jinja2"


def test_broker_conf_templates_are_plain_substitution():
    for path in broker_render.HOME.rglob("*.j2"):
        text = path.read_text()
        assert not re.search(r"\{[%#]", text), path.name
        rest = re.sub(r"\{\{ [a-z_]+ \}\}", "", text)
        assert "{{" not in rest and "}}" not in rest, path.name
        assert not text.endswith("}}\n") or path.parent.name == "blocks", f"{path.name} ends with a variable"


def test_broker_conf_built_in_templates_are_those_of_the_tree(tmp_path):
    for kind in KINDS:
        built_in, tree = tmp_path / f"{kind}-in", tmp_path / f"{kind}-tree"
        helioctl("broker-conf", kind, "--out", built_in, "conf_dir=/etc/x")
        helioctl("broker-conf", kind, "--out", tree, "conf_dir=/etc/x", "--templates", broker_render.HOME)
        for path in built_in.iterdir():
            assert path.read_bytes() == (tree / path.name).read_bytes()


def test_broker_conf_every_variable_is_explained_and_used():
    everything = "".join(p.read_text() for p in broker_render.HOME.rglob("*.j2"))
    everything += (broker_render.HOME / "blocks.yml").read_text() + (broker_render.HOME / "defaults.yml").read_text()
    for kind in KINDS:
        listed = json.loads(helioctl("broker-conf", kind, "--list", "--json").stdout)
        assert set(listed) == set(broker_render.defaults(kind))
    for name in ("defaults.yml", *[f"defaults-{kind}.yml" for kind in KINDS]):
        for variable in re.findall(r"^([a-z_]+):", (broker_render.HOME / name).read_text(), re.M):
            assert re.search(rf"\b{variable}\b", everything.replace(f"{variable}:", "")), f"{variable} is never used"


def test_broker_conf_refuses_what_cannot_stand_in_a_line(tmp_path):
    for wrong in ("port=1\nallow_anonymous true", "servers=a/b", "servers=+", "operators=#", "nonsense=1",
                  "publishers=a b\tc", "acl_file={{ port }}", "port", "kind=test", "watchers=" + "x" * 65):
        done = helioctl("broker-conf", "control", "--out", tmp_path / "out", wrong, check=False)
        assert done.returncode in (1, 5), wrong
        assert done.stderr.startswith("helioctl: ") and done.stderr.count("\n") == 1, done.stderr
        assert not (tmp_path / "out/mosquitto.conf").exists()


# ---------------------------------------------------------------- Mosquitto

@pytest.mark.parametrize("kind", KINDS)
def test_broker_conf_mosquitto_takes_every_line(kind, tmp_path):
    port = free_ports(1)[0]
    ca = tmp_path / "ca"
    helioctl("ca", "init", ca, "--fleet", "t")
    helioctl("enrol", "broker", "b.1", "--ca", ca, "--dns", "localhost", "--ip", "127.0.0.1")
    home = ca / "out/b.1"
    tls = ["binds=127.0.0.1"] if kind != "test" else []
    helioctl("broker-conf", kind, "--out", home, f"port={port}", "run_user=root" if os.getuid() == 0 else "run_user=nobody",
             "log_types=all", *tls)
    log = tmp_path / "log"
    with open(log, "wb") as out:
        broker = subprocess.Popen(["mosquitto", "-c", str(home / "mosquitto.conf")], stdout=out, stderr=out)
    try:
        end = time.monotonic() + 10
        while b"running" not in log.read_bytes() and broker.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        text = log.read_text()
        assert broker.poll() is None and "running" in text, text
        assert "Error" not in text and "Unknown" not in text, text
        # Known remarks: patterns without %u are meant so; message_size_limit is for the payload.
        remarks = [line for line in text.splitlines() if "Warning" in line and "does not contain '%c' or '%u'" not in line
                   and "run as root" not in line]
        assert not remarks, remarks
        listening = subprocess.run(["ss", "-ltnH"], stdout=subprocess.PIPE, text=True).stdout
        assert [line.split()[3] for line in listening.splitlines() if line.split()[3].endswith(f":{port}")] == [f"127.0.0.1:{port}"]
        # A reload keeps it up and closed.
        broker.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert broker.poll() is None
    finally:
        broker.terminate()
        assert broker.wait(timeout=10) == 0


def test_broker_conf_mosquitto_refuses_an_unknown_line(tmp_path):
    """The control of the test above: a wrong line does end Mosquitto."""
    helioctl("broker-conf", "test", "--out", tmp_path, f"port={free_ports(1)[0]}")
    conf = tmp_path / "mosquitto.conf"
    conf.write_text(conf.read_text() + "no_such_option true\n")
    done = subprocess.run(["mosquitto", "-c", str(conf)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10)
    assert done.returncode != 0
