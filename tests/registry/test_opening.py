"""Which of the adapters opens a checkpoint: each is asked, the highest rank wins, and every refusal is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import m2ib
import m2ib.registry.discovery
from installed import Plugins
from m2ib.cli import main
from m2ib.cli.options import ModelConfig
from m2ib.registry.discovery import Registry
from toy import toy_model

Can = Callable[..., Any] | str | None


def registry_of(*adapters: tuple[str, Can, int], **more: Any) -> Registry:
    """With one distribution for each adapter: its name, what it can, and its rank."""

    class Plugin:
        def __init__(self, spec: m2ib.AdapterSpec) -> None:
            self.spec = spec

        @m2ib.hookimpl
        def m2ib_register_adapters(self, register: Callable[[m2ib.AdapterSpec], None]) -> None:
            register(self.spec)

    registry = Registry()
    for name, can, rank in adapters:
        spec = m2ib.AdapterSpec(
            name, "a test's", ("image", "text"), lambda **_: toy_model(), can=can, rank=rank, **more
        )
        registry.add_plugin(Plugin(spec), origin=f"m2ib-{name}")
    return registry


def opens(checkpoint: Any, **options: Any) -> None:
    return None


def refuses(checkpoint: Any, **options: Any) -> str:
    return "is a pear"


def breaks(checkpoint: Any, **options: Any) -> str:
    raise RuntimeError("no such sensor")


def says(checkpoint: Any, **options: Any) -> str:
    raise m2ib.CheckpointError(f"four: checkpoint {checkpoint!r} is a folder; name a file in it")


def lacks(checkpoint: Any, **options: Any) -> str:
    import a_package_that_is_nowhere  # type: ignore[import-not-found]  # noqa: F401

    return ""


def test_every_adapter_says_why_it_does_not() -> None:
    registry = registry_of(
        ("one", refuses, 0),
        ("two", None, 0),
        ("three", breaks, 0),
        ("four", says, 0),
        ("five", lacks, 0),
        ("six", lambda checkpoint, **options: 6, 0),
        extra="m2ib-more",
    )
    reasons = {
        "one": "is a pear",
        "two": "it does not tell (AdapterSpec.can)",
        "three": "adapter 'three' of 'm2ib-three' failed: RuntimeError: no such sensor",
        "four": "is a folder",
        "five": "adapter 'five' needs a_package_that_is_nowhere, which cannot be imported: pip install 'm2ib-more'",
        "six": "its can gives int, no text",
    }
    opening = m2ib.who_opens("x", registry=registry)
    assert dict(opening.faults) == reasons
    assert opening.names == ()
    with pytest.raises(m2ib.CheckpointError) as caught:
        m2ib.load_model("auto", checkpoint="x", registry=registry)
    told = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
    assert str(caught.value) == f"auto: no adapter opens checkpoint 'x': {told}"


def test_the_highest_rank_is_taken_and_the_recipe_names_it() -> None:
    registry = registry_of(("general", opens, -1), ("special", opens, 0), ("other", refuses, 5))
    opening = m2ib.who_opens("x", registry=registry)
    assert opening.name == "special"
    assert str(opening) == "general: opens it too, after special\nspecial: opens it\nother: is a pear"
    model = m2ib.load_model("auto", checkpoint="x", device="cpu", registry=registry)
    assert (model.origin["adapter"], model.origin["distribution"]) == ("special", "m2ib-special")
    assert model.recipe is not None
    assert model.recipe["name"] == "m2ib-special:special"


def test_two_of_one_rank_are_both_named() -> None:
    registry = registry_of(("pear", opens, 0), ("plum", opens, 0), ("fig", opens, -1))
    with pytest.raises(m2ib.AdapterError) as caught:
        m2ib.load_model("auto", checkpoint="x", registry=registry)
    assert str(caught.value) == (
        "auto: checkpoint 'x' opens with 'pear' and 'plum' alike; name one of them, as in load_model('pear', ...) or "
        "--model pear"
    )


def test_an_adapter_without_the_options_is_none() -> None:
    seen: list[Any] = []

    def can(checkpoint: Any, **options: Any) -> None:
        seen.append((checkpoint, options))

    registry = registry_of(("sized", can, 0), options=("size",))
    assert m2ib.who_opens("x", registry=registry, size=3).name == "sized"
    assert seen == [("x", {"size": 3})]
    assert dict(m2ib.who_opens("x", registry=registry, colour=1).faults) == {
        "sized": "has no option 'colour'"
    }


def test_what_is_no_checkpoint() -> None:
    registry = registry_of(("one", opens, 0))
    with pytest.raises(m2ib.SettingError, match="auto: the adapter is found by its checkpoint, and none is"):
        m2ib.load_model("auto", registry=registry)
    with pytest.raises(
        m2ib.CheckpointError, match=r"auto: checkpoint 'https://a/b\.pt' is a URL, and nothing is f"
    ):
        m2ib.load_model("auto", checkpoint="https://a/b.pt", registry=registry)
    with pytest.raises(m2ib.CheckpointError, match="no adapter opens the Linear in memory: one: is a pear"):
        m2ib.load_model("auto", checkpoint=torch.nn.Linear(2, 2), registry=registry_of(("one", refuses, 0)))


def test_a_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    registry = registry_of(
        ("one", lambda checkpoint, **options: f"{checkpoint} {options}", 0), options=("a",)
    )
    found = m2ib.who_opens("~/x", registry=registry, a="~/y").faults["one"]
    assert found == "/somewhere/x {'a': '/somewhere/y'}"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"can": 3}, "AdapterSpec 'x': can 3 cannot be called"),
        (
            {"can": "nowhere"},
            "AdapterSpec 'x': can 'nowhere' is not 'module:attribute', as in 'my_package.ad",
        ),
        ({"rank": 0.5}, "AdapterSpec 'x': rank 0.5 is no whole number"),
        ({"license": None}, "AdapterSpec 'x': license None is no text"),
        ({"name": "auto"}, "AdapterSpec 'auto': the name stands for whichever adapter fits; take another"),
    ],
)
def test_specifications_are_checked(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(m2ib.AdapterError) as caught:
        m2ib.AdapterSpec(**{"name": "x", "summary": "", "modalities": ("text",), "load": print, **fields})
    assert str(caught.value).startswith(message)


PLUGIN = """
    import m2ib

    @m2ib.hookimpl
    def m2ib_register_adapters(register):
        register(m2ib.AdapterSpec("toy", "a test's", ("image", "text"), "toy_adapter:load", can="toy_adapter:can"))
"""
ADAPTER = """
    from toy import toy_model

    def can(checkpoint, **options):
        return None if checkpoint == "toy weights" else "is no toy"

    def load(**options):
        return toy_model()
"""


@pytest.fixture
def toy_plugin(plugins: Plugins, monkeypatch: pytest.MonkeyPatch) -> None:
    from textwrap import dedent

    plugins.add("m2ib-toy", PLUGIN)
    (plugins.folder / "toy_adapter.py").write_text(dedent(ADAPTER))
    monkeypatch.setattr(m2ib.registry.discovery, "_default", Registry.discover())


@pytest.mark.usefixtures("toy_plugin")
def test_the_command_says_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["adapters", "--can", "toy weights"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "auto: toy"
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert "opens it" in rows["toy"]
    assert "has its own weights and takes no checkpoint" in rows["photo"]
    assert main(["adapters", "--can", "/nowhere/weights.pt"]) == 1
    out = capsys.readouterr().out
    assert "is no toy" in out
    assert out.splitlines()[-1] == "auto: none opens it"
    assert main(["adapters", "--can", "toy weights", "options.size=3", "more"]) == 2
    assert "adapters: 'more' is not an option of this command" in capsys.readouterr().err
    assert main(["adapters", "--can", ""]) == 2
    assert main(["adapters", "options.size=3"]) == 2


@pytest.mark.usefixtures("toy_plugin")
def test_what_is_written_down_is_the_adapters_name() -> None:
    assert ModelConfig("auto", "toy weights").name == "m2ib-toy:toy"
    assert ModelConfig("toy", "toy weights").name == "toy"


@pytest.mark.usefixtures("toy_plugin")
def test_commands_take_auto(capsys: pytest.CaptureFixture[str], tmp_path: Any) -> None:
    words = ["explain", "--model", "auto", "--checkpoint", "toy weights", "--out", str(tmp_path / "out")]
    assert (
        main([*words, "--sound", "x.wav", "--text", "a dog"]) == 2
    )  # what it takes is told by the one it is
    assert "the model 'auto' takes --image, --text" in capsys.readouterr().err.lower()
