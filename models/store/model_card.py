"""What a model.json says of its model: the networks' arguments, the files, and what it can be used for."""

import json
import math
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

FOLDER_NAME = re.compile(r"[\w-][\w.-]{0,99}", re.ASCII)  # of a model; never a path


class CycleGANNetwork(BaseModel):
    """The constructor arguments of a CycleGAN's generator."""

    model_config = ConfigDict(extra="forbid")

    ngf: Annotated[int, Field(ge=1, le=4096)] = 64
    n_blocks: Annotated[int, Field(ge=1, le=1024)] = 9
    norm: Literal["instance", "batch"] = "instance"
    dropout: bool = False
    padding: Literal["reflect", "replicate", "zero"] = "reflect"
    antialias: bool = False  # as CUT has it: the sides are halved and doubled by blurring


PLAIN_GENERATOR: dict[str, bool | int | float | str] = CycleGANNetwork().model_dump(exclude={"ngf", "n_blocks"})


class StarGANNetwork(BaseModel):
    """The constructor arguments of a StarGAN v2."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    img_size: Annotated[int, Field(ge=16, le=4096)]
    w_hpf: Annotated[float, Field(ge=0)]
    style_dim: Annotated[int, Field(ge=1, le=65536)] = 64
    latent_dim: Annotated[int, Field(ge=1, le=65536)] = 16
    num_domains: Annotated[int, Field(ge=1, le=65536)] = 2
    max_conv_dim: Annotated[int, Field(ge=1, le=65536)] = 512
    base_dim: Annotated[int | None, Field(ge=1, le=65536)] = None
    normalize_rgb: bool = True
    landmarks: bool = False


class StyleNetwork(BaseModel):
    """The constructor arguments of a painter and its predictor."""

    model_config = ConfigDict(extra="forbid")

    code_dim: Annotated[int, Field(ge=1, le=65536)]  # numbers of a style code
    # Channels on the full, half and a quarter of the size on the way in, then on half and the full on the way out.
    full: Annotated[int, Field(ge=1, le=4096)]
    half: Annotated[int, Field(ge=1, le=4096)]
    quarter: Annotated[int, Field(ge=1, le=4096)]
    half_out: Annotated[int, Field(ge=1, le=4096)]
    full_out: Annotated[int, Field(ge=1, le=4096)]
    n_blocks: Annotated[int, Field(ge=1, le=1024)]
    styled_contraction: bool = False  # whether the style also acts on the way in
    predictor: bool = True  # whether there is a network that reads a style code off a picture


_NETWORKS: dict[str, type[CycleGANNetwork | StarGANNetwork | StyleNetwork]] = {
    "cyclegan": CycleGANNetwork,
    "stargan_v2": StarGANNetwork,
    "style": StyleNetwork,
}


class ModelFile(BaseModel):
    """A file that the model's weights are made from."""

    model_config = ConfigDict(extra="forbid")

    name: str
    sha256: str | None = None  # None: upstream publishes no hash; LOCK_FILE pins it at the first fetch
    url: str | None = None  # None: the file ships in the model's folder
    format: Literal["safetensors", "pytorch", "numpy"] = "safetensors"
    member: str | None = None  # of a tar archive: how the path of the file in it ends


class ModelCard(BaseModel):
    """The content of a model.json: all that is needed to rebuild the network, and to decide whether to use it."""

    model_config = ConfigDict(extra="forbid")

    name: str
    family: Literal["cyclegan", "stargan_v2", "style"]
    network: dict[str, bool | int | float | str]  # the network's constructor arguments
    image_size: Annotated[int, Field(ge=1)]  # px; side of the training pictures
    description: str
    licence: str
    source: str
    files: list[ModelFile]
    fallback: str | None = None  # model that answers while these weights are missing
    # px of mirrored border added before a CycleGAN runs and cropped afterwards; hides border artefacts
    margin: Annotated[int, Field(ge=0, le=1024, multiple_of=4)] = 0
    domains: list[str] = []  # StarGAN: the target domains, in the order of the network's branches
    align: Literal["face", "none"] = "none"  # how the training pictures were aligned
    masks: Literal["landmarks", "ones"] | None = None  # where the high-pass path acts (w_hpf > 0)
    shared: str | None = None  # a folder beside the model's, whose weights file several models have in common
    code: list[float] | None = None  # style: of a model with one style; without it the style is a picture's
    training: dict[str, Any] | None = None  # options and metrics of models trained here
    version: int | None = None  # of published models, see versions.py

    @model_validator(mode="after")
    def _hangs_together(self) -> "ModelCard":
        """Refuse what would fail, or be passed over in silence, only when a picture comes."""
        network = _NETWORKS[self.family].model_validate(self.network)
        if isinstance(network, StyleNetwork):
            self._check_code(network)
        if self.shared is not None and not FOLDER_NAME.fullmatch(self.shared):
            raise ValueError(f"shared: {self.shared!r} is no folder beside the model's")
        landmarks = bool(self.network.get("landmarks"))
        for field, value in (("masks", "landmarks"), ("align", "face")):
            if getattr(self, field) == value and not landmarks:
                raise ValueError(f"{field} is {value!r}, but the model has no landmark network (network: landmarks)")
        return self

    def _check_code(self, network: StyleNetwork) -> None:
        if self.code is None and not network.predictor:
            raise ValueError("the model has neither a style code (code) nor a network that reads one off a picture")
        if self.code is not None and (len(self.code) != network.code_dim or not all(map(math.isfinite, self.code))):
            raise ValueError(f"code has {len(self.code)} numbers; {network.code_dim} finite ones are needed")

    def text(self) -> str:
        """The card as its model.json has it."""
        return json.dumps(self.model_dump(exclude_none=True), indent=2, ensure_ascii=False) + "\n"

    @property
    def full_network(self) -> dict[str, Any]:
        """The constructor arguments with those that the card leaves to the defaults."""
        return _NETWORKS[self.family].model_validate(self.network).model_dump()

    @property
    def side_multiple(self) -> int:
        """Both sides of a picture must be multiples of this many px, because the generator halves them."""
        if self.family != "stargan_v2":
            return 4
        lowest = 8 if self.network["w_hpf"] else 16  # px; side of the deepest features at the training size
        return int(self.network["img_size"]) // lowest
