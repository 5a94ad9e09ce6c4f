"""What is predicted: the masks or the classes of images, in one contract.

A class is a mask of one place. Feature maps are (n, c, h', w'), logits (n, K, h, w), and a classifier is the
case h = w = 1; whatever compares domains compares places and needs no other form. What does differ, loss,
labels and scores, is the task's problem.
"""

from mstl.problems.classification import Classification
from mstl.problems.segmentation import Segmentation

Problem = Segmentation | Classification

__all__ = ["Classification", "Problem", "Segmentation"]
