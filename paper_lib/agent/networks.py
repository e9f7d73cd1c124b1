"""The networks of a run: their sizes, and the spaces of observations and actions."""

import dataclasses
from typing import Any

import jax

from paper_lib.agent import layers
from paper_lib.contract.spec import ModelSpec

Params = dict[str, Any]  # a tree of weights, with the names of the weights file


@dataclasses.dataclass(frozen=True)
class Networks:
    """Sizes and spaces of a run's networks, without their weights.

    All values are static: they decide which program is compiled. The class is hashable,
    so it can be a static argument of jit.
    """

    model: ModelSpec
    vector: tuple[int, ...]  # size of each flattened observation key, () where an image alone is observed
    image: tuple[int, int, int] | None  # None where vectors alone are observed
    action: int  # A
    discrete: bool  # actions are one-hot
    explore: bool = False  # the ensemble and the exploring behaviour exist and are trained
    frozen: bool = False  # the world model is not trained

    @property
    def features(self) -> int:
        """F, the size of feat."""
        return self.model.deter + self.model.stoch * self.model.classes

    @property
    def reinforce(self) -> bool:
        """Whether the actor learns by REINFORCE; if not, by gradients through the world model."""
        return self.discrete or self.model.gradient == 'reinforce'

    @property
    def encoder(self) -> layers.MLP | layers.ImageEncoder | layers.BothEncoder:
        """Observation -> embed (..., E)."""
        model = self.model
        vector = layers.MLP(model.mlp_units, model.mlp_layers, model.precision)
        if not self.image:
            return vector
        image = layers.ImageEncoder(model.cnn_depth, model.precision)
        return layers.BothEncoder(image, vector) if self.vector else image

    @property
    def decoder(self) -> layers.MLP | layers.ImageDecoder | layers.BothDecoder:
        """Feat (..., F) -> image (..., X, Y, 3), vector (..., X), or both."""
        model = self.model
        outs = (sum(self.vector),)
        vector = layers.MLP(model.mlp_units, model.mlp_layers, model.precision, outs, splits=self.vector)
        if not self.image:
            return vector
        image = layers.ImageDecoder(model.cnn_depth, self.image[0], model.precision)
        return layers.BothDecoder(image, vector) if self.vector else image

    @property
    def rssm(self) -> layers.RSSM:
        """The recurrent model."""
        model = self.model
        return layers.RSSM(model.deter, model.stoch, model.classes, model.units, model.precision)

    @property
    def reward(self) -> layers.MLP:
        """Feat (..., F) -> logits (..., K) of the reward."""
        return self._head(self.model.bins, zero=True)

    @property
    def critic(self) -> layers.MLP:
        """Feat (..., F) -> logits (..., K) of the return."""
        return self._head(self.model.bins, zero=True)

    @property
    def cont(self) -> layers.MLP:
        """Feat (..., F) -> logit (..., 1) of the continue flag."""
        return self._head(1)

    @property
    def actor(self) -> layers.MLP:
        """Feat (..., F) -> logits (..., A) of a discrete action, or raw mean and raw std (..., A) each."""
        return self._head(self.action) if self.discrete else self._head(self.action, self.action)

    @property
    def disag(self) -> layers.MLP:
        """One network of the ensemble: feat and action (..., F + A) -> prediction (..., X)."""
        if self.model.disag_target == 'vector':
            return self._head(sum(self.vector))
        return self._head(self.model.stoch * self.model.classes)

    @property
    def probe(self) -> layers.Autoencoder:
        """Feat (..., F) -> reconstructed feat (..., F)."""
        return layers.Autoencoder(self.model.probe_units, self.features, self.model.precision)

    def _head(self, *outs: int, zero: bool = False) -> layers.MLP:
        return layers.MLP(self.model.units, self.model.layers, self.model.precision, outs, zero)

    def action_noise(self, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Noise for the `sample` of a policy's distributions with leading shape `shape`.

        It is uniform of shape `shape` for discrete actions, else normal of shape (*shape, A).
        """
        if self.discrete:
            return jax.random.uniform(key, shape)
        return jax.random.normal(key, (*shape, self.action))
