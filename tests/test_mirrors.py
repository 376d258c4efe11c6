"""Data sets fetched from a server on loopback: whole and checked, or not at all."""

import functools
import gzip
import hashlib
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from drsvg_cli.errors import DataError
from drsvg_cli.mirrors import cache_folder, fetch
from drsvg_cli.sequences import moving_mnist


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def serve(tmp_path):
    """Return a function: a folder to serve in, its address out."""
    servers = []

    def start(folder):
        handler = functools.partial(Handler, directory=str(folder))
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def published(write_mnist, tmp_path, monkeypatch):
    """A folder as a mirror has it; what the files should hold is made to fit it."""
    folder = write_mnist(tmp_path / "published")
    contents = {
        path.stem: hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()
        for path in folder.iterdir()
    }
    monkeypatch.setattr(moving_mnist, "CONTENTS", contents)
    monkeypatch.setattr("drsvg_cli.cli.fetching.CONTENTS", contents)
    return folder


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DRSVG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "mnist"


def names(folder):
    return {path.name for path in folder.iterdir()}


class TestCommand:
    def test_fetches_into_the_cache_once(self, drsvg, serve, published, cache):
        mirror = serve(published)
        outcome = drsvg("data", "mnist", "--mirror", mirror)
        assert outcome.code == 0, outcome
        assert "4 files fetched" in outcome.out and str(cache) in outcome.out
        assert names(cache) == names(published)
        assert moving_mnist.part(cache, "test").labels.shape == (40,)
        # Fetched once: the second time nobody is asked.
        outcome = drsvg("data", "mnist", "--mirror", "http://127.0.0.1:9")
        assert outcome.code == 0 and "all files were there" in outcome.out

    def test_any_packing_of_the_same_content_will_do(self, drsvg, serve, published, tmp_path):
        for path in published.iterdir():
            path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 1, mtime=12345))
        outcome = drsvg("data", "mnist", "--mirror", serve(published), "-o", "here", "--json")
        assert outcome.code == 0, outcome
        assert names(tmp_path / "here") == names(published)

    def test_a_damaged_file_is_fetched_again(self, drsvg, serve, published, cache):
        mirror = serve(published)
        drsvg("data", "mnist", "--mirror", mirror)
        path = cache / "t10k-labels-idx1-ubyte.gz"
        whole = path.read_bytes()
        path.write_bytes(whole[:-9])
        outcome = drsvg("data", "mnist", "--mirror", mirror)
        assert "1 files fetched" in outcome.out
        assert path.read_bytes() == whole

    def test_says_plainly_when_it_cannot(self, drsvg, cache):
        outcome = drsvg("data", "mnist", "--mirror", "http://127.0.0.1:9/mnist")
        assert (outcome.code, outcome.out) == (3, "")
        assert outcome.err.startswith("error: ") and outcome.err.count("\n") == 1
        assert "http://127.0.0.1:9/mnist" in outcome.err and str(cache) in outcome.err
        assert not names(cache)

    def test_takes_no_other_content(self, drsvg, serve, published, cache):
        (published / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"something else"))
        outcome = drsvg("data", "mnist", "--mirror", serve(published))
        assert outcome.code == 3 and "SHA-256" in outcome.err
        whole = {path.name for path in published.iterdir()} - {"t10k-labels-idx1-ubyte.gz"}
        assert names(cache) <= whole, "and leaves nothing half done"


def test_the_next_mirror_is_tried(serve, published, tmp_path):
    contents = {f"{name}.gz": digest for name, digest in moving_mnist.CONTENTS.items()}
    (tmp_path / "empty").mkdir()
    addresses = [serve(tmp_path / "empty"), "http://127.0.0.1:9", serve(published)]
    seen = []
    fetched = fetch(
        contents, tmp_path / "here", mirrors=addresses, tick=lambda *told: seen.append(told)
    )
    assert fetched == list(contents)
    name = fetched[0]
    size = (published / name).stat().st_size
    assert (name, size, size) in seen
    with pytest.raises(DataError, match=r"404.*cannot be had"):
        fetch(contents, tmp_path / "there", mirrors=addresses[:2])


def test_where_the_cache_is(monkeypatch, tmp_path):
    assert cache_folder("mnist") == tmp_path / "cache" / "mnist"
    monkeypatch.delenv("DRSVG_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("mnist") == tmp_path / "xdg" / "drsvg" / "mnist"
