"""No more threads than the machine, or the container, gives; memory that is kept."""

import os
import platform
import resource
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from processes import context

from drsvg_cli.device import (
    explained_memory,
    fast_in_half,
    is_used_up,
    keep_memory,
    limit_threads,
    tiny_as_zero,
    usable_cores,
)
from drsvg_cli.errors import ResourceError

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def test_pictures_too_large_to_hold_are_memory_that_is_used_up():
    used_up = pytest.raises(ResourceError, match="memory is used up; take less")
    with used_up, explained_memory("take less"):
        cv2.resize(np.zeros((1, 1, 3), np.uint8), (2**20, 2**20))
    with pytest.raises(cv2.error), explained_memory("take less"):
        cv2.resize(np.zeros((0, 0, 3), np.uint8), (2, 2))


@pytest.fixture
def machine(tmp_path):
    """Return a function: write files of the control groups, and count the cores."""

    def count(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return usable_cores(tmp_path)

    return count


@pytest.mark.parametrize(
    ("group", "files", "expected"),
    [
        ("0::/", {"sys/fs/cgroup/cpu.max": "100000 100000"}, 1),
        ("0::/", {"sys/fs/cgroup/cpu.max": "20000 100000"}, 1),
        ("0::/", {"sys/fs/cgroup/cpu.max": "max 100000"}, CORES),
        ("0::/a/b", {"sys/fs/cgroup/a/cpu.max": "50000 100000"}, 1),
        ("0::/a/b", {"sys/fs/cgroup/a/b/cpu.max": "9900000 100000"}, CORES),
        (
            "4:cpu,cpuacct:/a",
            {
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "100000",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000",
            },
            1,
        ),
        (
            "4:cpu:/",
            {
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            CORES,
        ),
        (
            "7:memory:/a",
            {
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "1",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000",
            },
            CORES,
        ),
    ],
)
def test_a_share_of_a_machine_is_respected(machine, group, files, expected):
    assert machine({"proc/self/cgroup": group + "\n"} | files) == expected


def test_without_control_groups_all_cores_are_used(tmp_path):
    assert usable_cores(tmp_path) == CORES


def test_threads_are_only_ever_fewer(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    try:
        torch.set_num_threads(CORES + 3)
        limit_threads()
        assert torch.get_num_threads() <= CORES
        torch.set_num_threads(1)
        limit_threads()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_where_little_memory_is_allowed_there_is_one_thread(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (2**30, resource.RLIM_INFINITY))
    try:
        torch.set_num_threads(2)
        limit_threads()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("told", "spins"),
    [
        ({}, "20000"),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "PASSIVE"}, "None"),
    ],
)
def test_waiting_threads_soon_give_their_cores_away_unless_told_otherwise(told, spins):
    """Set before PyTorch is imported, whose threads read it then."""
    program = """
import os, sys
from drsvg_cli.cli.app import main
sys.argv = ["drsvg", "--version"]
try:
    main()
except SystemExit:
    print(os.environ.get("GOMP_SPINCOUNT"), "torch" in sys.modules)
"""
    names = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}
    environment = {name: value for name, value in os.environ.items() if name not in names} | told
    said = subprocess.check_output([sys.executable, "-c", program], env=environment, text=True)
    assert said.splitlines()[-1] == f"{spins} False"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to")
def test_memory_that_is_kept_is_not_asked_for_again():
    kept, freed = (new_pages(keep=keep) for keep in (True, False))
    assert freed > 1000  # every page of 32 MB is fetched again
    assert kept < 100


def new_pages(*, keep):
    """Count the pages that a process fetches for a tensor of a size that it has had before."""
    reader, writer = context().Pipe(duplex=False)
    process = context().Process(target=_count_pages, args=(writer, keep))
    process.start()
    count = reader.recv()
    process.join()
    return count


def _count_pages(answer, keep):
    if keep:
        keep_memory()
    for _ in range(20):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(8 * 2**20)
    answer.send(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)


def test_tiny_numbers_are_zeros_meanwhile():
    tiny = torch.full((4,), 1e-30)
    with tiny_as_zero():
        assert not (tiny * 1e-10).any()
    assert (tiny * 1e-10).all()


def test_memory_that_is_used_up_is_known_from_other_mistakes():
    with pytest.raises(RuntimeError) as greedy:
        torch.empty(2**46)
    assert is_used_up(greedy.value)
    assert is_used_up(MemoryError()) and is_used_up(torch.OutOfMemoryError())
    with pytest.raises(RuntimeError) as wrong:
        torch.zeros(2) @ torch.zeros(3)
    assert not is_used_up(wrong.value)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"cpu_name": "AMD EPYC", "avx512_bf16": True}, True),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": False}, False),
        ({"cpu_name": "Intel(R) Xeon(R)", "avx512_bf16": True, "amx_bf16": False}, False),
        ({"cpu_name": "Intel(R) Xeon(R)", "avx512_bf16": True, "amx_bf16": True}, True),
        ({}, False),
    ],
)
def test_half_precision_where_a_processor_is_fast_in_it(monkeypatch, capabilities, expected):
    """With AVX-512 alone an Intel processor was measured at half the speed of float32."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert fast_in_half(torch.device("cpu")) is expected
    assert not fast_in_half(torch.device("meta"))
