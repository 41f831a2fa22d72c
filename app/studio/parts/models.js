// What the list of models means for a person who chooses one.

// Those that can run now: without a small twin that stands in for a larger one in the list.
export function choices(models) {
  const standsIn = (name) => models.some((other) => other.name !== name && other.runs_as === name);
  return models.filter((model) => model.runs_as && !standsIn(model.name) && !needsExample(model));
}

// Paints in the style of a picture that is sent along; Style has a place for it.
export const needsExample = (model) => model.family === "style" && model.network.predictor !== false;

export const FAMILIES = { cyclegan: "CycleGAN", stargan_v2: "StarGAN v2", style: "Style" };

// A model's name as people read it; the styles say twice that they are styles.
export const title = (model) => (model.family === "style" ? model.name.replace(/^style-/, "").replaceAll("-", " ") : model.name);

// A small picture of what the model makes, or its small twin.
export const thumbnail = (model, models) => {
  return model.sample ?? runner(model, models).sample;
};

// The model that really runs.
export const runner = (model, models) => models.find((other) => other.name === model.runs_as) ?? model;

export function badge(model) {
  if (model.availability === "ready") return "";
  return model.runs_as ? "small twin" : model.availability;
}
