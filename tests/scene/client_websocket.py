#!/usr/bin/python3
"""client_websocket.py URL COUNT [CA]: websocket-client as a consumer.

Arguments, CLIENT_TOKEN, input and output as in client_websockets.py.
"""
import base64
import hashlib
import json
import os
import struct
import sys

import websocket
from websocket import ABNF

TOKEN = os.environ.get("CLIENT_TOKEN")
HEADERS = [f"Authorization: Bearer {TOKEN}"] if TOKEN else []


def main(url, count, ca=None):
    digest, kinds, messages = hashlib.sha256(), "", 0
    code, reason = None, ""
    server = websocket.create_connection(
        url, timeout=120, header=HEADERS,
        sslopt={"ca_certs": ca} if ca else None)
    for line in sys.stdin:
        kind, data = json.loads(line)
        server.send(base64.b64decode(data),
                    ABNF.OPCODE_TEXT if kind == "t" else ABNF.OPCODE_BINARY)
    while not count or messages < count:
        opcode, data = server.recv_data()
        if opcode == ABNF.OPCODE_CLOSE:
            code = struct.unpack(">H", data[:2])[0] if data else 1005
            reason = data[2:].decode()
            break
        digest.update(data + b"\n")
        messages += 1
        if messages <= 1000:
            kinds += "t" if opcode == ABNF.OPCODE_TEXT else "b"
    server.close()
    print(json.dumps({"messages": messages, "kinds": kinds, "code": code,
                      "sha256": digest.hexdigest(), "reason": reason}))


main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
