"""Plugins at their worst: each is left out, or fails alone and in one line; m2ib's own things and the user's interrupt stay."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

import m2ib
import m2ib.registry.discovery
from installed import Plugins
from m2ib.cli import main
from m2ib.registry.discovery import Registry
from m2ib.renderers import ImageRenderer, renderer_named
from toy import EXAMPLES, toy_model

GOOD = """
import m2ib

@m2ib.hookimpl
def m2ib_register_adapters(register):
    register(m2ib.AdapterSpec("sonar", "a test's own", ("sonar",), load=print))
"""
IN_A_HOOK = """
import m2ib

@m2ib.hookimpl
def m2ib_register_methods(register):
    register(m2ib.MethodSpec("half", "never to be seen", load=print))
{body}
"""
RAISED = {
    "interrupt of its own": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "cancelled": ("import asyncio; raise asyncio.CancelledError('late')", "CancelledError: late"),
    "exit": ("import sys; sys.exit(0)", "SystemExit: 0"),
    "generator's exit": ("raise GeneratorExit", "GeneratorExit"),
    "stop": ("raise StopIteration(3)", "StopIteration: 3"),
    "recursion": ("f = lambda f: f(f); f(f)", "RecursionError: maximum recursion depth exceeded"),
    "memory": ("raise MemoryError", "MemoryError"),
    "class of its own": ("raise type('Odd', (BaseException,), {})('no')", "Odd: no"),
    "no message": (
        "raise type('Mute', (BaseException,), {'__str__': lambda self: 1 / 0, '__repr__': None})",
        "Mute: (its message cannot be shown)",
    ),
    "100 kB of message": ("raise RuntimeError('a\\nb\\x1b' + 'c' * 100_000)", "RuntimeError: a b\\x1bccc"),
}
raised = pytest.mark.parametrize(("code", "reason"), RAISED.values(), ids=RAISED.keys())


@raised
@pytest.mark.parametrize("where", ["import", "hook"])
def test_whatever_a_plugin_raises_leaves_the_others_usable(
    plugins: Plugins, where: str, code: str, reason: str
) -> None:
    plugins.add("odd-plugin", code if where == "import" else IN_A_HOOK.format(body=indent(code, "    ")))
    plugins.add("sonar-plugin", GOOD)
    registry = Registry.discover()
    assert {"photo", "clip", "sonar"} <= set(registry.adapters.names)
    assert "half" not in registry.methods.names
    (failure,) = registry.methods.failures
    assert (failure.origin, failure.entry_point) == ("odd-plugin", "main")
    assert failure.reason.startswith(reason)
    assert failure.reason.isprintable()
    assert len(failure.reason) < 340


INTERRUPTED = """
import os, signal, time
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)
{after}
"""


@pytest.mark.parametrize(
    "after",
    [
        "finally: pass",
        "except BaseException: pass",
        "except BaseException: raise ImportError('no numpy') from None",
    ],
)
def test_the_users_interrupt_gets_through(plugins: Plugins, after: str) -> None:
    plugins.add("slow", INTERRUPTED.format(after=after))
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        Registry.discover()
    assert signal.getsignal(signal.SIGINT) is before


def test_plugins_are_found_in_another_thread_too(plugins: Plugins) -> None:
    plugins.add("odd-plugin", "raise KeyboardInterrupt")
    found: list[Registry] = []
    thread = threading.Thread(target=lambda: found.append(Registry.discover()))
    thread.start()
    thread.join()
    assert [each.reason for each in found[0].adapters.failures] == ["KeyboardInterrupt"]


def test_a_warning_at_import_is_no_failure(plugins: Plugins) -> None:
    plugins.add("old", f"import warnings; warnings.warn('old', DeprecationWarning)\n{GOOD}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.warns(DeprecationWarning, match="old"):
            registry = Registry.discover()
        with pytest.raises(UserWarning):
            warnings.warn("still an error here", stacklevel=1)
    assert (registry.adapters["sonar"].origin, registry.adapters.failures) == ("old", ())


# Names that are taken.


@pytest.mark.parametrize("name", ["m2ib", "M2IB"])
def test_no_other_distribution_is_m2ib(plugins: Plugins, name: str) -> None:
    plugins.add(name, GOOD, module="not_ours")
    registry = Registry.discover()
    assert {"photo", "clip"} <= set(registry.adapters.names)
    assert {"m2ib", "uniform"} <= set(registry.methods.names)
    assert "sonar" not in registry.adapters.names
    (failure,) = registry.adapters.failures
    assert failure.reason == f"AdapterError: its distribution is called {name!r}, as m2ib's own is"


def test_nobody_passes_our_things_off_as_its_own(plugins: Plugins) -> None:
    info = plugins.folder / "thief-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thief\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[m2ib]\na = m2ib.registry.builtin\nb = m2ib_adapters.plugin\n")
    registry = Registry.discover()
    assert {row.origin for row in (*registry.adapters, *registry.methods)} == {"m2ib"}
    assert registry.conflicts() == []


@pytest.mark.parametrize(
    ("metadata", "points"),
    [("", "[m2ib]\nmain = sonar_plugin\n"), ("Name: x\n", "[m2ib]\nno sense\n"), ("Name: x\n", "\xff")],
)
def test_a_distribution_with_damaged_metadata_harms_nobody(
    plugins: Plugins, metadata: str, points: str
) -> None:
    plugins.add("sonar-plugin", GOOD)
    info = plugins.folder / "damaged-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(metadata)
    (info / "entry_points.txt").write_bytes(points.encode("latin-1"))
    assert {"photo", "clip"} <= set(Registry.discover().adapters.names)
    assert any(name.endswith("sonar") for name in Registry.discover().adapters.names)


OURS = """
import m2ib

def load(**options):
    raise SystemExit(0)

@m2ib.hookimpl
def m2ib_register_adapters(register):
    for name in ("photo", "clip", "imagebind-tiny"):
        register(m2ib.AdapterSpec(name, "not ours", ("image", "text"), load=load))

@m2ib.hookimpl
def m2ib_register_methods(register):
    for name in ("m2ib", "rise", "uniform", "random"):
        register(m2ib.MethodSpec(name, "not ours", load=load))

@m2ib.hookimpl
def m2ib_register_renderers(register):
    for name in ("image", "text", "values"):
        register(m2ib.RendererSpec(name, "not ours", load=load))
"""


@pytest.fixture
def taken(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Every name that m2ib looks up of its own accord is another plugin's too."""
    plugins.add("grabs", OURS)
    registry = Registry.discover()
    monkeypatch.setattr(m2ib.registry.discovery, "_default", registry)
    return registry


def test_what_m2ib_looks_up_itself_is_its_own(taken: Registry, tmp_path: Path) -> None:
    inputs = {"image": EXAMPLES["image"][0], "text": EXAMPLES["text"][0]}
    explanation = m2ib.explain(toy_model(), **inputs, steps=1, samples=1)
    assert explanation["image"].method == "m2ib:m2ib"
    with pytest.raises(m2ib.SettingError) as caught:
        m2ib.explain(toy_model(), **inputs, method="m2ib")
    assert str(caught.value) == (
        "method: the method 'm2ib' is registered by 'm2ib' and 'grabs': ask for 'm2ib:m2ib' or 'grabs:m2ib'"
    )
    assert isinstance(renderer_named("image"), ImageRenderer)


def test_commands_without_a_name_run_with_our_own(
    taken: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scenes = ["--data", "scenes", "data.count=8", "data.modality=imu", "curve_steps=2"]
    tiny = ["--model", "m2ib:imagebind-tiny"]
    words = [*scenes, *tiny, "--methods", "saliency", "--seeds", "0", "--metrics", "drop", "--sides", "imu"]
    assert main(["evaluate", *words]) == 0
    assert "m2ib:uniform" in capsys.readouterr().out
    search = ["pairs=4", "held_out=4", "grid.layer=[1]", "grid.beta=[1]", "grid.variance=[1]"]
    assert main(["tune", *scenes, *tiny, "--side", "imu", *search, "settings.steps=1"]) == 0
    assert "method" not in (tmp_path / "m2ib-tuning" / "settings.yaml").read_text()
    small = ["--scenes", "2", "--seeds", "0", "--modalities", "imu"]
    assert main(["benchmark", "scenes", *small]) == 0
    pair = ["--text", "a cat", "--text", "a bird", "steps=1", "samples=1"]
    assert main(["explain", *tiny, *pair]) == 0
    capsys.readouterr()
    assert main(["explain", *tiny, *pair, "--method", "m2ib", "--out", "second"]) == 2
    assert "the method 'm2ib' is registered by 'm2ib' and 'grabs'" in capsys.readouterr().err
    assert main(["explain", "--text", "a cat", "--text", "a bird", "--print-config"]) == 0
    assert "model: m2ib:photo" in capsys.readouterr().out


# Code that is called later.

FAILING = """
import m2ib

def fails(*given, **named):
    {body}

def method():
    from m2ib.methods import Map, Method, PreparedBatch
    import numpy as np

    def prepare(batch, settings):
        def maps(targets, advance):
            advance()
            return [Map(np.zeros(grid)) for grid in batch.grids(0)]

        return PreparedBatch(batch.embed(), {maps})

    parts = dict(prepare=prepare)
    parts[{part!r}] = {value}
    return Method(**{{name: value for name, value in parts.items() if name}})

@m2ib.hookimpl
def m2ib_register_methods(register):
    setting = m2ib.Setting("depth", "a test's own", {default}, {check})
    register(m2ib.MethodSpec("failing", "a test's own", {load}, settings=(setting,)))

@m2ib.hookimpl
def m2ib_register_adapters(register):
    register(m2ib.AdapterSpec("failing", "a test's own", ("text",), fails))
"""


def failing(place: str, body: str) -> str:
    """A method that fails in one place."""
    parts = {"default": "1", "check": "lambda value, encoder: value", "load": "method", "maps": "maps"}
    part = place if place not in parts else ""
    parts |= {place: "fails"} if place in parts else {}
    return FAILING.format(body=body, part=part, value="fails", **parts)


@pytest.fixture
def registered(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def add(code: str) -> None:
        plugins.add("cairn", code)
        monkeypatch.setattr(m2ib.registry.discovery, "_default", Registry.discover())

    return add


PLACES = ["load", "default", "check", "maps", "prepare", "settings", "refuse", "steps"]


@pytest.mark.parametrize("place", [*PLACES, "check of the method"])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("import asyncio; raise asyncio.CancelledError", "CancelledError"),
        ("raise ValueError('x\\n' * 9999)", "ValueError: x x x"),
    ],
)
def test_a_method_that_fails_says_so_in_one_line(registered: Any, place: str, body: str, said: str) -> None:
    code = failing(place, body)
    if place == "check of the method":
        code = FAILING.format(
            body=body,
            part="check",
            value="fails",
            default="1",
            check="lambda v, e: v",
            load="method",
            maps="maps",
        )
    registered(code)
    with pytest.raises(m2ib.PluginError) as caught:
        m2ib.explain(toy_model(), image=EXAMPLES["image"][0], text=EXAMPLES["text"][0], method="failing")
    assert str(caught.value).startswith(f"method 'failing' of 'cairn' failed: {said}")
    assert len(str(caught.value)) < 400
    assert caught.value.__cause__ is not None


def test_the_users_interrupt_ends_a_method_too(registered: Any) -> None:
    registered(failing("maps", "import os, signal; os.kill(os.getpid(), signal.SIGINT)"))
    with pytest.raises(KeyboardInterrupt):
        m2ib.explain(toy_model(), image=EXAMPLES["image"][0], text=EXAMPLES["text"][0], method="failing")


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("load", "load returned NoneType, not an m2ib.methods.Method"),
        ("prepare", "prepare returned NoneType, not an m2ib.methods.PreparedBatch"),
    ],
)
def test_a_method_that_gives_something_else(registered: Any, place: str, said: str) -> None:
    registered(failing(place, "return None"))
    with pytest.raises(m2ib.PluginError) as caught:
        m2ib.explain(toy_model(), image=EXAMPLES["image"][0], text=EXAMPLES["text"][0], method="failing")
    assert str(caught.value) == f"method 'failing' of 'cairn': {said}"


def test_an_adapter_that_ends_the_process(registered: Any, capsys: pytest.CaptureFixture[str]) -> None:
    registered(failing("load", "raise SystemExit(0)"))
    with pytest.raises(m2ib.PluginError, match=r"adapter 'failing' of 'cairn' failed: SystemExit: 0"):
        m2ib.load_model("failing")
    assert (
        main(["explain", "--text", "a", "--text", "b", "--model", "failing", "--out", os.devnull + "x"]) == 2
    )
    assert capsys.readouterr().err.startswith(
        "m2ib: error: adapter 'failing' of 'cairn' failed: SystemExit: 0"
    )


def test_an_evaluation_does_not_end_as_if_it_were_done(
    registered: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registered(failing("maps", "raise SystemExit(0)"))
    words = ["--data", "scenes", "data.count=2", "data.modality=imu", "--model", "imagebind-tiny"]
    more = ["--methods", "failing", "--metrics", "drop", "--seeds", "0", "--out", str(tmp_path / "out")]
    assert main(["evaluate", *words, *more]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "4 maps could not be made" in printed or "2 maps could not be made" in printed
    assert "method 'failing' of 'cairn' failed: SystemExit: 0" in printed


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("summary=None", "AdapterSpec 'odd': summary None is no text"),
        ("options=None", "AdapterSpec 'odd': options None is no tuple of texts"),
        ("options=(1,)", "AdapterSpec 'odd': options (1,) is no tuple of texts"),
        ("attention=3", "AdapterSpec 'odd': attention 3 is no tuple of texts"),
        ("models=3", "AdapterSpec 'odd': models 3 is no text"),
    ],
)
def test_a_spec_that_would_break_a_listing_is_refused(plugins: Plugins, given: str, said: str) -> None:
    code = GOOD.replace('"sonar", "a test\'s own", ("sonar",), load=print', "**SPEC")
    spec = f"SPEC = {{**dict(name='odd', summary='s', modalities=('text',), load=print), **dict({given})}}\n"
    plugins.add("odd-plugin", spec + code)
    (failure,) = Registry.discover().adapters.failures
    assert failure.reason == f"AdapterError: {said}"
