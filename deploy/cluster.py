#!/usr/bin/env python3
"""The whole of Rookery as plain local processes: three gateways, Redis, Postgres, HAProxy. One command, one URL; Ctrl-C ends all.

    make cluster
    deploy/cluster.py target/release/rookery [--port 8080] [--gateways 3] [--data FOLDER]

Without --data everything is gone at the end. Python's standard library is enough.
"""

import argparse
import ctypes
import glob
import http.client
import os
import pathlib
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
# How long a server may take to answer: far more than it needs, even on a loaded machine.
START_S = 90
# How long one may take to end when asked, before it is ended.
STOP_S = 30
DRAIN_S = 3
PR_SET_PDEATHSIG = 1


class Trouble(Exception):
    """Something could not be started; the words say what to do."""


def program(name, package, *folders):
    """Path of a program, in PATH or where Debian hides it."""
    for folder in folders:
        for found in sorted(glob.glob(f"{folder}/{name}"), reverse=True):
            return found
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if not found:
        raise Trouble(f"{name} is missing: install it (Debian: apt-get install {package})")
    return found


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what, fact, process=None):
    end = time.monotonic() + START_S
    while not fact():
        if process and process.ended():
            raise Trouble(f"{what} ended at once:\n{process.last_words()}")
        if time.monotonic() > end:
            raise Trouble(f"{what} did not answer in {START_S} s")
        time.sleep(0.05)


def answers(port, path):
    """Whether that address says 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def connects(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def dies_with_us():
    # Whatever ends this program (strictly: the thread of it that started them), also kill -9, ends what it started. Ctrl-C
    # reaches them through this program alone.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Process:
    """A child, its log, and its end."""

    def __init__(self, command, log, user=None, environment=None):
        self.log = pathlib.Path(log)
        owner = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})}, start_new_session=True, preexec_fn=dies_with_us, **owner,
            )

    def ended(self):
        return self.child.poll() is not None

    def last_words(self):
        return self.log.read_text(errors="replace")[-2000:]

    def ask_to_end(self, how=signal.SIGTERM):
        if not self.ended():
            self.child.send_signal(how)

    def wait(self):
        """Its exit code; one that does not end is ended."""
        try:
            return self.child.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            return self.child.wait()


class Cluster:
    """All of it. Use as a context: leaving it ends everything."""

    def __init__(self, binary, gateways=3, port=0, data=None, drain_s=DRAIN_S):
        self.binary = pathlib.Path(binary).resolve()
        if not self.binary.exists():
            raise Trouble(f"{binary} is missing: run make build")
        self.keeps = data is not None
        self.folder = pathlib.Path(data).resolve() if data else pathlib.Path(tempfile.mkdtemp(prefix="rookery-cluster-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        # Postgres, as another user, must reach its own folder in it.
        self.folder.chmod(0o755)
        self.port = port or free_port()
        self.redis_port, self.postgres_port = free_port(), free_port()
        self.doors = [(free_port(), free_port()) for _ in range(gateways)]
        self.drain_s = drain_s
        self.secret = self.kept_secret()
        self.gateways = [None] * gateways
        self.others = {}

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def log(self, name):
        return self.folder / f"{name}.log"

    def kept_secret(self):
        path = self.folder / "token-secret"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(secrets.token_hex(32))
        return path

    def start(self):
        self.start_redis()
        self.start_postgres()
        for number in range(len(self.doors)):
            self.start_gateway(number)
        self.start_proxy()

    def start_redis(self):
        command = [program("redis-server", "redis-server"), "--port", self.redis_port, "--bind", "127.0.0.1", "--dir", self.folder,
                   "--appendonly", "yes", "--save", "", "--maxmemory-policy", "noeviction"]
        self.others["redis"] = process = Process(command, self.log("redis"))
        until("Redis", lambda: connects(self.redis_port), process)

    def start_postgres(self):
        initdb = program("initdb", "postgresql", "/usr/lib/postgresql/*/bin")
        folder = self.folder / "postgres"
        # Postgres refuses to run as root.
        user = None
        if os.geteuid() == 0:
            try:
                user = pwd.getpwnam("postgres")
            except KeyError:
                user = pwd.getpwnam("nobody")
        if not folder.exists():
            folder.mkdir(mode=0o700)
            if user:
                os.chown(folder, user.pw_uid, user.pw_gid)
            made = Process([initdb, "-D", folder, "-U", "rookery", "-A", "trust", "-E", "UTF8", "--locale=C"], self.log("initdb"), user)
            if made.wait() != 0:
                raise Trouble(f"initdb failed:\n{made.last_words()}")
        command = [pathlib.Path(initdb).with_name("postgres"), "-D", folder, "-p", self.postgres_port, "-h", "127.0.0.1", "-k", folder]
        log = self.log("postgres")
        log.touch()
        self.others["postgres"] = process = Process(command, log, user)
        psql = program("psql", "postgresql", pathlib.Path(initdb).parent)
        query = [psql, "-h", "127.0.0.1", "-p", str(self.postgres_port), "-U", "rookery", "-d", "postgres", "-Atqc"]
        until("Postgres", lambda: subprocess.run([*query, "select 1"], capture_output=True, check=False).returncode == 0, process)
        if not subprocess.run([*query, "select 1 from pg_database where datname = 'rookery'"], capture_output=True, check=True).stdout:
            subprocess.run([*query, "create database rookery"], check=True)

    def start_gateway(self, number):
        """Starts it, and answers when it is ready. The thread that calls this must outlive the gateway: see `dies_with_us`."""
        self.launch_gateway(number)
        self.await_gateway(number)

    def launch_gateway(self, number):
        door, admin = self.doors[number]
        name = f"gateway-{number + 1}"
        environment = {
            "ROOKERY_LISTEN": f"127.0.0.1:{door}",
            "ROOKERY_ADMIN_LISTEN": f"127.0.0.1:{admin}",
            "ROOKERY_NODE_ID": name,
            "ROOKERY_REDIS_URL": f"redis://127.0.0.1:{self.redis_port}",
            "ROOKERY_DATABASE_URL": f"postgres://rookery@127.0.0.1:{self.postgres_port}/rookery",
            "ROOKERY_TOKEN_SECRET_FILE": str(self.secret),
            "ROOKERY_DATA_DIR": str(self.folder / name),
            "ROOKERY_DRAIN_SECONDS": str(self.drain_s),
            "ROOKERY_TRUSTED_PROXY": "127.0.0.0/8",
        }
        self.gateways[number] = Process([self.binary, "serve"], self.log(name), environment=environment)

    def await_gateway(self, number):
        admin = self.doors[number][1]
        until(f"gateway-{number + 1}", lambda: answers(admin, "/readyz"), self.gateways[number])

    def start_proxy(self):
        environment = {"BIND": f"127.0.0.1:{self.port}"}
        # The example is for three; fewer gateways stand in it more than once.
        for place in range(3):
            door, admin = self.doors[place % len(self.doors)]
            environment |= {f"GATEWAY_{place + 1}_HOST": "127.0.0.1", f"GATEWAY_{place + 1}_PORT": str(door), f"GATEWAY_{place + 1}_ADMIN": str(admin)}
        command = [program("haproxy", "haproxy"), "-db", "-f", HERE / "proxy/haproxy.cfg"]
        self.others["haproxy"] = process = Process(command, self.log("haproxy"), environment=environment)
        until("HAProxy", lambda: answers(self.port, "/api/live"), process)

    def stop_gateway(self, number):
        """Asks it to leave; its exit code."""
        self.gateways[number].ask_to_end()
        return self.gateways[number].wait()

    def fallen(self):
        """Names of those that ended unasked."""
        numbered = {f"gateway-{number + 1}": process for number, process in enumerate(self.gateways)}
        return [name for name, process in {**numbered, **self.others}.items() if process and process.ended()]

    def stop(self):
        gateways = [process for process in self.gateways if process]
        for process in gateways:
            process.ask_to_end()
        for process in gateways:
            process.wait()
        for name in reversed(self.others):
            # Postgres' fast shutdown; the smart one waits for clients.
            self.others[name].ask_to_end(signal.SIGINT if name == "postgres" else signal.SIGTERM)
            self.others[name].wait()
        if not self.keeps:
            shutil.rmtree(self.folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary")
    parser.add_argument("--port", type=int, default=8080, help="of the load balancer (8080)")
    parser.add_argument("--gateways", type=int, choices=[1, 2, 3], default=3)
    parser.add_argument("--data", help="folder that is kept; a temporary one by default")
    arguments = parser.parse_args()
    asked = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: asked.set())
    with Cluster(arguments.binary, arguments.gateways, arguments.port, arguments.data) as cluster:
        print(f"\n  Rookery: http://127.0.0.1:{cluster.port}  (Ctrl-C ends all)\n", flush=True)
        for number, (door, admin) in enumerate(cluster.doors):
            print(f"  gateway-{number + 1}  http://127.0.0.1:{door}  admin http://127.0.0.1:{admin}")
        print(f"  redis      redis://127.0.0.1:{cluster.redis_port}")
        print(f"  postgres   postgres://rookery@127.0.0.1:{cluster.postgres_port}/rookery")
        print(f"  logs       {cluster.folder}/*.log\n", flush=True)
        told = set()
        while not asked.wait(0.5):
            for name in set(cluster.fallen()) - told:
                told.add(name)
                print(f"  {name} has ended; see {cluster.log(name)}", flush=True)
        print("  leaving", flush=True)


if __name__ == "__main__":
    try:
        main()
    except Trouble as trouble:
        sys.exit(f"cluster: {trouble}")
