"""dnn2graph: a trained neural network as the weighted directed graph that computes it.

>>> import torch, dnn2graph as dg
>>> model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
>>> graph = dg.from_torch(model, torch.zeros(1, 4))
>>> graph
NeuralGraph(3 layers, 9 nodes, 2 links, granularity='channel')
"""

import lazy_loader

__version__ = "0.1.0"

# The names and where they live are in __init__.pyi. Each is loaded when it is used, so that help, and errors in what
# was typed, come before torch does. So do the packages that measuring a file passes through: that needs no torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
