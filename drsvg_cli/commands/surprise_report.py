"""What is told of a clip that was watched: events, curve, heat, a page and a record."""

import csv
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from drsvg_cli.commands.console import one_line
from drsvg_cli.commands.output_folder import write_picture, write_record
from drsvg_cli.commands.session import Session, provenance
from drsvg_cli.evaluation.surprise import Maps, Usual, score_moments
from drsvg_cli.frames import Frames
from drsvg_cli.video.clip import ClipInfo, explained
from drsvg_cli.video.reading import read_frames
from drsvg_cli.video.writing import ClipWriter
from drsvg_cli.visualization.events import RAREST, clock, heated, outlined, timeline
from drsvg_cli.visualization.html import Listing, Page, Picture, Tile
from drsvg_cli.visualization.layout import enlarge

PAGE, CURVE, HEAT = "index.html", "curve.png", "heat.mp4"
EVENTS, SCORES, RECORD_FILE = "events.csv", "scores.csv", "surprise.json"
COLUMNS = ("from", "to", "once in", "box")
CLIPS = [f"event_{number}.mp4" for number in range(1, 13)]
"""Short clips of the rarest events."""
RESULT_FILES = (PAGE, CURVE, HEAT, EVENTS, SCORES, RECORD_FILE, *CLIPS)
BEFORE, AFTER = 1.5, 2.5
"""Seconds of such a clip before and after the event begins."""
SIDE = 384
"""Pixels along the longer side of the videos, at most."""


@dataclass(eq=False)
class Course:
    """What was found while walking through a clip; frames are counted at the model's rate."""

    info: ClipInfo
    rate: Fraction
    horizon: int
    step: int
    """Frames from a moment to the next."""
    frames: int = 0
    moments: list[int] = field(default_factory=list)
    """The first frame that was predicted, of each moment."""
    maps: list[Maps] = field(default_factory=list)
    """`(h, w)` each."""
    cuts: list[int] = field(default_factory=list)
    """Frames that a camera cut comes before."""


class Event(NamedTuple):
    """Something that was not expected."""

    begin: float
    """Seconds from the clip's first frame."""
    end: float
    score: float
    probability: float
    """Of something like it in one quiet moment."""
    hours: float
    """Something like it is expected once in so many, at most a year."""
    x: int
    y: int
    width: int
    height: int
    """The box, in pixels of the clip."""


class Report:
    """Tells of one clip."""

    def __init__(self, session: Session, course: Course, usual: Usual, *, once_in: float) -> None:
        """Judge a course by what is usual; an event is expected less than once in so many hours."""
        self._session, self._course, self._usual = session, course, usual
        self._limit = 3600 * once_in
        self._spacing = float(course.step / course.rate)
        self._scores = score_moments(usual.standard(np.stack(course.maps).astype(np.float32)))
        self._probability = usual.probability(self._scores)
        self._score_limit = usual.score_at(self._spacing / self._limit)
        # Seconds in which a moment like each is expected once.
        self._rarity = self._spacing / np.maximum(self._probability, self._spacing / RAREST)
        self._events = self._find_events()
        rarest = sorted(self._events, key=lambda event: event.score)[-len(CLIPS) :]
        self._shown = dict(zip(CLIPS, sorted(rarest), strict=False))
        self._length = min(course.frames, round((BEFORE + AFTER) * course.rate))

    def write(self, part: Path, clip: Path, folder: Path, normal: Sequence[str]) -> dict[str, Any]:
        """Write all files into `part`; return the record."""
        course, rate = self._course, float(self._course.rate)
        times = [moment / rate for moment in course.moments]
        curve = timeline(
            times,
            self._rarity,
            step=self._spacing,
            limit=self._limit,
            length=course.frames / rate,
            events=[event[:2] for event in self._events],
            cuts=[cut / rate for cut in course.cuts],
        )
        write_picture(part / CURVE, curve)
        _write_table(part / EVENTS, Event._fields, self._events)
        scores = zip(times, self._scores, self._probability, strict=True)
        _write_table(part / SCORES, ("seconds", "score", "probability"), scores)
        shape = self._write_videos(part)
        record = provenance(self._session) | {
            "clip": str(clip),
            "folder": str(folder),
            "normal": list(normal),
            "rate": rate,
            "seconds": round(course.frames / rate, 3),
            "every": self._spacing,
            "moments": len(times),
            "once_in_hours": self._limit / 3600,
            "calibration": {
                "quiet_moments": self._usual.moments,
                "quiet_hours": self._usual.moments * self._spacing / 3600,
                "tail_shape": self._usual.shape,
                "tail_scale": self._usual.scale,
            },
            "cuts": [round(cut / rate, 3) for cut in course.cuts],
            "events": [event._asdict() for event in self._events],
        }
        (part / PAGE).write_text(self._page(record, curve, shape), encoding="utf-8")
        return write_record(part, RECORD_FILE, record)

    def _find_events(self) -> list[Event]:
        """Join moments that are rare and near each other."""
        course, rare = self._course, np.flatnonzero(self._scores > self._score_limit)
        gaps = np.diff(np.asarray(course.moments)[rare])
        groups = np.split(rare, np.flatnonzero(gaps > max(course.horizon, course.step)) + 1)
        return [self._event(group) for group in groups if len(group)]

    def _event(self, group: NDArray[np.int_]) -> Event:
        """Say when and where it was.

        What a moment predicts overlaps what the one before it did, which was as expected up to
        there: the event begins after that.
        """
        course, rate = self._course, float(self._course.rate)
        first, last = (course.moments[group[end]] for end in (0, -1))
        begin = first + max(0, course.horizon - course.step)
        end = max(begin, last) + course.step
        peak = group[int(self._scores[group].argmax())]
        standard = self._usual.standard(course.maps[peak][None].astype(np.float32))[0]
        blocks = np.nonzero(standard >= standard.max() / 3)
        sides = zip(blocks, standard.shape, (course.info.height, course.info.width), strict=True)
        (top, bottom), (left, right) = (
            (each.min() * pixels // count, -(-(each.max() + 1) * pixels // count))
            for each, count, pixels in sides
        )
        return Event(
            round(begin / rate, 3),
            round(min(end, course.frames) / rate, 3),
            round(float(self._scores[peak]), 3),
            float(f"{self._probability[peak]:.3g}"),
            float(f"{self._rarity[peak] / 3600:.3g}"),
            *map(int, (left, top, right - left, bottom - top)),
        )

    def _write_videos(self, part: Path) -> tuple[int, int]:
        """Read the clip once more: paint its heat, cut the events out; return height and width."""
        course, shape = self._course, (0, 0)
        begins = [self._cut_out(event) for event in self._shown.values()]
        with explained(part, "written"), ExitStack() as stack:
            heat, *cut_outs = (
                stack.enter_context(ClipWriter(part / name, course.rate, suffix=".mp4"))
                for name in (HEAT, *self._shown)
            )
            frames = read_frames(course.info.path, rate=course.rate)
            for index, frame in enumerate(islice(frames, course.frames)):
                picture = enlarge(frame, min(SIDE, max(frame.shape)))
                shape = picture.shape[:2]
                heat.write(heated(picture, self._heat(index)))
                for writer, begin, event in zip(
                    cut_outs, begins, self._shown.values(), strict=True
                ):
                    if begin <= index < begin + self._length:
                        during = event.begin <= index / course.rate < event.end
                        scale = shape[1] / course.info.width
                        writer.write(outlined(picture, event[5:], scale) if during else picture)
        return shape

    def _cut_out(self, event: Event) -> int:
        """Choose the first frame of an event's short clip; all last equally long."""
        first = round((event.begin - BEFORE) * self._course.rate)
        return max(0, min(first, self._course.frames - self._length))

    def _heat(self, index: int) -> NDArray[np.float32]:
        """Return how unexpected each block of a frame is, `(h, w)`; 1 makes an event."""
        course = self._course
        last = bisect_right(course.moments, index)
        first = bisect_right(course.moments, index - course.horizon)
        if first == last:
            return np.zeros((1, 1), np.float32)
        blocks = np.stack(course.maps[first:last]).astype(np.float32)
        return self._usual.standard(blocks).max(0) / np.float32(self._score_limit)

    def _page(self, record: dict[str, Any], curve: Frames, shape: tuple[int, int]) -> str:
        course, rate = self._course, float(self._course.rate)
        tiles = [
            Tile(f"event at {at}", name, "sample", f"once in {wait}")
            for name, (at, _, wait, _) in ((n, _cells(event)) for n, event in self._shown.items())
        ]
        length, before = self._length, round(BEFORE * rate)
        if not tiles:
            tiles, length, before = [Tile("the heat", HEAT, "given")], course.frames, 0
        words = (
            f"Every {self._spacing:.2g} s, {record['settings']['samples']} samples of the next "
            f"{course.horizon / rate:.2g} s were compared with what happened. The curve says how "
            "rarely something as far from all samples is expected where all is as usual; the line "
            f"is once in {spell(self._limit)}. That was learned from {self._usual.moments} quiet "
            f"moments ({spell(self._usual.moments * self._spacing)}). {HEAT} shows the whole clip; "
            "what is bright there was not expected."
        )
        facts = {key: value for key, value in record["settings"].items() if value is not None}
        facts |= {key: record[key] for key in ("normal", "cuts", "device", "drsvg", "torch")}
        events = [COLUMNS, *map(_cells, self._events)]
        settings = [[key, str(value)] for key, value in facts.items()]
        return Page(
            title=course.info.path.name,
            subtitle=_gist(record),
            tiles=tiles,
            rate=rate,
            observed=before,
            frames=length,
            shape=shape,
            words=("before", "after it begins" if before else "of the clip"),
            pictures=[Picture("What nobody expected", curve, words, wide=True)],
            tables=[Listing(f"Events ({len(events) - 1})", events), Listing("Settings", settings)],
        ).html()


def _gist(record: dict[str, Any]) -> str:
    count, cuts = len(record["events"]), len(record["cuts"])
    events = f"{count} event{'s' * (count != 1)}" if count else "no event"
    camera = f" · {cuts} camera cut{'s' * (cuts != 1)}" * bool(cuts)
    return f"{events} in {spell(record['seconds'])}{camera} · model {record['settings']['model']}"


def summary(record: dict[str, Any]) -> list[RenderableType]:
    """Say in a line or a few what was found."""
    table = Table(*COLUMNS, box=None)
    for event in record["events"]:
        table.add_row(*_cells(Event(**event)))
    name = (one_line(record["folder"]), "bold")
    page = one_line(str(Path(record["folder"]) / PAGE))
    line = Text.assemble(name, f": {_gist(record)} · open {page}")
    return [table, line] if record["events"] else [line]


def _cells(event: Event) -> list[str]:
    """Lay out what is said of an event, under `COLUMNS`."""
    box = f"{event.width}x{event.height} at {event.x}, {event.y}"
    return [clock(event.begin), clock(event.end), spell(3600 * event.hours), box]


def spell(seconds: float) -> str:
    """Say a length of time in words; a year is the most."""
    if seconds >= RAREST:
        return "a year or more"
    units = (("days", 86400, 2 * 86400), ("h", 3600, 3600), ("min", 60, 60), ("s", 1, 0))
    name, length = next(unit[:2] for unit in units if seconds >= unit[2])
    number = seconds / length
    return f"{number:.0f} {name}" if number >= 9.5 else f"{number:.2g} {name}"


def _write_table(path: Path, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows(rows)
