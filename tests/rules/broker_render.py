"""Renders the broker templates with Jinja2 alone: what a test needs to start a broker, and a second
witness beside Ansible and helioctl.

    broker_render.render("control", folder, port="18883", binds="127.0.0.1", run_user="root")

writes mosquitto.conf and acl into the folder and returns the path of mosquitto.conf. Certificates are
expected as ca.crt, tls.crt and tls.key in the same folder unless ca_file, cert_file, key_file say more.
"""
import pathlib
import re

import jinja2

HOME = pathlib.Path(__file__).resolve().parents[2] / "broker-conf"
ROLES = [("server", "servers"), ("publisher", "publishers"), ("operator", "operators"),
         ("reader", "readers"), ("watcher", "watchers")]


def defaults(kind):
    """The variables of one kind of broker, as defaults.yml and defaults-KIND.yml give them."""
    found = {}
    for name in ("defaults.yml", f"defaults-{kind}.yml"):
        for line in (HOME / name).read_text().splitlines():
            match = re.fullmatch(r'([a-z_]+): "([^"]*)"', line)
            if match:
                found[match[1]] = match[2]
            else:
                assert not line or line.startswith("#"), f"{name}: {line}"
    return found


def render_text(kind, template, variables):
    env = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)

    def fill(text, values):
        return env.from_string(text).render(values)

    def block(name, words, word_name, values):
        source = (HOME / "blocks" / name).read_text()
        return "".join(fill(source, {**values, word_name: word}) for word in values[words].split())

    values = {**defaults(kind), **variables}
    values = {name: fill(text, values) for name, text in values.items()}
    values["crl_line"] = block("crl.j2", "crl_file", "crl_file", values)
    values["listeners"] = block("listener.j2", "binds", "bind", values)
    values["log_lines"] = block("log-type.j2", "log_types", "log_type", values)
    if kind == "data":
        values["shelf_lines"] = block("shelf.j2", "shelf_plugin", "shelf_plugin", values)
    if kind != "test":
        values["acl_users"] = "".join(
            block(f"acl-{kind}-{role}.j2", words, "id", values) for role, words in ROLES)
    return fill((HOME / template).read_text(), values)


def render(kind, folder, **variables):
    folder = pathlib.Path(folder)
    variables = {"conf_dir": str(folder), **{k: str(v) for k, v in variables.items()}}
    if kind != "test":
        acl = folder / "acl"
        acl.write_text(render_text(kind, f"acl-{kind}.j2", variables))
        acl.chmod(0o600)
    conf = folder / "mosquitto.conf"
    conf.write_text(render_text(kind, f"{kind}.conf.j2", variables))
    return conf
