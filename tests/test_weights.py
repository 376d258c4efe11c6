"""From a model's name to its files: on this computer, and on a Hub on loopback.

huggingface_hub is the real one, talking to tests/hub_server.py. It reads its environment when it
is imported, so everything that goes to the Hub runs in processes of its own: the installed command,
or a few lines that find a model and do not wait for torch.
"""

import json
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import hub_server
import processes
import pytest
import safetensors.torch
import torch

from drsvg_cli import config
from drsvg_cli.commands.models import find
from drsvg_cli.errors import ConfigError, WeightsError
from drsvg_cli.training.model_card import Provenance, model_card
from drsvg_cli.video.decoding import probe
from drsvg_cli.weights import files as weights_files
from drsvg_cli.weights import registry
from drsvg_cli.weights.model_folder import Address, parse_address

ROOT = Path(__file__).parents[1]
BALL = ROOT / "examples" / "ball.mp4"
FILES = ("preset.toml", "model.safetensors", "README.md", "validation.png")
FINDER = """
import json, sys
from drsvg_cli.errors import DrsvgError
from drsvg_cli.weights import registry
for line in sys.stdin:
    name, offline = json.loads(line)
    try:
        answer = [str(registry.resolve(name, offline=offline)), None]
    except DrsvgError as error:
        answer = [None, str(error)]
    print(json.dumps(answer), flush=True)
"""


TRAINED_ON = "3 clips (2.0 minutes)"
PROVENANCE = Provenance(
    history=[{"recipe": "a" * 64, "steps": 100, "start": "", "drsvg": "0.3.0"}],
    validation_data="5 sequences",
    log=[
        {"step": step, "seconds": 18.0 * step, "score": step / 10, "psnr": 20 + step / 10}
        for step in (0, 50, 100)
    ],
    keep="last",
    picture="validation.png",
)


def card(name: str, *, base_model: str = "") -> str:
    recipe = config.Recipe(name=name, base_model=base_model, training_data=TRAINED_ON)
    return model_card(recipe, PROVENANCE)


@pytest.fixture(scope="module")
def garden(tiny_model, tiny_config, tmp_path_factory) -> Path:
    """A whole model folder, as `finetune` leaves one."""
    path = tmp_path_factory.mktemp("models") / "garden"
    recipe = config.Recipe(
        name="garden", summary="A garden", training_data=TRAINED_ON, model=tiny_config()
    )
    weights_files.save_model(path, recipe, tiny_model().state_dict())
    (path / "README.md").write_text(card("garden", base_model="general"), encoding="utf-8")
    (path / "validation.png").write_bytes(b"\x89PNG")
    (path / "training").mkdir()
    (path / "training" / "state.pt").write_bytes(b"private")
    return path


@pytest.fixture(scope="module")
def contents(garden: Path) -> dict[str, bytes]:
    return {name: (garden / name).read_bytes() for name in FILES}


@pytest.fixture
def hub():
    with hub_server.running() as running:
        yield running
    assert not running.leaks


@pytest.fixture
def environment(hub, tmp_path):
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("HF_") and not name.lower().endswith("_proxy")
    }
    return inherited | {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(tmp_path / "cache"),
        "HF_HUB_DISABLE_XET": "1",  # our Hub speaks the older protocol
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }


@pytest.fixture
def run(environment, tmp_path):
    """Return a function that runs a command and gives what it did."""

    def execute(*command, **changes):
        if command[0] == "drsvg":
            return processes.run(*command[1:], cwd=tmp_path, env=environment | changes)
        return subprocess.run(
            [str(part) for part in command],
            cwd=tmp_path,
            env=environment | changes,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return execute


@pytest.fixture
def locate(environment):
    """Return a function that finds a model, weights included, in a process that lives on."""
    finders: dict[str, subprocess.Popen[str]] = {}

    def execute(name, *, offline=False, **changes) -> Path:
        key = json.dumps(changes)
        if key not in finders:
            finders[key] = subprocess.Popen(
                [sys.executable, "-c", FINDER],
                env=environment | changes,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        process = finders[key]
        print(json.dumps([name, offline]), file=process.stdin, flush=True)
        path, error = json.loads(process.stdout.readline())
        if error is not None:
            raise WeightsError(error)
        return Path(path)

    yield execute
    for process in finders.values():
        process.stdin.close()
        process.wait(timeout=30)
        process.stdout.close()


def refused(done) -> str:
    """Check that a command ended in one sentence and exit code 3; return the sentence."""
    assert (done.returncode, done.stdout) == (3, ""), done
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr.strip()


# Names


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("org/name", Address("org/name")),
        ("org/name@v1", Address("org/name", "v1")),
        ("org/na.me-1_x@refs/pr/1", Address("org/na.me-1_x", "refs/pr/1")),
        ("org/name@" + "a1" * 20, Address("org/name", "a1" * 20)),
        ("name", None),
        ("a/b/c", None),
        ("org/name@", None),
        ("../name", None),
        ("./name", None),
        ("org/..", None),
        ("org/name@../../x", None),
        ("org/name@/x", None),
        ("org/näme", None),
        ("org/name\n", None),
        # What the Hub's library refuses.
        ("runs/my--model", None),
        ("models/my-model.", None),
        ("org/name-", None),
        ("org/name.git", None),
        ("org/" + "n" * 97, None),
        ("org/" + "n" * 96, Address("org/" + "n" * 96)),
        ("org/git", Address("org/git")),
    ],
)
def test_an_address_is_read(text: str, address: Address | None) -> None:
    assert parse_address(text) == address
    assert address is None or str(address) == text


def test_only_a_commit_is_pinned() -> None:
    assert Address("org/name", "0123456789" * 4).pinned
    assert not any(Address("org/name", name).pinned for name in ("main", "0123456", "g" * 40))


def test_a_name_is_a_preset_a_folder_or_a_file(garden: Path, monkeypatch, tmp_path) -> None:
    assert registry.resolve("general") == registry.presets()["general"]
    assert registry.resolve(str(garden)) == garden
    file = garden / "model.safetensors"
    assert registry.resolve(str(file)) == file
    monkeypatch.chdir(tmp_path)
    (tmp_path / "general").mkdir()
    assert registry.resolve("general") == registry.presets()["general"]
    with pytest.raises(WeightsError, match=r"general/model\.safetensors is missing"):
        registry.resolve("./general")


@pytest.mark.parametrize("name", ["genral", "Generel", "x/y/z"])
def test_an_unknown_name_lists_what_exists(name: str) -> None:
    with pytest.raises(WeightsError, match="one of: general") as caught:
        registry.resolve(name)
    assert ("Did you mean general?" in str(caught.value)) == (name != "x/y/z")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".PT", ".pkl"])
def test_a_pickle_is_refused_with_the_reason(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    for _ in range(2):  # whether or not it exists
        with pytest.raises(WeightsError, match="pickle can run any code"):
            registry.resolve(str(path))
        path.write_bytes(b"cos\nsystem\n")
    with pytest.raises(WeightsError, match="pickle can run any code"):
        registry.resolve(str(tmp_path))
    with pytest.raises(WeightsError, match="neither a model folder nor"):
        registry.resolve(str(BALL))


def test_a_download_is_told_to_whoever_asks(garden: Path) -> None:
    assert find(str(garden), offline=True, quiet=True) == garden


# One file


def test_a_weights_file_alone_is_a_whole_model(garden: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(garden / "model.safetensors", tmp_path / "alone.safetensors"))
    alone, recipe = registry.load_model(str(path))
    whole, same = registry.load_model(str(garden))
    assert recipe == same and not alone.training
    for name, tensor in whole.state_dict().items():
        assert torch.equal(alone.state_dict()[name], tensor)


def header(text: bytes, *, length: int | None = None) -> bytes:
    return (len(text) if length is None else length).to_bytes(8, "little") + text


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "header"),
        (b"\x05", "header"),
        (header(b"{}", length=2**63), "header"),
        (header(b"{}", length=200), "header"),
        (header(b"{} {"), "damaged"),
        (header(b"\xff\xff"), "damaged"),
        (header(b"[" * 100_000), "damaged"),
        (header(b"[]"), "not written by drsvg"),
        (header(b"{}"), "not written by drsvg"),
        (header(b'{"__metadata__":[]}'), "not written by drsvg"),
        (header(b'{"__metadata__":{"format":"pt"}}'), "not written by drsvg"),
        (header(b'{"__metadata__":{"format":"drsvg/1"}}'), "no recipe"),
        (header(b'{"__metadata__":{"format":"drsvg/1","recipe":3}}'), "no recipe"),
        (header(b'{"__metadata__":{},"__metadata__":{"format":"drsvg/1"}}'), "twice"),
    ],
)
def test_a_header_is_read_strictly(data: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=reason):
        registry.load_model(str(path))


def test_a_recipe_may_not_ask_for_more_than_the_file_holds(garden: Path, tmp_path: Path) -> None:
    tensors = safetensors.torch.load_file(garden / "model.safetensors")
    whole = {"width": 64, "hidden": 2048}
    recipe = config.Recipe(name="vast", model=config.ModelConfig(**whole))
    weights_files.save_model(tmp_path, recipe, tensors)
    for source in (tmp_path, tmp_path / "model.safetensors"):
        with pytest.raises(WeightsError, match="its recipe asks for"):
            registry.load_model(str(source))
    text = (tmp_path / "preset.toml").read_text().replace("= 2048", f"= {10**9}")
    (tmp_path / "preset.toml").write_text(text)
    with pytest.raises(ConfigError, match="8192"):
        registry.load_model(str(tmp_path))


# Down


def test_pull_then_use_without_a_request(hub, run, contents) -> None:
    commit = hub.repo("org/garden", contents).branches["main"]
    done = run("drsvg", "models", "pull", "org/garden", "--json")
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert (record["commit"], record["where"]) == (commit, "cached")
    assert (record["sees"], record["trained_on"]) == ("32×32 colour", TRAINED_ON)
    assert hub.count() == {"GET": 4, "HEAD": 3}  # no picture: nothing but the files of a model
    done = run("drsvg", "predict", BALL, "-m", f"org/garden@{commit}", "-n2", "-s1", "-o", "out")
    assert done.returncode == 0, done.stderr
    assert not hub.count()
    done = run("drsvg", "models", "list")
    assert "general" in done.stdout and "embedded" in done.stdout
    assert "org/garden" in done.stdout and "cached" in done.stdout and "mit" in done.stdout
    assert not hub.count()


def test_a_branch_that_moved_is_fetched_and_costs_one_request_otherwise(
    hub, locate, contents
) -> None:
    repo = hub.repo("org/garden", contents)
    repo.commit(contents, branch="v1")
    first, tagged = locate("org/garden"), locate("org/garden@v1")
    hub.count()
    assert locate("org/garden") == first
    assert hub.count() == {"GET": 1}
    moved = repo.commit({"README.md": b"another card"})
    second = locate("org/garden")
    assert second.name == moved and (second / "README.md").read_bytes() == b"another card"
    assert len([line for line in hub.requests if "GET" in line and "resolve" in line]) == 1
    assert locate("org/garden@v1") == tagged
    hub.count()
    assert locate("org/garden", HF_HUB_OFFLINE="1") == second
    assert locate("org/garden", HF_ENDPOINT="http://127.0.0.1:9") == second
    assert not hub.count()
    hub.broken = 503
    assert locate("org/garden") == second


def test_info_leaves_the_weights_where_they_are(hub, run, contents) -> None:
    hub.repo("org/garden", contents)
    done = run("drsvg", "models", "info", "org/garden")
    assert done.returncode == 0, done.stderr
    for text in ("A garden", "not downloaded", "32×32 colour", TRAINED_ON, "mit"):
        assert text in done.stdout
    assert not [request for request in hub.requests if "safetensors" in request]


REFUSALS = [
    ("org/nosuch", None, "/org/nosuch is private, or there is no such model"),
    (
        "org/nosuch",
        hub_server.TOKEN,
        "there is no model http://.*/org/nosuch, or your token may not see it",
    ),
    ("org/secret", None, "/org/secret is private, or there is no such model"),
    ("org/garden", "hf_wrong", "answered 401 .*set another HF_TOKEN"),
    ("org/gated", None, "is gated: its authors give access on request.*then set HF_TOKEN"),
    ("org/gated", hub_server.TOKEN, "is gated: its authors give access on request.*org/gated$"),
    ("org/garden@v9", None, "org/garden has no branch, tag or commit v9"),
    ("org/empty", None, "org/empty is not a model of drsvg: it has no preset.toml"),
    ("org/half", None, "org/half is not a model of drsvg: it has no model.safetensors"),
    ("org/limit", None, "answered 429 .* try again later"),
]


def test_each_refusal_has_its_own_sentence(hub, run, locate, contents) -> None:
    hub.repo("org/garden", contents)
    hub.repo("org/secret", contents, private=True)
    hub.repo("org/gated", contents, gated=True)
    hub.repo("org/empty", {"config.json": b"{}", "pytorch_model.bin": b"cos\nsystem\n"})
    hub.repo("org/half", {"preset.toml": contents["preset.toml"]})
    for name, token, reason in REFUSALS:
        hub.broken = 429 if name == "org/limit" else 0
        with pytest.raises(WeightsError, match=reason):
            locate(name, **({} if token is None else {"HF_TOKEN": token}))
    assert not [request for request in hub.requests if ".bin" in request]
    hub.broken = 0
    done = run("drsvg", "predict", BALL, "-m", "org/nosuch")
    assert "org/nosuch is private, or there is no such model" in refused(done)


def test_a_token_opens_a_private_model_that_may_lack_a_card(hub, locate, contents) -> None:
    files = {name: contents[name] for name in FILES[:2]}
    commit = hub.repo("org/secret", files, private=True).branches["main"]
    source = locate("org/secret", HF_TOKEN=hub_server.TOKEN)
    assert {path.name for path in source.iterdir()} == set(FILES[:2])
    hub.count()
    assert locate(f"org/secret@{commit}", HF_TOKEN=hub_server.TOKEN) == source
    assert not hub.count()


def test_a_cut_download_is_resumed(hub, locate, contents, tiny_model) -> None:
    # Larger than the library's chunks of 10 MiB: what came in before the cut is not asked again.
    state = tiny_model(hidden=600).state_dict()
    large = safetensors.torch.save(
        {name: tensor.half().contiguous() for name, tensor in state.items()}
    )
    assert len(large) > 21 * 2**20
    hub.repo("org/large", contents | {"model.safetensors": large})
    hub.cuts = 1
    source = locate("org/large")
    assert (source / "model.safetensors").read_bytes() == large
    assert [request for request in hub.requests if request.endswith(f"from {10 * 2**20}")]


def test_an_interrupted_download_leaves_nothing(hub, environment, contents, tmp_path) -> None:
    hub.repo("org/garden", contents)
    hub.cuts = 99
    process = processes.Command("models", "pull", "org/garden", cwd=tmp_path, env=environment)
    deadline = time.monotonic() + 30
    while hub.cuts > 98 and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert (process.returncode, said) == (130, b"")
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not [path for path in left if "safetensors" in path.name or "incomplete" in path.name]


def test_other_bytes_than_announced_are_no_model(hub, locate, contents) -> None:
    hub.repo("org/garden", contents)
    hub.swapped = True
    with pytest.raises(WeightsError, match="not the file that the Hub announced"):
        locate("org/garden")
    hub.swapped = False
    source = locate("org/garden")
    assert (source / "model.safetensors").read_bytes() == contents["model.safetensors"]


HOSTILE = [
    ({"ETag": '"../../../../x"'}, ""),
    ({"X-Linked-Etag": '"../../../../../x"'}, ""),
    ({"ETag": '"{outside}"'}, ""),
    ({"ETag": '".."'}, ""),
    ({"X-Linked-Etag": 'W/"a/../../b"'}, ""),
    ({"X-Repo-Commit": "../../../x"}, ""),
    ({"X-Repo-Commit": "main"}, ""),
    ({}, "../../../x"),
    ({}, "{outside}"),
]


def test_a_hub_that_names_files_outside_the_cache_is_refused(hub, locate, contents, tmp_path):
    hub.repo("org/garden", contents)
    outside = tmp_path / "outside"
    for headers, sha in HOSTILE:
        hub.spoofed = {name: value.format(outside=outside) for name, value in headers.items()}
        hub.sha = sha.format(outside=outside)
        with pytest.raises(WeightsError, match=r"not to be trusted|is no Hugging Face Hub"):
            locate("org/garden")
    files = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert files <= {"CACHEDIR.TAG", "main", "preset.toml", *hub.blobs}, files
    assert {path.name for path in tmp_path.iterdir()} <= {"cache"}


def test_a_hub_that_takes_two_seconds_is_not_out_of_reach(hub, locate, contents) -> None:
    hub.repo("org/garden", contents)
    hub.delay = 2.0
    source = locate("org/garden@main")
    moved = hub.repos["org/garden"].commit({"README.md": b"another card"})
    hub.delay = 2.0
    assert locate("org/garden").name == moved != source.name


def test_a_time_to_wait_that_is_no_number_is_none(hub, run, drsvg, monkeypatch, contents) -> None:
    """The Hub's library reads it when it is imported, and stumbles."""
    hub.repo("org/garden", contents)
    names = ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT")
    done = run("drsvg", "models", "info", "org/garden", **dict.fromkeys(names, "2.5"))
    assert done.returncode == 0, done
    for value in ("soon", "", "-1", "1e9", " "):
        for name in names:
            monkeypatch.setenv(name, value)
        assert drsvg("--version").code == 0
        assert not {*names} & {*os.environ}


SECRET = "http://user:s3cret@127.0.0.1"


@pytest.mark.parametrize(
    "changes",
    [
        {"HF_ENDPOINT": f"{SECRET}:9"},
        {"HF_ENDPOINT": f"{SECRET}:99999"},
        {"HF_ENDPOINT": f"{SECRET}:x"},
        {"HF_ENDPOINT": "http://user:s3/cret@127.0.0.1:9"},
        {"HF_ENDPOINT": "HERE"},
        {"HTTP_PROXY": f"{SECRET}:9"},
        {"HTTP_PROXY": f"{SECRET}:x"},
        {"HTTP_PROXY": f"{SECRET}:99999"},
    ],
    ids=str,
)
def test_a_password_in_an_address_is_never_printed(hub, run, garden, tmp_path, changes) -> None:
    shutil.copytree(garden, tmp_path / "garden")
    commands = [("info", "org/none")]
    if changes.get("HF_ENDPOINT") == "HERE":
        changes = {"HF_ENDPOINT": f"{SECRET}:{hub.port}"}
        commands.append(("push", "garden", "me/garden"))
    for command in commands:
        said = refused(run("drsvg", "models", *command, HF_TOKEN="hf_wrong", **changes))
        assert "s3cret" not in said and "s3/cret" not in said and "user" not in said, said


@pytest.mark.parametrize("kind", ["refused", "no such host", "no answer", "no connection"])
def test_without_a_network_there_is_one_sentence_at_once(hub, run, kind: str) -> None:
    changes, sockets = {"HF_HUB_ETAG_TIMEOUT": "1"}, []
    if kind == "refused":
        changes["HF_ENDPOINT"] = "http://127.0.0.1:9"
    elif kind == "no such host":
        changes["HF_ENDPOINT"] = "http://no-such-host.invalid"
    elif kind == "no answer":
        hub.silent = True
    else:
        # A full queue: further connections are neither taken nor refused.
        listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        port = listener.getsockname()[1]
        sockets = [listener]
        for _ in range(4):
            sockets.append(socket.socket())
            sockets[-1].setblocking(False)
            sockets[-1].connect_ex(("127.0.0.1", port))
        changes["HF_ENDPOINT"] = f"http://127.0.0.1:{port}"
    done = run("drsvg", "predict", BALL, "-m", "org/garden", **changes)
    for opened in sockets:
        opened.close()
    said = refused(done)
    assert "cannot reach the Hub at http" in said and "org/garden is not in the cache" in said
    assert sum(hub.count().values()) <= 1  # the library's retries take 23 seconds


def test_certificates_that_are_not_there_are_named(hub, run) -> None:
    said = refused(run("drsvg", "models", "info", "org/garden", SSL_CERT_FILE="none.pem"))
    assert "no connection can be made" in said and "SSL_CERT_FILE (none.pem)" in said
    assert not hub.count()


def test_offline_is_the_cache_or_one_sentence(hub, run, locate, contents) -> None:
    hub.repo("org/garden", contents)
    done = run("drsvg", "predict", BALL, "-m", "org/garden", "--offline")
    assert "nothing is downloaded offline" in refused(done)
    with pytest.raises(WeightsError, match="nothing is downloaded offline"):
        locate("org/garden", HF_HUB_OFFLINE="1")
    assert not hub.count()
    source = locate("org/garden")
    hub.count()
    assert locate("org/garden", offline=True) == source
    assert not hub.count()


def test_a_model_that_is_cached_without_its_card_is_used(hub, locate, contents) -> None:
    """As others cache it, or Ctrl-C leaves it; the card comes when the Hub is asked again."""
    hub.repo("org/garden", contents)
    source = locate("org/garden")
    (source / "README.md").unlink()
    assert locate("org/garden", offline=True) == source
    assert locate("org/garden", HF_ENDPOINT="http://127.0.0.1:9") == source
    assert locate("org/garden") == source and (source / "README.md").is_file()


def test_a_push_without_a_network_speaks_of_no_cache(run, garden, tmp_path) -> None:
    shutil.copytree(garden, tmp_path / "garden")
    changes = {"HF_TOKEN": hub_server.TOKEN, "HF_ENDPOINT": "http://127.0.0.1:9"}
    said = refused(run("drsvg", "models", "push", "garden", "me/garden", **changes))
    assert "cannot reach the Hub" in said and "nothing was pushed" in said and "cache" not in said


@pytest.mark.parametrize("name", ["org/name@../../../x", "../org/name", "org/.."])
def test_a_name_cannot_leave_the_cache(name: str) -> None:
    with pytest.raises(WeightsError, match="there is no model"):
        registry.resolve(name)


# Up


def test_push_then_pull_gives_the_same_bytes(hub, run, locate, garden, tmp_path) -> None:
    shutil.copytree(garden, tmp_path / "garden")
    done = run("drsvg", "models", "push", "garden", "me/garden", "--private", HF_TOKEN="hf_right")
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == (f"{hub.endpoint}/me/garden\n", "")
    repo = hub.repos["me/garden"]
    assert repo.private and len(repo.commits) == 2  # the empty one and ours
    assert set(repo.commits[repo.branches["main"]]) == set(FILES)
    source = locate("me/garden", HF_TOKEN=hub_server.TOKEN)
    for name in FILES[:3]:
        assert (source / name).read_bytes() == (tmp_path / "garden" / name).read_bytes()
    text = (source / "README.md").read_text(encoding="utf-8")
    assert text == (garden / "README.md").read_text("utf-8").replace(
        "--model garden", "--model me/garden"
    )


def test_a_push_that_is_refused_says_why(hub, run) -> None:
    before = hub.repo("org/public", {"README.md": b"x"}).branches["main"]
    script = (
        "import sys; from drsvg_cli.weights import hub; from drsvg_cli.errors import DrsvgError\n"
        "for name in sys.argv[1:]:\n"
        "    try: print(hub.push({'README.md': b'y'}, name, message='m', private=True))\n"
        "    except DrsvgError as error: print(error)"
    )
    for names, token, reasons in (
        (["me/x"], None, ["pushing needs a token with write access"]),
        (["me/x"], "hf_wrong", ["for me/x; set another HF_TOKEN"]),
        (
            ["others/x", "org/public"],
            hub_server.TOKEN,
            ["You don't have the rights", "exists and is public, so nothing was pushed"],
        ),
    ):
        changes = {} if token is None else {"HF_TOKEN": token}
        done = run(sys.executable, "-c", script, *names, **changes)
        assert done.returncode == 0, done.stderr
        for line, reason in zip(done.stdout.splitlines(), reasons, strict=True):
            assert reason in line
    assert hub.repos["org/public"].branches["main"] == before and "me/x" not in hub.repos


def test_only_a_whole_model_is_pushed(hub, run, garden, tmp_path) -> None:
    shutil.copytree(garden, tmp_path / "garden")
    (tmp_path / "garden" / "README.md").unlink()
    token = {"HF_TOKEN": hub_server.TOKEN}
    done = run("drsvg", "models", "push", "garden", "me/garden", **token)
    assert "has no README.md" in refused(done)
    done = run("drsvg", "models", "push", "garden", "garden", **token)
    assert done.returncode == 2 and "no name of a repo" in done.stderr
    assert not hub.count()


def test_a_card_that_is_no_utf_8_is_neither_pushed_nor_emptied(hub, run, garden, tmp_path) -> None:
    shutil.copytree(garden, tmp_path / "garden")
    path = tmp_path / "garden" / "README.md"
    path.write_bytes(before := path.read_bytes() + b"caf\xe9\n")
    done = run("drsvg", "models", "push", "garden", "me/garden", HF_TOKEN=hub_server.TOKEN)
    assert "README.md is not UTF-8" in refused(done)
    assert path.read_bytes() == before and "me/garden" not in hub.repos


# The card


@pytest.mark.parametrize(
    ("base_model", "line"),
    [("general", None), ("org/name@v1", 'base_model: "org/name"'), ("", None)],
)
def test_a_card_says_where_weights_come_from(base_model: str, line: str | None) -> None:
    text = card("garden", base_model=base_model)
    _, front, rest = text.split("---\n", 2)
    for expected in ('library_name: "drsvg"', 'license: "mit"', "tags: ["):
        assert expected in front
    assert ("base_model" in front) == (line is not None) and (line or "") in front
    assert "drsvg predict clip.mp4 --model garden" in rest and "(validation.png)" in rest
    assert f"Trained on {TRAINED_ON}." in rest
    assert "- 100 steps from random weights, recipe aaaaaaaaaaaa, drsvg 0.3.0" in rest
    assert "| psnr | 20 | 30 |" in rest and "On 5 sequences." in rest


def test_a_strange_licence_stays_one_line() -> None:
    recipe = config.Recipe(name="x", license="mit\npipeline_tag: other")
    assert 'license: "mit\\npipeline_tag: other"\n' in model_card(recipe, PROVENANCE)


# The library


def test_the_page_about_the_library_runs(tmp_path: Path, monkeypatch, capsys) -> None:
    for name, clip in (("clip", "ball"), ("a", "ball"), ("b", "pendulum")):
        shutil.copy(ROOT / "examples" / f"{clip}.mp4", tmp_path / f"{name}.mp4")
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for part in text.split("```python\n")[1:]:
        exec(compile(part.partition("```")[0], "docs/library.md", "exec"), names)
    assert "Did you mean general?" in capsys.readouterr().out
    frames = {path.name: probe(path).frames for path in tmp_path.glob("*.mp4")}
    assert (frames["sample_3.mp4"], frames["small.mp4"], frames["swap.mp4"]) == (10, 4, 7)


def test_the_example_runs(tmp_path: Path) -> None:
    program = runpy.run_path(str(ROOT / "examples" / "library.py"))
    program["main"](tmp_path)
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"sample_1.mp4", "sample_2.mp4", "sample_3.mp4", "swap.mp4"}
