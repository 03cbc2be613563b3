"""Task-level gradient projection: forgetting one task moves nothing that another task's gradients span.

The task level of arXiv 2605.19042, in gradient space as in GPM (Saha et al. 2021, arXiv 2103.09762): spaces
of activations cannot tell tasks apart in a shared trunk, where every task sees the same inputs.
"""

import torch
from torch import Tensor

ENERGY = 0.8


def gradient_basis(gradients: Tensor, energy: float = ENERGY) -> Tensor:
    """gradients (n, P), one retain gradient per microbatch → Q (P, k), orthonormal columns.

    The fewest leading right singular vectors that hold `energy` of Σ‖g‖². Found from the n x n Gram matrix,
    in double precision: n is a dozen where P may be millions. k is 0 when all gradients vanish.
    """
    gram = gradients.double() @ gradients.double().T
    values, vectors = torch.linalg.eigh(gram)  # ascending
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    total = values.sum()
    if float(total) <= 0:
        return gradients.new_zeros(gradients.shape[1], 0)
    enough = int((values.cumsum(0) < energy * total * (1 - 1e-12)).sum()) + 1
    rank = min(enough, int((values > values[0] * 1e-10).sum()))
    basis: Tensor = gradients.T.double() @ (vectors[:, :rank] / values[:rank].sqrt())
    return _orthonormal(basis).to(gradients.dtype)


def join_bases(bases: list[Tensor], size: int) -> Tensor:
    """Orthonormal columns (P, k) that span all of the given bases (P, k_t)."""
    kept = [basis for basis in bases if basis.shape[1] > 0]
    if not kept:
        return torch.zeros(size, 0)
    return _orthonormal(torch.cat(kept, dim=1).double()).to(kept[0].dtype)


def project_out(gradient: Tensor, basis: Tensor) -> Tensor:
    """g − Q Qᵀ g for g (P,) or (P, n)."""
    remaining: Tensor = gradient - basis @ (basis.T @ gradient)
    return remaining


def _orthonormal(columns: Tensor) -> Tensor:
    """The left singular vectors that carry weight: columns may be linearly dependent."""
    left: Tensor
    left, values, _ = torch.linalg.svd(columns, full_matrices=False)
    return left[:, values > values[0] * 1e-6] if len(values) else left
