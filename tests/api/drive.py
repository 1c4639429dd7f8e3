#!/usr/bin/env python3
"""Drives a running server from its own document: `make test-api`.

Makes a virtual environment with what requirements.txt pins (kept in the target directory), checks the document with
openapi-spec-validator, starts the server that is built, embedded, on free ports over a directory of its own, makes what the
document's parameters may name, and lets schemathesis call it: first as an operator, then as a tenant. The server ends with this.

API_SECONDS says how long in all (60), API_SEED which calls (1).
"""

import hashlib
import json
import os
import pathlib
import secrets
import subprocess
import sys
import tempfile
import urllib.request
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
SERVER = TARGET / "debug" / "fairhook"


def tools():
    """The directory of the virtual environment's programs; it is made when there is none for these requirements."""
    wanted = HERE / "requirements.txt"
    name = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()[:12]
    place = TARGET / f"api-venv-{name}"
    if not (place / "complete").exists():
        venv.create(place, with_pip=True, clear=True)
        pip = [place / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", wanted], check=True)
        (place / "complete").touch()
    return place / "bin"


class Server:
    """A server that ends with its block."""

    def __init__(self, directory):
        self.directory = directory
        self.key = secrets.token_hex(16)
        self.log = open(directory / "log", "w+")
        # Nothing is sent to anybody: no name is found, and what is made here is for tenants that are paused.
        settings = {
            "FAIRHOOK_OPERATOR_KEY": self.key,
            "FAIRHOOK_LISTEN": "127.0.0.1:0",
            "FAIRHOOK_METRICS_LISTEN": "127.0.0.1:0",
            "FAIRHOOK_RECEIVER_LISTEN": "off",
            "FAIRHOOK_DATA_DIR": str(directory / "data"),
            "FAIRHOOK_NAMESERVERS": "127.0.0.1:9",
            # Who asks in handshakes: without it no endpoint may want one.
            "FAIRHOOK_BASE_DOMAIN": "hooks.test",
            "FAIRHOOK_LOG": "warn",
            "FAIRHOOK_LIMITS": "tier=off,api_requests=off,anonymous=1000000/1s,auth_failures=1000000/1s",
        }
        others = {name: value for name, value in os.environ.items() if not name.startswith("FAIRHOOK_")}
        self.process = subprocess.Popen([SERVER, "serve"], env=others | settings, stdout=subprocess.PIPE,
                                        stderr=self.log, text=True)

    def __enter__(self):
        for line in self.process.stdout:
            if "API " in line:
                self.url = line.split("API ")[1].split()[0].removesuffix("/v1")
                return self
        raise SystemExit(f"the server did not start: {self.said()}")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)

    def said(self):
        self.log.seek(0)
        return self.log.read()

    def call(self, method, path, body=None):
        """What is answered to the operator."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"{self.url}/v1{path}", method=method, headers=headers,
                                         data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


def furnish(server, name):
    """Makes what the parameters of a run may name: a tenant of this name, and others that it may spoil."""
    enough = {"burst": 1_000_000_000, "max_events_per_sec": 1_000_000_000, "max_backlog": 1_000_000_000,
              "max_endpoints": 2_000, "max_dlq_size": 1_000_000}
    for slug in (name, f"{name}-spare", f"{name}-doomed"):
        server.call("PUT", f"/tenants/{slug}", {"name": slug, "plan": "enterprise"})
        server.call("PATCH", f"/tenants/{slug}", {"dispatch": "paused", "reason": "nothing is to be sent"})
        server.call("PATCH", f"/quotas/{slug}", enough)
    for uid in ("made-by-uid", "doomed-by-uid"):
        server.call("PUT", f"/tenants/{name}/endpoints/{uid}", {"url": "https://example.com/hooks"})
    server.call("PUT", "/plans/gold", {"weight": 2})
    event = server.call("POST", f"/tenants/{name}/events", {"type": "order.paid", "payload": {"order": 1}})["id"]
    deliveries = server.call("GET", f"/tenants/{name}/deliveries?event_id={event}")
    job = server.call("POST", f"/tenants/{name}/dead-letters/replay", {"all": True})["id"]
    key = server.call("POST", f"/tenants/{name}/keys", {"scopes": ["events:read"]})["id"]
    operators_key = server.call("POST", "/operator-keys", {"scopes": ["events:read"]})["id"]
    open_door = {"verification": {"scheme": "none"}, "event_type": {"fixed": "in.test"}}
    sources = [server.call("POST", f"/tenants/{name}/sources", open_door) for _ in range(3)]
    return {"TENANT": name, "EVENT": event, "DELIVERY": deliveries["data"][0]["id"], "TOKEN": sources[0]["token"],
            "SOURCE": sources[1]["id"], "DOOMED_SOURCE": sources[2]["id"], "JOB": job, "KEY": key,
            "OPERATORS_KEY": operators_key}


def drive(programs, server, names, key, seconds):
    """One run; whether it found nothing."""
    command = [programs / "schemathesis", "--config-file", HERE / "schemathesis.toml", "run", f"{server.url}/openapi.json",
               "--max-time", str(seconds), "--seed", os.environ.get("API_SEED", "1"), "--no-color", "--warnings", "off"]
    environment = os.environ | names | {"API_KEY": key}
    # It keeps what it finds in the directory that it runs in.
    run = subprocess.run([*command, *sys.argv[1:]], env=environment, cwd=server.directory, check=False)
    return run.returncode == 0


def main():
    programs = tools()
    subprocess.run([programs / "openapi-spec-validator", ROOT / "docs" / "openapi.json"], check=True)
    seconds = int(os.environ.get("API_SECONDS", "60"))
    with tempfile.TemporaryDirectory() as directory, Server(pathlib.Path(directory)) as server:
        # All of it first: a long run makes as many operator's keys as there may be.
        operators, tenants = furnish(server, "acme"), furnish(server, "beta")
        key = server.call("POST", "/tenants/beta/keys", {})["api_key"]
        good = drive(programs, server, operators, server.key, seconds * 3 // 4)
        good &= drive(programs, server, tenants, key, seconds // 4)
        said = server.said()
    if not good:
        print(said[-10_000:], file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
