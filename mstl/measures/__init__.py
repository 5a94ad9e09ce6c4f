"""Distances between domains, as pure functions of feature samples."""

from mstl.measures.mmd import jmmd2, mean_bandwidths, mmd2
from mstl.measures.moments import moment_distance

__all__ = ["jmmd2", "mean_bandwidths", "mmd2", "moment_distance"]
