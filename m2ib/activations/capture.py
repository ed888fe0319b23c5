"""Read and replace a layer's output, and leave the model as it was found.

``record`` runs an encoder once and keeps the outputs of the blocks up to layer l. ``Tail`` then runs the
encoder's own forward with those blocks skipped, layer l's output replaced: what comes after l is
computed, what comes before is not, and no adapter has to rewrite its model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import NoneType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    _global_forward_hooks,
    _global_forward_pre_hooks,
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.utils import _pytree as pytree

from m2ib.activations.axes import read_checked
from m2ib.contract.encoder import Encoder, Layer
from m2ib.contract.inputs import Inputs, each_tensor, repeat, repeat_inputs
from m2ib.errors import AdapterError
from m2ib.execution.context import hook, this_thread
from m2ib.execution.products import linear_of, use_steady_weights
from m2ib.promises import kept_promises, promise

_WITHOUT_GRADIENT = "torch.ao.nn.quantized"


def replace_forward(module: nn.Module, forward: Callable[..., Any]) -> None:
    """In this thread ``module(...)`` calls ``forward`` until the promise is kept; then what was there before is back."""
    own, before, ours = module.__dict__.get("forward"), module.forward, this_thread()

    def put_back() -> None:
        if own is not None:
            module.forward = own
        elif "forward" in module.__dict__:
            del module.forward

    promise(put_back)
    module.forward = lambda *args, **kwargs: (forward if ours() else before)(*args, **kwargs)


@contextmanager
def replaced_value(layer: Layer, replace: Callable[[Any], Any]) -> Iterator[None]:
    """What passes at the layer in this thread passes through ``replace``: the module's first argument, or its output."""
    with kept_promises():
        replace_value(layer, replace)
        yield


def replace_value(layer: Layer, replace: Callable[[Any], Any]) -> None:
    """:func:`replaced_value` until the promise is kept."""
    ours = this_thread()

    def pre_hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not ours():
            return None
        if args:
            return (replace(args[0]), *args[1:]), kwargs
        name = next(iter(kwargs))  # a block called by keyword: its first one
        return args, {**kwargs, name: replace(kwargs[name])}

    def after(module: nn.Module, args: Any, output: Any) -> Any:
        return replace(output) if ours() else None

    if layer.at == "input":
        hook(layer.module, pre_hook, before=True, with_kwargs=True)
    else:
        hook(layer.module, after, before=False)


@dataclass(frozen=True)
class Recording:
    """One forward pass of N inputs: embeddings (N, D), unnormalised, and what passed at layers up to l.

    outputs  what each layer -1 .. l gave, as the model gives it, by layer number
    stems    by number of copies the inputs repeated so often, and what the encoder makes of them before the layer
    """

    encoder: Encoder
    inputs: Inputs
    layer: int
    embedding: Tensor
    outputs: dict[int, Any]
    stems: dict[int, tuple[Inputs, Stem]] = field(default_factory=dict, repr=False)

    @property
    def activation(self) -> Tensor:
        """The activation at layer l: (N, positions..., channels) or channels at the layer's axis."""
        return self.encoder.layer(self.layer).read(self.outputs[self.layer])

    def of(self, rows: Sequence[int]) -> Recording:
        """These of the inputs, in this order; one may be there several times."""
        if list(rows) == list(range(len(self.embedding))):
            return self
        index = torch.tensor(rows, device=self.embedding.device)
        outputs = {}
        for number, output in self.outputs.items():
            layer = self.encoder.layer(number)
            outputs[number] = layer.write(output, layer.read(output)[index])
        inputs = each_tensor(self.inputs, lambda tensor: tensor[index.to(tensor.device)])
        return Recording(self.encoder, inputs, self.layer, self.embedding[index], outputs)


def cut_graph(encoder: Encoder, layer: int) -> AdapterError:
    """No gradient comes back from the embedding to a layer."""
    return AdapterError(
        f"{encoder.modality}: no gradient comes back from the embedding to layer {layer} ({encoder.layer(layer).name}): `embed` "
        "runs under torch.no_grad or torch.inference_mode, or a hook or block after the layer detaches what passes; take "
        "that out (m2ib switches gradients off itself where it needs none)"
    )


def check_differentiable(encoder: Encoder, layer: int) -> None:
    """Raises :class:`AdapterError` for parts after a layer that have no gradient: what goes round them has, and alone counts."""
    for block in encoder.blocks[layer + 1 :]:
        if any(weight.is_inference() for weight in block.module.parameters()):
            raise AdapterError(
                f"{encoder.modality}: the weights of {block.name} were made under torch.inference_mode and have no gradient; make "
                "or load the module outside of it"
            )
        for name, part in block.module.named_modules():
            if type(part).__module__.startswith(_WITHOUT_GRADIENT):
                raise AdapterError(
                    f"{encoder.modality}: {block.name}.{name} is a {type(part).__name__} of {type(part).__module__}, which has "
                    "no gradient; use a method that needs none (rise, kernelshap), or a model that is not quantised"
                )


def record(encoder: Encoder, inputs: Inputs, layer: int) -> Recording:
    """Embed ``inputs`` (N, ...) once, without gradient, keeping what the tail from ``layer`` needs."""
    outputs: dict[int, Any] = {}

    def keep(index: int) -> Callable[[Any], Any]:
        def see(value: Any) -> Any:
            if index in outputs:
                raise AdapterError(
                    f"{encoder.modality}: layer {index} ({encoder.layer(index).name}) ran twice in one forward pass"
                )
            outputs[index] = value
            return value

        return see

    wanted = [-1] if layer == -1 else range(layer + 1)
    with torch.no_grad(), kept_promises():
        _use_products(encoder.blocks)
        for index in wanted:
            replace_value(encoder.layer(index), keep(index))
        embedding = encoder.embed(inputs)  # (N, D)
    if embedding.is_inference():
        raise cut_graph(encoder, layer)
    for index in wanted:
        if index not in outputs:
            raise AdapterError(
                f"{encoder.modality}: layer {index} ({encoder.layer(index).name}) did not run in the forward pass"
            )
    read_checked(encoder, layer, outputs[layer], inputs)
    return Recording(encoder, inputs, layer, embedding, outputs)


def _use_products(blocks: Sequence[Layer]) -> None:
    """Until the promise is kept, linear layers of these blocks multiply as fast as they can, for weights that stay as they are."""
    for part in {part for block in blocks for part in block.module.modules()}:
        if type(part) is nn.Linear and "forward" not in part.__dict__:
            replace_forward(part, partial(linear_of, part))


def give(layer: Layer, value: Callable[[], Any]) -> None:
    """Until the promise is kept, the layer's module computes nothing and gives ``value()``."""
    replace_forward(layer.module, lambda *args, **kwargs: value())
    replace_value(layer, lambda output: value())


class Stem:
    """What comes before a layer, for an encoder that is run with the same inputs again and again.

    It gives the same each time. So what each module gives there is kept in the first run, and given in those that follow: of
    modules inside one another that of the outermost. What stands between them runs in each.
    """

    def __init__(self) -> None:
        self._kept: dict[nn.Module, _Kept] | None = None

    def run(self, embed: Callable[[], Tensor]) -> Tensor:
        """``embed()``, in which :meth:`passed` is called as soon as the layer's value is put in its place."""
        with kept_promises():
            if self._kept is not None:
                for module, kept in self._kept.items():
                    replace_forward(module, kept)
                return embed()
            self._ran: Counter[nn.Module] = Counter()
            self._found: dict[nn.Module, _Kept] = {}
            self._given: dict[nn.Module, list[int]] = {}  # versions of what the modules that run were given
            self._before = True
            ours = this_thread()
            begins, ends = self._if(ours, self._begins), self._if(ours, self._ends)
            promise(partial(_unhook_all, begins, ends))
            register_module_forward_pre_hook(begins)
            register_module_forward_hook(ends)
            embedding = embed()
        found = {} if self._before else self._found
        self._kept = {module: kept for module, kept in found.items() if self._ran[module] == 1}
        return embedding

    def passed(self) -> None:
        self._before = False

    @staticmethod
    def _if(ours: Callable[[], bool], see: Callable[..., None]) -> Callable[..., None]:
        return lambda *args: see(*args) if ours() else None

    def _begins(self, module: Any, args: Any) -> None:
        self._given[module] = _versions(args)

    def _ends(self, module: Any, args: Any, output: Any) -> None:
        self._ran[module] += 1
        written = _versions(args) != self._given.pop(module, None)
        kept = _Kept.of(output) if self._before and not written and "forward" not in module.__dict__ else None
        if kept is not None:
            for part in module.modules():
                self._found.pop(part, None)
            self._found[module] = kept


@dataclass(frozen=True)
class _Kept:
    """What a module gave, in place of its forward; copies, for whoever gets them may write into them."""

    leaves: list[Any]
    spec: pytree.TreeSpec

    @classmethod
    def of(cls, output: Any) -> _Kept | None:
        """None where it is made of more than tensors and plain values."""
        leaves, spec = pytree.tree_flatten(output)
        if not all(isinstance(each, (Tensor, bool, int, float, str, NoneType)) for each in leaves):
            return None
        return cls([_copied(each) for each in leaves], spec)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return pytree.tree_unflatten([_copied(each) for each in self.leaves], self.spec)


def _copied(leaf: Any) -> Any:
    return leaf.detach().clone() if isinstance(leaf, Tensor) else leaf


def _versions(args: Any) -> list[int]:
    """How often each tensor among them was written into."""
    return [each._version for each in args if isinstance(each, Tensor) and not each.is_inference()]


def _unhook_all(*functions: Callable[..., Any]) -> None:
    """Of the hooks on all modules, by the functions themselves."""
    for hooks in (_global_forward_pre_hooks, _global_forward_hooks):
        for number in [number for number, each in hooks.items() if each in functions]:
            del hooks[number]


class _Unread(Tensor):
    """An input of which only the shape and the place can be asked; of meta tensors, torch may make numbers up."""

    _ASKED: ClassVar[Any] = (Tensor.shape, Tensor.ndim, Tensor.device, Tensor.dtype)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function in (Tensor.__len__, Tensor.dim, Tensor.size, *(each.__get__ for each in cls._ASKED)):
            return super().__torch_function__(function, types, args, kwargs or {})  # type: ignore[no-untyped-call]
        raise AdapterError("this tail looks at its inputs")


class Tail:
    """From layer l's output to the embedding, for ``copies`` activations per recorded input.

    Used as a context manager; inside, ``tail(z)`` takes z (N * copies, ...) and gives (N * copies, D),
    differentiable in z. Uses the encoder's own fast tail if it has one (and ``fast`` is True).
    """

    def __init__(self, recording: Recording, copies: int, *, fast: bool = True) -> None:
        self._recording = recording
        self._encoder = recording.encoder
        if copies not in recording.stems:
            recording.stems[copies] = repeat_inputs(recording.inputs, copies), Stem()
        self._inputs, self._stem = recording.stems[copies]
        self._copies = copies
        self._fast = recording.encoder.tail if fast else None
        self._replacement: Tensor | None = None

    def __enter__(self) -> Tail:
        if torch.is_grad_enabled():
            check_differentiable(self._encoder, self._recording.layer)
        self._promises = kept_promises()
        self._promises.__enter__()
        try:
            use_steady_weights()
            if self._fast is None:
                self._patch()
            return self
        except BaseException:
            self._promises.__exit__(None, None, None)
            raise

    def __exit__(self, *exception: object) -> None:
        self._promises.__exit__(None, None, None)

    def __call__(self, activation: Tensor) -> Tensor:
        if self._fast is not None:
            return self._fast(activation, self._recording.layer, self._inputs)
        self._replacement = activation
        return self._stem.run(lambda: self._encoder.embed(self._inputs))

    def blind(self, activation: Tensor) -> Tensor | None:
        """As a call, of a tail that looks at no number of the inputs: it gives this for any of them. None of any other."""
        if self._fast is None:
            return None
        unread = each_tensor(
            self._inputs, lambda each: each.new_empty(()).expand(each.shape).as_subclass(_Unread)
        )
        try:
            return self._fast(activation, self._recording.layer, unread)
        except Exception:  # whatever an adapter's tail raises for want of numbers
            return None

    def _patch(self) -> None:
        """Skip the blocks up to the layer, and let them give what was recorded, or what is put in its place.

        The recorded values have been through the hooks that others may have on a block. They run again on
        what the skipped block returns; ours runs after them and has the last word.
        """
        target = self._recording.layer
        _use_products(self._encoder.blocks[target + 1 :])
        for index in range(target):
            layer = self._encoder.layer(index)
            if layer.at == "output":
                give(layer, self._repeated(index))
        layer = self._encoder.layer(target)
        if layer.at == "input":
            replace_value(layer, lambda value: layer.write(value, self._current()))
        else:
            output = self._recording.outputs[target]
            give(layer, lambda: layer.write(output, self._current()))

    def _repeated(self, index: int) -> Callable[[], Any]:
        """What a block gave, repeated to the tail's batch."""
        layer, output = self._encoder.layer(index), self._recording.outputs[index]
        value = layer.write(output, repeat(layer.read(output), self._copies))
        return lambda: value

    def _current(self) -> Tensor:
        if self._replacement is None:
            raise AdapterError(f"{self._encoder.modality}: the tail ran before it was given an activation")
        self._stem.passed()
        return self._replacement
