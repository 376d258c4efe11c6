"""How the other files measure: alternating, medians of several, ratios within one run."""

import statistics
import time

import torch


def alternate(*programs, times=5):
    """Return the median seconds of each program; one after the other, again and again."""
    seconds = [[] for _ in programs]
    for program in programs:  # a first call is another thing
        _finished(program)
    for _ in range(times):
        for number, program in enumerate(programs):
            begin = time.perf_counter()
            _finished(program)
            seconds[number].append(time.perf_counter() - begin)
    return [statistics.median(each) for each in seconds]


def _finished(program):
    """Run a program, and wait for a GPU to do what it was told."""
    program()
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def table(head, rows):
    """Return lines of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(str, line)) + " |" for line in lines]
