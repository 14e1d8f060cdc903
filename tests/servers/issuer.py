"""An issuer of tokens as OpenID Connect has them: who trusts it needs nothing but its keys, which it tells to all. Clusters of Kubernetes have such a one for their pods."""

import base64
import functools
import http.server
import json
import subprocess
import threading
import time
from pathlib import Path

DISCOVERY = "/.well-known/openid-configuration"


def encoded(content):
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    """Signs by a key in a folder, and tells the key by HTTP."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.key = self.folder / "issuer.pem"
        self.openssl("genrsa", "-out", self.key, "2048")
        modulus = self.openssl("rsa", "-in", self.key, "-noout", "-modulus").decode().strip().removeprefix("Modulus=")
        public = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1", "n": encoded(bytes.fromhex(modulus)), "e": "AQAB"}
        told = self.folder / "told"
        (told / ".well-known").mkdir(parents=True)
        handler = functools.partial(Handler, directory=told)
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        (told / "keys").write_text(json.dumps({"keys": [public]}))
        (told / DISCOVERY[1:]).write_text(json.dumps({
            "issuer": self.address,
            "jwks_uri": f"{self.address}/keys",
            "authorization_endpoint": f"{self.address}/authorize",
            "token_endpoint": f"{self.address}/token",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }))

    def openssl(self, *arguments, **options):
        return subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, **options).stdout

    def token(self, audience, subject="nunatak", seconds=3600):
        now = int(time.time())
        claims = {"iss": self.address, "aud": audience, "azp": audience, "sub": subject, "iat": now, "exp": now + seconds}
        signed = f"{encoded({'alg': 'RS256', 'typ': 'JWT', 'kid': '1'})}.{encoded(claims)}"
        return f"{signed}.{encoded(self.openssl('dgst', '-sha256', '-sign', self.key, input=signed.encode()))}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass
