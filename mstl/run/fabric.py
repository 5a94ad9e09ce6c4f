"""Lightning Fabric, without what it imports only to ask for a version.

Fabric asks which torchmetrics is installed by importing it, and torchvision, scikit-learn and half of SciPy
with it. Nothing here needs them; in an environment that has them for the tests, as ours, each process would
pay several seconds for the question.
"""

from __future__ import annotations

import sys

_asked = "torchmetrics"
_here = _asked in sys.modules
sys.modules.setdefault(_asked, None)  # as if it were not installed
try:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import LightningEnvironment
finally:
    if not _here:
        del sys.modules[_asked]

__all__ = ["Fabric", "LightningEnvironment"]
