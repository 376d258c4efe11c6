"""A small Hub on loopback: the HTTP of huggingface.co that drsvg needs, with faults to order.

Weights are stored the large way (a redirect to another host, which must see no token), the other
files the small way.
"""

import base64
import contextlib
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

TOKEN = "hf_right"
LARGE = (".safetensors", ".png")


@dataclass
class Repo:
    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, files: dict[str, bytes], *, branch: str = "main") -> str:
        whole = self.commits.get(self.branches.get(branch, ""), {}) | files
        name = hashlib.sha1(repr((len(self.commits), sorted(whole.items()))).encode()).hexdigest()
        self.commits[name] = whole
        self.branches[branch] = name
        return name

    def find(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.branches.get(revision)


@dataclass
class Hub:
    repos: dict[str, Repo] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    leaks: list[str] = field(default_factory=list)
    """Requests to the other host that carried a token."""
    cuts: int = 0
    """How many of the next downloads of large files break off half-way."""
    swapped: bool = False
    """Serve other bytes, of the same length, than announced."""
    silent: bool = False
    """Take a connection and never answer."""
    delay: float = 0.0
    """Seconds before an answer."""
    spoofed: dict[str, str] = field(default_factory=dict)
    """Headers of every answer about a file, in place of the true ones."""
    sha: str = ""
    """What to call every commit in the answer about a repo."""
    broken: int = 0
    """A status to answer everything with."""
    port: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def repo(self, name: str, files: dict[str, bytes] | None = None, **kind: bool) -> Repo:
        self.repos[name] = repo = Repo(**kind)
        if files is not None:
            repo.commit(files)
        return repo

    def count(self) -> Counter[str]:
        """Count the requests since the last call, by method."""
        counted = Counter(request.split()[0] for request in self.requests)
        self.requests.clear()
        return counted


class Answer(Exception):  # noqa: N818
    def __init__(self, status: int, body: Any = None, **headers: str) -> None:
        self.status, self.headers = status, {k.replace("_", "-"): v for k, v in headers.items()}
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def answer(self) -> None:
        self.sent = b""
        if length := int(self.headers.get("Content-Length") or 0):
            self.sent = self.rfile.read(length)
        self.hub.requests.append(f"{self.command} {self.path}")
        if self.hub.silent:
            threading.Event().wait(20)
            return
        delay, self.hub.delay = self.hub.delay, 0.0
        threading.Event().wait(delay)
        try:
            if self.hub.broken:
                raise Answer(self.hub.broken, {"error": "out of order"})
            self.route(unquote(self.path.partition("?")[0]))
        except Answer as answer:
            self.reply(answer)

    do_HEAD = do_GET = do_POST = do_PUT = answer  # noqa: N815

    def reply(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in ({"Content-Length": str(len(answer.body))} | answer.headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def route(self, path: str) -> None:
        if match := re.fullmatch(r"/cdn/(\w+)", path):
            return self.blob(match[1])
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/(.+)/([^/]+)", path):
            self.resolve(*match.groups())
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            repo = self.readable(match[1], described=True)
            commit = repo.find(match[2] or "main")
            if match[2] and commit is None:
                raise Answer(404, {"error": "?"}, X_Error_Code="RevisionNotFound")
            siblings = [{"rfilename": name} for name in repo.commits.get(commit or "", {})]
            sha = self.hub.sha or commit
            about = {"id": match[1], "sha": sha, "private": repo.private, "siblings": siblings}
            raise Answer(200, about)
        elif path == "/api/validate-yaml":
            raise Answer(200, {"errors": [], "warnings": []})
        elif path == "/api/repos/create":
            self.create(json.loads(self.sent))
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            self.writable(match[1])
            files = [entry["path"] for entry in json.loads(self.sent)["files"]]
            modes = {name: "lfs" if name.endswith(LARGE) else "regular" for name in files}
            raise Answer(
                200,
                {
                    "files": [
                        {"path": name, "uploadMode": mode, "shouldIgnore": False}
                        for name, mode in modes.items()
                    ]
                },
            )
        elif match := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            self.writable(match[1])
            raise Answer(
                200, {"objects": [self.upload(o) for o in json.loads(self.sent)["objects"]]}
            )
        elif match := re.fullmatch(r"/lfs/(\w+)", path):
            assert hashlib.sha256(self.sent).hexdigest() == match[1]
            self.hub.blobs[match[1]] = self.sent
            raise Answer(200, {})
        elif match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            self.commit(match[1])
        raise Answer(404, {"error": "no such page"})

    def user(self) -> str | None:
        given = self.headers.get("Authorization")
        if given is None:
            return None
        if given != f"Bearer {TOKEN}":
            said = "Invalid credentials in Authorization header"
            raise Answer(401, {"error": said}, X_Error_Message=said)
        return given

    def readable(self, name: str, *, described: bool = False) -> Repo:
        user, repo = self.user(), self.hub.repos.get(name)
        if repo is None or (repo.private and not user):
            # The Hub tells strangers nothing: what is private and what is not look alike.
            raise Answer(404 if user else 401, {"error": "?"}, X_Error_Code="RepoNotFound")
        if repo.gated and not described:  # what it is may be read, its files may not
            raise Answer(
                403 if user else 401,
                {"error": "?"},
                X_Error_Code="GatedRepo",
                X_Error_Message="ask",
            )
        return repo

    def writable(self, name: str) -> Repo:
        if not self.user():
            raise Answer(401, {"error": "Unauthorized"})
        return self.readable(name)

    def resolve(self, name: str, revision: str, file: str) -> None:
        repo = self.readable(name)
        commit = repo.find(revision)
        if commit is None:
            raise Answer(404, {"error": "?"}, X_Error_Code="RevisionNotFound")
        body = repo.commits[commit].get(file)
        if body is None:
            raise Answer(404, {"error": "?"}, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        if not file.endswith(LARGE):
            blob = hashlib.sha1(b"blob %d\0" % len(body) + body).hexdigest()
            known = {"ETag": f'"{blob}"', "X-Repo-Commit": commit} | self.hub.spoofed
            raise Answer(200, body, **known)
        digest = hashlib.sha256(body).hexdigest()
        self.hub.blobs[digest] = body
        raise Answer(
            302,
            b"",
            Location=f"http://localhost:{self.hub.port}/cdn/{digest}",
            **{"X-Repo-Commit": commit, "X-Linked-Etag": f'"{digest}"'} | self.hub.spoofed,
            X_Linked_Size=str(len(body)),
        )

    def blob(self, digest: str) -> None:
        if self.headers.get("Authorization"):
            self.hub.leaks.append(self.path)
        body = self.hub.blobs[digest]
        if self.hub.swapped:
            body = body[:-1] + bytes([body[-1] ^ 1])
        start, headers, status = 0, {}, 200
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start, status = int(match[1]), 206
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
            self.hub.requests[-1] += f" from {start}"
        rest = body[start:]
        if self.command == "GET" and self.hub.cuts:
            self.hub.cuts -= 1
            self.send_response(status)
            for name, value in (headers | {"Content-Length": str(len(rest))}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(rest[: len(rest) // 2])
            self.close_connection = True
            return
        self.reply(Answer(status, rest, **headers))

    def create(self, wanted: dict[str, Any]) -> None:
        if not self.user():
            raise Answer(401, {"error": "Unauthorized"})
        name = f"{wanted['organization']}/{wanted['name']}"
        if wanted["organization"] == "others":
            said = "You don't have the rights to create a model under the namespace others"
            raise Answer(403, {"error": said}, X_Error_Message=said)
        if name in self.hub.repos:
            raise Answer(409, {"error": "exists", "url": f"{self.hub.endpoint}/{name}"})
        private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
        self.hub.repo(name, {}, private=private)
        raise Answer(200, {"url": f"{self.hub.endpoint}/{name}"})

    def upload(self, wanted: dict[str, Any]) -> dict[str, Any]:
        href = f"{self.hub.endpoint}/lfs/{wanted['oid']}"
        return {"oid": wanted["oid"], "size": wanted["size"], "actions": {"upload": {"href": href}}}

    def commit(self, name: str) -> None:
        repo, files = self.writable(name), {}
        for line in self.sent.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.blobs[value["oid"]]
        commit = repo.commit(files)
        url = f"{self.hub.endpoint}/{name}/commit/{commit}"
        raise Answer(200, {"success": True, "commitOid": commit, "commitUrl": url})


@contextlib.contextmanager
def running() -> Iterator[Hub]:
    """Serve an empty Hub on a free port of this computer."""
    hub = Hub()
    handler = type("Bound", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # a client that went away
    hub.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
