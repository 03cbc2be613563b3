"""Task-level gradient projection: forgetting one task moves nothing that another task's gradients span.

The task level of arXiv 2605.19042, in gradient space as in GPM (Saha et al. 2021, arXiv 2103.09762): spaces
of activations cannot tell tasks apart in a shared trunk, where every task sees the same inputs.

P, the number of shared parameters, may be millions, and the number of gradients is a few dozen: everything
is found from their small Gram matrix in double precision, and P is only ever walked in blocks, so that
nothing of P numbers is held in double precision or twice.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

ENERGY = 0.8
_BLOCK = 1 << 18


def gradient_basis(gradients: Tensor, energy: float = ENERGY) -> Tensor:
    """gradients (n, P), one retain gradient per microbatch → Q (P, k), orthonormal columns.

    The fewest leading right singular vectors that hold `energy` of Σ‖g‖². k is 0 when all gradients vanish.
    """
    weights = leading_directions(gram(gradients), energy)
    basis: Tensor = orthonormal(combined(weights.T, gradients)).T
    return basis


def leading_directions(products: Tensor, energy: float = ENERGY) -> Tensor:
    """Gram matrix (n, n) of gradients, in double → (n, k): the combinations of them that `gradient_basis`
    consists of, of length 1."""
    values, vectors = torch.linalg.eigh(products)  # ascending
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    total = values.sum()
    if float(total) <= 0:
        return products.new_zeros(len(products), 0)
    enough = int((values.cumsum(0) < energy * total * (1 - 1e-12)).sum()) + 1
    rank = min(enough, int((values > values[0] * 1e-10).sum()))
    weights: Tensor = vectors[:, :rank] / values[:rank].sqrt()
    return weights


def independent_directions(products: Tensor) -> Tensor:
    """Gram matrix (n, n) of vectors of length 1 or less, in double → (n, k): combinations of them that are
    orthonormal and span all that carries weight. Vectors may be linearly dependent."""
    if len(products) == 0:
        return products.new_zeros(0, 0)
    values, vectors = torch.linalg.eigh(products)
    kept = values > values[-1].clamp(min=1e-300) * 1e-12
    weights: Tensor = vectors[:, kept] / values[kept].sqrt()
    return weights


def project_out(gradient: Tensor, basis: Tensor) -> Tensor:
    """g − Q Qᵀ g for g (P,) or (P, n)."""
    remaining: Tensor = gradient - basis @ (basis.T @ gradient)
    return remaining


def gram(rows: Tensor) -> Tensor:
    """(n, P) → (n, n) inner products, in double."""
    products = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for block in _blocks(rows):
        exact = block.double()
        products += exact @ exact.T
    return products


def combined(weights: Tensor, rows: Tensor) -> Tensor:
    """weights (k, n) in double, rows (n, P) → (k, P) in the type of the rows."""
    return _combine(weights, rows, rows.new_empty(len(weights), rows.shape[1]))


def combined_in_place(weights: Tensor, rows: Tensor) -> Tensor:
    """The same for k ≤ n, in the room of the rows: the first k of them."""
    return _combine(weights, rows, rows[: len(weights)])


def orthonormal(rows: Tensor) -> Tensor:
    """Rows (k, P) that are orthonormal but for rounding, in place, to the last digit: Cholesky QR."""
    if len(rows) > 0:
        lower = torch.linalg.cholesky(gram(rows))
        for block in _blocks(rows):
            block.copy_(torch.linalg.solve_triangular(lower, block.double(), upper=False))
    return rows


def coordinates(vectors: Tensor, rows: Tensor) -> Tensor:
    """vectors (m, P), rows (k, P) of any type → (m, k) inner products, in the type of the vectors."""
    products = vectors.new_zeros(len(vectors), len(rows))
    for some, block in zip(_blocks(vectors), _blocks(rows), strict=True):
        products += some @ block.to(vectors.dtype).T
    return products


def subtract_combination(vector: Tensor, weights: Tensor, rows: Tensor) -> Tensor:
    """vector (P,) − weights (k,) · rows (k, P) of any type, in place."""
    for out, block in zip(torch.split(vector, _BLOCK), _blocks(rows), strict=True):
        out -= weights @ block.to(vector.dtype)
    return vector


def _combine(weights: Tensor, rows: Tensor, result: Tensor) -> Tensor:
    for block, out in zip(_blocks(rows), _blocks(result), strict=True):
        out.copy_(weights @ block.double())
    return result


def _blocks(rows: Tensor) -> Iterator[Tensor]:
    yield from torch.split(rows, _BLOCK, dim=1)
