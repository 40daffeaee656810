"""tokens: keys, and JSON Web Tokens that others than we have made (PyJWT).

    key = tokens.Key("ES256", scene.TMP)       # its file: key.path
    text = key.token(subscribe=["ticks.*"])    # for an hour from now
    text = key.token(lasts_s=2, iss="https://id.example", aud=["earshot"])
    text = key.token(publish=["**"], exp=None)   # None: the claim is left out

put() makes whatever of three parts, for what no library would make.
"""
import base64
import json
import pathlib
import secrets
import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")

PRIVATE = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def put(header, claims, signature=b""):
    """Each part is bytes, or else an object that becomes JSON."""
    return ".".join(
        base64url(part if isinstance(part, bytes)
                  else json.dumps(part).encode())
        for part in (header, claims, signature))


def claims(subscribe=(), publish=(), lasts_s=3600, **more):
    """What is None is left out; rights that are empty are."""
    rights = {name: list(patterns) for name, patterns in
              (("subscribe", subscribe), ("publish", publish)) if patterns}
    made = {"exp": int(time.time()) + lasts_s, "earshot": rights or None,
            **more}
    return {name: value for name, value in made.items() if value is not None}


class Key:
    """A key pair or a secret, with the file earshotd is given of it."""

    made = 0

    def __init__(self, algorithm, folder):
        Key.made += 1
        self.algorithm = algorithm
        self.path = pathlib.Path(folder) / f"token-{Key.made}.key"
        if algorithm == "HS256":
            self.private = secrets.token_hex(32)
            self.public = self.private.encode() + b"\n"
        else:
            self.private = PRIVATE[algorithm]()
            self.public = self.private.public_key().public_bytes(
                serialization.Encoding.PEM,
                serialization.PublicFormat.SubjectPublicKeyInfo)
        self.path.write_bytes(self.public)

    def token(self, *args, headers=None, **named):
        """Signed; the arguments are those of claims()."""
        return self.sign(claims(*args, **named), headers)

    def sign(self, body, headers=None):
        return jwt.encode(body, self.private, self.algorithm, headers)
