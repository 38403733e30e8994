"""Explanation-based learning with distance-aware losses, for PyTorch.

An explanation loss penalises attribution outside of what a person annotated. The core:

- :mod:`xblcore.cam`: differentiable Grad-CAM and HiResCAM, receptive fields
- :mod:`xblcore.distance`: masks on the CAM grid, distance maps
- :mod:`xblcore.losses`: explanation losses, by distance, overlap and input gradient
- :mod:`xblcore.metrics`: metrics of explanations and of reliance on a decoy
- :mod:`xblcore.methods`: the registry of methods
- :mod:`xblcore.decoys`, :mod:`xblcore.examples`: decoys; images with labels and masks

>>> import torch
>>> from xblcore import cam, distance, losses
>>> model = torch.nn.Sequential(
...     torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Flatten(), torch.nn.Linear(64, 2))
>>> images, object_mask = torch.rand(3, 1, 4, 4), torch.ones(3, 4, 4, dtype=torch.bool)
>>> maps = cam.explain(model, images, layer="0", create_graph=True)
>>> far = torch.from_numpy(distance.distance_map(object_mask.numpy()))
>>> losses.xbl_d(maps, far).item()
0.0
"""

__version__ = "0.2.0"
