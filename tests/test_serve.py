"""`drsvg serve`: a clip comes in, futures come out, and nobody else gets anything."""

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from processes import Command

from drsvg_cli.errors import ResourceError
from drsvg_cli.video.reading import read_clip
from drsvg_cli.web import clips
from drsvg_cli.web.clips import Clips, file_name

EXAMPLES = Path(__file__).parents[1] / "examples"


@contextmanager
def serving(folder, *arguments):
    """Run the command; give the process, and the address that it prints."""
    folder.mkdir()
    environment = os.environ | {"TMPDIR": str(folder)}
    reader, writer = os.pipe()
    words = ("serve", "--no-open", *arguments)
    process = Command(*words, cwd=folder.parent, env=environment, stdout=writer)
    os.close(writer)
    try:
        with os.fdopen(reader) as said:
            address = re.search(r"http://\S+", said.readline())[0]
            yield process, address
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate()


@pytest.fixture(scope="module")
def address(model_folder, tmp_path_factory):
    with serving(tmp_path_factory.mktemp("serve") / "here", "--model", model_folder) as (_, found):
        yield found


@pytest.fixture(scope="module")
def client(address):
    with httpx2.Client(base_url=address, timeout=120) as made:
        yield made


@pytest.fixture(scope="module")
def sent(client, make_clip, tmp_path_factory):
    """A clip of 20 frames, 10 a second, that the server has."""
    data = make_clip(tmp_path_factory.mktemp("sent") / "sent.mp4").read_bytes()
    answer = client.post("clips?name=garden.mp4", content=data)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def predicted(client, sent, model_folder):
    """What events said of a prediction, and where its files are."""
    job = client.post("jobs", json=asked(sent, model_folder)).json()
    return follow(client, job), f"jobs/{job['id']}"


def asked(sent, model_folder, **changes):
    """What the page asks for."""
    usual = {"clip": sent["id"], "at": 1.0, "seconds": 0.3, "samples": 2, "compare": True}
    return usual | {"model": str(model_folder)} | changes


def follow(client, job, until=lambda last: last["state"] in {"done", "failed", "stopped"}):
    """Read events until a record of a job is the awaited one; return all records of it seen."""
    seen = []
    with client.stream("GET", "events") as events:
        for line in filter(None, events.iter_lines()):
            jobs = json.loads(line.removeprefix("data: "))
            seen += [each for each in jobs if each["id"] == job["id"]]
            if until(seen[-1]):
                return seen
    raise AssertionError("the server ended")


def test_a_clip_is_predicted_as_the_command_does_it(
    client, sent, predicted, model_folder, drsvg, make_clip, tmp_path
):
    assert (sent["name"], sent["last"], sent["rate"]) == ("garden.mp4", pytest.approx(1.9), 10)
    states, base = predicted
    assert states[-1]["state"] == "done", states[-1]
    record = client.get(f"{base}/prediction.json").json()
    assert (
        "truth.mp4" in record["files"] and "sample_2.mp4" in client.get(f"{base}/index.html").text
    )

    options = ("--at", 1, "-n", "0.3s", "-s", 2, "--compare", "--seed", record["seed"], "-o", "out")
    clip = make_clip(tmp_path / "garden.mp4")
    assert drsvg("predict", clip, "--model", model_folder, *options).code == 0
    video = (tmp_path / "out" / "sample_2.mp4").read_bytes()
    assert client.get(f"{base}/sample_2.mp4").content == video
    part = client.get(f"{base}/sample_2.mp4", headers={"Range": "bytes=10-109"})
    assert (part.status_code, part.content) == (206, video[10:110])


@pytest.mark.parametrize(
    "name", ["..%2Fprediction.json", "%2Fetc%2Fpasswd", "..%2F..%2Fclips", "nothing.mp4"]
)
def test_nothing_is_served_from_elsewhere(client, predicted, name):
    assert client.get(f"{predicted[1]}/{name}").status_code == 404


def test_a_clip_moves_as_a_second_one(client, sent, model_folder, make_clip, tmp_path):
    data = make_clip(tmp_path / "b.mp4", seed=1).read_bytes()
    second = client.post("clips?name=b.mp4", content=data).json()
    more = {"second": second["id"], "at_second": second["last"]}
    job = client.post("jobs", json=asked(sent, model_folder, **more)).json()
    assert job["title"].startswith("garden.mp4 moving as b.mp4")
    last = follow(client, job)[-1]
    assert last["state"] == "done", last
    (tmp_path / "swap.mp4").write_bytes(client.get(f"jobs/{job['id']}/swap_A_as_B_1.mp4").content)
    assert len(read_clip(tmp_path / "swap.mp4", 9).frames) == 4


def test_a_job_tells_how_far_it_is_and_can_be_cancelled_whether_it_waits_or_runs(
    client, sent, model_folder
):
    endless = asked(sent, model_folder, seconds=10, samples=24, compare=False)
    running, waiting = (client.post("jobs", json=endless).json() for _ in range(2))
    follow(client, running, lambda last: last["text"] == "Predicting garden.mp4" and last["share"])
    assert client.delete(f"jobs/{waiting['id']}").status_code == 200
    assert client.delete(f"jobs/{running['id']}").status_code == 200
    assert follow(client, running)[-1]["state"] == "stopped"
    after = client.post("jobs", json=asked(sent, model_folder, samples=1)).json()
    assert follow(client, after)[-1]["state"] == "done"


def test_a_moment_too_early_is_said_so_without_our_folders(client, sent, model_folder):
    job = client.post("jobs", json=asked(sent, model_folder, at=0)).json()
    last = follow(client, job)[-1]
    assert last["state"] == "failed"
    assert last["text"].startswith("garden.mp4 has 1 frame(s) to observe")


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "/etc"},
        {"clip": "../x"},
        {"clip": ["x"]},
        {"samples": 1000},
        {"seconds": "nan"},
        {"at": -1},
        {"at": None},
    ],
)
def test_what_is_not_offered_is_refused(client, sent, model_folder, changes):
    answer = client.post("jobs", json=asked(sent, model_folder, **changes))
    assert answer.status_code == 400 and answer.json()["error"]


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {}, 403),
        ("/events", {}, 403),
        ("/wrong-token-wrong-token/", {}, 403),
        ("TOKEN", {"Origin": "https://evil.example"}, 403),
        ("TOKEN", {"Origin": "null"}, 403),
        ("TOKEN", {"Origin": "http://127.0.0.1:1"}, 403),
        ("TOKEN", {"Host": "evil.example"}, 421),
        ("TOKEN", {"Host": "evil.example:PORT"}, 421),
        ("TOKEN", {"Host": "127.0.0.1.evil.example:PORT"}, 421),
        ("TOKEN", {"Host": "127.0.0.1:1"}, 421),
        ("TOKEN", {"Host": "a@127.0.0.1:PORT"}, 421),
        ("TOKEN", {"Host": "localhost:PORT"}, 200),
        ("TOKEN", {"Origin": "http://127.0.0.1:PORT"}, 200),
    ],
)
def test_who_may_ask(address, path, headers, status):
    url = urlsplit(address)
    headers = {name: value.replace("PORT", str(url.port)) for name, value in headers.items()}
    target = f"http://{url.netloc}{path}" if path != "TOKEN" else address
    answer = httpx2.get(target, headers=headers, follow_redirects=False)
    assert answer.status_code == status
    assert "default-src 'none'; script-src 'self'" in answer.headers["Content-Security-Policy"]
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    assert (url.path.strip("/") in answer.text) is False


def announce(address, length):
    """Announce a clip of so many bytes, send none, and return the first line of the answer."""
    url = urlsplit(address)
    with socket.create_connection((url.hostname, url.port), timeout=60) as line:
        begin = f"POST {url.path}clips?name=x.mp4 HTTP/1.1\r\nHost: {url.netloc}\r\n"
        line.sendall(f"{begin}{length}\r\n\r\n".encode())
        return line.recv(1000).split(b"\r\n")[0].decode()


@pytest.mark.parametrize("length", ["Content-Length: 5000000000", "Transfer-Encoding: chunked"])
def test_a_clip_too_large_is_refused_before_it_is_sent(address, length):
    assert " 413 " in announce(address, length)


def test_a_clip_that_is_larger_than_announced_is_refused_on_the_way(tmp_path, monkeypatch):
    monkeypatch.setattr(clips, "LARGEST", 1000)

    async def chunks():
        for _ in range(100):
            yield bytes(100)

    async def take():
        await Clips(tmp_path, lambda _: False).take(chunks(), "x.mp4", 500)

    with pytest.raises(ResourceError, match="GB at most"):
        asyncio.run(take())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("list.m3u8", b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"),
        ("list.mp4", b"ffconcat version 1.0\nfile '/etc/passwd'\n"),
        ("page.mp4", b"<html><script>alert(1)</script>"),
        ("empty.mp4", b""),
    ],
)
def test_what_is_no_video_is_refused(client, name, data):
    answer = client.post(f"clips?name={name}", content=data)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(name) and "\n" not in answer.json()["error"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\clips\\a b.mp4", "a b.mp4"),
        ("..", "clip"),
        ("", "clip"),
        ("a\x1b[2J\n.mp4", "a__2J_.mp4"),
        ("é" * 300 + ".mp4", "é" * 40 + ".mp4"),
    ],
)
def test_names_are_harmless(given, name):
    assert file_name(given) == name


def test_a_format_that_the_browser_does_not_play_is_shown_by_the_server(client, sent):
    answer = client.get(f"clips/{sent['id']}/still?at=0.5")
    assert answer.headers["content-type"] == "image/jpeg" and answer.content[:2] == b"\xff\xd8"


def test_nothing_stays_when_the_server_ends(tmp_path, make_clip):
    data = make_clip(tmp_path / "clip.mp4").read_bytes()
    with serving(tmp_path / "here") as (process, address):
        assert httpx2.post(f"{address}clips?name=a.mp4", content=data, timeout=60).is_success
        assert any((tmp_path / "here").iterdir())
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert not list((tmp_path / "here").iterdir())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], "choose a --token"),
        (["--token", "short"], "16 to 128"),
        (["--port", 99999], "0 to 65535"),
        (["--model", "nothing-of-this-name"], "nothing-of-this-name"),
        (["--host", "192.0.2.1", "--token", "a" * 16], "cannot listen at 192.0.2.1"),
    ],
)
def test_wrong_use(drsvg, options, words):
    done = drsvg("serve", "--no-open", *options)
    assert done.code in (2, 3) and words in done.err
    assert len(done.err.splitlines()) == 1


def test_without_the_extra_one_line_says_how_to_install_it(drsvg, monkeypatch):
    monkeypatch.setitem(sys.modules, "starlette", None)
    done = drsvg("serve")
    assert done.code == 2 and "pip install 'drsvg[web]'" in done.err


def until(page, expression):
    """Wait until something is true; Playwright's own way is `eval`, which the page forbids."""
    while not page.evaluate(expression):
        page.wait_for_timeout(50)


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs a browser")
def test_a_walk_in_a_browser(address, model_folder):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page()
        page.set_default_timeout(120_000)
        wrong = []
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(address)
        data = (EXAMPLES / "ball.mp4").read_bytes()
        page.evaluate(
            """(bytes) => {
              const carried = new DataTransfer();
              carried.items.add(new File([new Uint8Array(bytes)], "ball.mp4"));
              const event = new DragEvent("drop", { dataTransfer: carried, bubbles: true });
              document.querySelector("#first .drop").dispatchEvent(event);
            }""",
            list(data),
        )
        moment = page.get_by_role("slider", name="The moment").first
        page.wait_for_selector("#go:enabled")
        moment.focus()
        for _ in range(20):
            moment.press("ArrowLeft")
        page.get_by_role("combobox", name="Model").select_option(str(model_folder))
        page.get_by_role("spinbutton", name="Samples").fill("2")
        page.get_by_role("spinbutton", name="Seconds ahead").fill("0.3")
        page.get_by_role("button", name="Predict").click()
        page.wait_for_selector("#result video")
        assert page.locator("#result .tile").count() == 3
        playing = "[...document.querySelectorAll('#result video')].every(v => v.currentTime > 0.2)"
        until(page, playing)
        page.get_by_role("slider", name="Time").fill("5")
        until(
            page, "[...document.querySelectorAll('.tile video')].every(v => v.paused && !v.seeking)"
        )
        times = page.locator("#result .tile video").evaluate_all(
            "all => all.map(v => v.currentTime)"
        )
        assert max(times) - min(times) < 1e-3
        with page.expect_download() as kept:
            page.get_by_role("link", name="Keep").last.click()
        assert kept.value.suggested_filename == "ball_sample_2.mp4"
        assert len(read_clip(kept.value.path(), 2).frames) == 2
        browser.close()
    assert not wrong
