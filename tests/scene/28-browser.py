#!/usr/bin/python3
# slow
# limit: 300
"""Chromium, and Node's EventSource: raw, earshot.v1, SSE that resumes itself.

The page comes from another origin, which the listener allows by name; a relay
cuts the EventSource's connection after some bytes, again and again.  And what
they make of tokens, that end.
"""
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import scene
import tokens

COUNT = 40
PAGE = """<!doctype html><title>earshot</title><script>
const host = "%(host)s", relay = "%(relay)s", count = %(count)d;
const result = {};
function raw() {
  return new Promise((done, fail) => {
    const heard = [], ws = new WebSocket("ws://" + host + "/ws/b?from=oldest");
    ws.onerror = fail;
    ws.onmessage = (m) => {
      heard.push(m.data);
      if (heard.length == count) ws.send("from the browser");
      if (heard.length == count + 1) ws.close(1000, "thanks");
    };
    ws.onclose = (e) => done({heard, code: e.code, clean: e.wasClean});
  });
}
function v1() {
  return new Promise((done, fail) => {
    const heard = [], ws = new WebSocket("ws://" + host + "/ws", "earshot.v1");
    ws.onerror = fail;
    ws.onopen = () => ws.send(JSON.stringify(
      {id: 1, subscribe: {channel: "b", from: "oldest"}}));
    ws.onmessage = (m) => {
      const said = JSON.parse(m.data);
      if (said.offset) heard.push(said.text);
      if (said.offset == count)
        ws.send(JSON.stringify({id: 2, publish: {channel: "c", data: {n: 1}}}));
      if (said.id == 2) { ws.close(); done({heard, ok: said.ok,
                                            protocol: ws.protocol}); }
    };
  });
}
function sse() {
  return new Promise((done) => {
    const heard = []; let opened = 0;
    const source = new EventSource("http://" + relay + "/sse/b?from=oldest");
    source.onopen = () => opened++;
    source.onmessage = (m) => {
      heard.push([m.lastEventId, m.data]);
      if (heard.length == count) { source.close(); done({heard, opened}); }
    };
  });
}
(async () => {
  try {
    result.sse = await sse(); result.v1 = await v1(); result.raw = await raw();
  } catch (e) { result.failed = String(e); }
  await fetch("/result", {method: "POST", body: JSON.stringify(result)});
})();
</script>"""
NODE = """
const { EventSource } = require("undici");
const alive = setInterval(() => {}, 1000); // its own timers are not counted
const heard = []; let opened = 0;
const source = new EventSource("http://%(relay)s/sse/b?from=oldest");
source.onopen = () => opened++;
source.onmessage = (m) => {
  heard.push([m.lastEventId, m.data]);
  if (heard.length == %(count)d) {
    source.close();
    clearInterval(alive);
    console.log(JSON.stringify({heard, opened}));
  }
};
"""

TOKEN_PAGE = """<!doctype html><title>earshot</title><script>
const host = "%(host)s", short = "%(short)s", long = "%(long)s";
const result = {};
function source(token) {
  return new Promise((done) => {
    const heard = [], source = new EventSource(
      "http://" + host + "/sse/b?from=oldest&access_token=" + token);
    source.onmessage = (m) => heard.push(m.data);
    source.onerror = () => {
      if (source.readyState == EventSource.CLOSED) done({heard});
    };
  });
}
function raw(token) {
  return new Promise((done) => {
    const heard = [], ws = new WebSocket(
      "ws://" + host + "/ws/b?from=oldest&access_token=" + token);
    ws.onmessage = (m) => heard.push(m.data);
    ws.onclose = (e) => done({heard, code: e.code, reason: e.reason});
  });
}
async function ask(method, token) {
  const answer = await fetch("http://" + host + "/channels/b/messages",
    {method, headers: {"Content-Type": "text/plain",
      ...(token ? {"Authorization": "Bearer " + token} : {})},
     body: method == "POST" ? "from the page" : undefined});
  return [answer.status, await answer.json()];
}
(async () => {
  try {
    [result.sse, result.raw] = await Promise.all([source(short), raw(short)]);
    result.read = await ask("GET", long);
    result.write = await ask("POST", long);
    result.nobody = await ask("GET");
    result.late = await ask("GET", short);
  } catch (e) { result.failed = String(e); }
  await fetch("/result", {method: "POST", body: JSON.stringify(result)});
})();
</script>"""
NODE_TOKEN = """
const { EventSource } = require("undici");
const heard = [];
const alive = setInterval(() => {}, 1000);
const source = new EventSource("%s");
source.onmessage = (m) => heard.push(m.data);
source.onerror = () => {
  if (source.readyState !== EventSource.CLOSED) return;
  clearInterval(alive);
  console.log(JSON.stringify(heard));
};
"""


class Relay:
    """To the daemon and back; the way back is cut after some bytes."""

    def __init__(self, port, bytes_each=900):
        self.port, self.bytes_each = port, bytes_each
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.cuts = 0
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.carry, args=(near,),
                             daemon=True).start()

    def carry(self, near):
        far = socket.create_connection(("127.0.0.1", self.port))
        left = self.bytes_each
        try:
            far.sendall(near.recv(65536))
            while left > 0:
                got = far.recv(min(left, 4096))
                if not got:
                    break
                near.sendall(got)
                left -= len(got)
        except OSError:
            pass  # who has heard enough goes
        self.cuts += left <= 0
        for sock in near, far:
            sock.close()

    def close(self):
        self.listener.close()


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.server.page.encode() if self.path == "/" else b""
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self):
        size = int(self.headers["Content-Length"])
        self.server.result = json.loads(self.rfile.read(size))
        self.send_response(204)
        self.end_headers()
        self.server.told.set()

    def log_message(self, *_):
        pass


def texts(daemon):
    wanted = [f"message {n} ü" for n in range(1, COUNT + 1)]
    daemon.publish("b", "\n".join(wanted), arguments="?split=lines")
    return wanted


def check_events(what, got, wanted, relay):
    scene.equal([text for _, text in got["heard"]], wanted, f"{what}: texts")
    scene.equal([int(i.split(":")[1]) for i, _ in got["heard"]],
                list(range(1, COUNT + 1)), f"{what}: each once, in order")
    scene.check(got["opened"] > 2 and relay.cuts > 1,
                f"{what}: it came back by itself, {got['opened']} times open")


def run_browser(url, told):
    with open(os.devnull, "w") as null:
        browser = subprocess.Popen(
            [shutil.which("chromium"), "--headless", "--no-sandbox",
             "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--disable-dev-shm-usage",
             f"--user-data-dir={scene.TMP}/chromium", url],
            stdout=null, stderr=null, start_new_session=True)
        try:
            return told.wait(120)
        finally:
            os.killpg(browser.pid, 9)
            browser.wait()


def scene_chromium():
    if not shutil.which("chromium"):
        raise scene.Skip("no chromium")
    pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    pages.told, pages.result = threading.Event(), None
    origin = f"http://127.0.0.1:{pages.server_address[1]}"
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    with scene.Daemon("[listener]\nlisten = 127.0.0.1:0\n"
                      f"origins = {origin}\n") as daemon:
        wanted = texts(daemon)
        relay = Relay(daemon.port)
        pages.page = PAGE % {"host": f"127.0.0.1:{daemon.port}",
                             "relay": relay.address, "count": COUNT}
        scene.check(run_browser(origin, pages.told), "the page is through")
        got = pages.result
        scene.equal(got.get("failed"), None, "failed")
        check_events("EventSource", got["sse"], wanted, relay)
        scene.equal(got["v1"]["heard"], wanted, "earshot.v1: texts")
        scene.equal(got["v1"]["protocol"], "earshot.v1", "its subprotocol")
        scene.check("position" in got["v1"]["ok"], "its publish")
        scene.equal(got["raw"]["heard"], wanted + ["from the browser"],
                    "raw: texts, and its own")
        scene.equal((got["raw"]["code"], got["raw"]["clean"]), (1000, True),
                    "raw: its close")
        relay.close()
    pages.shutdown()
    pages.server_close()


def with_tokens(more=""):
    """A daemon of two messages, and a key that signs for it."""
    key = tokens.Key("ES256", scene.TMP)
    daemon = scene.Daemon(
        "[listener]\nlisten = 127.0.0.1:0\n" + more + "[auth]\n"
        f"anonymous = none\ntoken_key = {key.path}\ntoken_leeway = 0s\n")
    answer = daemon.http(
        "POST", "/channels/b/messages?split=lines", b"1\n2",
        {"Content-Type": "text/plain",
         "Authorization": f"Bearer {key.token(publish=['b'])}"})
    scene.equal(answer.status, 201, "two messages")
    return daemon, key


def scene_chromium_with_tokens():
    if not shutil.which("chromium"):
        raise scene.Skip("no chromium")
    pages = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
    pages.told, pages.result = threading.Event(), None
    origin = f"http://127.0.0.1:{pages.server_address[1]}"
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    daemon, key = with_tokens(f"origins = {origin}\n")
    with daemon:
        pages.page = TOKEN_PAGE % {
            "host": f"127.0.0.1:{daemon.port}",
            "short": key.token(subscribe=["b"], lasts_s=10),
            "long": key.token(subscribe=["b"], publish=["b"])}
        scene.check(run_browser(origin, pages.told), "the page is through")
        got = pages.result
        scene.equal(got.get("failed"), None, "failed")
        scene.equal(got["raw"], {"heard": ["1", "2"], "code": 4001,
                                 "reason": "token expired"}, "WebSocket")
        scene.equal(got["sse"], {"heard": ["1", "2"]},
                    "EventSource: ended, came back, was refused for good")
        scene.equal((got["read"][0], got["read"][1]["newest"]), (200, 2),
                    "fetch with a header, after a preflight")
        scene.equal((got["write"][0], got["write"][1]["accepted"]), (201, 1),
                    "and to publish")
        scene.equal([got[k][0] for k in ("nobody", "late")], [401, 401],
                    "the page sees why not")
        scene.equal([got[k][1]["error"]["code"] for k in ("nobody", "late")],
                    ["no_token", "invalid_token"], "in words")
    pages.shutdown()
    pages.server_close()


def scene_node_with_tokens():
    ready = scene.run(["node", "-e", "require('undici').EventSource.name"])
    if ready.returncode != 0:
        raise scene.Skip("no undici")
    daemon, key = with_tokens()
    with daemon:
        token = key.token(subscribe=["b"], lasts_s=4)
        told = scene.run(["node", "-e", NODE_TOKEN % (
            f"{daemon.url}/sse/b?from=oldest&access_token={token}")],
            seconds=60)
        scene.equal(json.loads(told.stdout), ["1", "2"],
                    "undici: each once; ended, came back, was refused")
        scene.equal(daemon.metric("tokens_expired_total"), 1, "by its token")
        scene.check(daemon.metric("tokens_refused_total", reason="expired"),
                    "and then by its age")


def scene_node():
    ready = scene.run(["node", "-e", "require('undici').EventSource.name"])
    if ready.returncode != 0:
        raise scene.Skip("no undici")
    with scene.Daemon() as daemon:
        wanted = texts(daemon)
        relay = Relay(daemon.port)
        told = scene.run(["node", "-e", NODE % {"relay": relay.address,
                                                "count": COUNT}], seconds=60)
        check_events("undici", json.loads(told.stdout), wanted, relay)
        relay.close()


scene.play(globals())
