"""The Hugging Face Hub: models down into its cache and up from a folder, and what went wrong.

Beside `data.download` the only part that speaks to another machine. Cache, address and token are
the ecosystem's own (`HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE`).
"""

import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

from httpx2 import HTTPError, InvalidURL, ReadError, RemoteProtocolError
from huggingface_hub import (
    CommitOperationAdd,
    HfApi,
    constants,
    get_hf_file_metadata,
    get_session,
    get_token,
    hf_hub_download,
    hf_hub_url,
    is_offline_mode,
    scan_cache_dir,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    CacheNotFound,
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import (
    are_progress_bars_disabled,
    disable_progress_bars,
    enable_progress_bars,
)

from drsvg_cli import __version__
from drsvg_cli.errors import DrsvgError, ResourceError, WeightsError
from drsvg_cli.weights.address import UNPREPARED, Address, Tick, unprepared
from drsvg_cli.weights.model_folder import CARD_FILE, RECIPE_FILE, WEIGHTS_FILE, sha256

PATIENCE = 1.25
"""Seconds to wait for the Hub's first answer; `HF_HUB_ETAG_TIMEOUT` replaces it."""


class CachedModel(NamedTuple):
    """A model in the Hub's cache."""

    address: Address
    folder: Path
    bytes: int


def cached_models() -> list[CachedModel]:
    """List the commits in the Hub's cache that hold a recipe and weights."""
    try:
        repos = scan_cache_dir().repos
    except (CacheNotFound, RuntimeError):  # RuntimeError: nobody's home is known
        return []
    except ValueError:
        raise WeightsError(f"the cache {constants.HF_HUB_CACHE} is not a folder") from None
    found = []
    for repo in sorted(repos, key=lambda repo: repo.repo_id):
        for commit in repo.revisions if repo.repo_type == "model" else ():
            if {RECIPE_FILE, WEIGHTS_FILE} <= {file.file_name for file in commit.files}:
                name = min(commit.refs, default=commit.commit_hash)
                address = Address(repo.repo_id, name)
                found.append(CachedModel(address, commit.snapshot_path, commit.size_on_disk))
    return found


def fetch(
    address: Address, names: Sequence[str], *, offline: bool = False, tick: Tick | None = None
) -> Path:
    """Return a folder of the cache with files of one commit, downloaded where they are missing.

    A pinned revision that is cached takes no request; a branch that is cached takes one, and none
    if the Hub cannot be reached.

    Args:
        address: the repo and its revision.
        names: files to have; only a card may be missing, and may not be the first.
        offline: take what is cached and ask nobody.
        tick: told of the progress.

    Raises:
        WeightsError: the Hub does not give the files, or a file is not what the Hub says it is.
        ResourceError: the cache cannot be written to.
    """
    known, whole = _cached(address, names)
    if known is None or not ((address.pinned and whole) or offline or is_offline_mode()):
        if offline or is_offline_mode():
            raise WeightsError(
                f"{address} is not in the cache {constants.HF_HUB_CACHE}, and nothing is "
                "downloaded offline; leave --offline and HF_HUB_OFFLINE out once"
            )
        with _explained(address), _silent():
            known = _download(address, names, known, tick, whole=whole)
    for name in names:
        _check_blob(known / name, address)
    return known


def _cached(address: Address, names: Sequence[str]) -> tuple[Path | None, bool]:
    """Return the folder of what is cached, and whether a card is there too, or known to be none."""
    paths = {
        name: try_to_load_from_cache(address.repo, name, revision=address.revision)
        for name in names
    }
    if not all(isinstance(path, str) for name, path in paths.items() if name != CARD_FILE):
        return None, False
    return Path(str(paths[names[0]])).parent, None not in paths.values()


def _download(
    address: Address, names: Sequence[str], known: Path | None, tick: Tick | None, *, whole: bool
) -> Path:
    try:
        commit = _ask(address, names[0])
    except HTTPError as error:
        if known is not None and _is_passing(error):
            return known
        raise
    if known is not None and known.name == commit and whole:
        return known
    bar: Any = _bar(names[0], tick)
    first = Path(hf_hub_download(address.repo, names[0], revision=address.revision, tqdm_class=bar))
    commit = first.parent.name  # for the other files too, though the branch may move meanwhile
    for name in names[1:]:
        bar = _bar(name, tick)
        try:
            hf_hub_download(address.repo, name, revision=commit, tqdm_class=bar)
        except RemoteEntryNotFoundError:
            if name != CARD_FILE:
                raise
    return first.parent


def _ask(address: Address, name: str) -> str:
    """Ask the Hub which commit a revision is, without the library's 23 seconds of retries."""
    chosen = os.environ.get("HF_HUB_ETAG_TIMEOUT")
    patience = float(constants.HF_HUB_ETAG_TIMEOUT) if chosen else PATIENCE
    url = hf_hub_url(address.repo, name, revision=address.revision)
    answers: list[str | Exception | None] = []

    def ask() -> None:
        try:
            answers.append(get_hf_file_metadata(url, timeout=patience).commit_hash)
        except (HTTPError, InvalidURL, OSError, ValueError) as error:
            answers.append(error)

    # A thread, because looking up the server's name knows no time limit of ours.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(patience)
    answer = answers[0] if answers else HTTPError(f"no answer within {patience:g} s")
    if isinstance(answer, Exception):
        raise answer
    if answer is None or not re.fullmatch(r"[0-9a-f]{40}", answer):
        raise WeightsError(f"{constants.ENDPOINT} is no Hugging Face Hub; check HF_ENDPOINT")
    return answer


def _check_blob(path: Path, address: Address) -> None:
    """Compare a large file with the SHA-256 that the Hub gave, which is its name in the cache."""
    blob = path.resolve()
    if re.fullmatch(r"[0-9a-f]{64}", blob.name) and sha256(blob) != blob.name:
        path.unlink()
        blob.unlink(missing_ok=True)
        raise WeightsError(
            f"{path.name} of {address} is not the file that the Hub announced: its SHA-256 is "
            "another one; it has been removed from the cache, try again"
        )


def check_login() -> None:
    """Make sure that something can be pushed.

    Raises:
        WeightsError: the Hub is out of bounds, or no token is at hand.
    """
    if is_offline_mode():
        raise WeightsError("nothing can be pushed offline; leave HF_HUB_OFFLINE out")
    if get_token() is None:
        raise WeightsError(
            f"pushing needs a token with write access: make one at {constants.ENDPOINT}"
            "/settings/tokens and set HF_TOKEN, or run hf auth login"
        )


def push(files: Mapping[str, bytes], repo: str, *, message: str, private: bool) -> str:
    """Put files into a repo, which is made if need be, as one commit; return its address.

    Raises:
        WeightsError: the Hub does not take them.
    """
    address = Address(repo)
    check_login()
    api = HfApi(library_name="drsvg", library_version=__version__)
    with _explained(address, pushing=True), _silent():
        api.create_repo(repo, private=private or None, exist_ok=True)
        if private and not api.model_info(repo).private:
            raise WeightsError(
                f"{_page(address)} exists and is public, so nothing was pushed; choose another "
                "name, make it private there, or leave --private out"
            )
        parts = [CommitOperationAdd(name, data) for name, data in files.items()]
        api.create_commit(repo, parts, commit_message=message)
    return _page(address)


def _is_passing(error: HTTPError) -> bool:
    """Tell whether the Hub was out of reach or out of order, and did not refuse."""
    if not isinstance(error, HfHubHTTPError):
        return True
    return error.response.status_code >= 500 or error.response.status_code in (408, 429)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the library's warnings and bars off stderr: what matters is said in one sentence."""
    logger = logging.getLogger("huggingface_hub")
    level, showed_bars = logger.level, not are_progress_bars_disabled()
    logger.setLevel(logging.ERROR)
    if showed_bars:
        disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if showed_bars:
            enable_progress_bars()


@contextmanager
def _explained(address: Address, *, pushing: bool = False) -> Iterator[None]:
    """Turn whatever the library raises into one sentence."""
    try:
        get_session()  # apart: an OSError below is one of the cache
    except UNPREPARED as error:
        raise WeightsError(unprepared(error)) from None
    try:
        yield
    except (HTTPError, InvalidURL, OSError, ValueError, RuntimeError) as error:
        raise _explanation(error, address, pushing=pushing) from None


def _explanation(error: Exception, address: Address, *, pushing: bool) -> DrsvgError:
    log_in = "set HF_TOKEN or run hf auth login"
    known = get_token() is not None
    match error:
        case GatedRepoError():
            then = "" if known else f", then {log_in}"
            text = (
                f"{address.repo} is gated: its authors give access on request; ask for it at "
                f"{_page(address)}{then}"
            )
        case RepositoryNotFoundError() if known or error.response.status_code == 404:
            hidden = ", or your token may not see it" if known else ""
            text = f"there is no model {address.repo} at {constants.ENDPOINT}{hidden}"
        case RepositoryNotFoundError():
            text = (
                f"{address.repo} is private, or there is no such model at {constants.ENDPOINT}; "
                f"check the name, or {log_in}"
            )
        case RevisionNotFoundError():
            text = f"{address.repo} has no branch, tag or commit {address.revision}"
        case RemoteEntryNotFoundError():
            name = str(error.response.request.url).rpartition("/")[2]
            text = f"{address} is not a model of drsvg: it has no {name}"
        case HfHubHTTPError():
            text = _refusal(error, address)
        case RemoteProtocolError() | ReadError():
            text = (
                f"the connection to {constants.ENDPOINT} broke off and could not be taken up "
                f"again; nothing of {address} was kept, try again"
            )
        case HTTPError() | InvalidURL() | OSError(errno=None):
            reason = str(error.__cause__ or error).partition("\n")[0]
            text = f"cannot reach the Hub at {constants.ENDPOINT} ({reason})" + (
                "; nothing was pushed: check the network"
                if pushing
                else f", and {address} is not in the cache; check the network, or set "
                "HF_HUB_ETAG_TIMEOUT=10 to wait longer"
            )
        case OSError():
            return ResourceError(f"cannot write to {constants.HF_HUB_CACHE}: {error.strerror}")
        case _:
            text = f"{address}: {str(error).strip().partition(chr(10))[0]}"
    return WeightsError(text)


def _refusal(error: HfHubHTTPError, address: Address) -> str:
    code = error.response.status_code
    said = error.server_message or error.response.reason_phrase
    if code == 401:
        return f"{constants.ENDPOINT} does not accept the token ({said}); set another HF_TOKEN"
    if code == 403:
        return f"your token gives no right to that at {_page(address)}: {said}"
    remedy = "try again later" if code >= 500 or code == 429 else "check HF_ENDPOINT"
    return f"{constants.ENDPOINT} answered {code} ({said}) for {address}; {remedy}"


def _page(address: Address) -> str:
    """Return where a repo can be looked at."""
    return f"{constants.ENDPOINT}/{address.repo}"


def _bar(name: str, tick: Tick | None) -> type:
    """Make what the library takes for a progress bar, a class, for one file."""

    class Bar:
        def __init__(self, *, total: int | None = None, initial: int = 0, **_: object) -> None:
            self.total, self.n = total, initial
            self.format_dict: dict[str, object] = {}

        def update(self, received: int = 1) -> None:
            self.n += received
            if tick is not None:
                tick(name, self.n, self.total)

        def ignore(self, *_: object, **__: object) -> None:
            pass

        update_transfer = set_postfix_str = set_transfer_postfix_str = refresh = close = ignore

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    return Bar
