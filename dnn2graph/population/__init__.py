"""Populations: many networks of one architecture, trained or gathered, measured together, and compared."""
