"""Explanation losses: pure functions of attributions and annotations, one module a family.

Every loss is computed per sample and then averaged over the *annotated* samples, those whose mask
is not empty, so that its weight means the same at every batch size and annotated fraction. A batch
without any annotation gives 0, with a graph.

Names alone are here. A method imports the module of its family, so that a change to another family
does not retrain it.
"""

from xblcore.losses.by_distance import xbl_d, xbl_d_gated
from xblcore.losses.by_object import energy, hint, l1, ppce
from xblcore.losses.by_overlap import overlap, rrr_g
from xblcore.losses.common import EPS, Reduction
from xblcore.losses.contextual import cdep, decompose
from xblcore.losses.input_gradient import rbr, rrr

__all__ = [
    "EPS", "Reduction",
    "cdep", "decompose", "energy", "hint", "l1", "overlap", "ppce", "rbr", "rrr", "rrr_g",
    "xbl_d", "xbl_d_gated",
]  # fmt: skip
