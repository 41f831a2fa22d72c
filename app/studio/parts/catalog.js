// What the list of models means for a person who chooses one.

export const FAMILIES = { cyclegan: "CycleGAN", stargan_v2: "StarGAN v2", style: "Style" };

// The models that can run now, without a small twin that stands in for a larger one in the list.
export function choices(models) {
  const standsIn = (name) => models.some((other) => other.name !== name && other.runs_as === name);
  return models.filter((model) => model.runs_as && !standsIn(model.name) && !needsExample(model));
}

// Whether it paints in the style of a picture that is sent along; the view Style has a place for that.
export const needsExample = (model) => model.family === "style" && model.network.predictor !== false;

export const isStargan = (model) => model.family === "stargan_v2";

// A model's name as people read it; the names of styles begin with "style-".
export const title = ({ family, name }) =>
  family === "style" ? name.replace(/^style-/, "").replaceAll("-", " ") : name;

// A picture of what the model makes, or its small twin.
export const sampleOf = (model, models) => model.sample ?? runner(model, models).sample;

// The model that really runs.
const runner = (model, models) => models.find((other) => other.name === model.runs_as) ?? model;

export function badge(model) {
  if (model.availability === "ready") return "";
  return model.runs_as ? "small twin" : model.availability;
}
