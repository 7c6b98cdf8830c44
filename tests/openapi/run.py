#!/usr/bin/env python3
"""Compares what fleet-server answers with its own description.

Starts the program on an embedded store with one object of most kinds, and lets schemathesis send what the description
allows, and what it does not. A server error, an undocumented status, another kind of content than was described, or an
answer that does not fit its schema is a failure.

usage: run.py PROGRAM SCHEMATHESIS [further arguments of schemathesis]
"""

import base64
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
PASSWORD = "correct horse battery staple"
START_MAX = 60
"""Seconds for the program to be ready."""
RUN_MAX = 900
"""Seconds for all of it. The number of examples is what bounds it as a rule."""


def fetch(method, url, authorization, body):
    """Asks, and answers the body. The certificate is of an authority that the program has just made."""
    headers = {"Authorization": authorization, "kbn-xsrf": "true", "Content-Type": "application/json"}
    headers["User-Agent"] = "elastic agent 9.6.0"
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers=headers, method=method)
    context = ssl._create_unverified_context()
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{method} {url}: {error.code} {error.read().decode()}") from error


class Server:
    """The program, running on ports of its own in a directory of its own."""

    def __init__(self, program, directory):
        password = os.path.join(directory, "password")
        with open(os.open(password, os.O_CREAT | os.O_WRONLY, 0o600), "w", encoding="utf-8") as file:
            file.write(PASSWORD)
        settings = [
            "inputs.0.server.host=127.0.0.1",
            "inputs.0.server.port=0",
            "inputs.0.server.internal_port=1",
            "management.host=127.0.0.1",
            "management.port=0",
        ]
        arguments = [program]
        for setting in settings:
            arguments += ["-E", setting]
        environment = {"FLEET_DATA_DIR": directory, "FLEET_ADMIN_PASSWORD_FILE": password}
        self.log = []
        self.process = subprocess.Popen(
            arguments, cwd=directory, env=environment, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
        )
        self.ready = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        if not self.ready.wait(START_MAX):
            self.stop()
            raise SystemExit("fleet-server does not start:\n" + "".join(self.log))

    def _read(self):
        for line in self.process.stderr:
            self.log.append(line)
            found = re.search(r"fleet-server is running.*agents=\S*?:(\d+) .*management=\S*?:(\d+)", line)
            if found:
                self.agents = f"https://127.0.0.1:{found[1]}"
                self.url = f"http://127.0.0.1:{found[2]}"
                self.ready.set()

    def ask(self, method, path, body=None):
        """Asks as the administrator; answers the body."""
        token = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        return fetch(method, self.url + path, f"Basic {token}", body)

    def key(self):
        """A key that may do everything. Names and passwords would be locked out by the wrong ones that are tried."""
        return self.ask("POST", "/api/fleet/api_keys", {"name": "check"})["api_key"]

    def enrol(self, key):
        """Enrols an agent; answers its id."""
        local = {"elastic": {"agent": {"version": "9.6.0"}}, "host": {"hostname": "web-1"}}
        body = {"type": "PERMANENT", "metadata": {"local": local, "user_provided": {}}}
        return fetch("POST", self.agents + "/api/fleet/agents/enroll", f"ApiKey {key}", body)["item"]["id"]

    def stop(self):
        """Its data are thrown away: it need not take leave of anybody."""
        self.process.kill()
        self.process.wait()


def seed(server):
    """One object of most kinds; answers their ids, which schemathesis.toml names."""

    def post(path, body):
        return server.ask("POST", "/api/fleet/" + path, body)["item"]

    post("agent_policies", {"id": "web", "name": "Web", "namespace": "default"})
    server.ask("PUT", "/api/fleet/agent_policies/web", {"name": "Web", "namespace": "production"})
    key = post("enrollment_api_keys", {"policy_id": "web"})
    post("users", {"username": "somebody", "password": "somebody's own", "roles": ["viewer"], "grants": []})
    post("api_keys", {"name": "script"})
    address = "http://127.0.0.1:1"
    return {
        "agent": server.enrol(key["api_key"]),
        "webhook": post("webhooks", {"name": "pager", "url": address, "enabled": False})["id"],
        "output": post("outputs", {"name": "engine", "type": "elasticsearch", "hosts": [address]})["id"],
        "host": post("fleet_server_hosts", {"name": "here", "host_urls": ["https://127.0.0.1:1"]})["id"],
        "proxy": post("proxies", {"name": "proxy", "url": address})["id"],
        "source": post("agent_download_sources", {"name": "near", "host": address})["id"],
    }


def main():
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    program, schemathesis, *more = [os.path.abspath(path) for path in sys.argv[1:3]] + sys.argv[3:]
    with tempfile.TemporaryDirectory() as directory:
        server = Server(program, directory)
        try:
            environment = {**os.environ, **{f"FLEET_{name.upper()}": value for name, value in seed(server).items()}}
            command = [schemathesis, "--config-file", os.path.join(HERE, "schemathesis.toml"), "run"]
            command += ["--url", server.url, "--header", f"Authorization: ApiKey {server.key()}", *more]
            command.append(server.url + "/api/fleet/openapi.json")
            outcome = subprocess.run(command, cwd=directory, env=environment, timeout=RUN_MAX, check=False).returncode
            if server.process.poll() is not None:
                print("fleet-server has ended:\n" + "".join(server.log[-50:]), file=sys.stderr)
                outcome = outcome or 1
            if outcome:
                failures = [line for line in server.log if " WARN " in line or " ERROR " in line]
                print("its log:\n" + "".join(failures[-40:]), file=sys.stderr)
        finally:
            server.stop()
    return outcome


if __name__ == "__main__":
    sys.exit(main())
