"""How much memory covariant vectors will take, and how much there is."""

import os
from pathlib import Path

from thetadot.stability.retrace import Job


def predicted_bytes(job: Job) -> int:
    """Peak of what is kept: frames, triangles and states as the store keeps them, and the results.

    memory 8B(dk+k²+d); coefficients 8Bk²; segments 8[S·d(k+1) + (B/S)(dk+k²+d) + k²] with S checkpoints; disk the
    same without the checkpoints. Triangles of the tail count with the blocks.
    """
    k, d = job.start.count, job.start.size
    row = d * k + k * k + d
    everything = job.blocks + job.tail_blocks
    kept = {
        "memory": job.blocks * row + job.tail_blocks * k * k,
        "coefficients": everything * k * k,
        "segments": -(-everything // job.length) * d * (k + 1) + job.length * row + k * k,
        "disk": job.length * row + k * k,
    }[job.store]
    results = job.blocks * (k * k * (2 if "angles" in job.want else 1) + k)
    if "vectors" in job.want and job.store != "disk":
        results += job.blocks * d * k
    return 8 * (kept + results)


def available_bytes() -> int:
    """Memory that can be had without swapping, as the system says; all of it where it does not say."""
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # a system that does not say: no limit
        return 2**62
