"""Products with frozen weights: values, gradients, whatever the weight lies like, and what is kept of it how long."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from m2ib.execution import products
from m2ib.execution.products import gradient_of, product_of, use_steady_weights
from m2ib.promises import kept_promises

DTYPES = [torch.float64, torch.float32, torch.bfloat16]


def numbers(shape: tuple[int, ...], seed: int, dtype: torch.dtype, offset: int = 0) -> Tensor:
    """Small whole ones, whose products are exact in any order and dtype; ``offset`` numbers after where memory begins."""
    size = torch.Size(shape).numel()
    drawn = torch.randint(-2, 3, (size + offset,), generator=torch.Generator().manual_seed(seed))
    return drawn.to(dtype)[offset:].view(shape)


@pytest.mark.parametrize("dtype", DTYPES)
@given(
    rows=st.lists(st.integers(1, 4), min_size=0, max_size=2),
    sizes=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    offset=st.integers(0, 3),
    biased=st.booleans(),
    steady=st.booleans(),
    turned=st.booleans(),
)
def test_a_product_and_its_gradient_are_exact(
    dtype: torch.dtype,
    rows: list[int],
    sizes: tuple[int, int],
    offset: int,
    biased: bool,
    steady: bool,
    turned: bool,
) -> None:
    inside, outside = sizes
    x = numbers((*rows, inside), 1, dtype)
    weight = numbers((outside, inside), 2, dtype, offset).requires_grad_()
    bias = numbers((outside,), 3, dtype).requires_grad_() if biased else None
    back = (
        numbers((outside, *rows), 4, dtype).movedim(0, -1) if turned else numbers((*rows, outside), 4, dtype)
    )
    expected = x.double() @ weight.detach().double().T
    expected = expected if bias is None else expected + bias.detach().double()
    with kept_promises():
        if steady:
            use_steady_weights()
        for _ in range(2):
            y, gradient = product_of(x, weight, bias), gradient_of(back, weight)
            assert y.dtype == gradient.dtype == dtype
            assert not y.requires_grad
            assert not gradient.requires_grad
            assert torch.equal(y.double(), expected)
            assert torch.equal(gradient.double(), back.double() @ weight.detach().double())
    assert products._steady.kept is None


def test_views_of_one_weight_are_not_mistaken_for_each_other() -> None:
    whole, x = numbers((6, 4), 0, torch.float32), numbers((3, 4), 1, torch.float32)
    with kept_promises():
        use_steady_weights()
        for part in (*whole.chunk(3), whole[:4], whole.t()[:, :4], whole):
            assert torch.equal(product_of(x, part), x @ part.T)
            again = part.view(part.shape)  # another tensor of the same numbers
            assert torch.equal(product_of(x, again), x @ part.T)


@pytest.mark.skipif(not products._works(torch.float32), reason="oneDNN is not used here")
def test_inside_a_weight_is_what_it_was_and_outside_what_it_is() -> None:
    weight, x = torch.ones(2, 2), torch.ones(1, 2)
    with kept_promises():
        use_steady_weights()
        product_of(x, weight)
        weight.fill_(3.0)  # as another thread may that learns it
        assert product_of(x, weight).tolist() == [[2.0, 2.0]]
    assert product_of(x, weight).tolist() == [[6.0, 6.0]]
