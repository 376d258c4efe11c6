"""The page plays the videos beside it, and needs nothing else."""

import json
import re
import shutil
import subprocess
from fractions import Fraction

import numpy as np
import pytest

from drsvg_cli.video.writing import write_frames
from drsvg_cli.visualization.html import MOST_TILES, Listing, Page, Picture, Tile


def page(samples=3, *, title="clip.mp4", suffix="mp4", tables=()):
    names = [(f"sample {n + 1}", f"sample_{n + 1}.{suffix}") for n in range(samples)]
    tiles = [Tile(label, name, "sample", "24.10 dB") for label, name in names]
    picture = Picture("Where", np.full((20, 32, 3), 90, np.uint8), "Bright places")
    return Page(
        title=title,
        subtitle="how",
        tiles=tiles,
        rate=12.0,
        observed=3,
        frames=8,
        shape=(40, 64),
        pictures=[picture],
        tables=tables,
    )


def data(html):
    return json.loads(re.search(r'type="application/json">(.*?)</script>', html, re.S)[1])


def test_videos_are_linked_and_not_held():
    html = page(20).html()
    assert [tile["source"] for tile in data(html)["tiles"]][:2] == [
        "sample_1.mp4",
        "sample_2.mp4",
    ]
    assert len(html) < 50_000


def test_of_many_samples_the_first_ones_are_shown_and_the_page_says_so():
    shown = data(page(MOST_TILES + 5).html())
    assert len(shown["tiles"]) == MOST_TILES
    assert "5 more in this folder" in shown["subtitle"]


def test_the_page_asks_for_nothing_from_elsewhere():
    html = page().html()
    assert not re.findall(r"(?:src|href)=", html)
    assert "http" not in html and "@import" not in html and "url(" not in html


def test_a_name_cannot_end_the_script():
    title = "</script><script>alert(1)</script>.mp4"
    html = page(title=title, tables=[Listing("<b>", [["</script>", "x"]])]).html()
    assert html.count("</script>") == 2
    assert data(html)["title"] == title
    assert data(html)["tables"] == [{"title": "<b>", "rows": [["</script>", "x"]]}]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs a browser")
@pytest.mark.parametrize("suffix", ["mp4", "gif"])
def test_a_browser_shows_the_page(tmp_path, suffix):
    shown = page(suffix=suffix, tables=[Listing("Scores", [["mean", "24.7"]])])
    for tile in shown.tiles:
        frames = np.random.default_rng(0).integers(0, 256, (8, 40, 64, 3), np.uint8)
        write_frames(tmp_path / tile.source, frames, Fraction(12))
    (tmp_path / "index.html").write_text(shown.html(), encoding="utf-8")
    options = (
        "headless no-sandbox disable-gpu disable-background-networking disable-component-update "
        f"disable-sync no-first-run user-data-dir={tmp_path / 'profile'} virtual-time-budget=2000 "
        "dump-dom"
    )
    command = ["chromium", *(f"--{option}" for option in options.split())]
    command.append((tmp_path / "index.html").as_uri())
    made = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert made.count("<video" if suffix == "mp4" else "<img") == 3 + (suffix == "gif")
    assert "clip.mp4 · drsvg" in made and "24.7" in made and "Bright places" in made
    if suffix == "mp4":
        assert re.search(r"<output[^>]*>\S+ s (observed|predicted)</output>", made)
