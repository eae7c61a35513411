"""From trained networks to their graphs, in one go: inspect, verify, measure, export, draw.

Run ``make demo``, or ``python examples/demo.py --out out``. It uses the two networks under ``data/`` that
``examples/train_digits.py`` trained on scikit-learn's digits, and leaves GraphML files, tables and pictures.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import dnn2graph as dg  # noqa: E402
from dnn2graph import datasets  # noqa: E402
from dnn2graph.plot import overview  # noqa: E402
from examples.train_digits import digits_cnn, digits_mlp  # noqa: E402

NETWORKS = {"digits_mlp": (digits_mlp, (64,)), "digits_cnn": (digits_cnn, (1, 8, 8))}


def main() -> int:
    """Run the demo; return 0 if every graph is verified."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "out", help="folder for what it makes (default: out)")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    digits = datasets.load("digits", split="test")
    verified = [demonstrate(name, digits, out, console) for name in NETWORKS]
    console.print(f"\nEverything is under [bold]{out}[/]: open the .graphml files in Gephi, the .csv files anywhere.")
    return 0 if all(verified) else 1


def demonstrate(name: str, digits: datasets.Dataset, out: Path, console: Console) -> bool:
    """Do everything for one network; return whether its graphs compute what it computes."""
    build, shape = NETWORKS[name]
    model = build()
    model.load_state_dict(torch.load(ROOT / "data" / f"{name}.pt", weights_only=True))
    x = torch.from_numpy(digits.images.reshape(-1, *shape))

    console.rule(f"[bold]{name}")
    graph = dg.load(ROOT / "data" / f"{name}.pt", model=model, example_input=x)
    console.print(f"{graph}\nrepresents {len(graph.parameters())} parameters and buffers of the model")

    unrolled = dg.from_torch(model, x, granularity="position")
    proof = dg.verify(model, unrolled, x)
    console.print(f"\n[bold]verify[/], position by position ({unrolled.number_of_edges():,} edges): {proof}")
    channel_proof = dg.verify(model, graph, x)
    console.print(f"[bold]verify[/], channel by channel: {channel_proof}")
    accuracy = np.mean(unrolled.replay(x).argmax(1).numpy() == digits.labels)
    console.print(f"the graph itself, replayed, classifies {accuracy:.2%} of {len(x)} test digits correctly")

    layers = dg.layer_table(graph)
    console.print("\n[bold]measure[/]: strength and fluctuation by layer")
    console.print(layers[["layer", "kind", "nodes", "in_edges", "fluctuation", "strength_mean"]].to_string(index=False))
    layers.to_csv(out / f"{name}_layers.csv", index=False)
    dg.node_table(graph).to_csv(out / f"{name}_nodes.csv")
    dg.link_weights(graph).to_csv(out / f"{name}_links.csv", index=False)

    dg.write_graphml(graph, out / f"{name}.graphml")
    dg.write_graphml(unrolled, out / f"{name}_unrolled.graphml.gz")
    overview(graph, title=name).savefig(out / f"{name}.png", dpi=150)
    return bool(proof) and bool(channel_proof)


if __name__ == "__main__":
    sys.exit(main())
