from . import export as export
from . import results as results
from .activations.reach import GoodLayers
from .adapting import adapt
from .api import Options, contrast, embedding, ensemble, explain, good_layers, sweep
from .contract.attribution import Attribution
from .contract.degradation import Degradation, Fading, Replacing
from .contract.encoder import (
    Attention,
    Defaults,
    Encoder,
    Layer,
    read_first,
    read_sequence_first,
    write_first,
    write_sequence_first,
)
from .contract.inputs import Inputs, Item
from .contract.interactions import Interactions, Link, Units
from .contract.layout import Axis, Layout, Token
from .contract.model import Model
from .contract.null import Null
from .contract.regions import Box, Region
from .contract.settings import Setting
from .contract.similarity import MAXSIM, Similarity
from .corpus.engine import Failed
from .corpus.explain import explain_many
from .corpus.run import run
from .data.boxes import read_boxes
from .data.formats import open_pairs
from .errors import (
    AdapterError,
    CheckpointError,
    InputError,
    M2IBError,
    M2IBWarning,
    OutOfMemoryError,
    PluginError,
    SettingError,
    StorageError,
)
from .loading import load_model
from .methods.bottleneck.settings import PRESETS, FitSettings
from .notices import warn
from .page.explanation import write_page
from .registry.discovery import Registry, list_adapters, list_methods, list_renderers
from .registry.hookspecs import hookimpl
from .registry.opening import Opening, who_opens
from .registry.specs import AdapterSpec, MethodSpec, PairMethodSpec, RendererSpec
from .results.comparison import Comparison, figure
from .results.explanation import Explanation, load_explanation
from .units.rules import onsets, superpixels, words

__all__ = [
    "MAXSIM",
    "PRESETS",
    "AdapterError",
    "AdapterSpec",
    "Attention",
    "Attribution",
    "Axis",
    "Box",
    "CheckpointError",
    "Comparison",
    "Defaults",
    "Degradation",
    "Encoder",
    "Explanation",
    "Fading",
    "Failed",
    "FitSettings",
    "GoodLayers",
    "InputError",
    "Inputs",
    "Interactions",
    "Item",
    "Layer",
    "Layout",
    "Link",
    "M2IBError",
    "M2IBWarning",
    "MethodSpec",
    "Model",
    "Null",
    "Opening",
    "Options",
    "OutOfMemoryError",
    "PairMethodSpec",
    "PluginError",
    "Region",
    "Registry",
    "RendererSpec",
    "Replacing",
    "Setting",
    "SettingError",
    "Similarity",
    "StorageError",
    "Token",
    "Units",
    "adapt",
    "contrast",
    "embedding",
    "ensemble",
    "explain",
    "explain_many",
    "export",
    "figure",
    "good_layers",
    "hookimpl",
    "list_adapters",
    "list_methods",
    "list_renderers",
    "load_explanation",
    "load_model",
    "onsets",
    "open_pairs",
    "read_boxes",
    "read_first",
    "read_sequence_first",
    "results",
    "run",
    "superpixels",
    "sweep",
    "warn",
    "who_opens",
    "words",
    "write_first",
    "write_page",
    "write_sequence_first",
]
