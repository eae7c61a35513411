"""Random graphs, and their twins in networkx, for measures that are compared with other implementations."""

from __future__ import annotations

import networkx as nx
import numpy as np
from hypothesis import settings
from hypothesis import strategies as st

from tests.handmade import graph_of_matrix

property_test = settings(max_examples=40, deadline=None, derandomize=True)


@st.composite
def graphs(draw, weights="generic", cycles=False, least=1):
    """Draw a graph of a few layers, whose links may skip layers; with ``cycles``, edges join any nodes.

    ``generic`` weights are normal, so that no two sums of them are equal; ``binary`` ones are powers of two, whose sums
    are exact and often equal; ``equal`` ones are all 1.
    """
    sizes = draw(st.lists(st.integers(1, 6), min_size=2, max_size=5).filter(lambda each: sum(each) >= least))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    layer = np.repeat(np.arange(len(sizes)), sizes)
    ahead = layer[None] - layer[:, None]
    pattern = random.random(ahead.shape) < draw(st.sampled_from([0.3, 0.7, 1.0]))
    if not cycles:
        pattern &= (ahead > 0) & (ahead <= draw(st.integers(1, 3)))
    made = {
        "generic": lambda: random.normal(size=ahead.shape),
        "binary": lambda: 2.0 ** random.integers(-2, 3, ahead.shape) * random.choice([-1, 1], ahead.shape),
        "equal": lambda: np.ones(ahead.shape),
    }[weights]()
    return graph_of_matrix(np.where(pattern, made, 0), sizes)


def dense(graph, convention="abs"):
    """Write the graph out as a dense matrix; 0 where there is no edge."""
    matrix = graph.adjacency().toarray().astype(float)
    if convention == "distance":
        return np.divide(1, np.abs(matrix), out=np.zeros_like(matrix), where=matrix != 0)
    return {"signed": matrix, "abs": np.abs(matrix), "unweighted": (matrix != 0).astype(float)}[convention]


def twin(graph, convention="abs", directed=True):
    """Make the graph in networkx, with the edge attribute ``weight``."""
    matrix = dense(graph, convention)
    if directed:
        return nx.from_numpy_array(matrix, create_using=nx.DiGraph)
    return nx.from_numpy_array(matrix + matrix.T)


def values_of(per_node, graph):
    """Order what networkx gives for each node."""
    return np.array([per_node[node] for node in range(len(graph))], float)
