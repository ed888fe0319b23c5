"""Plugins found through real entry points: a broken one is left out and named, the others keep working."""

from __future__ import annotations

import importlib
import inspect
import logging
import os
import subprocess
import sys
from typing import Any

import pytest

import m2ib
from installed import Plugins
from m2ib.registry.discovery import Registry
from m2ib.renderers import renderer_named

GOOD = """
    import m2ib

    @m2ib.hookimpl
    def m2ib_register_adapters(register):
        register(m2ib.AdapterSpec("{name}", "a test's own", ("sonar", "text"), load=lambda **options: None))
"""
RAISES = "raise RuntimeError('no such sensor')"
LACKS = "import a_package_that_is_nowhere"
MISSPELT = """
    import m2ib

    @m2ib.hookimpl
    def m2ib_register_adapter(register):
        pass
"""
UNMARKED = """
    def m2ib_register_adapters(register):
        pass
"""
WRONG_ARGUMENT = """
    import m2ib

    @m2ib.hookimpl
    def m2ib_register_adapters(registry):
        pass
"""
JUNK = """
    import m2ib

    @m2ib.hookimpl
    def m2ib_register_adapters(register):
        register(m2ib.AdapterSpec("fine", "one", ("text",), load=print))
        register("my-model")
"""
TWICE = """
    import m2ib

    @m2ib.hookimpl
    def m2ib_register_adapters(register):
        for summary in ("one", "two"):
            register(m2ib.AdapterSpec("twin", summary, ("text",), load=print))
"""
BAD_NAME = """
    import m2ib

    @m2ib.hookimpl
    def m2ib_register_adapters(register):
        register(m2ib.AdapterSpec("My Model", "one", ("text",), load=print))
"""


FIRST_PARTY = {"photo", "clip", "open-clip", "cxr-repair", "imagebind", "imagebind-tiny"}

BROKEN = {
    "raises at import": (RAISES, "RuntimeError: no such sensor"),
    "lacks a package": (LACKS, "ModuleNotFoundError: No module named 'a_package_that_is_nowhere'"),
    "misspelt hook": (MISSPELT, "unknown hook 'm2ib_register_adapter'"),
    "unmarked hook": (UNMARKED, "'main' has no function m2ib_register_adapters decorated with m2ib.hookimpl"),
    "wrong argument": (
        WRONG_ARGUMENT,
        "Argument(s) {'registry'} are declared in the hookimpl but can not be found",
    ),
    "junk": (JUNK, "AdapterError: register() takes an AdapterSpec, not 'my-model'"),
    "one name twice": (TWICE, "AdapterError: 'odd-plugin' registers the adapter 'twin' more than once"),
    "bad name": (
        BAD_NAME,
        "AdapterError: AdapterSpec: name 'My Model' is not made of lower-case letters, digits and dashes",
    ),
}
broken = pytest.mark.parametrize(("code", "reason"), BROKEN.values(), ids=BROKEN.keys())


@broken
def test_a_broken_plugin_leaves_the_others_usable(
    plugins: Plugins, caplog: pytest.LogCaptureFixture, code: str, reason: str
) -> None:
    plugins.add("odd-plugin", code)
    plugins.add("sonar-plugin", GOOD.format(name="sonar"))
    with caplog.at_level(logging.WARNING, "m2ib"):
        registry = Registry.discover()
        found = registry.adapters
    assert FIRST_PARTY | {"sonar"} <= set(found.names)
    assert not {"fine", "twin"} & set(found.names)  # all of a plugin, or nothing of it
    assert registry.adapters.find("sonar").origin == "sonar-plugin"
    (failure,) = found.failures
    assert (failure.origin, failure.entry_point) == ("odd-plugin", "main")
    assert reason in " ".join(failure.reason.split())
    (record,) = [record for record in caplog.records if "odd-plugin" in record.getMessage()]
    assert record.getMessage() == f"plugin 'main' of 'odd-plugin' was left out: {failure.reason}"


@broken
def test_an_unknown_adapter_error_names_the_broken_plugin(plugins: Plugins, code: str, reason: str) -> None:
    plugins.add("odd-plugin", code)
    with pytest.raises(m2ib.AdapterError) as caught:
        Registry.discover().adapters.find("twin")
    message = " ".join(str(caught.value).split())
    assert message.startswith(
        "load_model: no adapter is called 'twin'. Known: photo, clip, open-clip, cxr-repair, imagebind"
    )
    assert (
        f"; plugin 'main' of 'odd-plugin' was left out: {' '.join(reason.split())}" in message
        or reason in message
    )


@broken
def test_strict_raises_instead(
    plugins: Plugins, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    plugins.add("odd-plugin", code)
    monkeypatch.setenv("M2IB_STRICT_PLUGINS", "1")
    with pytest.raises(m2ib.AdapterError, match=r"plugin 'main' of 'odd-plugin' was left out: ") as caught:
        Registry.discover()
    assert reason in " ".join(str(caught.value).split())
    monkeypatch.setenv("M2IB_STRICT_PLUGINS", "0")
    assert len(Registry.discover().adapters.failures) == 1


def test_a_taken_name_stays_reachable_in_full(plugins: Plugins, caplog: pytest.LogCaptureFixture) -> None:
    plugins.add("other-clip", GOOD.format(name="clip"))
    registry = Registry.discover()
    (conflict,) = registry.adapters.conflicts
    assert conflict == (
        "the adapter 'clip' is registered by 'm2ib' and 'other-clip': ask for 'm2ib:clip' or 'other-clip:clip'"
    )
    assert [record.getMessage() for record in caplog.records] == [conflict]
    for ask in (lambda: registry.adapters.find("clip"), lambda: m2ib.load_model("clip", registry=registry)):
        with pytest.raises(m2ib.AdapterError) as caught:
            ask()
        assert str(caught.value) == f"load_model: {conflict}"
    assert registry.adapters.find("m2ib:clip").origin == "m2ib"
    assert registry.adapters.find("other-clip:clip").modalities == ("sonar", "text")
    assert registry.adapters.find("photo").origin == "m2ib"
    assert {"photo", "open-clip", "m2ib:clip", "other-clip:clip"} <= set(registry.adapters.names)
    assert registry.adapters.failures == ()


def test_a_taken_name_raises_when_strict(plugins: Plugins) -> None:
    plugins.add("other-clip", GOOD.format(name="clip"))
    with pytest.raises(m2ib.AdapterError, match="the adapter 'clip' is registered by "):
        Registry.discover(strict=True)


@pytest.mark.parametrize(
    ("asked", "hint"),
    [("cilp", " (did you mean 'clip'?)"), ("openclip", " (did you mean 'open-clip'?)"), ("zebra", "")],
)
def test_an_unknown_name_gets_a_hint(asked: str, hint: str) -> None:
    with pytest.raises(m2ib.AdapterError) as caught:
        Registry.discover().adapters.find(asked)
    assert str(caught.value).startswith(
        f"load_model: no adapter is called {asked!r}{hint}. Known: photo, clip, "
    )


def test_an_empty_registry_says_so() -> None:
    with pytest.raises(m2ib.AdapterError, match=r"no adapter is called 'clip'\. Known: none$"):
        Registry().adapters.find("clip")


def test_a_load_that_gives_something_else_is_refused(plugins: Plugins) -> None:
    plugins.add("sonar-plugin", GOOD.format(name="sonar"))
    with pytest.raises(
        m2ib.AdapterError, match=r"adapter 'sonar': load returned NoneType, not an m2ib\.Model"
    ):
        m2ib.load_model("sonar", registry=Registry.discover())


def test_a_plugin_in_its_own_process(plugins: Plugins) -> None:
    plugins.add("odd-plugin", RAISES)
    plugins.add("other-clip", GOOD.format(name="clip"))
    path = os.pathsep.join(filter(None, [str(plugins.folder), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "COLUMNS": "300"}
    command = [sys.executable, "-m", "m2ib", "adapters"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    for row in ("photo", "open-clip", "m2ib:clip", "other-clip:clip"):
        assert any(line.startswith(f"{row} ") for line in done.stdout.splitlines()), row
    assert "plugin 'main' of 'odd-plugin' was left out: RuntimeError: no such sensor" in done.stdout
    assert "the adapter 'clip' is registered by 'm2ib' and 'other-clip'" in done.stdout
    assert done.stderr.count("odd-plugin") <= 1
    assert "Traceback" not in done.stderr

    strict = {**environment, "M2IB_STRICT_PLUGINS": "1"}
    done = subprocess.run(command, env=strict, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert (
        done.stderr
        == "m2ib: error: plugin 'main' of 'odd-plugin' was left out: RuntimeError: no such sensor\n"
    )


# What importing costs.

HEAVY = ("torch", "transformers", "open_clip", "timm", "matplotlib", "skimage")
LISTING = "import m2ib; assert len(m2ib.list_adapters()) >= 3"


def imported_by(code: str) -> set[str]:
    """Which heavy packages a fresh interpreter has after running ``code``."""
    report = f"{code}\nimport sys; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_and_listing_import_no_model_library() -> None:
    assert imported_by(LISTING) == set()


def test_that_test_would_notice() -> None:
    assert "torch" in imported_by(f"{LISTING}; m2ib.Model")
    assert "transformers" in imported_by(f"{LISTING}; import transformers")


def adapters_imported_by(code: str) -> set[str]:
    report = code + "; import sys; print(*(m for m in sys.modules if m.startswith('m2ib_adapters.')))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_listing_imports_no_adapter() -> None:
    assert adapters_imported_by(LISTING) == {"m2ib_adapters.plugin"}
    assert "m2ib_adapters.bounds" in adapters_imported_by(f"{LISTING}; import m2ib_adapters.bounds")


def seconds_of(code: str) -> float:
    """What running it costs in processor time, which a busy machine does not change; the best of three."""
    timed = f"import time; {code}; print(time.process_time())"  # from the start of the process
    runs = (
        subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True)
        for _ in range(3)
    )
    return min(float(run.stdout) for run in runs)


def test_importing_and_listing_take_less_than_half_a_second() -> None:
    assert seconds_of(LISTING) < 0.5


def test_that_a_heavy_import_would_be_noticed() -> None:
    assert seconds_of(f"{LISTING}; m2ib.Model") > 0.5


def test_every_public_name_resolves() -> None:
    for name in m2ib.__all__:
        assert getattr(m2ib, name) is not None
    assert len(set(m2ib.__all__)) == len(m2ib.__all__)
    assert set(m2ib.__all__) <= set(dir(m2ib))
    with pytest.raises(AttributeError, match="No m2ib attribute explian"):
        m2ib.explian  # noqa: B018


@pytest.mark.parametrize("info", m2ib.list_adapters(), ids=lambda info: info.name)
def test_first_party_adapters_name_all_their_options(info: Any) -> None:
    module, name = str(info.spec.load).split(":")
    load = getattr(importlib.import_module(module), name)
    named = [
        name for name in inspect.signature(load).parameters if name not in ("checkpoint", "device", "dtype")
    ]
    assert list(info.spec.options) == named


# Renderers.

BARS = """
    import m2ib
    from m2ib.renderers import ValuesRenderer

    class Bars(ValuesRenderer):
        name = "bars"

    def missing():
        import plotly_of_the_future

    @m2ib.hookimpl
    def m2ib_register_renderers(register):
        register(m2ib.RendererSpec("bars", "a bar for each cell", Bars))
        register(m2ib.RendererSpec("late", "needs a package", missing, extra="m2ib-bars[plot]"))
"""


def test_renderers_of_plugins_are_found(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins.add("m2ib-bars", BARS)
    registry = Registry.discover()
    assert registry.renderers["bars"].origin == "m2ib-bars"
    assert {"image", "text", "sound", "field", "traces", "film", "values"} < set(registry.renderers.names)
    monkeypatch.setattr("m2ib.registry.discovery._default", registry)
    assert m2ib.list_renderers().names == registry.renderers.names
    assert renderer_named("bars").name == "bars"
    with pytest.warns(
        m2ib.M2IBWarning,
        match=r"renderer 'late' needs plotly_of_the_future, which cannot be imported: pip install 'm2ib-bars\[plot\]'; "
        "its maps are shown as plain values",
    ):
        assert renderer_named("late").name == "values"


def test_a_renderer_of_two_plugins_is_neither(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    plugins.add("m2ib-bars", BARS)
    plugins.add("other-bars", BARS)
    registry = Registry.discover()
    (line,) = (line for line in registry.conflicts() if "'bars'" in line)
    assert {"'m2ib-bars'", "'other-bars'"} <= set(line.partition(":")[0].split())
    monkeypatch.setattr("m2ib.registry.discovery._default", registry)
    with pytest.warns(
        m2ib.M2IBWarning,
        match="the renderer 'bars' is registered by '[a-z0-9-]*' and '[a-z0-9-]*'; its maps are",
    ):
        assert renderer_named("bars").name == "values"


def test_specifications_of_renderers_are_checked() -> None:
    with pytest.raises(
        m2ib.AdapterError, match="RendererSpec: name 'No Name' is not made of lower-case letters"
    ):
        m2ib.RendererSpec("No Name", "", lambda: None)  # type: ignore[arg-type, return-value]
    with pytest.raises(m2ib.AdapterError, match="RendererSpec 'x': load None cannot be called"):
        m2ib.RendererSpec("x", "", None)  # type: ignore[arg-type]


# Modalities.


def test_what_a_table_writes_out_is_what_any_adapter_says(plugins: Plugins) -> None:
    for name, inline in (("one", "()"), ("two", "('smell',)")):
        plugins.add(
            f"m2ib-{name}",
            f"""
            import m2ib

            @m2ib.hookimpl
            def m2ib_register_adapters(register):
                register(m2ib.AdapterSpec("{name}", "", ("smell", "taste"), print, inline={inline}))
            """,
        )
    known = Registry.discover().modalities()
    assert (known["smell"], known["taste"], known["text"], known["image"]) == (True, False, True, False)
