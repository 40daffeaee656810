#!/usr/bin/python3
# sanitizer: yes
"""Tokens and keys that others have made: PyJWT, openssl, and the Python and the
commands of earshot.conf(5), as they stand there."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "../lib"))
import jwt
import scene
import tokens

BELIEVE = scene.BUILD / "tests/lib/believe"
MANUAL = (scene.TOP / "conf/earshot.conf.5").read_text()


def believe(lines, *texts, code=0):
    """What is said of each, by a keyring of these lines of [auth]."""
    path = scene.TMP / "believe.conf"
    path.write_text(f"{scene.LISTENER}[auth]\n{lines}")
    done = scene.run([BELIEVE, path], "".join(f"{t}\n" for t in texts),
                     code=code)
    return done.stdout.splitlines() if code == 0 else done.stderr


def blocks(word):
    """Literal blocks of the manual that have the word."""
    return [block for block in re.findall(
        r"^\.Bd -unfilled[^\n]*\n(.*?)^\.Ed", MANUAL, re.S | re.M)
        if word in block]


def scene_all_algorithms_of_pyjwt():
    keys = [tokens.Key(name, scene.TMP) for name in tokens.ALGORITHMS * 2]
    lines = "".join(f"token_key = {key.path}\n" for key in keys) + \
        "token_issuer = https://id.example\ntoken_audience = earshot\n"
    body = tokens.claims(["ticks.*"], ["jobs"], sub="jöe", nbf=1, iat=1.5,
                         iss="https://id.example", aud=["x", "earshot"],
                         more={"a": [1, None, "\n"]})
    said = believe(lines, *(key.sign(body, {"kid": "7", "x": [1, {}]})
                            for key in keys))
    scene.equal([(s[:4], json.loads(s[4:])) for s in said],
                [("yes ", body)] * len(keys), "believed")
    lines = "".join(f"token_key = {key.path}\n" for key in keys[:4])
    said = believe(f"{lines}token_audience = earshot\n",
                   *(key.sign(body) for key in keys))
    scene.equal([s.partition("{")[0] for s in said], ["yes "] * 4 + [
        "no not signed with a key of this server"] * 4, "of other keys")


def scene_pyjwt_and_we_agree():
    """Of tokens that differ in one claim, whatever it is."""
    key = tokens.Key("ES256", scene.TMP)
    public = key.public
    values = (None, 0, 1, -1, 1.5, 4e9, "x", "earshot", "https://id.example",
              [], ["x"], ["earshot"], ["x", "earshot"], {}, True, "")
    bodies = [tokens.claims(iss="https://id.example", aud="earshot")]
    for name in "exp", "nbf", "iss", "aud", "sub":
        for value in values:
            bodies.append({**bodies[0], name: value})
        bodies.append({n: v for n, v in bodies[0].items() if n != name})
    texts = [tokens.put({"alg": "ES256"}, body) for body in bodies]
    texts = [text.rpartition(".")[0] for text in texts]
    algorithm = jwt.algorithms.get_default_algorithms()["ES256"]
    texts = [text + "." + tokens.base64url(
        algorithm.sign(text.encode(), key.private)) for text in texts]
    said = believe(f"token_key = {key.path}\ntoken_leeway = 0s\n"
                   "token_issuer = https://id.example\n"
                   "token_audience = earshot\n", *texts)
    different = []
    for text, body, ours in zip(texts, bodies, said):
        try:
            jwt.decode(text, public, ["ES256"], audience="earshot",
                       issuer="https://id.example",
                       options={"require": ["exp"]})
            theirs = True
        except (jwt.PyJWTError, TypeError, ValueError):
            theirs = False
        if theirs != ours.startswith("yes "):
            different.append((body, theirs, ours))
    # Where we are stricter: dates and subjects that are none.
    strict = "no a claim is missing or of the wrong kind"
    for body, theirs, ours in different:
        scene.check(theirs and ours == strict and
                    (body.get("sub", "") != "" or body["nbf"] is True),
                    f"stricter: {body}")
    scene.check(len(said) == len(texts) and len(different) < 30,
                f"{len(said)} tokens, {len(different)} of them "
                "of claims that PyJWT does not look at")


def scene_keys_of_openssl():
    """Pairs as the manual has them made."""
    commands = blocks("openssl genpkey")
    scene.equal(len(commands), 1, "the commands")
    kinds = re.findall(r"-algorithm (\S+)((?: -pkeyopt \S+)?)", MANUAL)
    scene.equal([kind for kind, _ in kinds], ["ed25519", "EC", "RSA"], "kinds")
    for kind, option in kinds:
        script = commands[0].replace("/etc/earshot", str(scene.TMP)).replace(
            "-algorithm ed25519", f"-algorithm {kind}{option}")
        scene.run(["sh", "-ec", script], code=0, cwd=scene.TMP)
        private = (scene.TMP / "private.pem").read_text()
        name = {"ed25519": "EdDSA", "EC": "ES256", "RSA": "RS256"}[kind]
        text = jwt.encode(tokens.claims(), private, name)
        scene.equal(believe(f"token_key = {scene.TMP}/token.pem\n",
                            text)[0][:4], "yes ", f"{kind}: believed")
        said = believe(f"token_key = {scene.TMP}/private.pem\n", code=1)
        scene.equal(said, f"{scene.TMP}/believe.conf:4: token_key = "
                    f"{scene.TMP}/private.pem: a private key, expected a "
                    "public key (openssl pkey -pubout)\n", "the other half")


def scene_a_secret_and_python_as_in_the_manual():
    secret = blocks("openssl rand")
    python = blocks("import base64")
    scene.equal((len(secret), len(python)), (1, 1), "the examples")
    path = scene.TMP / "token.key"
    script = secret[0].replace("/etc/earshot", str(scene.TMP))
    script = "\n".join(line for line in script.splitlines()
                       if not line.startswith("chown "))
    scene.run(["sh", "-ec", script], code=0)
    scene.equal(path.stat().st_mode & 0o777, 0o600, "its permissions")
    text = scene.run(
        [scene.PY, "-c", python[0].replace("/etc/earshot", str(scene.TMP))],
        code=0).stdout.strip()
    said = believe(f"token_key = {path}\n", text)[0]
    scene.equal(json.loads(said.removeprefix("yes "))["earshot"],
                {"subscribe": ["ticks.*"], "publish": ["jobs"]}, "believed")
    got = jwt.decode(text, path.read_text().strip(), ["HS256"])
    scene.equal(got["sub"], "joe", "by PyJWT, too")


scene.play(globals())
