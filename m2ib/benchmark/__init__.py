"""Are the maps true? Scored where it is known which part of every input is the evidence: ``m2ib.scenes``."""

from __future__ import annotations

from m2ib.benchmark.gates import GATES, Gate, Outcome
from m2ib.benchmark.methods import METHODS, Batch, Maps, Method, fitted
from m2ib.benchmark.report import save
from m2ib.benchmark.run import Benchmark, run_scenes

__all__ = [
    "GATES",
    "METHODS",
    "Batch",
    "Benchmark",
    "Gate",
    "Maps",
    "Method",
    "Outcome",
    "fitted",
    "run_scenes",
    "save",
]
