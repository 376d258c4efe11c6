"""The Hugging Face Hub: models down into its cache, and up from a folder.

Cache, address and token are the ecosystem's own (`HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN`,
`HF_HUB_OFFLINE`). A Hub is not trusted: the library names files after commits and ETags, so these
are checked in every answer before it sees them.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from httpx2 import HTTPError, InvalidURL, Response
from huggingface_hub import (
    CommitOperationAdd,
    HfApi,
    constants,
    get_token,
    hf_hub_download,
    is_offline_mode,
    scan_cache_dir,
    set_client_factory,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    CacheNotFound,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils.tqdm import disable_progress_bars, tqdm

from drsvg_cli import __version__
from drsvg_cli.errors import ResourceError, WeightsError, without_credentials
from drsvg_cli.network import Tick, connect
from drsvg_cli.storage import sha256
from drsvg_cli.weights.model_folder import CARD_FILE, RECIPE_FILE, WEIGHTS_FILE, Address

CACHED_PATIENCE = 3.0
"""Seconds to wait for the Hub's first answer where a cached copy will do."""
PATIENCE = 60.0
"""Seconds to wait for an answer while pushing."""
COMMIT = re.compile(r"[0-9a-f]{40}")
ETAG = re.compile(r'(W/)?"?\w[\w.=+-]{0,127}"?', re.ASCII)


def cached_models() -> list[tuple[Address, Path]]:
    """List the commits in the Hub's cache that hold a recipe and weights, and their folders."""
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
                found.append((Address(repo.repo_id, name), commit.snapshot_path))
    return found


def fetch(
    address: Address, names: Sequence[str], *, offline: bool = False, tick: Tick | None = None
) -> Path:
    """Return a folder of the cache with files of one commit, downloaded where they are missing.

    A pinned revision that is cached takes no request; a branch that is cached takes one, and is
    used as it is if the Hub cannot be reached.

    Args:
        address: the repo and its revision.
        names: files to have; only a card may be missing, and may not be the first.
        offline: take what is cached and ask nobody.
        tick: told of the progress.

    Raises:
        WeightsError: the Hub does not give the files, or a file is not what the Hub says it is.
        ResourceError: the cache cannot be written to.
    """
    needed = [name for name in names if name != CARD_FILE]
    paths = [try_to_load_from_cache(address.repo, n, revision=address.revision) for n in needed]
    known = Path(str(paths[0])).parent if all(isinstance(path, str) for path in paths) else None
    if offline or is_offline_mode():
        if known is None:
            raise WeightsError(
                f"{address} is not in the cache {constants.HF_HUB_CACHE}, and nothing is "
                "downloaded offline; leave --offline and HF_HUB_OFFLINE out once"
            )
    elif known is None or not address.pinned:
        with _explained(address):
            known = _download(address, names, known, tick)
    for name in names:
        _check_blob(known / name, address)
    return known


def _download(
    address: Address, names: Sequence[str], known: Path | None, tick: Tick | None
) -> Path:
    patience = CACHED_PATIENCE if known else constants.HF_HUB_ETAG_TIMEOUT
    try:
        info = HfApi().model_info(address.repo, revision=address.revision, timeout=patience)
    except HTTPError as error:
        if known is not None and _is_passing(error):
            return known
        raise
    if info.sha is None or not COMMIT.fullmatch(info.sha):
        raise WeightsError(f"{constants.ENDPOINT} is no Hugging Face Hub; check HF_ENDPOINT")
    offered = {file.rfilename for file in info.siblings or ()}
    for name in names:
        if name not in offered and name != CARD_FILE:
            raise WeightsError(f"{address} is not a model of drsvg: it has no {name}")
    wanted = [name for name in names if name in offered]
    if known and known.name == info.sha and all((known / name).is_file() for name in wanted):
        return known
    revision = address.revision
    for name in wanted:
        bar: Any = _bar(name, tick)
        path = Path(hf_hub_download(address.repo, name, revision=revision, tqdm_class=bar))
        revision = path.parent.name  # for the other files too, though the branch may move meanwhile
    return path.parent


def _check_names(answer: Response) -> None:
    """Refuse an answer whose commit or ETag is no name for a file: the library would use it as one.

    Raises:
        WeightsError: it could lead out of the cache.
    """
    for header, pattern in (("X-Repo-Commit", COMMIT), ("X-Linked-ETag", ETAG), ("ETag", ETAG)):
        value = answer.headers.get(header)
        if answer.request.method == "HEAD" and value and not pattern.fullmatch(value):
            raise WeightsError(
                f"{constants.ENDPOINT} is not to be trusted: it answers with {header} {value!r}, "
                "which is no name for a file in the cache; nothing was written"
            )


set_client_factory(
    lambda: connect(WeightsError, event_hooks={"response": [_check_names]}, timeout=PATIENCE)
)
disable_progress_bars()
logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # what matters is said in one sentence


def _bar(name: str, tick: Tick | None) -> type[tqdm]:
    """Make the class of the library's progress bar for one file: it draws nothing, and tells."""

    class Bar(tqdm):
        def update(self, n: float | None = 1) -> bool | None:
            self.n += n or 0
            if tick is not None:
                tick(name, int(self.n), None if self.total is None else int(self.total))
            return None

    return Bar


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
    check_login()
    api = HfApi(library_name="drsvg", library_version=__version__)
    with _explained(Address(repo), pushing=True):
        api.create_repo(repo, private=private or None, exist_ok=True)
        if private and not api.model_info(repo).private:
            raise WeightsError(
                f"{_page(repo)} exists and is public, so nothing was pushed; choose another "
                "name, make it private there, or leave --private out"
            )
        parts = [CommitOperationAdd(name, data) for name, data in files.items()]
        api.create_commit(repo, parts, commit_message=message)
    return _page(repo)


def _is_passing(error: HTTPError) -> bool:
    """Tell whether the Hub was out of reach or out of order, and did not refuse."""
    if not isinstance(error, HfHubHTTPError):
        return True
    return error.response.status_code >= 500 or error.response.status_code in (408, 429)


@contextmanager
def _explained(address: Address, *, pushing: bool = False) -> Iterator[None]:
    """Turn whatever the library raises into one sentence."""
    endpoint = constants.ENDPOINT
    try:
        yield
    except HfHubHTTPError as error:
        raise WeightsError(_refusal(error, address)) from None
    except (HTTPError, InvalidURL, OSError, ValueError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            where = error.filename or constants.HF_HUB_CACHE
            raise ResourceError(f"cannot write to {where}: {error.strerror}") from None
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise WeightsError(
            f"cannot reach the Hub at {endpoint} ({reason}); nothing was pushed: check the network"
            if pushing
            else f"cannot reach the Hub at {endpoint} ({reason}), and {address} is not in the "
            "cache; check HF_ENDPOINT and the network, or set HF_HUB_ETAG_TIMEOUT to more seconds"
        ) from None


def _refusal(error: HfHubHTTPError, address: Address) -> str:
    """Say what the Hub's refusal means, and what to do."""
    page, code = _page(address.repo), error.response.status_code
    said = error.server_message or error.response.reason_phrase
    known = get_token() is not None
    log_in = "" if known else "set HF_TOKEN or run hf auth login"
    match error:
        case GatedRepoError():
            then = log_in and f", then {log_in}"
            return (
                f"{address.repo} is gated: its authors give access on request; ask for it at "
                f"{page}{then}"
            )
        case RepositoryNotFoundError() if known:
            return f"there is no model {page}, or your token may not see it"
        case RepositoryNotFoundError():
            return f"{page} is private, or there is no such model; check the name, or {log_in}"
        case RevisionNotFoundError():
            return f"{address.repo} has no branch, tag or commit {address.revision}"
    remedy = {
        401: "set another HF_TOKEN",
        403: f"your token gives no right to that at {page}",
    }.get(code, "try again later" if code >= 500 or code == 429 else "check HF_ENDPOINT")
    return f"{constants.ENDPOINT} answered {code} ({said}) for {address}; {remedy}"


def _page(repo: str) -> str:
    """Return where a repo can be looked at."""
    return without_credentials(f"{constants.ENDPOINT}/{repo}")
