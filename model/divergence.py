"""How far two distributions over the same bins lie apart, and how far they would by chance alone.

With p and q the shares of a bin, and m = (p + q) / 2:

    population stability index   sum of (p - q) ln(p / q)                          0 for equal ones, no upper bound
    Jensen-Shannon distance      root of the mean of KL(p, m) and KL(q, m), bits   0 for equal ones, 1 for disjoint ones

Both take counts and make shares of them, with half a count more in each bin (Krichevsky & Trofimov 1981), so that a bin
that is empty on one side says that it is rare there and not that it is impossible.

J. Lin (1991), Divergence measures based on the Shannon entropy, IEEE Transactions on Information Theory 37(1).
D. Endres, J. Schindelin (2003), A new metric for probability distributions, the same 49(7): the root is a distance.
B. Yurdakul (2018), Statistical properties of population stability index, dissertation, Western Michigan University.
"""

from collections.abc import Sequence
from math import log, log2, sqrt

SMOOTHING = 0.5
"""Added to the count of each bin."""


def shares(counts: Sequence[float]) -> list[float]:
    """The share of each bin, none of them 0; equal ones where nothing was counted."""
    total = sum(counts) + SMOOTHING * len(counts)
    return [(count + SMOOTHING) / total for count in counts]


def population_stability_index(live: Sequence[float], reference: Sequence[float]) -> float:
    """PSI of two lists of counts, one for each bin. Raises ValueError for lists of different lengths."""
    return sum((p - q) * log(p / q) for p, q in zip(shares(live), shares(reference), strict=True))


def jensen_shannon_distance(live: Sequence[float], reference: Sequence[float]) -> float:
    """The distance, 0 to 1, of two lists of counts. Raises ValueError for lists of different lengths."""
    divergence = 0.0
    for p, q in zip(shares(live), shares(reference), strict=True):
        middle = (p + q) / 2
        divergence += p * log2(p / middle) + q * log2(q / middle)
    return sqrt(min(max(divergence / 2, 0.0), 1.0))  # rounding may pass either end


def spread(
    counts: Sequence[float], squares: Sequence[float], crosses: Sequence[float], totals: Sequence[float]
) -> float:
    """How unequal the texts are of which `counts` are the sum; divided by that sum, the PSI to expect by chance.

    PSI between a sample of N and its source is about the sum of var(p) / p over the bins: (bins - 1) / N, if every
    observation is drawn by itself (Yurdakul 2018). The words of one text are not, they go together; so the variance is
    taken from the texts, as that of a ratio of their sums, after J. Rao and A. Scott (1981), The analysis of
    categorical data from complex sample surveys, Journal of the American Statistical Association 76. Where each text
    is a single observation, that is bins - 1 again.

    With c the count of a bin in a text and n that of all bins together, for each bin the sums over texts of c, of c * c
    (`squares`), of c * n (`crosses`), and of n * n (`totals`). 0 where nothing was counted.
    """
    total = sum(counts)
    found = 0.0
    for count, square, cross, whole in zip(counts, squares, crosses, totals, strict=True):
        if count:
            share = count / total
            found += (square - 2 * share * cross + share * share * whole) / count
    return max(found, 0.0)
