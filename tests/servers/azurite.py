"""Azurite: Microsoft's emulator of Azure's storage."""

import base64
import datetime
import hashlib
import hmac
import os
import urllib.error
import urllib.request

from nunatak_testing.server import ROOT, free_port

from .process import ServerProcess

PROGRAM = ROOT / ".cache/azurite/node_modules/azurite/dist/src/blob/main.js"


class Azurite(ServerProcess):
    """One server of blobs. `settings` are those of a catalog's storage."""

    name = "Azurite"
    account = "nunatak"
    key = base64.b64encode(b"not-a-secret").decode()

    def __init__(self, folder):
        super().__init__(folder)
        self.port = free_port()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}/{self.account}"

    @property
    def settings(self):
        return {"adls.endpoint": self.endpoint, "adls.auth.shared-key.account.key": self.key}

    def location(self, container, path):
        return f"abfss://{container}@{self.account}.dfs.core.windows.net/{path}"

    def make_container(self, container):
        """By a request that is signed with the account's key."""
        date = datetime.datetime.now(datetime.timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")
        headers = {"x-ms-date": date, "x-ms-version": "2021-12-02"}
        named = "".join(f"{name}:{value}\n" for name, value in headers.items())
        # The account stands twice: in the address of the emulator, and as the one that signs.
        text = f"PUT{chr(10) * 12}{named}/{self.account}/{self.account}/{container}\nrestype:container"
        signature = base64.b64encode(hmac.digest(base64.b64decode(self.key), text.encode(), hashlib.sha256)).decode()
        headers |= {"Authorization": f"SharedKey {self.account}:{signature}", "Content-Length": "0"}
        request = urllib.request.Request(f"{self.endpoint}/{container}?restype=container", method="PUT", headers=headers)
        urllib.request.urlopen(request, timeout=10).close()

    @property
    def command(self):
        place = ["--blobHost", "127.0.0.1", "--blobPort", self.port, "--location", self.folder / "data"]
        return ["node", PROGRAM, *place, "--silent", "--disableTelemetry", "--skipApiVersionCheck"]

    @property
    def environment(self):
        return os.environ | {"AZURITE_ACCOUNTS": f"{self.account}:{self.key}"}

    @property
    def ready_url(self):
        return f"{self.endpoint}?comp=list"

    def is_answer(self, error):
        # It wants a signature.
        return isinstance(error, urllib.error.HTTPError)
