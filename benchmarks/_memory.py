"""The most that PyTorch's allocator holds at a time while something runs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from torch.profiler import ProfilerActivity, profile

MIB = 2**20


def peak_mib(call: Callable[[], object]) -> float:
    """Highest sum of tensors allocated by the call, in MiB; what was there before is not counted.

    Unlike the memory of the process it is the same every time: no reuse by the C library, no pages
    that the system took back meanwhile.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        kept = call()  # held, so that what it returns counts to the end
        del kept  # while it is watched, or the next count would begin with it
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    return (
        float(max(e["args"]["Total Allocated"] for e in events if e.get("name") == "[memory]"))
        / MIB
    )
