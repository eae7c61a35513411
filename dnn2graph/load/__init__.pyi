from .architecture import resolve_architecture as resolve_architecture
from .model import LoadedModel as LoadedModel, load as load, load_model as load_model
from .state_dict import read_state_dict as read_state_dict
