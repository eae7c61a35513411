"""The zoo: published architectures with random weights, each traced and put to the oracles, in a table.

``make zoo`` runs it. It is a job of its own, because it takes long and needs packages that the tests do without.
"""
