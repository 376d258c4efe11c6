"""Data sets fetched from a server on loopback: whole and checked, or not at all."""

import functools
import gzip
import hashlib
import json
import shutil
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from drsvg_cli.commands import data
from drsvg_cli.data import kth, moving_mnist
from drsvg_cli.data.download import Publication, cache_folder, fetch, publication
from drsvg_cli.data.sprites import GARMENTS, read_sheets
from drsvg_cli.errors import DataError, ResourceError


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
        path.name: hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest()
        for path in folder.iterdir()
    }
    monkeypatch.setattr(data, "publication", lambda _: Publication((), contents))
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

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            (
                "SSL_CERT_FILE",
                "none.pem",
                "No such file or directory; check SSL_CERT_FILE (none.pem",
            ),
            ("HTTPS_PROXY", "nonsense://x", "nonsense://x"),
        ],
    )
    def test_an_environment_without_a_way_out_is_named(self, drsvg, monkeypatch, name, value, said):
        monkeypatch.setenv(name, value)
        outcome = drsvg("data", "mnist")
        assert (outcome.code, outcome.out) == (3, "")
        assert outcome.err.startswith("error: no connection can be made: ") and said in outcome.err

    def test_takes_no_other_content(self, drsvg, serve, published, cache):
        (published / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"something else"))
        outcome = drsvg("data", "mnist", "--mirror", serve(published))
        assert outcome.code == 3 and "SHA-256" in outcome.err
        whole = {path.name for path in published.iterdir()} - {"t10k-labels-idx1-ubyte.gz"}
        assert names(cache) <= whole, "and leaves nothing half done"


def test_half_a_file_of_a_killed_run_is_written_over(serve, published, tmp_path):
    contents = data.publication("mnist").files
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f".{next(iter(contents))}").write_bytes(b"half")
    fetch(contents, tmp_path / "out", mirrors=[serve(published)])
    assert names(tmp_path / "out") == {*contents}


def test_two_runs_fetch_a_file_once(serve, published, tmp_path):
    contents = data.publication("mnist").files
    mirrors, out = [serve(published)], tmp_path / "out"
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(fetch, contents, out, mirrors=mirrors) for _ in range(2)]
    assert sorted(len(run.result()) for run in runs) == [0, len(contents)]


@pytest.mark.parametrize("port", ["9", "x", "99999"])
def test_a_password_in_an_address_is_never_printed(drsvg, monkeypatch, port):
    mirror = f"http://user:s3cret@127.0.0.1:{port}/x"
    said = [drsvg("data", "mnist", "--mirror", mirror)]
    monkeypatch.setenv("HTTP_PROXY", mirror)
    monkeypatch.delenv("NO_PROXY", raising=False)
    said.append(drsvg("data", "mnist", "--mirror", "http://mirror.invalid"))
    for outcome in said:
        assert (outcome.code, outcome.out) == (3, "") and outcome.err.count("\n") == 1, outcome
        assert "s3cret" not in outcome.err and "user" not in outcome.err


def test_where_nobody_has_a_home(monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert cache_folder("mnist").name == "mnist", "DRSVG_CACHE is enough"
    monkeypatch.delenv("DRSVG_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(ResourceError, match="set DRSVG_CACHE"):
        cache_folder("mnist")


def test_the_next_mirror_is_tried(serve, published, tmp_path):
    contents = data.publication("mnist").files
    (tmp_path / "empty").mkdir()
    addresses = [
        serve(tmp_path / "empty"),
        "http://127.0.0.1:9",
        "http://example..com",
        serve(published),
    ]
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


class TestKTH:
    @pytest.fixture
    def published(self, tmp_path, monkeypatch):
        """Two actions of two persons, as the official site has them; digests are made to fit."""
        monkeypatch.setattr(kth, "ACTIONS", ("boxing", "walking"))
        monkeypatch.setattr(kth, "TRAINING", range(1, 2))
        monkeypatch.setattr(kth, "TEST", range(21, 22))
        monkeypatch.setattr(kth, "TOTAL", 16)
        folder = tmp_path / "published"
        folder.mkdir()
        digests, lines = {}, []
        for action in kth.ACTIONS:
            path = folder / f"{action}.zip"
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("readme.txt", "not wanted")
                for name in kth.file_names(action):
                    archive.writestr(f"{action}/{name}", f"frames of {name}")
                    lines.append(f"{name.removesuffix('_uncomp.avi')}\tframes\t1-9\r\n")
            digests[path.name] = hashlib.sha1(path.read_bytes()).hexdigest()
        monkeypatch.setattr(data, "publication", lambda _: Publication((), digests))
        (folder / kth.RANGES_FILE).write_text("".join(lines))
        return folder

    def test_archives_are_unpacked_once(self, drsvg, serve, published, cache):
        mirror, folder = serve(published), cache.with_name("kth")
        outcome = drsvg("data", "kth", "--mirror", mirror, "--json")
        assert outcome.code == 0, outcome
        assert json.loads(outcome.out)["fetched"] == ["boxing.zip", "walking.zip", kth.RANGES_FILE]
        files = {*kth.file_names("boxing"), *kth.file_names("walking")}
        assert names(folder) == {*files, kth.RANGES_FILE} and len(files) == 16
        name = kth.file_names("walking")[5]
        assert (folder / name).read_text() == f"frames of {name}"
        # A clip that is missing is fetched again with its action; the others are not asked for.
        (folder / name).unlink()
        (published / "boxing.zip").unlink()
        outcome = drsvg("data", "kth", "--mirror", mirror, "--json")
        assert json.loads(outcome.out)["fetched"] == ["walking.zip"] and (folder / name).is_file()
        outcome = drsvg("data", "kth", "--mirror", "http://127.0.0.1:9")
        assert outcome.code == 0 and "all files were there" in outcome.out

    def test_an_empty_clip_is_a_missing_one(self, drsvg, serve, published, cache):
        mirror, folder = serve(published), cache.with_name("kth")
        drsvg("data", "kth", "--mirror", mirror)
        empty, other = kth.file_names("walking")[:2]
        (folder / empty).write_bytes(b"")
        outcome = drsvg("data", "kth", "--mirror", mirror, "--json")
        assert json.loads(outcome.out)["fetched"] == ["walking.zip"]
        assert (folder / empty).read_text() == f"frames of {empty}"
        (folder / other).write_text("of somebody else")
        said = drsvg("data", "kth", "--mirror", mirror).out
        assert "no clip is empty" in said and "what they should be" not in said

    def test_an_archive_that_is_there_is_taken_and_stays(self, drsvg, serve, published, cache):
        folder = cache.with_name("kth")
        shutil.copytree(published, folder)
        outcome = drsvg("data", "kth", "--mirror", "http://127.0.0.1:9", "--json")
        assert outcome.code == 0 and json.loads(outcome.out)["fetched"] == [], outcome
        clips = {*kth.file_names("boxing"), *kth.file_names("walking")}
        assert names(folder) == clips | names(published)
        # One that is damaged helps nobody, and is replaced as soon as it can be.
        (folder / kth.file_names("boxing")[0]).unlink()
        (folder / "boxing.zip").write_bytes(b"PK")
        outcome = drsvg("data", "kth", "--mirror", "http://127.0.0.1:9")
        assert outcome.code == 3 and f"the one in {folder} is damaged" in outcome.err
        assert (folder / "boxing.zip").read_bytes() == b"PK"
        outcome = drsvg("data", "kth", "--mirror", serve(published))
        assert outcome.code == 0 and "1 files fetched" in outcome.out
        assert names(folder) == clips | names(published)

    def test_another_archive_is_refused(self, drsvg, serve, published, cache):
        with zipfile.ZipFile(published / "boxing.zip", "a") as archive:
            archive.writestr("../../evil.avi", "x")
        outcome = drsvg("data", "kth", "--mirror", serve(published))
        assert outcome.code == 3 and "boxing.zip" in outcome.err and "SHA-1" in outcome.err
        assert not names(cache.with_name("kth"))

    @pytest.mark.parametrize("damage", ["cut", "short"])
    def test_what_is_in_an_archive_is_checked(
        self, drsvg, serve, published, cache, monkeypatch, damage
    ):
        path = published / "boxing.zip"
        if damage == "cut":
            packed = bytearray(path.read_bytes())
            packed[packed.index(b"frames of person21") + 3] ^= 1
            path.write_bytes(packed)
        else:
            with zipfile.ZipFile(path, "w") as archive:
                archive.writestr("person01_boxing_d1_uncomp.avi", "x")
        digest = hashlib.sha1(path.read_bytes()).hexdigest()
        monkeypatch.setitem(data.publication("kth").files, "boxing.zip", digest)
        outcome = drsvg("data", "kth", "--mirror", serve(published))
        said = "is damaged" if damage == "cut" else "lacks 7 files"
        assert outcome.code == 3 and f"boxing.zip {said}" in outcome.err
        assert not [name for name in names(cache.with_name("kth")) if name.startswith(".")]

    def test_the_list_of_frames_must_be_whole(self, drsvg, serve, published):
        path = published / kth.RANGES_FILE
        path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
        outcome = drsvg("data", "kth", "--mirror", serve(published))
        assert outcome.code == 3 and "lists 15 clips, not 16" in outcome.err

    def test_a_list_that_is_none_can_be_fetched_again(self, drsvg, serve, published, cache):
        mirror, path = serve(published), cache.with_name("kth") / kth.RANGES_FILE
        drsvg("data", "kth", "--mirror", mirror)
        path.write_text("<html>not found</html>")
        outcome = drsvg("data", "kth", "--mirror", mirror)
        assert outcome.code == 3 and f"{path} names no frames of any clip" in outcome.err
        assert "remove it and fetch it again" in outcome.err
        path.unlink()
        outcome = drsvg("data", "kth", "--mirror", mirror)
        assert outcome.code == 0 and "1 files fetched" in outcome.out


def test_sheets_of_sprites(drsvg, serve, sheets, cache, monkeypatch):
    contents = {
        path.relative_to(sheets).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sheets.rglob("*.png")
    }
    monkeypatch.setattr(data, "publication", lambda _: Publication((), contents))
    outcome = drsvg("data", "sprites", "--mirror", serve(sheets))
    assert outcome.code == 0 and "15 files fetched" in outcome.out
    assert set(read_sheets(cache.with_name("sprites"))) == set(GARMENTS)
    (cache.with_name("sprites") / "hair" / "1.png").write_bytes(b"other")
    outcome = drsvg("data", "sprites", "--mirror", serve(sheets))
    assert "1 files fetched" in outcome.out


def test_what_is_published_is_known_by_its_checksums():
    mnist, sprites, archives = (publication(name) for name in ("mnist", "sprites", "kth"))
    assert len(mnist.files) == 4 and all(len(digest) == 64 for digest in mnist.files.values())
    assert {name.split("/")[0] for name in sprites.files} == set(GARMENTS)
    assert all(len(digest) == 64 for digest in sprites.files.values())
    assert "/3ce4048c" in sprites.mirrors[0], "a commit, not a branch"
    assert set(archives.files) == {f"{action}.zip" for action in kth.ACTIONS}
