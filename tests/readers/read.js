// Reads a GraphML or GEXF file as Gephi Lite does and prints the graph as JSON: node read.js FILE
'use strict';

const fs = require('fs');
const Graph = require('graphology');
const gexf = require('graphology-gexf');
const graphml = require('graphology-graphml');

const path = process.argv[2];
const text = fs.readFileSync(path, 'utf8');
const graph = path.endsWith('.gexf')
  ? gexf.parse(Graph, text, {allowUndeclaredAttributes: true, addMissingNodes: true})
  : graphml.parse(Graph, text, {addMissingNodes: true});

// JSON has no NaN or infinity, and would write null for them.
const plain = (name, value) =>
  typeof value === 'number' && !Number.isFinite(value) ? String(value) : value;

process.stdout.write(
  JSON.stringify(
    {
      type: graph.type,
      multi: graph.multi,
      nodes: graph.mapNodes((id, attributes) => ({id, ...attributes})),
      edges: graph.mapEdges((key, attributes, source, target) => ({source, target, attributes}))
    },
    plain
  )
);
