"""Procedural scenes with exact masks: is a map true? Pure functions of a seed."""

from m2ib.scenes.captions import WORDS, query
from m2ib.scenes.icons import KINDS
from m2ib.scenes.scene import Scene, scene, scenes

__all__ = ["KINDS", "WORDS", "Scene", "query", "scene", "scenes"]
