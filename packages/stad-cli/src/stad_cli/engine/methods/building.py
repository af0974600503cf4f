"""From a recipe to its method."""

from torch import nn

from stad_cli.config import Recipe
from stad_cli.engine.distributed import Processes
from stad_cli.engine.methods.consistency import Consistency
from stad_cli.engine.methods.method import Method
from stad_cli.engine.methods.pseudo_labels import PseudoLabelling
from stad_cli.engine.methods.supervised import Supervised


def build_method(recipe: Recipe, model: nn.Module, group: Processes) -> Method:
    """The recipe's method around a detector that is on its device already."""
    frozen = recipe.model.batch_norm == "frozen"
    if recipe.method.name == "pseudo_labels":
        return PseudoLabelling(model, group, recipe.method, freeze_batch_norm=frozen)
    if recipe.method.name == "consistency":
        return Consistency(model, group, recipe.method, recipe.optim, freeze_batch_norm=frozen)
    return Supervised(model, group, ema=recipe.optim.ema, freeze_batch_norm=frozen)
