from .attributes import node_attributes as node_attributes
from .link_weights import link_weights as link_weights
from .strength import directed_strengths as directed_strengths, fluctuation as fluctuation, strength as strength
from .tables import layer_table as layer_table, node_table as node_table
