"""Stands for others that a cluster asks about users: an OpenID Connect issuer, and webhooks for tokens and for access.

usage: stand_in.py DIRECTORY PORT

The directory gets `ca.crt` and `token`, a token of the issuer, and `ready` when it answers on https://localhost:PORT.
"""

import base64
import http.server
import json
import pathlib
import ssl
import subprocess
import sys
import time

directory, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
url = f"https://localhost:{port}"


def openssl(*args, **more):
    return subprocess.run(["openssl", *args], cwd=directory, check=True, capture_output=True, **more).stdout


def text64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "tls.key", "-out", "ca.crt", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost", "-days", "2")
openssl("genrsa", "-out", "issuer.key", "2048")
modulus = openssl("rsa", "-in", "issuer.key", "-noout", "-modulus").decode().strip().removeprefix("Modulus=")
keys = {"keys": [{"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1", "e": "AQAB", "n": text64(bytes.fromhex(modulus))}]}


def token(claims):
    head = {"alg": "RS256", "kid": "1"}
    signed = ".".join(text64(json.dumps(part).encode()) for part in (head, claims))
    signature = openssl("dgst", "-sha256", "-sign", "issuer.key", input=signed.encode())
    return f"{signed}.{text64(signature)}"


def whose(token):
    if token != "of-the-webhook":
        return {"authenticated": False}
    return {"authenticated": True, "user": {"username": "wendy", "groups": ["hooked"]}}


def may(spec):
    resource = spec.get("resourceAttributes", {}).get("resource")
    if "hooked" not in spec.get("groups", []):
        return {"allowed": False}
    if resource == "configmaps":
        return {"allowed": True, "reason": "configmaps for the hooked"}
    return {"allowed": False, "denied": resource == "secrets", "reason": "not for the hooked"}


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, document):
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(keys if self.path == "/keys" else {"issuer": url, "jwks_uri": f"{url}/keys"})

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        spec = review["spec"]
        review["status"] = whose(spec["token"]) if review["kind"] == "TokenReview" else may(spec)
        self.answer(review)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(directory / "ca.crt", directory / "tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
claims = {"iss": url, "aud": "sampan", "sub": "ann", "team": "crew", "exp": int(time.time()) + 3600}
(directory / "token").write_text(token(claims))
(directory / "ready").touch()
server.serve_forever()
