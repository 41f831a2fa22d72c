// Options of new runs, by family and preset. What is not here is the API's default, which is the paper's.

const SAMPLES = { try: { sample_every: 20, save_every: 50 }, small: { sample_every: 100, save_every: 200 } };

// The name of a family in the address of its call → how people read it, and its schema in the API's description.
export const FAMILIES = {
  cyclegan: { name: "CycleGAN", schema: "CycleGANRequest" },
  cut: { name: "CUT", schema: "CUTRequest" },
  stargan: { name: "StarGAN v2", schema: "StarGANRequest" },
};

const UNPAIRED = {
  try: { image_size: 64, load_size: 72, ngf: 16, ndf: 16, n_blocks: 2, minutes: 2, ...SAMPLES.try },
  small: { image_size: 128, load_size: 143, ngf: 32, ndf: 32, n_blocks: 6, minutes: 60, ...SAMPLES.small },
  paper: {},
};

export const PRESETS = {
  cyclegan: UNPAIRED,
  cut: UNPAIRED,
  stargan: {
    try: {
      ...{ img_size: 64, base_dim: 16, max_conv_dim: 64, batch_size: 4, w_hpf: 0, ema_beta: 0.99, minutes: 2 },
      ...SAMPLES.try,
    },
    small: {
      ...{ img_size: 128, base_dim: 32, max_conv_dim: 256, batch_size: 4, masks: "ones", ema_beta: 0.99, minutes: 60 },
      ...SAMPLES.small,
    },
    paper: {},
  },
};

export const PRESET_NAMES = [["try", "Try, 2 minutes"], ["small", "Small, an hour"], ["paper", "As in the paper"]];
