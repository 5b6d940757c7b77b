"""A rolling restart of three gateways behind each load balancer in deploy/proxy, while games go on: nobody loses a move, sees a
gap, or waits longer than the drain window. What runs is what `make cluster` runs.

    rolling.py ROOKERY [haproxy|nginx ...]
"""

import asyncio
import http.client
import json
import pathlib
import random
import sys
import time

import chess
import websockets

DEPLOY = pathlib.Path(__file__).parent.parent.parent / "deploy"
sys.path.insert(0, str(DEPLOY))
import cluster as local  # noqa: E402

GAMES = 6
WATCHERS = 30
# The window that a leaving gateway has to send its people elsewhere.
DRAIN_S = 8
# Thinking time: some ten moves a second in all.
THINKING_S = 0.5
PLIES_MAX = 400
# For facts that nothing is promised about; far more than they take.
PATIENCE_S = 60


class Wrong(Exception):
    """A promise was broken."""


def need(fact, words):
    if not fact:
        raise Wrong(words)


class Person:
    """A client as a good one is written: it comes back, resumes where it was, and asks again for what it has no answer to."""

    def __init__(self, name, port):
        self.name, self.port = name, port
        self.token = None
        self.socket = None
        self.reader = None
        self.game = None
        self.epoch, self.seq = None, None
        self.moves = []
        self.answers = {}
        self.asked = 0
        self.reconnects = 0
        self.nodes = set()
        self.changed = asyncio.Condition()

    async def comes(self):
        """A connection, and the room again if there was one."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                protocols = ["rookery", self.token] if self.token else None
                socket = await websockets.connect(f"ws://127.0.0.1:{self.port}/ws", subprotocols=protocols, open_timeout=10)
                welcome = json.loads(await asyncio.wait_for(socket.recv(), 10))["payload"]
                break
            except (OSError, TimeoutError, websockets.exceptions.WebSocketException) as error:
                need(time.monotonic() < end, f"{self.name} cannot connect: {error!r}")
                await asyncio.sleep(random.uniform(0.02, 0.2))
        self.token = welcome["token"]
        self.nodes.add(welcome["node"])
        self.socket = socket
        self.reader = asyncio.create_task(self.reads(socket))
        if self.game:
            position = {"seq": self.seq, "epoch": self.epoch} if self.epoch else {}
            await self.ask("join_room", gameId=self.game, **position)

    async def reads(self, socket):
        try:
            async for text in socket:
                self.hears(json.loads(text))
                async with self.changed:
                    self.changed.notify_all()
        except websockets.exceptions.ConnectionClosedError:
            pass
        finally:
            async with self.changed:
                self.socket = None
                self.changed.notify_all()

    def hears(self, message):
        if message.get("id") is not None:
            self.answers[message["id"]] = message
        kind, payload = message["type"], message["payload"]
        if payload.get("gameId") != self.game and kind != "init_game":
            return
        if kind in ("init_game", "game_joined"):
            moves = [move["uci"] for move in payload["moves"]]
            same = self.game == payload["gameId"]
            need(not same or moves[: len(self.moves)] == self.moves, f"{self.name}: a snapshot that forks")
            self.game, self.epoch, self.seq, self.moves = payload["gameId"], payload["epoch"], payload["seq"], moves
        elif "seq" in message:
            need(message["seq"] == self.seq + 1, f"{self.name}: event {message['seq']} after {self.seq}")
            self.seq = message["seq"]
            if kind == "move":
                self.moves.append(payload["move"]["uci"])

    async def until(self, fact, words):
        async with self.changed:
            try:
                await asyncio.wait_for(self.changed.wait_for(fact), PATIENCE_S)
            except TimeoutError:
                raise Wrong(f"{self.name} waited in vain for {words}") from None

    async def ask(self, kind, **payload):
        """The answer, or None if the connection ended first."""
        self.asked += 1
        number, socket = self.asked, self.socket
        if socket is None:
            return None
        try:
            await socket.send(json.dumps({"type": kind, "payload": payload, "id": number}))
        except websockets.exceptions.ConnectionClosed:
            return None
        await self.until(lambda: number in self.answers or self.socket is not socket, f"the answer to {kind}")
        return self.answers.pop(number, None)

    async def insists(self, kind, **payload):
        """Asks until it is answered for good."""
        end = time.monotonic() + PATIENCE_S
        while True:
            need(time.monotonic() < end, f"{self.name}: {kind} was never answered")
            if self.socket is None:
                self.reconnects += 1
                await self.comes()
            answer = await self.ask(kind, **payload)
            if answer is None:
                continue
            if answer["type"] == "error":
                need(answer["payload"]["retryable"], f"{self.name}: {kind} {payload}: {answer}")
                await asyncio.sleep(0.05)
                continue
            return answer

    async def sees(self, plies):
        while len(self.moves) < plies:
            if self.socket is None:
                self.reconnects += 1
                await self.comes()
            socket = self.socket
            await self.until(lambda: len(self.moves) >= plies or self.socket is not socket, f"ply {plies}")

    async def watches(self, done):
        """Stays until the end, and comes back whenever it must."""
        while not done.is_set():
            if self.socket is None:
                self.reconnects += 1
                await self.comes()
            await asyncio.sleep(0.1)


async def play(white, black, done, waits):
    """A game at random, until everything was restarted; answers what was acknowledged."""
    board = chess.Board()
    acknowledged = []
    while not done.is_set() and len(acknowledged) < PLIES_MAX:
        mover, other = (white, black) if board.turn else (black, white)
        # A move after which the game goes on, so that it lasts.
        moves = list(board.legal_moves)
        random.shuffle(moves)
        quiet = [move for move in moves if not board.is_capture(move)]
        move = next((move for move in quiet + moves if goes_on(board, move)), None)
        if move is None:
            break
        ply = len(acknowledged) + 1
        began = time.monotonic()
        await mover.insists("move", gameId=mover.game, move=move.uci(), ply=ply)
        waits.append((time.monotonic() - began, f"{mover.name}'s move {ply} was not acknowledged"))
        acknowledged.append(move.uci())
        board.push(move)
        began = time.monotonic()
        await other.sees(ply)
        waits.append((time.monotonic() - began, f"{other.name} did not see move {ply}"))
        await asyncio.sleep(THINKING_S)
    return acknowledged


def goes_on(board, move):
    board.push(move)
    try:
        return not board.is_game_over(claim_draw=True) and not board.is_repetition(2)
    finally:
        board.pop()


def recorded(port, game):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request("GET", f"/api/games/{game}/events")
    events = [json.loads(line) for line in connection.getresponse().read().decode().splitlines()]
    connection.close()
    need([event["seq"] for event in events] == list(range(len(events))), f"{game}: the record has gaps")
    return [event["payload"]["move"]["uci"] for event in events if event["type"] == "move"]


async def restart(cluster, done):
    try:
        for number in range(len(cluster.gateways)):
            await asyncio.sleep(1)
            code = await asyncio.to_thread(cluster.stop_gateway, number)
            need(code == 0, f"gateway-{number + 1} left with {code}:\n{cluster.gateways[number].last_words()}")
            # Started by this thread, since it lasts.
            cluster.launch_gateway(number)
            await asyncio.to_thread(cluster.await_gateway, number)
        await asyncio.sleep(2)
    finally:
        done.set()


async def rolling(cluster, port):
    tables = []
    for number in range(GAMES):
        white, black = Person(f"white {number}", port), Person(f"black {number}", port)
        await white.comes()
        await black.comes()
        game = (await white.insists("create_game", timeControl=None, color="white"))["payload"]["gameId"]
        white.game = game
        await black.insists("join_game", gameId=game)
        await white.until(lambda: white.epoch is not None, "the start")
        tables.append((white, black))
    watchers = [Person(f"watcher {number}", port) for number in range(WATCHERS)]
    for number, watcher in enumerate(watchers):
        watcher.game = tables[number % GAMES][0].game
        await watcher.comes()
    done, waits = asyncio.Event(), []
    playing = [play(white, black, done, waits) for white, black in tables]
    *games, _, _ = await asyncio.gather(*playing, restart(cluster, done), asyncio.gather(*(watcher.watches(done) for watcher in watchers)))
    for (white, black), acknowledged in zip(tables, games):
        for door in (port, *(door for door, _ in cluster.doors)):
            need(recorded(door, white.game) == acknowledged, f"{white.game}: the record at {door} is not what was acknowledged")
        for person in (white, black):
            need(person.moves == acknowledged, f"{person.name} saw something else")
    for number, watcher in enumerate(watchers):
        await watcher.sees(len(games[number % GAMES]))
        need(watcher.moves == games[number % GAMES], f"{watcher.name} saw something else")
    people = [person for table in tables for person in table] + watchers
    reconnects = sum(person.reconnects for person in people)
    need(reconnects >= len(people), f"{reconnects} reconnects of {len(people)} people: nothing was restarted")
    longest, what = max(waits)
    need(longest < DRAIN_S, f"{what} for {longest:.1f} s, longer than the drain window of {DRAIN_S} s")
    for person in people:
        if person.socket:
            await person.socket.close()
    return sum(map(len, games)), reconnects, longest


def nginx(cluster):
    """nginx with the example's configuration before the same gateways; answers its port."""
    port = local.free_port()
    text = (DEPLOY / "proxy/nginx.conf").read_text().replace("listen 80;", f"listen 127.0.0.1:{port};")
    for number, (door, _) in enumerate(cluster.doors):
        name = f"gateway-{number + 1}:8080"
        need(name in text, f"nginx.conf does not name {name}")
        text = text.replace(name, f"127.0.0.1:{door}")
    folder = cluster.folder / "nginx"
    folder.mkdir()
    folder.chmod(0o777)
    temporary = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    path = folder / "nginx.conf"
    path.write_text(f"daemon off;\npid {folder}/pid;\nerror_log stderr warn;\nevents {{ worker_connections 1024; }}\nhttp {{\naccess_log off;\n{temporary}{text}}}\n")
    command = [local.program("nginx", "nginx"), "-p", folder, "-c", path]
    cluster.others["nginx"] = process = local.Process(command, cluster.log("nginx"))
    local.until("nginx", lambda: local.answers(port, "/api/live"), process)
    return port


def main(binary, *names):
    with local.Cluster(binary, drain_s=DRAIN_S) as cluster:
        for name in names or ("haproxy", "nginx"):
            port = cluster.port if name == "haproxy" else nginx(cluster)
            moves, reconnects, longest = asyncio.run(rolling(cluster, port))
            need(not cluster.fallen(), f"ended unasked: {cluster.fallen()}")
            print(f"{name}: three gateways restarted under {moves} moves; {reconnects} reconnects, none lost; longest wait {longest:.2f} s of {DRAIN_S} s", flush=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (Wrong, local.Trouble) as wrong:
        sys.exit(f"rolling: {wrong}")
