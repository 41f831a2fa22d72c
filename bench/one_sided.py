"""CUT beside a CycleGAN at equal CPU time: which makes better paintings of photos, if both learn for as long.

``python -m bench.one_sided MINUTES FOLDER -o OUT`` trains small ones from scratch on the paintings and photos of FOLDER
(see ``bench.pictures``), in turn, in one thread. It prints the figures of both, and draws the documentation's photo and
held-out ones with what both make of them. OUT gets the sheet, the losses and the weights.
"""

import argparse
import json
import time
from pathlib import Path

import torch

from bench.pictures import CPU, HEAD, SHOWN, Judge, directions, draw, sample_photo, spread
from models import pixels
from models.cyclegan.networks import ResnetGenerator
from models.pictures import Picture
from models.store.cut_options import CUTOptions
from models.store.options import CycleGANOptions
from models.training.cut import CUTTrainer
from models.training.cyclegan import CycleGANTrainer
from models.training.data import UnpairedPictures
from models.training.unpaired import generator_arguments
from models.weights import doctor

SIZES = {"load_size": 143, "image_size": 128, "ngf": 32, "ndf": 32, "n_blocks": 3}
IDENTITY_STEPS = 100
SAVE_EVERY_S = 120
LOG_EVERY = 20  # steps


def one_sided(minutes: float, folder: Path, out: Path) -> None:
    """Train both, and show what they make."""
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    pictures = UnpairedPictures(folder, load_size=SIZES["load_size"], image_size=SIZES["image_size"], seed=0)
    common = SIZES | {"dataset": folder, "device": "cpu", "identity_steps": IDENTITY_STEPS}
    cyclegan = CycleGANOptions(**common, balanced_upsampling=True, color_share=0.4)
    cut = CUTOptions(**common, direction="BtoA")
    length = {"device": CPU, "fixed_inputs": pictures.fixed_inputs(1), "constant_steps": 10**6, "decay_steps": 0}
    trainers = {"CycleGAN": CycleGANTrainer(cyclegan, **length), "CUT": CUTTrainer(cut, **length)}
    exports = {"CycleGAN": "BtoA", "CUT": "model"}
    spent_s, steps = dict.fromkeys(trainers, 0.0), dict.fromkeys(trainers, 0)

    def save() -> None:
        for name, trainer in trainers.items():
            doctor.save(trainer.exports()[exports[name]], out / f"{name}.safetensors")

    end = time.monotonic() + 60 * minutes
    saved = time.monotonic()
    with (out / "losses.jsonl").open("w") as log:
        while time.monotonic() < end:
            name = min(spent_s, key=spent_s.__getitem__)  # whichever has had less time
            a, b = pictures[steps[name]]
            started = time.process_time()
            terms = trainers[name].step((a[None], b[None]), steps[name])
            spent_s[name] += time.process_time() - started
            steps[name] += 1
            if steps[name] % LOG_EVERY == 0:
                losses = {term: round(value.item(), 3) for term, value in terms.items()}
                line = {"model": name, "step": steps[name], "cpu_s": round(spent_s[name], 1)} | losses
                print(json.dumps(line), file=log, flush=True)
            if time.monotonic() - saved > SAVE_EVERY_S:
                save()
                saved = time.monotonic()
    save()
    for name in trainers:
        print(f"{name}: {steps[name]} steps in {spent_s[name]:.0f} s of CPU time")
    show(folder, out, {"CycleGAN": cyclegan, "CUT": cut})


def show(folder: Path, out: Path, options: dict[str, CycleGANOptions | CUTOptions]) -> None:
    """Print the figures of the weights in ``out``, and draw its sheet."""
    direction = directions(folder)[0]
    shown = [sample_photo(), *spread(direction.sources, SHOWN - 1)]
    rows = [shown]
    judge = Judge(direction)
    print(HEAD)
    judge.row("as they are", direction.sources)
    for name, chosen in options.items():
        generator = ResnetGenerator(**generator_arguments(chosen))
        generator.load_state_dict({key: x.float() for key, x in doctor.load(out / f"{name}.safetensors").state.items()})
        judge.row(name, translate(generator, direction.sources))
        rows.append(translate(generator, shown))
    judge.real_row()
    draw(out / "sheet.png", rows)


@torch.inference_mode()
def translate(generator: ResnetGenerator, sources: list[Picture]) -> list[Picture]:
    """What a generator makes of pictures, (H, W, 3) uint8 each."""
    generator.eval()
    return [pixels.to_pictures(generator(pixels.to_tensor([source])))[0] for source in sources]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minutes", type=float)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    arguments = parser.parse_args()
    one_sided(arguments.minutes, arguments.folder, arguments.out)


if __name__ == "__main__":
    main()
