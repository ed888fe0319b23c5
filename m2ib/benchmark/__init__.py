"""Are the maps true? Scored where it is known which part of every input is the evidence: ``m2ib.scenes``."""

from __future__ import annotations

from m2ib.benchmark.files import save, save_interactions
from m2ib.benchmark.gates import GATES, Gate, GateOutcome
from m2ib.benchmark.interactions import InteractionScores, run_interactions
from m2ib.benchmark.run import METHODS, SETTINGS, Benchmark, run_scenes

__all__ = [
    "GATES",
    "METHODS",
    "SETTINGS",
    "Benchmark",
    "Gate",
    "GateOutcome",
    "InteractionScores",
    "run_interactions",
    "run_scenes",
    "save",
    "save_interactions",
]
