"""Whether the documents that a gateway serves are right, and true.

Right: the OpenAPI document passes openapi-spec-validator, the AsyncAPI document its reference parser (asyncapi.mjs).
True: every recorded request, message and stored event, every message of games played here, and every answer of every path by
HTTP fits what the documents say of it; nothing is said or answered that they do not name.

    check.py ROOKERY [NODE]
"""

import asyncio
import http.client
import json
import pathlib
import subprocess
import sys
import tempfile

import websockets
from jsonschema import Draft7Validator, Draft202012Validator
from openapi_spec_validator import validate as validate_openapi

HERE = pathlib.Path(__file__).parent
DATA = HERE.parent.parent / "shared" / "tests" / "data"
# Far more than anything takes, even on a loaded machine.
PATIENCE_S = 60


class Wrong(Exception):
    """Something is not as the documents say."""


def need(fact, words):
    if not fact:
        raise Wrong(words)


def explain(errors):
    return "; ".join(f"{error.json_path}: {error.message[:300]}" for error in errors)


class Messages:
    """What the AsyncAPI document says about the WebSocket, and which of it was seen."""

    def __init__(self, document):
        self.validators = {}
        self.seen = set()
        for key, message in document["components"]["messages"].items():
            schema = {**message["payload"], "components": document["components"]}
            Draft7Validator.check_schema(message["payload"])
            self.validators[key] = Draft7Validator(schema)

    def check(self, group, text):
        value = json.loads(text)
        key = f"{group}.{value['type']}"
        need(key in self.validators, f"not in the document: {key}: {text[:200]}")
        errors = list(self.validators[key].iter_errors(value))
        need(not errors, f"{key} is not as documented: {explain(errors)}: {text[:400]}")
        self.seen.add(key)
        return value

    def told(self, text):
        """A message from a gateway: an event if it has a number."""
        return self.check("event" if "seq" in json.loads(text) else "message", text)

    def unseen(self, *groups):
        return sorted(key for key in self.validators if key.split(".")[0] in groups and key not in self.seen)

    def refuses(self, group, value):
        return not self.validators[f"{group}.{value['type']}"].is_valid(value)


class Server:
    """A gateway on its own."""

    def __init__(self, binary, folder):
        arguments = ["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir", folder]
        self.process = subprocess.Popen([binary, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        line = self.process.stdout.readline()
        need(line.startswith("listening http="), f"no start: {line!r}")
        self.address = line.split()[1].removeprefix("http=")

    def ask(self, method, path, headers=None, lines=None):
        """Status, media type and body; of a stream, so many lines."""
        connection = http.client.HTTPConnection(self.address, timeout=PATIENCE_S)
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            body = response.read() if lines is None else b"".join(response.readline() for _ in range(lines))
            return response.status, response.headers.get_content_type(), body.decode()
        finally:
            connection.close()

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()


class Answers:
    """What the OpenAPI document says about each path, and which of it was asked."""

    def __init__(self, server, document):
        self.server = server
        self.document = document
        self.asked = set()

    def check(self, method, template, wanted, values=None, query="", headers=None, lines=None):
        operation = self.document["paths"][template][method]
        path = template.format(**(values or {}))
        status, media, body = self.server.ask(method.upper(), path + query, headers, lines)
        need(status == wanted, f"{method} {path}{query}: {status} instead of {wanted}: {body[:200]}")
        answer = operation["responses"].get(str(status))
        need(answer is not None, f"{method} {template}: answer {status} is not documented")
        need(media in answer["content"], f"{method} {template}: {media} is not among {list(answer['content'])}")
        schema = {**answer["content"][media]["schema"], "components": self.document["components"]}
        value = json.loads(body) if media == "application/json" else body
        errors = list(Draft202012Validator(schema).iter_errors(value))
        need(not errors, f"{method} {path}: {explain(errors)}: {body[:400]}")
        self.asked.add((template, method))
        return value

    def unasked(self):
        every = {(path, method) for path, methods in self.document["paths"].items() for method in methods}
        return sorted(every - self.asked)


class Player:
    """Somebody at the WebSocket, whose every word, spoken and heard, is held against the document."""

    def __init__(self, socket, messages):
        self.socket = socket
        self.messages = messages
        self.heard = []
        self.count = 0

    async def hear(self):
        text = await asyncio.wait_for(self.socket.recv(), PATIENCE_S)
        value = self.messages.told(text)
        self.heard.append(value)
        return value

    async def until(self, wanted):
        while True:
            for place, value in enumerate(self.heard):
                if wanted(value):
                    return self.heard.pop(place)
            await self.hear()

    async def ask(self, kind, **payload):
        self.count += 1
        text = json.dumps({"type": kind, "payload": payload, "id": self.count})
        self.messages.check("request", text)
        await self.socket.send(text)
        return await self.until(lambda value: value.get("id") == self.count)

    async def hears(self, kind):
        return await self.until(lambda value: value["type"] == kind)


async def play(server, messages):
    """Two people and a watcher say and do all that brings messages about; answers the game."""

    def door():
        return websockets.connect(f"ws://{server.address}/ws")

    async with door() as first, door() as second, door() as third:
        ann, bob, eve = (Player(socket, messages) for socket in (first, second, third))
        for player in (ann, bob, eve):
            await player.hears("welcome")
        control = {"initialMs": 300_000, "incrementMs": 2_000}
        need((await ann.ask("ping", t=[1, "a"]))["type"] == "pong", "no pong")
        need((await ann.ask("init_game", timeControl=control))["type"] == "waiting", "no seek")
        await ann.ask("cancel_seek")
        added = await ann.ask("create_game", timeControl=control, color="white", name="Ann")
        game = added["payload"]["gameId"]
        need((await bob.ask("join_room", gameId=game))["type"] == "invitation", "no invitation")
        await bob.ask("join_game", gameId=game, name="Bob")
        await ann.hears("init_game")
        need((await eve.ask("join_room", gameId=game))["type"] == "game_joined", "no snapshot")
        need((await eve.ask("join_room", gameId="nosuchgame"))["type"] == "game_not_found", "a game from nowhere")
        need((await ann.ask("move", gameId=game, move="e5"))["type"] == "error", "an illegal move is acknowledged")
        need((await ann.ask("move", gameId=game, move="e4", ply=1))["type"] == "ack", "no move")
        await bob.hears("move")
        await bob.ask("move", gameId=game, move={"from": "d7", "to": "d5"}, ply=2)
        await ann.hears("viewers")
        await ann.ask("chat", gameId=game, text="hello")
        await bob.hears("chat")
        await ann.ask("offer_takeback", gameId=game)
        await bob.hears("takeback_offered")
        await bob.ask("decline_takeback", gameId=game)
        await bob.ask("offer_takeback", gameId=game)
        await ann.hears("takeback_offered")
        await ann.ask("accept_takeback", gameId=game)
        await bob.hears("takeback")
        await bob.ask("move", gameId=game, move="f5", ply=2)
        await ann.ask("move", gameId=game, move="exf5", ply=3)
        await bob.ask("move", gameId=game, move="g6", ply=4)
        need((await ann.ask("claim_draw", gameId=game))["payload"]["code"] == "no_claim", "a draw is claimed")
        await ann.ask("offer_draw", gameId=game)
        await bob.hears("draw_offered")
        await bob.ask("decline_draw", gameId=game)
        # Somebody resumes a moment after a snapshot.
        async with door() as tab:
            late = Player(tab, messages)
            token = (await late.hears("welcome"))["payload"]["token"]
            snapshot = await late.ask("join_room", gameId=game)
            position = {"seq": snapshot["payload"]["seq"], "epoch": snapshot["payload"]["epoch"]}
            need((await late.ask("join_room", gameId=game, **position))["type"] == "resumed", "not resumed")
        await bob.ask("leave_room", gameId=game)
        await ann.hears("presence")
        await bob.ask("join_room", gameId=game)
        await bob.hears("chat_history")
        await ann.ask("resign", gameId=game)
        await bob.hears("game_over")
        await bob.ask("offer_rematch", gameId=game)
        await ann.hears("rematch_offered")
        await ann.ask("decline_rematch", gameId=game)
        await ann.ask("offer_rematch", gameId=game)
        await bob.hears("rematch_offered")
        await bob.ask("accept_rematch", gameId=game)
        await bob.hears("rematch")
        await bob.hears("init_game")
        return game, token


def recorded(messages):
    """The words the Rust tests hold fast, and a log that a release stored."""
    for group, name in [("request", "wire/requests.jsonl"), ("message", "wire/messages.jsonl"), ("event", "logs/0.1.0.jsonl")]:
        for line in (DATA / name).read_text().splitlines():
            messages.check(group, line)
    unseen = messages.unseen("request", "message", "event")
    need(not unseen, f"nobody ever recorded {unseen}")
    for group, value in [
        ("request", {"type": "move", "payload": {"gameId": "x"}}),
        ("request", {"type": "join_room"}),
        ("request", {"type": "move", "payload": {"move": {"from": "e2", "to": "e9"}}}),
        ("message", {"type": "resumed", "payload": {"gameId": "x", "seq": -1, "epoch": "1.x"}}),
        ("event", {"seq": 1, "type": "draw_offered", "payload": {"gameId": "x", "by": "white"}}),
        ("event", {"seq": 1, "at": 1, "type": "draw_offered", "payload": {"gameId": "x", "by": "green"}}),
    ]:
        need(messages.refuses(group, value), f"the document lets this pass: {value}")


def by_http(answers, messages, game, token):
    some, none = {"id": game}, {"id": "nosuchgame"}
    answers.check("get", "/api/games/{id}", 200, some)
    answers.check("get", "/api/games/{id}", 404, none)
    answers.check("get", "/api/games/{id}/pgn", 200, some)
    answers.check("get", "/api/games/{id}/pgn", 404, none)
    log = answers.check("get", "/api/games/{id}/events", 200, some)
    for line in log.splitlines():
        messages.check("event", line)
    answers.check("get", "/api/games/{id}/events", 404, none)
    answers.check("get", "/api/games/{id}/stream", 200, some, "?after=2", lines=3)
    answers.check("get", "/api/games/{id}/stream", 400, some, "?after=two")
    answers.check("get", "/api/games/{id}/stream", 404, none)
    answers.check("get", "/api/games", 200)
    answers.check("get", "/api/games", 400, query="?result=2-0")
    answers.check("get", "/api/live", 200)
    guest = answers.check("post", "/api/session", 200)
    same = answers.check("post", "/api/session", 200, headers={"Authorization": f"Bearer {guest['token']}"})
    need(same["user"] == guest["user"], "a token became somebody else")
    answers.check("post", "/api/session", 200, headers={"Authorization": f"Bearer {token}"})
    answers.check("post", "/api/session", 401, headers={"Authorization": "Bearer not.a.token"})
    answers.check("post", "/api/session", 403, headers={"Origin": "https://evil.example"})
    for path in ("/api/openapi.json", "/api/asyncapi.json"):
        answers.check("get", path, 200)
    need(not answers.unasked(), f"documented, and never asked for: {answers.unasked()}")


def main(binary, node="node"):
    with tempfile.TemporaryDirectory(prefix="rookery-documents-") as folder:
        server = Server(binary, folder)
        try:
            _, _, openapi = server.ask("GET", "/api/openapi.json")
            _, _, asyncapi = server.ask("GET", "/api/asyncapi.json")
            openapi_document = json.loads(openapi)
            validate_openapi(openapi_document)
            subprocess.run([node, HERE / "asyncapi.mjs"], input=asyncapi, text=True, check=True, timeout=4 * PATIENCE_S)
            messages = Messages(json.loads(asyncapi))
            recorded(messages)
            live = Messages(json.loads(asyncapi))
            game, token = asyncio.run(play(server, live))
            answers = Answers(server, openapi_document)
            by_http(answers, live, game, token)
        finally:
            server.stop()
    print(f"OpenAPI {openapi_document['openapi']}: {len(answers.asked)} operations answered as documented")
    print(f"{len(messages.seen)} kinds of messages recorded and {len(live.seen)} said on a live node are as documented")
    print(f"not said here: {', '.join(live.unseen('message', 'event'))}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Wrong as wrong:
        sys.exit(f"documents: {wrong}")
