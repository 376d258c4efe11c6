"""The page holds all it shows, and shows what was predicted."""

import base64
import json
import re
import shutil
import subprocess
from fractions import Fraction

import cv2
import numpy as np
import pytest

from drsvg_cli.visualization.html import MOST_TILES, Listing, page
from drsvg_cli.visualization.samples import Futures

SIDE = 32


def futures(samples=3, *, observed=2, predicted=3, truth=True):
    """Every frame is of one gray, which tells its sample and its time."""
    context = np.stack([np.full((SIDE, SIDE, 3), 10 + time, np.uint8) for time in range(observed)])
    drawn = np.empty((samples, predicted, SIDE, SIDE, 3), np.uint8)
    for sample in range(samples):
        for time in range(predicted):
            drawn[sample, time] = 60 + 4 * sample + 40 * time
    happened = np.full((predicted, SIDE, SIDE, 3), 250, np.uint8) if truth else None
    return Futures(context, drawn, rate=Fraction(12), truth=happened)


def render(shown, *, title="clip.mp4", tables=()):
    return page(shown, title=title, subtitle="how", tables=tables)


def data(html):
    return json.loads(re.search(r'type="application/json">(.*?)</script>', html, re.S)[1])


def frames(tile, count, side=SIDE):
    """Read the frames of a tile back from its strip."""
    packed = base64.b64decode(tile["strip"].removeprefix("data:image/jpeg;base64,"))
    strip = cv2.imdecode(np.frombuffer(packed, np.uint8), cv2.IMREAD_COLOR)
    columns = strip.shape[1] // side
    corners = [(time // columns * side, time % columns * side) for time in range(count)]
    return [strip[top : top + side, left : left + side] for top, left in corners]


def test_every_clip_is_there_frame_by_frame():
    shown = data(render(futures()))
    labels = [tile["label"] for tile in shown["tiles"]]
    assert labels == ["what happened", "sample 1", "sample 2", "sample 3", "disagreement"]
    assert (shown["observed"], shown["frames"], shown["rate"]) == (2, 5, 12)
    levels = [frame.mean() for frame in frames(shown["tiles"][2], 5)]
    assert levels == pytest.approx([10, 11, 64, 104, 144], abs=2)
    assert [frame.mean() for frame in frames(shown["tiles"][0], 5)][2:] == pytest.approx(
        [250] * 3, abs=2
    )


def test_a_single_sample_without_a_truth_stands_alone():
    shown = data(render(futures(1, truth=False)))
    assert [tile["label"] for tile in shown["tiles"]] == ["sample 1"]


def test_of_many_samples_the_first_ones_are_shown_and_the_page_says_so():
    shown = data(render(futures(MOST_TILES + 5)))
    samples = [tile for tile in shown["tiles"] if tile["kind"] == "sample"]
    assert [tile["label"] for tile in samples] == [f"sample {n + 1}" for n in range(MOST_TILES)]
    assert f"first {MOST_TILES} samples" in shown["subtitle"]


def test_large_frames_are_shrunk_to_what_a_page_shows():
    large = futures(1, truth=False)
    wide = Futures(
        large.context.repeat(40, 2).repeat(20, 1),
        large.samples.repeat(40, 3).repeat(20, 2),
        rate=large.rate,
    )
    shown = data(render(wide))
    assert (shown["width"], shown["height"]) == (384, 192)


def test_the_page_asks_for_nothing_else():
    html = render(futures())
    assert not re.findall(r"(?:src|href)=", html)
    assert "http" not in html and "@import" not in html and "url(" not in html


def test_a_name_cannot_end_the_script():
    title = "</script><script>alert(1)</script>.mp4"
    html = render(futures(), title=title, tables=[Listing("<b>", [["</script>", "x"]])])
    assert html.count("</script>") == 2
    assert data(html)["title"] == title
    assert data(html)["tables"] == [{"title": "<b>", "rows": [["</script>", "x"]]}]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs a browser")
def test_a_browser_shows_the_page(tmp_path):
    html = render(futures(), tables=[Listing("Scores", [["mean", "24.7"]])])
    (tmp_path / "index.html").write_text(html, encoding="utf-8")
    options = (
        "headless no-sandbox disable-gpu disable-background-networking disable-component-update "
        f"disable-sync no-first-run user-data-dir={tmp_path / 'profile'} virtual-time-budget=500 "
        "dump-dom"
    )
    command = ["chromium", *(f"--{option}" for option in options.split())]
    command.append((tmp_path / "index.html").as_uri())
    shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert shown.count("<canvas") == 5
    assert "clip.mp4 · drsvg" in shown and "24.7" in shown
    assert re.search(r"<output[^>]*>\S+ s (observed|predicted)</output>", shown)
