"""Recipes: complete examples on random data, to start your own script from.

.. include:: 1-resnet.md
.. include:: 2-vit.md
.. include:: 3-single-logit.md
.. include:: 4-mixed-precision.md
.. include:: 5-folder-with-masks.md
.. include:: 6-own-confounder.md
.. include:: 7-choosing-the-weight.md
"""

import xblcore

__all__: list[str] = []
# pdoc looks for names in the module itself, where those imported on first use are still missing.
vars(xblcore).update({name: getattr(xblcore, name) for name in xblcore.__all__})
