#!/usr/bin/env python3
"""Runs docs/GUIDE.md from top to bottom, as somebody would who pastes it: `make test-guide`.

- `sh` blocks run in one shell, in order; the lines of a `text` block behind one must be in what it said, in their order.
- The `sh terminal` block is the server, which runs beside them.
- A block with a file's name is that file. The `rust` block is examples/receiver.rs.

Changed is only what has to be: ports are free ones, programs are those that are built, and `make` means this directory's.
"""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILT = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "debug"
# What is waited for in the guide is waited for without an end: here there is one, far away on a slow machine.
PATIENCE_S = 600
TOOLS = ["curl", "node", "npm", "venv"]


def blocks(text):
    """Each fenced block: its line, its words, its text."""
    for found in re.finditer(r"^```(\S.*)\n((?:.*\n)*?)```$", text, re.M):
        yield text.count("\n", 0, found.start()) + 1, found[1].split(), found[2]


def free_ports(wanted):
    """A free port for each, below those that are handed out to outgoing connections."""
    ports = {}
    for port in range(10240 + os.getpid() % 10_000, 32_000):
        if len(ports) == len(wanted):
            return ports
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                ports[wanted[len(ports)]] = str(port)
    sys.exit("there are not enough free ports")


def adapted(text, ports):
    """The text for this machine."""
    changes = [
        (r"cargo run --release --example ", f"{BUILT}/examples/"),
        (r"cargo run --release -- ", f"{BUILT}/fairhook "),
        (r"cargo build .*", ":"),
        (r"target/release/", f"{BUILT}/"),
        (r"\bmake ", f"make -C {ROOT} --no-print-directory "),
        (r"\b(?:30|31|40)0\d\b", lambda found: ports[found[0]]),
    ]
    for pattern, change in changes:
        text = re.sub(pattern, change, text)
    return text


def until(what, check):
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        if time.monotonic() > deadline:
            sys.exit(f"waited in vain until {what}")
        time.sleep(0.1)


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


def script(commands):
    """One shell for all blocks, which notes what each of them says and stops at the first that fails."""
    parts = ["set -euo pipefail\n"]
    for line, text in commands:
        parts.append(f"echo {line} > line\n{{\n{text}}} > said.{line} 2>&1\n")
    return "".join(parts)


def check_said(directory, line, expected):
    """The expected lines, in their order, among those that were said."""
    said = iter((directory / f"said.{line}").read_text().splitlines())
    for text in expected.splitlines():
        if text not in said:
            whole = (directory / f"said.{line}").read_text()
            sys.exit(f"docs/GUIDE.md:{line}: did not say {text!r} where it should, but:\n{whole}")


def end(process):
    """Ends a process with all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def follow(directory, guide, ports):
    commands, expected, server = [], [], None
    for line, words, text in guide:
        match words:
            case ["sh"]:
                commands.append((line, adapted(text, ports)))
            case ["sh", "terminal"]:
                server = adapted(text, ports)
            case ["text"]:
                expected.append((commands[-1][0], text))
            case ["rust"]:
                if not (ROOT / "examples" / "receiver.rs").read_text().endswith(text):
                    sys.exit(f"docs/GUIDE.md:{line}: is not examples/receiver.rs")
            case [_, name]:
                (directory / name).write_text(text)
            case _:
                sys.exit(f"docs/GUIDE.md:{line}: {words} is nothing that can be run")
    others = {name: value for name, value in os.environ.items() if not name.startswith("FAIRHOOK_")}
    # So that `make up` has a place of its own.
    environment = others | {"TMPDIR": str(directory)}
    listen = {"LISTEN": "3000", "RECEIVER_LISTEN": "3001", "METRICS_LISTEN": "3002"}
    listening = {f"FAIRHOOK_{name}": f"127.0.0.1:{ports[port]}" for name, port in listen.items()}
    with open(directory / "server", "w") as log:
        serving = subprocess.Popen(["bash", "-c", server], cwd=directory, env=environment | listening, stdout=log,
                                   stderr=log, start_new_session=True)
    shell = None
    try:
        until("the server listens", lambda: serving.poll() is not None or answers(ports["3000"]))
        shell = subprocess.Popen(["bash", "-c", script(commands)], cwd=directory, env=environment,
                                 stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            code = shell.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            code = "it does not end"
        if code != 0:
            line = (directory / "line").read_text().strip()
            said, server = (directory / f"said.{line}").read_text(), (directory / "server").read_text()
            sys.exit(f"docs/GUIDE.md:{line}: failed ({code}):\n{said}\nThe server said:\n{server[-5_000:]}")
        for line, text in expected:
            check_said(directory, line, text)
    finally:
        if shell:
            end(shell)
        end(serving)
        subprocess.run(["make", "-C", ROOT, "-s", "down"], env=environment, check=False)
    return len(commands)


def main():
    # What was started ends, however this does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    subprocess.run([ROOT / "tests" / "services.sh", "provide", *TOOLS], check=True)
    text = (ROOT / "docs" / "GUIDE.md").read_text()
    guide = list(blocks(text))
    ports = free_ports(sorted(set(re.findall(r"\b(?:30|31|40)0\d\b", text)) | {"3000", "3001", "3002"}))
    with tempfile.TemporaryDirectory(prefix="guide-") as directory:
        # The database's own user has to get through to its part of it.
        os.chmod(directory, 0o711)
        print(f"docs/GUIDE.md: {follow(pathlib.Path(directory), guide, ports)} blocks of commands ran as they say")


if __name__ == "__main__":
    main()
