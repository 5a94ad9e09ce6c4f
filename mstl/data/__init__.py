"""Data: from files to a `Task` of J sources and a target."""

from mstl.data.catalogue import DATA, load, load_chimeras
from mstl.data.collections import COLLECTIONS, Parts
from mstl.data.domain import Domain
from mstl.data.readers.rle import decode_rle, encode_rle
from mstl.data.recipes.domains import class_task
from mstl.data.recipes.local import RECIPES, local_task
from mstl.data.recipes.own import task_of
from mstl.data.task import Task

__all__ = [
    "COLLECTIONS",
    "DATA",
    "RECIPES",
    "Domain",
    "Parts",
    "Task",
    "class_task",
    "decode_rle",
    "encode_rle",
    "load",
    "load_chimeras",
    "local_task",
    "task_of",
]
