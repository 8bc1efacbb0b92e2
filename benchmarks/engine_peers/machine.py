"""What the machine itself allows: how fast it reads memory, and a process that takes one of its cores."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy

_SOURCE = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

enum { REPEATS = 7, MOST = 64 };
static const size_t WORDS = (size_t)256 * 1024 * 1024 / 8;
static uint64_t *numbers;
static int count;
static volatile uint64_t sums[MOST * 8];
static pthread_barrier_t barrier;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + 1e-9 * time.tv_nsec;
}

static void *add(void *given) {
    size_t own = (size_t)given, from = WORDS / count * own, to = WORDS / count * (own + 1);
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        pthread_barrier_wait(&barrier);
        uint64_t sum = 0;
        for (size_t at = from; at < to; at++) sum += numbers[at];
        sums[own * 8] = sum;
        pthread_barrier_wait(&barrier);
    }
    return NULL;
}

int main(int argc, char **argv) {
    (void)argc;
    count = atoi(argv[1]);
    numbers = mmap(NULL, WORDS * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (count < 1 || count > MOST || numbers == MAP_FAILED) return 1;
    madvise(numbers, WORDS * 8, MADV_HUGEPAGE);
    memset(numbers, 1, WORDS * 8);
    pthread_t threads[MOST];
    pthread_barrier_init(&barrier, NULL, count + 1);
    for (int at = 0; at < count; at++) pthread_create(&threads[at], NULL, add, (void *)(size_t)at);
    double best = 1e9;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
        pthread_barrier_wait(&barrier);
        double started = now();
        pthread_barrier_wait(&barrier);
        double spent = now() - started;
        if (spent < best) best = spent;
    }
    for (int at = 0; at < count; at++) pthread_join(threads[at], NULL);
    printf("%.4f\n", WORDS * 8 / best / 1e9);
    return 0;
}
"""


def reader(work: Path) -> Path | None:
    """A small C program that reads 256 MB; None where there is no gcc."""
    if shutil.which("gcc") is None:
        return None
    source, made = work / "read.c", work / "read"
    source.write_text(_SOURCE, encoding="ascii")
    subprocess.run(["gcc", "-O3", "-march=native", "-pthread", "-o", made, source], check=True, timeout=120)
    return made


def read_speed(program: Path | None, threads: int) -> float:
    """GB/s read by so many threads, the best of several passes; without the program, numpy's sum by one thread."""
    if program is not None:
        done = subprocess.run([program, str(threads)], check=True, capture_output=True, text=True, timeout=120)
        return float(done.stdout)
    numbers = numpy.ones(32 * 1024 * 1024)
    best = 0.0
    for _ in range(5):
        started = time.perf_counter()
        numbers.sum()
        best = max(best, numbers.nbytes / (time.perf_counter() - started) / 1e9)
    return best


@contextlib.contextmanager
def busy_core(core: int) -> Iterator[int]:
    """The id of a process that keeps this core busy meanwhile."""
    loop = f"import os\nos.sched_setaffinity(0, [{core}])\nwhile os.getppid() == {os.getpid()}: sum(range(10000))"
    process = subprocess.Popen([sys.executable, "-S", "-c", loop])
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()
