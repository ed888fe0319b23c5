from .base import Batch, Map, Method, PreparedBatch, Settings, Targets, degradation_of, needs_attention

__all__ = [
    "Batch",
    "Map",
    "Method",
    "PreparedBatch",
    "Settings",
    "Targets",
    "degradation_of",
    "needs_attention",
]
