"""What the page of `drsvg serve` may ask for."""

import asyncio
import html
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from drsvg_cli.errors import ConfigError, DrsvgError, ResourceError
from drsvg_cli.visualization.html import MOST_TILES, part
from drsvg_cli.web.clips import LARGEST, Clips, Sent
from drsvg_cli.web.jobs import Jobs
from drsvg_cli.weights.model_folder import weights_path
from drsvg_cli.weights.registry import BASELINES, DEFAULT_MODEL, presets

LONGEST = 10.0
"""Seconds that may be predicted."""
LARGEST_REQUEST = 10_000
"""Bytes of one that is no clip."""


class Site:
    """What can be asked for."""

    def __init__(
        self, folder: Path, models: Sequence[str], device: str, *, is_ending: Callable[[], bool]
    ) -> None:
        """Take an empty folder, models to offer beside the presets, and what computes.

        `is_ending` knows whether the server is to end.
        """
        self._device = device
        results, clips = folder / "results", folder / "clips"
        results.mkdir()
        clips.mkdir()
        self._jobs = Jobs(results, is_ending)
        self._clips = Clips(clips, self._jobs.is_used)
        trained = [name for name, path in presets().items() if weights_path(path).is_file()]
        ours = sorted([*trained, *BASELINES], key=lambda name: name != DEFAULT_MODEL)
        self._models = list(dict.fromkeys([*models, *ours]))
        self._parts = {name: part(name) for name in ("page.css", "player.js")}
        self._parts |= {name: _own(name) for name in ("serve.css", "serve.js")}

    def app(self, guard: Middleware) -> Starlette:
        """Return the application."""
        routes = [
            Route("/", self.page),
            Route("/events", self.events),
            Route("/clips", self.send, methods=["POST"]),
            Route("/clips/{clip}/still", self.still),
            Route("/jobs", self.ask, methods=["POST"]),
            Route("/jobs/{job}", self.remove, methods=["DELETE"]),
            Route("/jobs/{job}/{name}", self.result),
            Route("/{name}", self.part),
        ]
        return Starlette(
            routes=routes,
            middleware=[guard],
            lifespan=self._working,
            exception_handlers={DrsvgError: _explained, ClientDisconnect: _gone},
        )

    @asynccontextmanager
    async def _working(self, _: Starlette) -> AsyncIterator[None]:
        work = asyncio.create_task(self._jobs.work())
        yield
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work

    async def page(self, _: Request) -> Response:
        """Give the page."""
        options = "".join(f"<option>{html.escape(name)}</option>" for name in self._models)
        page = _own("serve.html")
        marks = {"LARGEST": str(LARGEST), "PLAYER": part("player.html"), "MODELS": options}
        for mark, text in marks.items():
            page = page.replace(mark, text)
        return Response(page, media_type="text/html")

    async def part(self, request: Request) -> Response:
        """Give a style or a script of the page."""
        name = request.path_params["name"]
        if name not in self._parts:
            return Response(status_code=404)
        kind = "text/css" if name.endswith(".css") else "text/javascript"
        return Response(self._parts[name], media_type=kind)

    async def events(self, _: Request) -> Response:
        """Tell of all jobs, at every change (server-sent events)."""

        async def lines() -> AsyncIterator[str]:
            async for state in self._jobs.states():
                yield f"data: {json.dumps(state)}\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")

    async def send(self, request: Request) -> Response:
        """Take a clip."""
        length = request.headers.get("content-length", "")
        await self._jobs.warm_up()
        sent = await self._clips.take(
            request.stream(),
            request.query_params.get("name", ""),
            int(length) if length.isdecimal() else None,
        )
        return JSONResponse(sent.record())

    async def still(self, request: Request) -> Response:
        """Give one frame of a clip."""
        sent = self._clips[request.path_params["clip"]]
        at = _number(request.query_params, "at", 0, sent.last)
        return Response(await self._clips.still(sent, at), media_type="image/jpeg")

    async def ask(self, request: Request) -> Response:
        """Take a job."""
        asked = await _json(request)
        clip = self._clips[asked.get("clip")]
        second = None if asked.get("second") is None else self._clips[asked["second"]]
        if asked.get("model") not in self._models:
            raise ConfigError("this model is not offered; choose one of the list")
        settings: dict[str, Any] = {"device": self._device, "model": asked["model"]}
        settings["horizon"] = _number(asked, "seconds", 0.05, LONGEST)
        settings["samples"] = int(_number(asked, "samples", 1, MOST_TILES))
        settings["compare"] = asked.get("compare") is True and second is None
        settings["at"] = _moment(asked, "at", clip)
        work = {"clip": str(clip.path), "second": None, "at_second": None, "settings": settings}
        title = f"{clip.path.name} from {min(float(asked['at']), clip.last):.2f} s"
        if second is not None:
            at_second = _moment(asked, "at_second", second) or "100%"
            work |= {"second": str(second.path), "at_second": at_second}
            title = f"{clip.path.name} moving as {second.path.name}"
        count = settings["samples"]
        title += f" · {settings['model']}, {count} sample{'s' * (count > 1)}"
        return JSONResponse(self._jobs.add(title, work).record())

    async def remove(self, request: Request) -> Response:
        """Cancel a job, or forget it."""
        self._jobs.remove(self._jobs[request.path_params["job"]])
        return JSONResponse({})

    async def result(self, request: Request) -> Response:
        """Give a file of a result; ranges of it, where a browser plays it."""
        job, name = self._jobs[request.path_params["job"]], request.path_params["name"]
        if job.state != "done" or name not in {path.name for path in job.folder.iterdir()}:
            return Response(status_code=404)
        return FileResponse(job.folder / name)


def _own(name: str) -> str:
    """Read a file beside this module."""
    return files("drsvg_cli.web").joinpath(name).read_text("utf-8")


async def _json(request: Request) -> dict[str, Any]:
    """Read a request that is a JSON object, and not a large one."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_REQUEST:
            raise ConfigError(f"a request has {LARGEST_REQUEST} bytes at most")
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise ConfigError("a request is a JSON object")
    return asked


def _number(asked: Mapping[str, Any], name: str, least: float, most: float) -> float:
    """Read a number of a request."""
    try:
        value = float(asked[name])
    except (KeyError, TypeError, ValueError):
        raise ConfigError(f"{name} is a number, not {asked.get(name)!r}") from None
    if not least <= value <= most:
        raise ConfigError(f"{name} is {value:g}; choose {least:g} to {most:g}")
    return value


def _moment(asked: Mapping[str, Any], name: str, clip: Sent) -> str | None:
    """Read a moment of a clip as `--at` would have it; None at about its last frame."""
    moment = _number(asked, name, 0, 1e9)
    return None if moment > clip.last - 0.5 / clip.rate else f"{moment:.4f}"


async def _explained(_: Request, error: Exception) -> Response:
    """Answer with what a user can mend."""
    status = 413 if isinstance(error, ResourceError) else 400
    return JSONResponse({"error": str(error)}, status)


async def _gone(_: Request, __: Exception) -> Response:
    """Answer nobody: who sent a clip has gone away."""
    return Response(status_code=400)
