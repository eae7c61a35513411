"""Run the command line as ``python -m dnn2graph``."""

from dnn2graph.cli import main

if __name__ == "__main__":
    main(prog_name="dnn2graph")
